/*
 * Colours for Python sources: comments, strings, numbers, keywords, and the names that `def` and `class` give.
 * A whole text is gone through once; lines are lists of [class, text].
 */
"use strict";

(() => {
  const KEYWORDS = new Set(("False None True and as assert async await break class continue def del elif else except "
    + "finally for from global if import in is lambda nonlocal not or pass raise return try while with yield").split(" "));
  const TOKEN = new RegExp([
    "(?<comment>#[^\\n]*)",
    "(?<string>[a-zA-Z]{0,2}(?:\"\"\"(?:[^\\\\]|\\\\[\\s\\S])*?(?:\"\"\"|(?![\\s\\S]))|'''(?:[^\\\\]|\\\\[\\s\\S])*?(?:'''|(?![\\s\\S]))"
      + "|\"(?:[^\"\\\\\\n]|\\\\[\\s\\S])*\"?|'(?:[^'\\\\\\n]|\\\\[\\s\\S])*'?))",
    "(?<number>\\b(?:0[xXoObB])?\\d[\\w.]*)",
    "(?<decorator>(?<=^[ \\t]*)@[\\w.]+)",
    "(?<word>[\\p{L}_][\\p{L}\\p{N}_]*)",
  ].join("|"), "gmu");

  function kindOf(groups, before) {
    if (groups.word !== undefined) {
      if (KEYWORDS.has(groups.word)) return "keyword";
      return /\b(?:def|class)[ \t]+$/.test(before) ? "defined" : "";
    }
    return ["comment", "string", "number", "decorator"].find((kind) => groups[kind] !== undefined);
  }

  hitlog.colouredPython = (text) => {
    const lines = [[]];
    const add = (kind, part) => part.split("\n").forEach((piece, at) => {
      if (at) lines.push([]);
      if (piece) lines[lines.length - 1].push([kind, piece]);
    });
    const source = text.replaceAll(/\r\n?/g, "\n");
    let at = 0;
    for (const match of source.matchAll(TOKEN)) {
      add("", source.slice(at, match.index));
      add(kindOf(match.groups, source.slice(Math.max(0, match.index - 16), match.index)), match[0]);
      at = match.index + match[0].length;
    }
    add("", source.slice(at));
    return lines;
  };
})();
