/*
 * The table of files, and one file: its source with how each line ran, and the tests of the chosen lines.
 */
"use strict";

(() => {
  const { h } = hitlog;

  const NOTES = {
    unknown: "The recording does not tell which version of this file ran: this is the present one.",
    changed: "This file has changed since it ran: its text is not shown. Line numbers are those of the version that ran.",
    missing: "This file is not there any more, or cannot be read: its text is not shown.",
    large: "This file is too large to be shown.",
  };

  hitlog.stateNote = (page) => NOTES[page.state]
    && h("p", { class: `note ${page.state === "unknown" ? "" : "warning"}` }, NOTES[page.state]);

  hitlog.views.files = () => {
    const { files } = hitlog.index;
    const known = (numbers) => (file) => numbers[file] < 0 ? "–" : hitlog.count(numbers[file]);
    const columns = [
      { title: "File", class: "name", value: (file) => files.path[file].toLowerCase(), render: hitlog.fileLink },
      { title: "", class: "shares-cell", render: (file) => files.missing[file] >= 0 && hitlog.bar(files.tested[file], files.outside[file], files.missing[file]) },
      { title: "Run", class: "number", value: (file) => files.missing[file] < 0 ? 2 : hitlog.shareOf(file), render: (file) => files.missing[file] < 0 ? "–" : hitlog.percent(hitlog.shareOf(file)) },
      { title: "Not run", class: "number", down: true, value: (file) => files.missing[file], render: known(files.missing) },
      hitlog.hasTests && { title: "Outside", hint: "statements that ran only outside of tests", class: "number wide", down: true, value: (file) => files.outside[file], render: known(files.outside) },
      { title: "Statements", class: "number wide", down: true, value: (file) => files.total[file], render: (file) => hitlog.count(files.total[file]) },
      hitlog.index.has_arcs && { title: "One way", hint: "branches that only ever went one way", class: "number wide", down: true, value: (file) => files.partial[file], render: known(files.partial) },
      hitlog.hasTests && { title: "Tests", class: "number", down: true, value: (file) => files.tests[file], render: known(files.tests) },
      hitlog.hasTests && { title: "Per line", hint: "how many tests run a line, on average", class: "number wide", down: true, value: hitlog.testsPerLine, render: (file) => hitlog.average(hitlog.testsPerLine(file)) },
    ].filter(Boolean);
    const rows = files.path.map((_, at) => at);
    const list = hitlog.list(columns, rows, {
      label: "Files", class: "files", sort: 0, onopen: (file) => { location.hash = hitlog.to.file(file); },
      none: "No file has this in its name.",
    });
    return h("div", { class: "page" },
      h("div", { class: "over" }, h("h1", {}, "Files"), hitlog.filterField("Filter files", rows, (file) => files.path[file], list)), list);
  };

  /* Phases of a test, unless it is the test itself alone. */
  function phaseWords(phases) {
    const words = hitlog.PHASES.filter((word, at) => word && phases >> at & 1);
    return words.length && !(phases >> 2 & 1) ? `in ${words.join(", ")}` : "";
  }

  function testList(page, [first, last], phases, label) {
    const { time } = hitlog.index.tests;
    const inChildren = hitlog.inChildren(page, first, last);
    const where = (test) => [phaseWords(phases.get(test)), inChildren.has(test) ? `(${inChildren.get(test)}in a child process)` : ""];
    const columns = [
      { title: "Test", class: "name", value: (test) => hitlog.index.tests.name[test].toLowerCase(), render: (test) => [hitlog.testLink(test), h("small", {}, where(test).filter(Boolean).join(" "))] },
      { title: "Time", class: "number", down: true, value: (test) => time[test], render: (test) => hitlog.duration(time[test]) },
    ];
    return hitlog.list(columns, [...phases.keys()], {
      label, class: "narrow", sort: 0, onopen: (test) => { location.hash = hitlog.to.test(test); }, none: "No test runs this.",
    });
  }

  function ways(page, first, last) {
    const found = hitlog.waysFrom(page, first, last);
    if (!found.length) return null;
    const word = (to) => to < 0 ? "out of here" : h("a", { href: "#", "data-line": to }, `line ${to}`);
    const items = found.flatMap(([to, tests], at) => [at ? ", " : "", word(to), hitlog.hasTests ? ` (${hitlog.counted(tests, "test")})` : ""]);
    const isPartial = page.partialLines.has(first);
    return h("p", { class: isPartial ? "ways bad" : "ways" }, isPartial ? "Only ever went to " : "Went to ", items);
  }

  const WHY = {
    m: "Nothing ran this.", o: "This ran only outside of tests, mostly when the module was imported.",
    x: "Left out by a pragma, as code for type checkers, or as a body that is only “...”.", "-": "No statement, or nothing is known of it.",
  };

  function chosenPanel(page, first, last, jump) {
    const phases = hitlog.testsOfLines(page, first, last);
    const tests = [...phases.keys()];
    const { time, name } = hitlog.index.tests;
    const all = tests.reduce((sum, test) => sum + Math.max(0, time[test]), 0);
    const title = first === last ? `Line ${first}` : `Lines ${first}–${last}`;
    const marks = new Set(page.marks.slice(first - 1, last));
    const only = WHY[[..."mox-"].find((mark) => marks.has(mark))];
    const said = tests.length
      ? `${hitlog.counted(tests.length, "test")}${all ? `, ${hitlog.duration(all)}` : ""}`
      : marks.has("o") && !hitlog.hasTests ? "This ran; tests were not recorded." : only;
    hitlog.say(`${title}: ${said}`);
    const panel = h("div", { class: "panel" },
      h("div", { class: "over" }, h("h2", {}, title), h("span", { class: "said" }, said),
        tests.length > 0 && hitlog.copyButton("Copy names", tests.map((test) => name[test]).join("\n"))),
      ways(page, first, last),
      tests.length > 0 && testList(page, [first, last], phases, `Tests of ${title}`));
    panel.addEventListener("click", (event) => {
      const link = event.target.closest("[data-line]");
      if (!link) return;
      event.preventDefault();
      jump(Number(link.dataset.line));
    });
    return panel;
  }

  function wholePanel(page) {
    const lines = [1, page.marks.length];
    const phases = hitlog.testsOfLines(page, ...lines);
    return h("div", { class: "panel" },
      h("div", { class: "over" }, h("h2", {}, "All tests of this file"), h("span", { class: "said" }, hitlog.counted(phases.size, "test"))),
      h("p", { class: "hint" }, "Click a line, or choose several with Shift, to see the tests that ran it."),
      hitlog.hasTests && testList(page, lines, phases, "Tests of this file"));
  }

  function chips(number) {
    const { files, has_arcs: hasArcs } = hitlog.index;
    const chip = (kind, count, words) => count > 0 && h("span", { class: `chip ${kind}` }, h("b", {}, hitlog.count(count)), ` ${words}`);
    const ran = hitlog.hasTests ? "run by tests" : "run";
    return h("p", { class: "chips" },
      files.missing[number] >= 0 && h("span", { class: "chip" }, h("b", {}, hitlog.percent(hitlog.shareOf(number)))),
      chip("tested", files.tested[number] + (hitlog.hasTests ? 0 : files.outside[number]), ran),
      hitlog.hasTests && chip("outside", files.outside[number], "only outside of tests"),
      chip("missing", files.missing[number], "not run"),
      hasArcs && chip("partial", files.partial[number], "branches only one way"));
  }

  function seekButton(code, direction, label, key) {
    const seek = () => {
      if (!code.seek(direction, ["m"])) hitlog.say("No more code that did not run.");
    };
    return h("button", { type: "button", class: "quiet", title: `${label} (${key})`, "aria-label": label, "data-key": key, onclick: seek }, direction > 0 ? "↓" : "↑");
  }

  hitlog.views.file = async (path, parameters) => {
    const { files } = hitlog.index;
    const number = files.number.get(path);
    if (number === undefined) throw new Error(`There is no file ${hitlog.plain(path)} in this recording.`);
    const page = await hitlog.loadFile(number);
    const side = h("aside", { class: "side", "aria-label": "Tests" });
    const onchoose = (first, last) => {
      hitlog.replaceHash(hitlog.to.file(number, first, last));
      side.replaceChildren(chosenPanel(page, first, last, jump));
    };
    const code = hitlog.code(page, { label: `Lines of ${hitlog.plain(path)}`, path, onchoose });
    const jump = (line) => { code.choose(line, line); onchoose(line, line); };
    const [first, last] = hitlog.lineRange(parameters.get("line"), page.marks.length);
    if (first) {
      code.choose(first, last);
      side.append(chosenPanel(page, first, last, jump));
    } else side.append(wholePanel(page));
    return h("div", { class: "page", "data-title": hitlog.plain(hitlog.baseName(path)) },
      h("div", { class: "over" }, h("h1", {}, hitlog.pathNodes(path)), chips(number),
        h("span", { class: "seek" }, "not run ", seekButton(code, -1, "Previous code that did not run", "p"), seekButton(code, 1, "Next code that did not run", "n"))),
      hitlog.stateNote(page), h("div", { class: "split" }, code, side));
  };

  /* `88` or `88-90`, within the file. */
  hitlog.lineRange = (text, length) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(text || "");
    if (!match || !length) return [0, 0];
    const within = (line) => Math.max(1, Math.min(length, Number(line)));
    const [first, last] = [within(match[1]), within(match[2] || match[1])];
    return [Math.min(first, last), Math.max(first, last)];
  };
})();
