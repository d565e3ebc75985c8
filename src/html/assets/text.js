/*
 * Words: numbers, times and names as people read them.
 *
 * Names are whatever somebody recorded. `hitlog.shown` makes characters visible that a browser would obey
 * or hide: controls, and those that turn the direction of text.
 */
"use strict";

(() => {
  const grouped = new Intl.NumberFormat("en-US");

  hitlog.count = (number) => grouped.format(number);

  hitlog.counted = (number, one, many = `${one}s`) => `${hitlog.count(number)} ${number === 1 ? one : many}`;

  /* 100 % is only said of all, 0 % only of nothing. */
  hitlog.percent = (share) => {
    if (share <= 0 || share >= 1) return `${Math.round(share * 100)} %`;
    return `${Math.min(99.9, Math.max(0.1, share * 100)).toFixed(1)} %`;
  };

  hitlog.average = (number) => number < 10 ? number.toFixed(1) : hitlog.count(Math.round(number));

  hitlog.duration = (us) => {
    if (us < 0) return "–";
    if (us < 1000) return `${us} µs`;
    if (us < 10_000) return `${(us / 1000).toFixed(1)} ms`;
    if (us < 1_000_000) return `${Math.round(us / 1000)} ms`;
    if (us < 60_000_000) return `${(us / 1_000_000).toFixed(us < 10_000_000 ? 2 : 1)} s`;
    const seconds = Math.round(us / 1_000_000);
    const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
    return hours ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
  };

  /* C0 and C1 controls, marks and overrides of direction, invisible separators, lone surrogates. */
  const OBEYED = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/u;

  hitlog.isObeyed = (text) => OBEYED.test(text);

  function nameOf(char) {
    const code = char.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  }

  /* `text` as nodes, in which nothing is obeyed. */
  hitlog.shown = (text) => {
    if (!OBEYED.test(text)) return [text];
    return text.split(new RegExp(`(${OBEYED.source})`, "u")).filter((part) => part).map((part) => {
      if (!OBEYED.test(part)) return part;
      return hitlog.h("span", { class: "obeyed", title: "a character that would not be seen" }, nameOf(part));
    });
  };

  /* The same as one string, for attributes. */
  hitlog.plain = (text) => OBEYED.test(text) ? text.replace(new RegExp(OBEYED.source, "gu"), nameOf) : text;

  hitlog.baseName = (path) => path.slice(path.lastIndexOf("/") + 1);

  hitlog.folderOf = (path) => path.slice(0, path.lastIndexOf("/") + 1);

  /* The name of the test that a context is a phase of. */
  hitlog.testOfContext = (context) => context.replace(/\|(?:setup|run|teardown)$/, "");

  /* `tests/test_a.py::TestB::test_c[d]` into where it is, and what it is called. */
  hitlog.splitTest = (name) => {
    const bracket = name.indexOf("[");
    const end = name.lastIndexOf("::", bracket < 0 ? name.length : bracket);
    return end < 0 ? ["", name] : [name.slice(0, end), name.slice(end + 2)];
  };

  hitlog.testNodes = (name) => {
    const [place, own] = hitlog.splitTest(name);
    return [
      hitlog.h("bdi", { class: "own" }, ...hitlog.shown(own)),
      place && hitlog.h("bdi", { class: "place" }, ...hitlog.shown(place)),
    ];
  };

  hitlog.pathNodes = (path) => [
    hitlog.h("bdi", { class: "place" }, ...hitlog.shown(hitlog.folderOf(path))),
    hitlog.h("bdi", { class: "own" }, ...hitlog.shown(hitlog.baseName(path))),
  ];
})();
