/*
 * A table of which only the rows in sight are elements: it stays quick with any number of rows.
 *
 * The scroller has the focus; arrows move the active row, Enter or a click opens it. Columns sort by their
 * heading. Assistive programs are told the full number of rows and which is active.
 */
"use strict";

(() => {
  let lists = 0;
  const AROUND = 8; // rows beyond the visible ones
  const ROW = 30; // height in px, as in the style

  /*
   * columns: [{ title, class, render(row), value(row) to sort by, down: sorts falling first }]
   * rows: numbers; options: label, onopen(row), sort (index of a column), down, href(row), filter text.
   */
  hitlog.list = (columns, rows, options) => {
    const id = `list${lists++}`;
    const state = { rows: rows.slice(), active: -1, sort: -1, down: false, drawn: "" };
    const body = hitlog.h("div", { class: "rows", role: "rowgroup" });
    const scroller = hitlog.h("div", { class: "scroller", tabindex: 0, role: "grid", "aria-label": options.label },
      body);
    const heads = columns.map((column, at) => head(column, at));
    const element = hitlog.h("div", { class: `list ${options.class || ""}` },
      options.headless ? null : hitlog.h("div", { class: "row head" }, heads), scroller);

    function head(column, at) {
      const cell = hitlog.h("div", { class: column.class || "" });
      if (!column.value) cell.append(column.title);
      else cell.append(hitlog.h("button", { type: "button", title: column.hint, onclick: () => sortBy(at) }, column.title));
      return cell;
    }

    function sortBy(at, down) {
      const column = columns[at];
      state.down = down ?? (state.sort === at ? !state.down : Boolean(column.down));
      state.sort = at;
      const values = new Map(state.rows.map((row) => [row, column.value(row)]));
      const order = (left, right) => {
        const [a, b] = [values.get(left), values.get(right)];
        return a < b ? -1 : a > b ? 1 : left - right;
      };
      state.rows.sort(state.down ? (left, right) => order(right, left) : order);
      heads.forEach((cell, other) => {
        const direction = state.down ? "descending" : "ascending";
        cell.dataset.sort = other === at ? direction : "";
        const button = cell.querySelector("button");
        if (button) button.setAttribute("aria-label", other === at ? `${columns[at].title}, ${direction}` : columns[other].title);
      });
      state.active = Math.min(state.active, 0);
      scroller.scrollTop = 0;
      draw(true);
    }

    function rowAt(at) {
      const row = state.rows[at];
      const cells = columns.map((column) =>
        hitlog.h("div", { class: column.class || "", role: "gridcell" }, column.render(row)));
      // Enter opens what the link of the active row leads to; Tab leaves the table.
      cells.forEach((cell) => cell.querySelectorAll("a").forEach((link) => { link.tabIndex = -1; }));
      return hitlog.h("div", {
        class: `row${at === state.active ? " active" : ""}${options.current && options.current(row) ? " current" : ""}`,
        id: `${id}-${at}`, role: "row", "aria-rowindex": at + 1,
        "aria-selected": at === state.active ? "true" : "false", "--top": `${at * ROW}px`, "data-at": at,
      }, cells);
    }

    function draw(force = false) {
      const first = Math.max(0, Math.floor(scroller.scrollTop / ROW) - AROUND);
      const last = Math.min(state.rows.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + AROUND);
      const drawn = `${first}-${last}`;
      if (!force && drawn === state.drawn) return;
      state.drawn = drawn;
      body.style.height = `${state.rows.length * ROW}px`;
      const shown = [];
      for (let at = first; at < last; at++) shown.push(rowAt(at));
      if (!state.rows.length) shown.push(hitlog.h("p", { class: "none" }, options.none || "None"));
      body.replaceChildren(...shown);
      scroller.setAttribute("aria-rowcount", state.rows.length);
      if (state.active >= first && state.active < last) scroller.setAttribute("aria-activedescendant", `${id}-${state.active}`);
      else scroller.removeAttribute("aria-activedescendant");
    }

    function move(to) {
      if (!state.rows.length) return;
      state.active = Math.max(0, Math.min(state.rows.length - 1, to));
      const top = state.active * ROW;
      if (top < scroller.scrollTop) scroller.scrollTop = top;
      else if (top + ROW > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + ROW - scroller.clientHeight;
      draw(true);
    }

    function open(at) {
      if (at >= 0 && at < state.rows.length && options.onopen) options.onopen(state.rows[at]);
    }

    scroller.addEventListener("scroll", () => draw());
    scroller.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(scroller.clientHeight / ROW) - 1);
      const ends = { Home: 0, End: state.rows.length - 1 };
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
      if (event.target !== scroller) return;
      if (event.key in steps) move(state.active + steps[event.key]);
      else if (event.key in ends) move(ends[event.key]);
      else if (event.key === "Enter") open(state.active);
      else return;
      event.preventDefault();
    });
    scroller.addEventListener("click", (event) => {
      const row = event.target.closest("[data-at]");
      if (!row || event.target.closest("a, button")) return;
      state.active = Number(row.dataset.at);
      draw(true);
      open(state.active);
    });
    new ResizeObserver(() => draw()).observe(scroller);

    element.setRows = (rows) => {
      state.rows = rows.slice();
      state.active = -1;
      if (state.sort >= 0) sortBy(state.sort, state.down);
      else { scroller.scrollTop = 0; draw(true); }
    };
    element.redraw = () => draw(true);
    element.showRow = (row) => move(state.rows.indexOf(row));
    if (options.sort !== undefined) sortBy(options.sort, options.down);
    return element;
  };

  /* A field that shows only the rows of `list` whose name holds all words. */
  hitlog.filterField = (label, rows, nameOf, list) => {
    const said = hitlog.h("span", { class: "quiet" }, hitlog.count(rows.length));
    const field = hitlog.h("input", { type: "search", placeholder: label, "aria-label": label, spellcheck: "false" });
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter((word) => word);
      const found = rows.filter((row) => words.every((word) => nameOf(row).toLowerCase().includes(word)));
      said.textContent = hitlog.count(found.length);
      list.setRows(found);
    });
    return hitlog.h("label", { class: "filter" }, field, said);
  };
})();
