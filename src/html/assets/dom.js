/*
 * Elements, links and the theme. Text only ever becomes text nodes and attribute values, never markup.
 */
"use strict";

/* What shows each view: functions of the name and the parameters in the address. */
hitlog.views = {};

(() => {
  /*
   * An element. Attributes that begin with `on` are listeners, with `--` variables of its style; null and
   * false are left out. Children are elements or strings, perhaps in lists.
   */
  hitlog.h = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name.startsWith("--")) element.style.setProperty(name, value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    const nodes = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
    element.append(...nodes.filter((child) => child !== ""));
    return element;
  };

  const encoded = (name) => encodeURIComponent(name).replaceAll("%2F", "/").replaceAll("%3A", ":");

  hitlog.to = {
    file: (number, first, last = first) => {
      const lines = first ? `?line=${first === last ? first : `${first}-${last}`}` : "";
      return `#file/${encoded(hitlog.index.files.path[number])}${lines}`;
    },
    test: (number, file) => {
      const where = file === undefined ? "" : `?file=${encodeURIComponent(hitlog.index.files.path[file])}`;
      return `#test/${encoded(hitlog.index.tests.name[number])}${where}`;
    },
    process: (number) => `#processes/${number}`,
  };

  /* Where there is no room for a name, its title has the whole. */
  hitlog.testLink = (number) => {
    const name = hitlog.index.tests.name[number];
    return hitlog.h("a", { href: hitlog.to.test(number), title: hitlog.plain(name) }, hitlog.testNodes(name));
  };

  hitlog.fileLink = (number) => {
    const path = hitlog.index.files.path[number];
    return hitlog.h("a", { href: hitlog.to.file(number), title: hitlog.plain(path) }, hitlog.pathNodes(path));
  };

  /* A bar of shares: tested, only outside of tests, not run. */
  hitlog.bar = (tested, outside, missing) => {
    const total = Math.max(1, tested + outside + missing);
    const part = (kind, number) => number > 0 && hitlog.h("i", { class: kind, "--share": `${100 * number / total}%` });
    const [shown, more] = hitlog.hasTests ? [tested, outside] : [tested + outside, 0];
    return hitlog.h("span", { class: "shares", "aria-hidden": "true" },
      part("tested", shown), part("outside", more), part("missing", missing));
  };

  /* A colour of the style as a canvas takes it: variables that depend on the theme have to be worked out. */
  hitlog.colour = (name) => {
    const probe = hitlog.colour.probe ||= document.body.appendChild(hitlog.h("i", { class: "unseen", "aria-hidden": "true" }));
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  /* An empty canvas to draw on in pixels of the page, sharp on every screen; nothing while it is not shown. */
  hitlog.sheet = (canvas) => {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return null;
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return { context, width, height };
  };

  hitlog.say = (sentence) => { document.getElementById("status").textContent = sentence; };

  /* A button that copies `text`; where that is not allowed, it selects it in a prompt. */
  hitlog.copyButton = (label, text) => {
    const button = hitlog.h("button", { type: "button", class: "quiet", title: hitlog.plain(text) }, label);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
        hitlog.say("Copied");
        setTimeout(() => { button.textContent = label; }, 1500);
      } catch {
        window.prompt("Copy with Ctrl+C", text);
      }
    });
    return button;
  };

  const THEMES = ["auto", "light", "dark"];
  const SIGNS = { auto: "◐", light: "☀", dark: "☾" };

  function stored() {
    try { return localStorage.getItem("hitlog-theme"); } catch { return null; }
  }

  function apply(theme) {
    const button = document.getElementById("theme");
    document.documentElement.dataset.theme = theme;
    button.textContent = SIGNS[theme];
    button.title = `Colours: ${theme === "auto" ? "as the system" : theme} (d)`;
    button.setAttribute("aria-label", button.title);
    document.dispatchEvent(new Event("hitlog-theme"));
  }

  hitlog.nextTheme = () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    try { localStorage.setItem("hitlog-theme", next); } catch { /* it lasts for this page, then */ }
    apply(next);
    hitlog.say(`Colours: ${next}`);
  };

  apply(THEMES.includes(stored()) ? stored() : "auto");
  document.getElementById("theme").addEventListener("click", hitlog.nextTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change",
    () => document.dispatchEvent(new Event("hitlog-theme")));
})();
