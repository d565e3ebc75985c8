/*
 * Ties it together: which view the address asks for, keys, and what is said when something is missing.
 *
 *   #   #files   #file/PATH?line=88-90   #tests   #test/NAME?file=PATH   #processes/NUMBER
 */
"use strict";

hitlog.replaceHash = (hash) => history.replaceState(null, "", hash);

(() => {
  const main = document.getElementById("main");
  let shows = 0;
  let prefix = 0; // when `g` was pressed

  function decoded(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  function route() {
    const [place, query = ""] = location.hash.slice(1).split("?", 2);
    const slash = place.indexOf("/");
    const view = (slash < 0 ? place : place.slice(0, slash)) || "overview";
    return { view, name: slash < 0 ? "" : decoded(place.slice(slash + 1)), parameters: new URLSearchParams(query) };
  }

  async function show() {
    const number = ++shows;
    const { view, name, parameters } = route();
    const parent = { file: "files", test: "tests" }[view] || view;
    document.querySelectorAll("nav a").forEach((link) => {
      if (link.dataset.view === parent) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    let element;
    try {
      if (!Object.hasOwn(hitlog.views, view)) throw new Error("There is no such view.");
      element = await hitlog.views[view](name, parameters);
    } catch (error) {
      element = hitlog.h("p", { class: "note warning" }, hitlog.plain(error.message), " ", hitlog.h("a", { href: "#" }, "To the overview"));
    }
    if (number !== shows) return; // somebody went on
    main.dataset.view = view;
    main.replaceChildren(element);
    const title = element.dataset.title || element.querySelector("h1")?.textContent || "hitlog";
    document.title = title === "Overview" ? "hitlog" : `${title} · hitlog`;
    hitlog.say(title);
    const list = main.querySelector("[role=grid]");
    (list || main).focus({ preventScroll: true });
  }

  const VIEWS = { o: "#", f: "#files", t: "#tests", p: "#processes" };

  const press = (key) => main.querySelector(`[data-key="${key}"]`)?.click();

  const KEYS = {
    "/": () => document.getElementById("search").focus(),
    "?": () => document.getElementById("keys").showModal(),
    d: () => hitlog.nextTheme(),
    g: () => { prefix = Date.now(); },
    n: () => press("n"),
    p: () => press("p"),
  };

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, textarea, dialog");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const isSecond = Date.now() - prefix < 1500;
    prefix = 0;
    if (isSecond && event.key in VIEWS) location.hash = VIEWS[event.key];
    else if (event.key in KEYS) KEYS[event.key]();
    else return;
    event.preventDefault();
  });
  document.getElementById("keys-button").addEventListener("click", KEYS["?"]);

  hitlog.load("index").then((index) => {
    hitlog.begin(index);
    window.addEventListener("hashchange", show);
    return show();
  }).catch((error) => {
    main.replaceChildren(hitlog.h("p", { class: "note warning" }, error.message));
  });
})();
