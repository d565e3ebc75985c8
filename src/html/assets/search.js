/*
 * The search over all tests and files. A result needs every word; those that begin a name come first, then
 * shorter ones. `cart.py:88` leads to the line.
 */
"use strict";

(() => {
  const FOUND_MAX = 60;
  const field = document.getElementById("search");
  const list = document.getElementById("found");
  let [results, active, names] = [[], -1, null];

  /* All names in lower case, made when somebody searches first. */
  function allNames() {
    const { files, tests } = hitlog.index;
    const entry = (kind) => (name, number) => ({ kind, number, name: name.toLowerCase() });
    return [...files.path.map(entry("file")), ...tests.name.map(entry("test"))];
  }

  function scoreOf(name, words) {
    const own = Math.max(name.lastIndexOf("/"), name.lastIndexOf("::") + 1) + 1;
    const score = (word) => {
      const at = name.indexOf(word, own);
      if (at === own) return 0;
      return at > own ? 1 : 2;
    };
    return words.reduce((sum, word) => sum + score(word), 0) * 1000 + name.length;
  }

  hitlog.search = (text) => {
    names = names || allNames();
    const place = text.match(/^(.*?):(\d+)(?:-(\d+))?$/);
    const words = (place ? place[1] : text).toLowerCase().split(/\s+/).filter((word) => word);
    if (!words.length) return [];
    return names
      .filter((entry) => (!place || entry.kind === "file") && words.every((word) => entry.name.includes(word)))
      .map((entry) => ({ ...entry, score: scoreOf(entry.name, words) }))
      .sort((left, right) => left.score - right.score || (left.name < right.name ? -1 : 1))
      .slice(0, FOUND_MAX)
      .map((entry) => ({ ...entry, first: place && Number(place[2]), last: place && Number(place[3] || place[2]) }));
  };

  function hrefOf(found) {
    return found.kind === "file" ? hitlog.to.file(found.number, found.first, found.last) : hitlog.to.test(found.number);
  }

  function draw() {
    const { files, tests } = hitlog.index;
    list.replaceChildren(...results.map((found, at) => hitlog.h("a", {
      href: hrefOf(found), id: `found-${at}`, role: "option", tabindex: -1, "aria-selected": at === active ? "true" : "false",
      title: hitlog.plain((found.kind === "file" ? files.path : tests.name)[found.number]),
    },
    hitlog.h("small", {}, found.kind),
    found.kind === "file" ? hitlog.pathNodes(files.path[found.number]) : hitlog.testNodes(tests.name[found.number]),
    found.first && hitlog.h("small", {}, `line ${found.first}`))));
    if (!results.length) list.append(hitlog.h("p", { class: "none" }, "No test or file has this in its name."));
    list.hidden = !field.value.trim();
    field.setAttribute("aria-expanded", String(!list.hidden));
    if (active >= 0) {
      field.setAttribute("aria-activedescendant", `found-${active}`);
      list.children[active].scrollIntoView({ block: "nearest" });
    } else field.removeAttribute("aria-activedescendant");
  }

  function close() {
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  field.addEventListener("input", () => {
    results = hitlog.search(field.value);
    active = results.length ? 0 : -1;
    draw();
    hitlog.say(hitlog.counted(results.length, "result"));
  });
  field.addEventListener("focus", () => { if (field.value.trim()) draw(); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { field.value = ""; close(); field.blur(); }
    else if (event.key === "Enter" && results[active]) location.hash = hrefOf(results[active]);
    else if (event.key === "ArrowDown") active = Math.min(results.length - 1, active + 1);
    else if (event.key === "ArrowUp") active = Math.max(0, active - 1);
    else return;
    event.preventDefault();
    if (event.key.startsWith("Arrow")) draw();
    if (event.key === "Enter") { close(); field.blur(); }
  });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest(".search")) close(); });
  list.addEventListener("click", () => setTimeout(close));
})();
