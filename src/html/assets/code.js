/*
 * A source, line by line, with how each line ran; only the lines in sight are elements. At its side a map of
 * the whole file. Lines can be chosen, one or a range, by click, Shift and click, or arrows.
 *
 * The map is a canvas; what it shows is in the lines, too.
 */
"use strict";

(() => {
  const ROW = 20; // height in px, as in the style
  const AROUND = 20;
  const WORDS = {
    "-": "", m: "not run", o: "run only outside of tests", t: "run by tests", x: "left out (pragma: no cover)",
  };

  /* page: a file; options: label, lines (a set: only these are marked), only(line), onchoose(first, last). */
  hitlog.code = (page, options) => {
    const length = page.marks.length;
    const isPython = /\.pyw?$/.test(options.path);
    const coloured = page.source !== null && (isPython ? hitlog.colouredPython(page.source) : page.text.map((line) => [["", line]]));
    const state = { first: 0, last: 0, drawn: "" };
    const most = Math.max(1, ...page.tests.slice(0, 100_000));
    const body = hitlog.h("div", { class: "lines", role: "rowgroup" });
    const scroller = hitlog.h("div", {
      class: "scroller", tabindex: 0, role: "grid", "aria-label": options.label, "aria-rowcount": length,
      "aria-multiselectable": "true",
    }, body);
    const canvas = hitlog.h("canvas", { class: "map", "aria-hidden": "true" });
    const element = hitlog.h("div", { class: "code" }, scroller, canvas);

    const markOf = (line) => options.lines
      ? (hitlog.has(options.lines, line) ? "t" : "-")
      : page.marks[line - 1];

    function numberOf(line) {
      if (options.lines) return options.only && options.only(line) ? "only" : "";
      const mark = page.marks[line - 1];
      const span = page.spanOf.get(line);
      if (span && line > span[0]) return "";
      if (mark === "m") return "0";
      if (mark === "o") return "import";
      let tests = page.tests[line - 1];
      if (span) for (let at = span[0]; at <= span[1]; at++) tests = Math.max(tests, page.tests[at - 1] || 0);
      return mark === "t" ? hitlog.count(tests) : "";
    }

    function textOf(line) {
      if (!coloured) return [];
      return (coloured[line - 1] || []).map(([kind, text]) => {
        const nodes = text.split("\t").flatMap((part, at) => at ? ["\t", ...hitlog.shown(part)] : hitlog.shown(part));
        return kind ? hitlog.h("span", { class: `py-${kind}` }, nodes) : nodes;
      });
    }

    function row(line) {
      const mark = markOf(line);
      const isPartial = !options.lines && page.partialLines.has(line);
      const chosen = line >= state.first && line <= state.last;
      const heat = options.lines || !numberOf(line) ? 0 : Math.log1p(page.tests[line - 1]) / Math.log1p(most);
      return hitlog.h("div", {
        class: `line mark-${mark === "-" ? "none" : mark}${chosen ? " chosen" : ""}${line === state.at ? " at" : ""}${isPartial ? " partial" : ""}`,
        role: "row", "aria-rowindex": line, "aria-selected": chosen ? "true" : "false", id: `line-${line}`,
        "data-line": line, "--top": `${(line - 1) * ROW}px`, title: isPartial ? "this branch only ever went one way" : null,
      },
      hitlog.h("span", { class: "number", role: "gridcell" }, String(line)),
      hitlog.h("span", {
        class: "tests", role: "gridcell", "--heat": `${Math.round(heat * 100)}%`,
        "aria-label": `${WORDS[mark]} ${numberOf(line)}${isPartial ? ", only one way" : ""}`,
      }, numberOf(line), isPartial && hitlog.h("b", { "aria-hidden": "true" }, "⑂")),
      hitlog.h("code", { role: "gridcell" }, textOf(line)));
    }

    function draw(force = false) {
      const first = Math.max(1, Math.floor(scroller.scrollTop / ROW) + 1 - AROUND);
      const last = Math.min(length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + AROUND);
      const drawn = `${first}-${last}`;
      if (force || drawn !== state.drawn) {
        state.drawn = drawn;
        body.style.height = `${length * ROW}px`;
        const rows = [];
        for (let line = first; line <= last; line++) rows.push(row(line));
        body.replaceChildren(...rows);
        if (state.at >= first && state.at <= last) scroller.setAttribute("aria-activedescendant", `line-${state.at}`);
        else scroller.removeAttribute("aria-activedescendant");
      }
      drawMap();
    }

    function drawMap() {
      const sheet = hitlog.sheet(canvas);
      if (!sheet) return;
      const { context, width, height } = sheet;
      const colours = Object.fromEntries(["t", "o", "m", "x"].map((mark) => [mark, hitlog.colour(`mark-${mark}`)]));
      const scale = Math.min(3, height / Math.max(1, length));
      for (let line = 1; line <= length; line++) {
        const colour = colours[markOf(line)];
        if (!colour) continue;
        context.fillStyle = colour;
        context.fillRect(3, (line - 1) * scale, width - 6, Math.max(1, scale - (scale > 2 ? 0.5 : 0)));
      }
      context.fillStyle = hitlog.colour("lens");
      const seen = Math.min(length, scroller.clientHeight / ROW);
      context.fillRect(0, scroller.scrollTop / ROW * scale, width, Math.max(6, seen * scale));
    }

    function choose(line, isRange, tells = true) {
      const at = Math.max(1, Math.min(length, line));
      const span = page.spanOf.get(at) || [at, at];
      if (isRange && state.first) {
        state.anchor = state.anchor || state.first;
        [state.first, state.last] = [Math.min(state.anchor, at), Math.max(state.anchor, at)];
      } else {
        [state.first, state.last] = span;
        state.anchor = span[0];
      }
      state.at = at;
      show(at);
      draw(true);
      if (tells && options.onchoose) options.onchoose(state.first, state.last);
    }

    function show(line, isMiddle = false) {
      const top = (line - 1) * ROW;
      const seen = scroller.clientHeight;
      if (isMiddle) scroller.scrollTop = top - seen / 3;
      else if (top < scroller.scrollTop + ROW) scroller.scrollTop = top - ROW;
      else if (top + 2 * ROW > scroller.scrollTop + seen) scroller.scrollTop = top + 2 * ROW - seen;
    }

    scroller.addEventListener("scroll", () => draw());
    scroller.addEventListener("click", (event) => {
      const line = event.target.closest("[data-line]");
      if (line && !String(getSelection())) choose(Number(line.dataset.line), event.shiftKey);
    });
    scroller.addEventListener("keydown", (event) => {
      const page = Math.floor(scroller.clientHeight / ROW) - 2;
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
      const here = state.at || Math.floor(scroller.scrollTop / ROW);
      if (event.key in steps) choose(next(here, steps[event.key], event.shiftKey), event.shiftKey);
      else if (event.key === "Home") choose(1, event.shiftKey);
      else if (event.key === "End") choose(length, event.shiftKey);
      else return;
      event.preventDefault();
    });

    /* The line a step away; a statement of several lines is one step. */
    function next(here, step, isRange) {
      const span = page.spanOf.get(here);
      if (isRange || Math.abs(step) > 1 || !span) return here + step;
      return step > 0 ? span[1] + 1 : span[0] - 1;
    }

    const jump = (event) => {
      const scale = Math.min(3, canvas.clientHeight / Math.max(1, length));
      scroller.scrollTop = event.offsetY / scale * ROW - scroller.clientHeight / 2;
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); jump(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) jump(event); });
    const observer = new ResizeObserver(() => {
      if (state.waiting && scroller.clientHeight) { show(state.waiting, true); state.waiting = 0; }
      draw();
    });
    observer.observe(scroller);
    const onTheme = () => element.isConnected ? drawMap() : document.removeEventListener("hitlog-theme", onTheme);
    document.addEventListener("hitlog-theme", onTheme);

    /* Chooses lines from outside, and brings them into sight once there is room. */
    element.choose = (first, last) => {
      choose(first, false, false);
      if (last > first) choose(last, true, false);
      state.waiting = first;
      show(first, true);
      draw(true);
    };
    /* The next place, from the chosen line on, at which a run of lines begins whose mark is in `marks`. */
    element.seek = (direction, marks) => {
      const here = state.at || 0;
      const isOne = (line) => marks.includes(markOf(line)) || (marks.includes("m") && page.partialLines.has(line));
      for (let line = here + direction; line >= 1 && line <= length; line += direction) {
        if (isOne(line) && !isOne(line - 1)) return choose(line, false), show(line, true), true;
      }
      return false;
    };
    element.showLine = (line) => { state.waiting = line; show(line, true); draw(true); };
    element.focusLines = () => scroller.focus({ preventScroll: true });
    return element;
  };
})();
