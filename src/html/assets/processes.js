/*
 * The time line: a row for each process, below the one it comes from; in it the tests it ran, and how it
 * ended. Times are microseconds after the first process began.
 *
 * The rows are drawn on a canvas, of which only the part in sight is drawn. Beside it stand the names, as a
 * list with all of it in words; a chosen process is described below with all of its tests.
 */
"use strict";

(() => {
  const { h } = hitlog;
  const ROW = 30; // height in px, as in list.js
  const AXIS = 26;
  const ZOOM_MAX = 1e6;

  const SIGNALS = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM" };

  const labelOf = (at) => hitlog.index.processes.labels[at];

  function endOf(process) {
    const test = hitlog.testOfContext(process.last_context);
    if (process.state === "running") return ["running", "still running"];
    if (process.state === "clean") return ["clean", process.exit_code ? `exit ${process.exit_code}` : "clean"];
    const signal = process.signal ? `${SIGNALS[process.signal] || `signal ${process.signal}`}, ` : "";
    return ["cut", `cut short: ${signal}${test ? `in ${test}` : "outside of tests"}`];
  }

  /* Parents before their children, those that began earlier first. */
  function inOrder(processes) {
    const children = new Map();
    processes.forEach((process, at) => {
      const parent = process.parent ?? -1;
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(at);
    });
    const order = [];
    const stack = [-1];
    while (stack.length) {
      const at = stack.pop();
      if (at >= 0) order.push(at);
      const below = (children.get(at) || []).sort((left, right) => processes[right].start - processes[left].start);
      stack.push(...below);
    }
    return order;
  }

  /* A step of the axis: 1, 2 or 5 times a power of ten, at least 90 px wide. */
  function stepOf(usPerPx) {
    const least = usPerPx * 90;
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
  }

  function label(us, step) {
    if (step >= 1e6) return `${Math.round(us / 1e6)} s`;
    if (step >= 1e3) return us >= 1e6 ? `${(us / 1e6).toFixed(step >= 1e5 ? 1 : step >= 1e4 ? 2 : 3)} s` : `${Math.round(us / 1e3)} ms`;
    return `${hitlog.count(Math.round(us))} µs`;
  }

  /* The position of the last span that begins at or before `us`, or -1. */
  function spanBefore(spans, us) {
    let [low, high] = [0, spans.length / 4];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[middle * 4 + 2] <= us) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  const lastTime = (process, spans, at) => spans[at + 3] < 0 ? process.end : spans[at + 2] + spans[at + 3];

  hitlog.timeLine = (processes, onchoose) => {
    const order = inOrder(processes);
    const rowOf = new Map(order.map((process, row) => [process, row]));
    const whole = Math.max(1, ...processes.map((process) => process.end)) * 1.03;
    const view = { from: 0, to: whole };
    let chosen = -1;
    const canvas = h("canvas", { class: "tracks", "aria-hidden": "true" });
    const tip = h("div", { class: "tip", hidden: true });
    const tracks = h("div", { class: "track-box" }, canvas, tip);
    const labels = hitlog.list([{ title: "", class: "name", render: nameCell }], order, {
      label: "Processes", class: "lanes", headless: true, current: (process) => process === chosen,
      onopen: (process) => { chosen = process; labels.redraw(); draw(); onchoose(process); },
    });
    const scroller = labels.querySelector(".scroller");
    const zoomButton = (text, title, factor) => h("button", { type: "button", class: "quiet", title, "aria-label": title, onclick: () => factor ? zoom(factor, 0.5) : fit() }, text);
    const tools = h("span", { class: "tools" }, zoomButton("+", "Zoom in (+)", 2), zoomButton("−", "Zoom out (−)", 0.5), zoomButton("Fit", "All (0)", 0));
    const element = h("div", { class: "time-line" }, labels, tracks);

    function nameCell(at) {
      const process = processes[at];
      const [kind, words] = endOf(process);
      const command = process.argv.join(" ") || "process";
      return h("span", { class: "lane", "--depth": Math.min(8, process.depth), title: hitlog.plain(`${words} · ${command}`) },
        h("span", { class: `dot ${kind}`, "aria-hidden": "true" }),
        h("b", {}, labelOf(at)),
        h("bdi", { class: kind === "cut" ? "bad" : "place" }, hitlog.shown(words)));
    }

    const scaleOf = () => canvas.clientWidth / (view.to - view.from);

    function zoom(factor, share) {
      const at = view.from + (view.to - view.from) * share;
      const width = Math.max(whole / ZOOM_MAX, Math.min(whole, (view.to - view.from) / factor));
      view.from = Math.max(0, Math.min(whole - width, at - width * share));
      view.to = view.from + width;
      draw();
    }

    function pan(us) {
      const width = view.to - view.from;
      view.from = Math.max(0, Math.min(whole - width, view.from + us));
      view.to = view.from + width;
      draw();
    }

    function fit() { [view.from, view.to] = [0, whole]; draw(); }

    function draw() {
      const sheet = hitlog.sheet(canvas);
      if (!sheet) return;
      const { context, width, height } = sheet;
      const colours = new Map();
      const colour = (name) => {
        if (!colours.has(name)) colours.set(name, hitlog.colour(name));
        return colours.get(name);
      };
      const paint = { context, colour, scale: scaleOf(), width, height, x: (us) => (us - view.from) * scaleOf() };
      drawAxis(paint);
      context.save();
      context.beginPath();
      context.rect(0, AXIS, width, height - AXIS);
      context.clip();
      const first = Math.floor(scroller.scrollTop / ROW);
      const last = Math.min(order.length, first + Math.ceil(height / ROW) + 1);
      for (let row = first; row < last; row++) drawRow(paint, row);
      context.restore();
    }

    const topOf = (row) => AXIS + row * ROW - scroller.scrollTop;

    function drawAxis({ context, colour, scale, width, height, x }) {
      const step = stepOf(1 / scale);
      context.font = "11px system-ui, sans-serif";
      for (let us = Math.ceil(view.from / step) * step; us <= view.to; us += step) {
        context.fillStyle = colour("line");
        context.fillRect(Math.round(x(us)), AXIS - 6, 1, height);
        context.fillStyle = colour("muted");
        if (x(us) < width - 30) context.fillText(label(us, step), Math.round(x(us)) + 4, AXIS - 9);
      }
    }

    function drawRow(paint, row) {
      const { context, colour, x } = paint;
      const process = processes[order[row]];
      const top = topOf(row);
      if (order[row] === chosen) {
        context.fillStyle = colour("chosen");
        context.fillRect(0, top, paint.width, ROW);
      }
      const [left, right] = [x(process.start), Math.max(x(process.start) + 2, x(process.end))];
      context.fillStyle = colour("lane");
      context.fillRect(left, top + 6, right - left, ROW - 12);
      drawSpans(paint, process, top);
      if (process.parent !== null) drawOrigin(paint, process, row, left, top);
      drawEnd(paint, process, right, top);
    }

    /* Spans that are closer than a pixel are drawn as one. */
    function drawSpans({ context, colour, x, width }, process, top) {
      const { spans } = process;
      const tones = [colour("span"), colour("span-other")];
      let until = -1;
      for (let at = Math.max(0, spanBefore(spans, view.from)) * 4; at < spans.length; at += 4) {
        const left = x(spans[at + 2]);
        if (left > width) break;
        const right = Math.max(left + 1, x(lastTime(process, spans, at)));
        if (right <= until || right < 0 || spans[at] < 0) continue;
        context.fillStyle = tones[spans[at] % 2];
        const from = Math.max(left, until);
        context.fillRect(from, top + 6, Math.max(1, right - from - (right - from > 3 ? 0.5 : 0)), ROW - 12);
        until = right;
      }
    }

    /* From the row of the process it comes from. */
    function drawOrigin({ context, colour }, process, row, left, top) {
      const above = topOf(rowOf.get(process.parent)) + ROW - 6;
      context.strokeStyle = colour("muted");
      context.globalAlpha = 0.6;
      context.beginPath();
      context.moveTo(Math.round(left) - 0.5, above);
      context.lineTo(Math.round(left) - 0.5, top + ROW / 2);
      context.stroke();
      context.globalAlpha = 1;
    }

    function drawEnd({ context, colour }, process, right, top) {
      const middle = top + ROW / 2;
      const [kind] = endOf(process);
      context.strokeStyle = context.fillStyle = colour(kind === "cut" ? "missing" : kind === "running" ? "partial" : "tested");
      context.lineWidth = 2;
      context.beginPath();
      if (kind === "clean") context.fillRect(right - 1, top + 4, 3, ROW - 8);
      else if (kind === "running") {
        context.moveTo(right + 2, middle - 6);
        context.lineTo(right + 9, middle);
        context.lineTo(right + 2, middle + 6);
      } else {
        context.moveTo(right + 3, middle - 5);
        context.lineTo(right + 13, middle + 5);
        context.moveTo(right + 13, middle - 5);
        context.lineTo(right + 3, middle + 5);
      }
      context.stroke();
      context.lineWidth = 1;
    }

    /* The process and the test under a point. */
    function under(x, y) {
      const row = Math.floor((y - AXIS + scroller.scrollTop) / ROW);
      if (y < AXIS || row < 0 || row >= order.length) return null;
      const process = processes[order[row]];
      const us = view.from + x / scaleOf();
      const slack = 2 / scaleOf();
      for (let at = spanBefore(process.spans, us + slack) * 4; at >= 0; at -= 4) {
        if (lastTime(process, process.spans, at) + slack >= us && process.spans[at] >= 0) return { number: order[row], at };
        if (us - process.spans[at + 2] > whole / 2) break;
      }
      return { number: order[row], at: -1 };
    }

    function describe({ number, at }) {
      const process = processes[number];
      if (at < 0) return [`process ${labelOf(number)}`, endOf(process)[1]];
      const [test, phase, , duration] = process.spans.slice(at, at + 4);
      const word = hitlog.PHASES[phase];
      return [hitlog.index.tests.name[test], `${word ? `${word}, ` : ""}${duration < 0 ? "did not end" : hitlog.duration(duration)}`];
    }

    let drag = null;
    tracks.addEventListener("pointermove", (event) => {
      if (drag && event.buttons) {
        drag.isMove = drag.isMove || Math.abs(event.clientX - drag.x) > 4;
        if (drag.isMove) pan((drag.last - event.clientX) / scaleOf());
        drag.last = event.clientX;
      }
      const box = canvas.getBoundingClientRect();
      const found = under(event.clientX - box.left, event.clientY - box.top);
      tip.hidden = !found || Boolean(drag && drag.isMove);
      if (!found) return;
      tip.replaceChildren(...describe(found).map((text) => h("bdi", {}, hitlog.shown(text))));
      tip.style.setProperty("--left", `${Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth - 4)}px`);
      tip.style.setProperty("--top", `${Math.min(event.clientY - box.top + 14, box.height - tip.offsetHeight - 4)}px`);
    });
    tracks.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, last: event.clientX, isMove: false }; });
    tracks.addEventListener("pointerleave", () => { tip.hidden = true; drag = null; });
    tracks.addEventListener("click", (event) => {
      const wasMove = drag && drag.isMove;
      drag = null;
      const box = canvas.getBoundingClientRect();
      const found = under(event.clientX - box.left, event.clientY - box.top);
      if (wasMove || !found) return;
      if (found.at >= 0) location.hash = hitlog.to.test(processes[found.number].spans[found.at]);
      else { chosen = found.number; labels.redraw(); draw(); onchoose(found.number); }
    });
    tracks.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 200), (event.clientX - box.left) / box.width);
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / scaleOf());
      else scroller.scrollTop += event.deltaY;
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      const keys = {
        "+": () => zoom(2, 0.5), "=": () => zoom(2, 0.5), "-": () => zoom(0.5, 0.5), 0: fit,
        ArrowLeft: () => pan((view.from - view.to) / 5), ArrowRight: () => pan((view.to - view.from) / 5),
      };
      if (!(event.key in keys) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    scroller.addEventListener("scroll", draw);
    new ResizeObserver(draw).observe(canvas);
    const onTheme = () => element.isConnected ? draw() : document.removeEventListener("hitlog-theme", onTheme);
    document.addEventListener("hitlog-theme", onTheme);
    element.tools = tools;
    element.choose = (process) => { chosen = process; labels.showRow(process); draw(); };
    return element;
  };

  function details(processes, at) {
    const process = processes[at];
    const [kind, words] = endOf(process);
    const spans = [];
    for (let span = 0; span < process.spans.length; span += 4) if (process.spans[span] >= 0) spans.push(span);
    const parent = process.parent === null ? String(process.ppid) : h("a", { href: hitlog.to.process(process.parent) }, labelOf(process.parent));
    const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, value)];
    const duration = (span) => process.spans[span + 3];
    const list = hitlog.list([
      { title: "Test", class: "name", value: (span) => hitlog.index.tests.name[process.spans[span]], render: (span) => [hitlog.testLink(process.spans[span]), h("small", {}, hitlog.PHASES[process.spans[span + 1]])] },
      { title: "Began", class: "number", value: (span) => process.spans[span + 2], render: (span) => hitlog.duration(process.spans[span + 2]) },
      { title: "Time", class: "number", down: true, value: duration, render: (span) => duration(span) < 0 ? h("span", { class: "bad" }, "did not end") : hitlog.duration(duration(span)) },
    ], spans, { label: `Tests in process ${labelOf(at)}`, class: "narrow", sort: 1, none: "No test began here.", onopen: (span) => { location.hash = hitlog.to.test(process.spans[span]); } });
    hitlog.say(`Process ${labelOf(at)}: ${words}`);
    return h("div", { class: "split details" },
      h("div", { class: "side facts" },
        h("h2", {}, `Process ${labelOf(at)}`),
        h("p", { class: kind === "cut" ? "bad" : "" }, h("bdi", {}, hitlog.shown(words))),
        h("dl", {},
          fact("Command", h("code", {}, hitlog.shown(process.argv.join(" ") || "–"))),
          fact("Parent", parent), fact("Host", h("bdi", {}, hitlog.shown(process.host))),
          fact("Began", hitlog.duration(process.start)),
          fact(kind === "clean" ? "Ran" : "Known to have run", hitlog.duration(process.end - process.start)),
          fact("Records", `${hitlog.count(process.records)} · ${hitlog.count(process.lost)} lost · ${hitlog.count(process.damaged)} damaged`))),
      list);
  }

  hitlog.views.processes = async (name) => {
    const { processes: summary, writer } = hitlog.index;
    if (!summary.count) {
      return h("div", { class: "page" }, h("div", { class: "over" }, h("h1", {}, "Processes")),
        h("p", { class: "note" }, `This was recorded by ${writer}, which keeps nothing of processes. `
          + "Record with `pytest --hitlog` or `hitlog run` to see them here."));
    }
    const { processes } = await hitlog.load("processes");
    const below = h("div", { class: "below" });
    const show = (at) => {
      hitlog.replaceHash(hitlog.to.process(at));
      below.replaceChildren(details(processes, at));
    };
    const line = hitlog.timeLine(processes, show);
    const cut = processes.findIndex((process) => process.state === "cut");
    const wanted = /^\d+$/.test(name) && Number(name) < processes.length ? Number(name) : Math.max(0, cut);
    below.append(details(processes, wanted));
    requestAnimationFrame(() => line.choose(wanted));
    const ends = [["clean", summary.clean, "ended clean"], ["cut", summary.cut.length, "cut short"], ["running", summary.running, "still running"]];
    return h("div", { class: "page" },
      h("div", { class: "over" }, h("h1", {}, "Processes"),
        h("p", { class: "chips" }, ends.filter(([, count]) => count).map(([kind, count, words]) =>
          h("span", { class: "chip" }, h("span", { class: `dot ${kind}` }), h("b", {}, hitlog.count(count)), ` ${words}`))),
        line.tools),
      line, below);
  };
})();
