/*
 * A treemap: files as rectangles, as large as their number of statements, within those of their folders.
 *
 * The layout is the squarified one (Bruls, Huizing, van Wijk, "Squarified Treemaps", 2000): a row of
 * rectangles is laid along the shorter side as long as that makes them squarer. Colours are the style's:
 * a cell only carries its share.
 */
"use strict";

(() => {
  const CELLS_MAX = 2000;
  const HEAD = 17; // the title of a folder, in px
  const SIDE_MIN = 3; // smaller cells are not drawn

  /* Folders of the files, those with a single folder in them joined to it. */
  function treeOf(files) {
    const root = { name: "", folders: new Map(), files: [], size: 0 };
    for (const file of files) {
      let at = root;
      for (const part of hitlog.index.files.path[file].split("/").slice(0, -1)) {
        if (!at.folders.has(part)) at.folders.set(part, { name: part, folders: new Map(), files: [], size: 0 });
        at = at.folders.get(part);
      }
      at.files.push(file);
    }
    return joined(root);
  }

  function joined(folder) {
    const folders = [...folder.folders.values()].map(joined);
    const sizes = hitlog.index.files.total;
    const size = folder.files.reduce((sum, file) => sum + sizes[file], 0)
      + folders.reduce((sum, inner) => sum + inner.size, 0);
    if (!folder.files.length && folders.length === 1) {
      const [inner] = folders;
      return { ...inner, name: folder.name ? `${folder.name}/${inner.name}` : inner.name };
    }
    const items = [
      ...folders.map((inner) => ({ size: inner.size, folder: inner })),
      ...folder.files.map((file) => ({ size: sizes[file], file })),
    ].filter((item) => item.size > 0).sort((left, right) => right.size - left.size);
    return { name: folder.name, items, size };
  }

  /* How far from a square the worst of a row is, for sizes in px² and the length of its side. */
  function worst(row, side) {
    const sum = row.reduce((total, area) => total + area, 0);
    const [largest, smallest] = [Math.max(...row), Math.min(...row)];
    return Math.max(side * side * largest / (sum * sum), sum * sum / (side * side * smallest));
  }

  /* Calls `place(item, box)` for all items, which are sorted by size, so that they fill `box`. */
  hitlog.squarify = (items, box, place) => {
    const total = items.reduce((sum, item) => sum + item.size, 0);
    const scale = box.width * box.height / total;
    let { left, top, width, height } = box;
    for (let at = 0; at < items.length;) {
      const side = Math.min(width, height);
      const row = [items[at].size * scale];
      while (at + row.length < items.length) {
        const next = items[at + row.length].size * scale;
        if (worst([...row, next], side) > worst(row, side)) break;
        row.push(next);
      }
      const depth = side > 0 ? row.reduce((sum, area) => sum + area, 0) / side : 0;
      let along = 0;
      for (const area of row) {
        const length = depth > 0 ? area / depth : 0;
        place(items[at++], width >= height
          ? { left, top: top + along, width: depth, height: length }
          : { left: left + along, top, width: length, height: depth });
        along += length;
      }
      if (width >= height) [left, width] = [left + depth, width - depth];
      else [top, height] = [top + depth, height - depth];
    }
  };

  /* An element that fills its box with `files`; `describe(file)` gives { share, kind, title }. */
  hitlog.treemap = (files, describe) => {
    const map = hitlog.h("div", {
      class: "treemap", role: "group", tabindex: 0,
      "aria-label": "Files by size and coverage. Arrow keys move, Enter opens. The view Files has the same as a table.",
    });
    const tree = treeOf(files);
    let [cells, active] = [[], -1];

    function boxStyle({ left, top, width, height }) {
      return { "--left": `${left}px`, "--top": `${top}px`, "--width": `${width}px`, "--height": `${height}px` };
    }

    function drawFolder(folder, box, into, depth) {
      const hasTitle = folder.name && box.width > 60 && box.height > 44;
      if (hasTitle) {
        const name = `${folder.name}/`;
        into.push(hitlog.h("div", { class: "folder", title: hitlog.plain(name), "--depth": depth, ...boxStyle(box) },
          hitlog.h("bdi", {}, ...hitlog.shown(name))));
      }
      const [edge, head] = [hasTitle ? 2 : 0, hasTitle ? HEAD : 0];
      const inner = {
        left: box.left + edge, top: box.top + head,
        width: Math.max(0, box.width - 2 * edge), height: Math.max(0, box.height - head - edge),
      };
      hitlog.squarify(folder.items, inner, (item, place) => {
        if (place.width < SIDE_MIN || place.height < SIDE_MIN || cells.length >= CELLS_MAX) return;
        if (item.folder) drawFolder(item.folder, place, into, depth + 1);
        else drawFile(item.file, place, into);
      });
    }

    function drawFile(file, box, into) {
      const { share, kind, title } = describe(file);
      const path = hitlog.index.files.path[file];
      const label = `${hitlog.plain(path)}: ${title}`;
      const isNamed = box.width > 46 && box.height > 16;
      const cell = hitlog.h("a", {
        class: `cell ${kind}`, href: hitlog.to.file(file), tabindex: -1, title: label, "aria-label": label,
        "--share": `${(100 * share).toFixed(1)}%`, ...boxStyle(box),
      }, isNamed && hitlog.h("bdi", {}, ...hitlog.shown(hitlog.baseName(path))));
      cells.push({ cell, x: box.left + box.width / 2, y: box.top + box.height / 2 });
      into.push(cell);
    }

    function draw() {
      const [width, height] = [map.clientWidth, map.clientHeight];
      if (!width || !height) return;
      const nodes = [];
      [cells, active] = [[], -1];
      if (tree.size > 0) drawFolder(tree, { left: 0, top: 0, width, height }, nodes, 0);
      else nodes.push(hitlog.h("p", { class: "none" }, "No file has a statement that could be counted."));
      map.replaceChildren(...nodes);
    }

    /* The nearest cell in the direction of an arrow: what lies aside counts double. */
    function next([dx, dy]) {
      const from = cells[active];
      const ahead = cells.map((cell, at) => {
        const along = (cell.x - from.x) * dx + (cell.y - from.y) * dy;
        const aside = Math.abs((cell.x - from.x) * dy) + Math.abs((cell.y - from.y) * dx);
        return { at, along, far: along + 2 * aside };
      }).filter(({ at, along }) => at !== active && along > 1);
      return ahead.length ? ahead.reduce((best, cell) => cell.far < best.far ? cell : best).at : active;
    }

    map.addEventListener("keydown", (event) => {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (!(event.key in arrows) || !cells.length) return;
      event.preventDefault();
      active = active < 0 ? 0 : next(arrows[event.key]);
      cells[active].cell.focus();
    });
    new ResizeObserver(draw).observe(map);
    map.redraw = draw;
    return map;
  };
})();
