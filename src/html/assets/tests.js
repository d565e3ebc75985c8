/*
 * The table of tests, and one test: the files it ran, and in each the lines; which of them it alone ran.
 */
"use strict";

(() => {
  const { h } = hitlog;

  hitlog.views.tests = () => {
    const { tests } = hitlog.index;
    const hasTimes = tests.time.some((time) => time >= 0);
    const number = (title, numbers, hint, wide) => ({
      title, hint, class: wide ? "number wide" : "number", down: true, value: (test) => numbers[test], render: (test) => hitlog.count(numbers[test]),
    });
    const columns = [
      { title: "Test", class: "name", value: (test) => tests.name[test].toLowerCase(), render: (test) => hitlog.testLink(test) },
      hasTimes && { title: "Time", class: "number", down: true, value: (test) => tests.time[test], render: (test) => hitlog.duration(tests.time[test]) },
      number("Files", tests.files, "", true),
      number("Lines", tests.lines, "lines that the test ran"),
      number("Alone", tests.only, "lines that no other test ran"),
    ].filter(Boolean);
    const rows = tests.name.map((_, at) => at);
    const list = hitlog.list(columns, rows, {
      label: "Tests", class: "tests", sort: 0, onopen: (test) => { location.hash = hitlog.to.test(test); },
      none: hitlog.hasTests ? "No test has this in its name." : "Recorded without contexts: it is not known which test ran what.",
    });
    return h("div", { class: "page" },
      h("div", { class: "over" }, h("h1", {}, "Tests"), hitlog.filterField("Filter tests", rows, (test) => tests.name[test], list)), list);
  };

  function timeNote(test, row) {
    const { time } = hitlog.index.tests;
    if (time[test] < 0) return null;
    const phases = row.times.map((us, at) => [hitlog.PHASES[at], us]).filter(([word, us]) => word && us > 0);
    const parts = phases.map(([word, us]) => `${word} ${hitlog.duration(us)}`);
    return h("span", { class: "chip" }, h("b", {}, hitlog.duration(time[test])), parts.length > 1 ? ` ${parts.join(" · ")}` : "");
  }

  function processNote(row) {
    if (!row.processes.length) return null;
    const links = row.processes.slice(0, 4).flatMap((process, at) => [at ? ", " : "", h("a", { href: hitlog.to.process(process) }, hitlog.index.processes.labels[process])]);
    return h("span", { class: "chip" }, row.processes.length === 1 ? "in process " : "in processes ", links, row.processes.length > 4 ? ` and ${row.processes.length - 4} more` : "");
  }

  /* The first line of the set from `line` on, or 0. */
  function firstOf(lines, length) {
    for (let line = 1; line <= length; line++) if (hitlog.has(lines, line)) return line;
    return 0;
  }

  async function codeOf(test, file) {
    const page = await hitlog.loadFile(file);
    const path = hitlog.index.files.path[file];
    const lines = hitlog.linesOfTest(page, test);
    const first = firstOf(lines, page.marks.length);
    const code = hitlog.code(page, {
      label: `Lines of ${hitlog.plain(path)} that the test ran`, path, lines,
      only: (line) => hitlog.has(lines, line) && page.tests[line - 1] === 1,
      onchoose: (from, to) => { location.hash = hitlog.to.file(file, from, to); },
    });
    code.showLine(first);
    return [h("div", { class: "over" }, h("h2", {}, hitlog.fileLink(file)), h("span", { class: "said" }, "Click a line to see all of its tests.")),
      hitlog.stateNote(page), code];
  }

  hitlog.views.test = async (name, parameters) => {
    const { tests, files } = hitlog.index;
    const test = tests.number.get(name);
    if (test === undefined) throw new Error(`There is no test ${hitlog.plain(name)} in this recording.`);
    const row = await hitlog.loadTest(test);
    const parts = new Map(row.files.map((part) => [part[0], part]));
    const wanted = files.number.get(parameters.get("file") || "");
    const ranked = [...parts.keys()].sort((left, right) => parts.get(right)[1] - parts.get(left)[1]);
    const state = { file: parts.has(wanted) ? wanted : ranked[0] };
    const main = h("section", { class: "shown", "aria-label": "Lines" });

    async function show(file) {
      state.file = file;
      list.redraw();
      try { main.replaceChildren(...(await codeOf(test, file)).filter(Boolean)); }
      catch (error) { main.replaceChildren(h("p", { class: "note warning" }, error.message)); }
    }

    const columns = [
      { title: "File", class: "name", value: (file) => files.path[file].toLowerCase(), render: (file) => h("span", { title: hitlog.plain(files.path[file]) }, hitlog.pathNodes(files.path[file])) },
      { title: "Lines", class: "number", down: true, value: (file) => parts.get(file)[1], render: (file) => hitlog.count(parts.get(file)[1]) },
      { title: "Alone", hint: "lines that no other test ran", class: "number", down: true, value: (file) => parts.get(file)[2], render: (file) => hitlog.count(parts.get(file)[2]) },
    ];
    const list = hitlog.list(columns, ranked, {
      label: "Files that the test ran", class: "narrow", sort: 1, none: "It ran nothing of the measured files.",
      current: (file) => file === state.file,
      onopen: (file) => { hitlog.replaceHash(hitlog.to.test(test, file)); show(file); },
    });
    if (state.file !== undefined) show(state.file);
    return h("div", { class: "page", "data-title": hitlog.plain(hitlog.splitTest(name)[1]) },
      h("div", { class: "over" }, h("h1", { class: "test-name" }, hitlog.testNodes(name)),
        h("p", { class: "chips" }, timeNote(test, row), processNote(row),
          h("span", { class: "chip tested" }, h("b", {}, hitlog.count(tests.lines[test])), ` lines in ${hitlog.counted(tests.files[test], "file")}`),
          h("span", { class: "chip" }, h("b", {}, hitlog.count(tests.only[test])), " that no other test ran")),
        hitlog.copyButton("Copy name", name)),
      h("div", { class: "split reversed" }, h("aside", { class: "side", "aria-label": "Files" }, list), main));
  };
})();
