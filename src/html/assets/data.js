/*
 * The data: loads the scripts that hold it, keeps the last few, and answers who ran what.
 *
 * A script calls `hitlog.deliver(name, value)`. `hitlog.load(name)` gives a promise of the value; it fails
 * if the script is gone, as after the report was written again. Sets of lines are bytes, of which bit n of
 * byte b is line 8 * b + n.
 */
"use strict";

const hitlog = {};

(() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const KEPT_MAX = 40;
  const waiting = new Map();
  const kept = new Map();

  hitlog.PHASES = ["", "setup", "run", "teardown"];

  hitlog.deliver = (name, value) => {
    const promise = waiting.get(name);
    if (promise) promise.resolve(value);
  };

  function request(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const end = () => { waiting.delete(name); script.remove(); };
      waiting.set(name, { resolve });
      script.onload = () => {
        end();
        reject(new Error("The data are damaged: write the report again."));
      };
      script.onerror = () => {
        end();
        reject(new Error("The data are not there. If the report was written again, load this page anew."));
      };
      script.src = `${folder}data-${name}.js`;
      document.head.append(script);
    });
  }

  hitlog.load = (name) => {
    const known = kept.get(name);
    const promise = known || request(name);
    kept.delete(name);
    kept.set(name, promise);
    promise.catch(() => kept.delete(name));
    if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value);
    return promise;
  };

  hitlog.loadFile = async (number) => {
    const page = await hitlog.load(`file-${number}`);
    if (!page.bits) prepareFile(page);
    return page;
  };

  hitlog.loadTest = async (number) => {
    const { chunk } = hitlog.index;
    const rows = await hitlog.load(`tests-${Math.floor(number / chunk)}`);
    return rows[number % chunk];
  };

  function prepareFile(page) {
    page.bits = new Array(page.sets.length);
    page.text = page.source === null ? null : page.source.split(/\r\n|\r|\n/);
    page.spanOf = new Map();
    for (const span of page.spans) {
      for (let line = span[0]; line <= span[1]; line++) page.spanOf.set(line, span);
    }
    page.partialLines = new Set(page.partial);
  }

  function bytesOf(page, set) {
    if (!page.bits[set]) page.bits[set] = Uint8Array.from(atob(page.sets[set]), (char) => char.charCodeAt(0));
    return page.bits[set];
  }

  hitlog.has = (bits, line) => (bits[line >> 3] >> (line & 7) & 1) === 1;

  /* The tests that ran a line from `first` to `last`: of each the number and a bit for each phase. */
  hitlog.testsOfLines = (page, first, last) => {
    const found = new Map();
    const answers = new Map();
    const ran = (set) => {
      if (!answers.has(set)) {
        const bits = bytesOf(page, set);
        let answer = false;
        for (let line = first; line <= last && !answer; line++) answer = hitlog.has(bits, line);
        answers.set(set, answer);
      }
      return answers.get(set);
    };
    for (let at = 0; at < page.runs.length; at += 3) {
      const test = page.runs[at];
      if (test >= 0 && ran(page.runs[at + 2])) found.set(test, (found.get(test) || 0) | 1 << page.runs[at + 1]);
    }
    return found;
  };

  /* All lines of a file that `test` ran. */
  hitlog.linesOfTest = (page, test) => {
    const lines = new Uint8Array(1 + (page.marks.length >> 3));
    for (let at = 0; at < page.runs.length; at += 3) {
      if (page.runs[at] === test) unite(lines, bytesOf(page, page.runs[at + 2]));
    }
    return lines;
  };

  function unite(lines, more, without = []) {
    more.forEach((byte, index) => { lines[index] |= byte & ~(without[index] || 0); });
  }

  /*
   * The tests that ran some or all of the lines from `first` to `last` in child processes only: of each "partly "
   * or "".
   */
  hitlog.inChildren = (page, first, last) => {
    const sets = new Map();
    for (let at = 0; at < page.in_children.length; at += 3) {
      const [test, phase, set] = page.in_children.slice(at, at + 3);
      if (!sets.has(test)) sets.set(test, new Map());
      sets.get(test).set(phase, bytesOf(page, set));
    }
    const own = new Map([...sets.keys()].map((test) => [test, new Uint8Array(1 + (page.marks.length >> 3))]));
    for (let at = 0; at < page.runs.length; at += 3) {
      const [test, phase, set] = page.runs.slice(at, at + 3);
      if (sets.has(test)) unite(own.get(test), bytesOf(page, set), sets.get(test).get(phase));
    }
    const found = new Map();
    for (const [test, lines] of own) {
      const all = hitlog.linesOfTest(page, test);
      let [ran, inChildren] = [0, 0];
      for (let line = first; line <= last; line++) {
        ran += hitlog.has(all, line);
        inChildren += hitlog.has(all, line) && !hitlog.has(lines, line);
      }
      if (inChildren) found.set(test, inChildren < ran ? "partly " : "");
    }
    return found;
  };

  /* Where control went from the lines `first` to `last`: [to, tests], without ways inside of them. */
  hitlog.waysFrom = (page, first, last) => {
    const ways = new Map();
    for (let at = 0; at < page.arcs.length; at += 3) {
      const [from, to, tests] = page.arcs.slice(at, at + 3);
      const isInside = (end) => end >= first && end <= last;
      if (isInside(from) && !isInside(to)) ways.set(to, Math.max(ways.get(to) || 0, tests));
    }
    return [...ways].sort((left, right) => left[0] - right[0]);
  };

  /* Makes tables of numbers and totals of what the index says. */
  hitlog.begin = (index) => {
    const { files, tests } = index;
    files.count = files.path.length;
    tests.count = tests.name.length;
    files.total = files.path.map((_, at) => files.tested[at] + files.outside[at] + Math.max(0, files.missing[at]));
    files.number = new Map(files.path.map((path, at) => [path, at]));
    tests.number = new Map(tests.name.map((name, at) => [name, at]));
    hitlog.index = index;
    hitlog.hasTests = tests.count > 0;
  };

  /* The share of a file's statements that ran. */
  hitlog.shareOf = (file) => {
    const { files } = hitlog.index;
    return files.total[file] ? (files.tested[file] + files.outside[file]) / files.total[file] : 1;
  };

  /* How many tests run a line of this file that tests run, on average. */
  hitlog.testsPerLine = (file) => {
    const { files } = hitlog.index;
    return files.lines[file] ? files.hits[file] / files.lines[file] : 0;
  };
})();
