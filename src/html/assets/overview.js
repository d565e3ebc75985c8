/*
 * The overview: what was recorded in four figures, a treemap of all files, and what deserves a look.
 */
"use strict";

(() => {
  const { h } = hitlog;
  const LISTED = 8;
  let mode = "coverage";

  const sum = (numbers) => numbers.reduce((total, number) => total + Math.max(0, number), 0);

  function figure(title, value, detail, extra) {
    return h("section", { class: "figure" }, h("h2", {}, title), h("p", { class: "value" }, value), extra, h("p", {}, detail));
  }

  function coverageFigure() {
    const { files } = hitlog.index;
    const [tested, outside, missing] = [sum(files.tested), sum(files.outside), sum(files.missing)];
    const total = tested + outside + missing;
    const details = [
      h("a", { href: "#files" }, `${hitlog.count(missing)} not run`),
      hitlog.hasTests ? ` · ${hitlog.count(outside)} only outside of tests` : "",
      ` · of ${hitlog.counted(total, "statement")} in ${hitlog.counted(files.count, "file")}`,
    ];
    return figure("Code that ran", total ? hitlog.percent((tested + outside) / total) : "–", details, hitlog.bar(tested, outside, missing));
  }

  function testsFigure() {
    const { tests } = hitlog.index;
    if (!hitlog.hasTests) return figure("Tests", "–", "Recorded without contexts: it is not known which test ran what.");
    const times = tests.time.filter((time) => time >= 0);
    const idle = tests.only.filter((only) => only === 0).length;
    const time = times.length ? ` · ${hitlog.duration(sum(times))} in all` : "";
    return figure("Tests", hitlog.count(tests.count), [
      h("a", { href: "#tests" }, `${hitlog.count(idle)} run no line that no other test runs`), time]);
  }

  function processesFigure() {
    const { processes } = hitlog.index;
    if (!processes.count) return figure("Processes", "–", `${hitlog.index.writer} does not record processes.`);
    const ends = [`${hitlog.count(processes.clean)} ended clean`];
    if (processes.running) ends.push(`${hitlog.count(processes.running)} still running`);
    const [first] = processes.cut;
    const cut = first && h("a", { class: "bad", href: "#processes" },
      `${hitlog.count(processes.cut.length)} cut short`, first[2] && [" in ", h("bdi", {}, hitlog.shown(hitlog.splitTest(hitlog.testOfContext(first[2]))[1]))]);
    return figure("Processes", hitlog.count(processes.count), [ends.join(" · "), cut && " · ", cut]);
  }

  function recordingFigure() {
    const { processes, writer } = hitlog.index;
    if (!processes.count) return figure("Recording", writer, "a data file of coverage.py");
    const command = processes.command.join(" ");
    const losses = `${hitlog.count(processes.lost)} lost · ${hitlog.count(processes.damaged)} damaged`;
    const isWhole = processes.lost + processes.damaged === 0;
    return figure("Recording", hitlog.duration(processes.duration), [
      h("span", { title: processes.started_at }, processes.started_at.slice(0, 16).replace("T", " ")),
      ` UTC · ${hitlog.counted(processes.records, "record")} · `, h("span", { class: isWhole ? "" : "bad" }, losses),
    ], h("p", { class: "command", title: hitlog.plain(command) }, h("bdi", {}, hitlog.shown(command))));
  }

  /* How many tests run a line, from few to many, as a share of the most. */
  function heatOf(file) {
    return Math.log1p(hitlog.testsPerLine(file)) / Math.log1p(Math.max(1, hitlog.index.tests.count));
  }

  function describe(file) {
    const { files } = hitlog.index;
    const share = hitlog.shareOf(file);
    const statements = hitlog.counted(files.total[file], "statement");
    const isUnknown = files.missing[file] < 0;
    const coverage = isUnknown ? "what did not run is not known" : `${hitlog.percent(share)} of ${statements} run`;
    const perLine = `${hitlog.average(hitlog.testsPerLine(file))} tests per line, ${hitlog.counted(files.tests[file], "test")} in all`;
    const title = hitlog.hasTests ? `${coverage}, ${perLine}` : coverage;
    if (mode === "tests") return { share: heatOf(file), kind: "heat", title };
    return { share, kind: isUnknown ? "unknown" : "coverage", title };
  }

  function modeSwitch(map) {
    const modes = [["coverage", "Coverage"], ["tests", "Tests per line"]];
    const buttons = modes.map(([name, title]) => h("button", {
      type: "button", "data-mode": name, "aria-pressed": String(mode === name),
      onclick: () => {
        mode = name;
        buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.mode === mode)));
        box.dataset.mode = mode;
        map.redraw();
      },
    }, title));
    const scale = h("span", { class: "scale", "aria-hidden": "true" });
    const box = h("div", { class: "modes", "data-mode": mode },
      hitlog.hasTests && h("div", { class: "segments", role: "group", "aria-label": "Colours show" }, buttons),
      h("span", { class: "legend" }, h("span", { class: "low" }), scale, h("span", { class: "high" })));
    return box;
  }

  function ranked(title, href, rows) {
    return h("section", { class: "ranked" }, h("h2", {}, h("a", { href }, title)),
      rows.length ? h("ol", {}, rows.slice(0, LISTED)) : h("p", { class: "none" }, "None"));
  }

  function leastTested() {
    const { files } = hitlog.index;
    const worst = files.path.map((_, at) => at).filter((file) => files.missing[file] > 0)
      .sort((left, right) => files.missing[right] - files.missing[left]).slice(0, LISTED);
    return ranked("Most code that did not run", "#files", worst.map((file) => h("li", {},
      hitlog.fileLink(file), h("span", { class: "number" }, hitlog.counted(files.missing[file], "statement")),
      h("span", { class: "number" }, hitlog.percent(hitlog.shareOf(file))))));
  }

  function slowest() {
    const { tests } = hitlog.index;
    const worst = tests.time.map((_, at) => at).filter((test) => tests.time[test] > 0)
      .sort((left, right) => tests.time[right] - tests.time[left]).slice(0, LISTED);
    return ranked("Slowest tests", "#tests", worst.map((test) => h("li", {},
      hitlog.testLink(test), h("span", { class: "number" }, hitlog.duration(tests.time[test])))));
  }

  function mostTested() {
    const { files } = hitlog.index;
    const most = files.path.map((_, at) => at).filter((file) => files.lines[file] > 0)
      .sort((left, right) => hitlog.testsPerLine(right) - hitlog.testsPerLine(left)).slice(0, LISTED);
    return ranked("Run by the most tests", "#files", most.map((file) => h("li", {},
      hitlog.fileLink(file), h("span", { class: "number" }, `${hitlog.average(hitlog.testsPerLine(file))} per line`))));
  }

  hitlog.views.overview = () => {
    const { files, root } = hitlog.index;
    const map = hitlog.treemap(files.path.map((_, at) => at), describe);
    return h("div", { class: "overview" },
      h("h1", { class: "unseen" }, "Overview"),
      h("div", { class: "figures" }, coverageFigure(), testsFigure(), processesFigure(), recordingFigure()),
      h("section", { class: "mapped" },
        h("div", { class: "over" }, h("h2", {}, "Files"), h("bdi", { class: "place" }, hitlog.shown(root)), modeSwitch(map)),
        map),
      h("div", { class: "rankings" }, leastTested(), hitlog.hasTests && slowest(), hitlog.hasTests && mostTested()));
  };
})();
