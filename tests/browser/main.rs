//! The report as a person meets it: opened from the file system in a headless Chromium, with a mouse and
//! keys. Nothing may be complained of by the page on the way. Skipped where there is no Chromium.
#![cfg(feature = "cli")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod chromium;
#[path = "../common/process_log.rs"]
mod process_log;
mod recordings;

use std::path::Path;

use chromium::Browser;
use recordings::{FILES, FILES_OF_TEST, HOSTILE, LINES_OF_FILE, TESTS};

/// Opens the report that `make` writes, and lets `look` look at it.
fn with_report(make: fn(&Path) -> std::path::PathBuf, look: fn(&mut Browser, &Path)) {
    let Some(program) = chromium::find() else {
        println!("skipped: there is no Chromium (on Debian: apt-get install chromium)");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = make(folder.path());
    let mut browser = Browser::start(program);
    browser.open(&report, "");
    look(&mut browser, &report);
    assert_eq!(browser.complaints, [""; 0]);
}

#[test]
fn a_line_leads_to_its_tests_and_a_test_to_its_lines() {
    with_report(recordings::small, |browser, report| {
        browser.open(report, "#file/shop/cart.py");
        browser.wait("document.querySelectorAll('.line').length === 15");
        assert_eq!(browser.text("#line-6 .tests"), "3");
        assert_eq!(browser.text("#line-1 .tests"), "import");
        assert_eq!(browser.text("#line-15 .tests"), "0");
        assert_eq!(browser.count(".mark-m"), 1, "only line 15 did not run");
        browser.click("#line-10");
        browser.wait("document.querySelector('.panel h2').textContent === 'Line 10'");
        assert_eq!(browser.text(".panel .said"), "1 test, 300 ms");
        assert_eq!(browser.text(".panel .rows .own"), "test_discount");
        assert_eq!(browser.value("location.hash"), "#file/shop/cart.py?line=10");

        browser.click("#line-7");
        browser.wait("document.querySelector('.panel h2').textContent === 'Lines 6–8'");
        assert_eq!(browser.count(".line.chosen"), 3, "a statement is chosen as a whole");
        assert_eq!(browser.count(".panel .rows .row"), 3);

        browser.click(".panel .rows .row:nth-child(2) a");
        browser.wait("document.querySelector('main').dataset.view === 'test'");
        assert_eq!(browser.text("h1 .own"), "test_discount");
        browser.wait("document.querySelector('.shown .line')");
        let lines =
            "[...document.querySelectorAll('.shown .mark-t')].map((line) => line.dataset.line).join()";
        assert_eq!(browser.value(lines), "6,9,10,11");
        assert_eq!(browser.text("#line-10 .tests"), "only");
        browser.click("#line-6");
        browser.wait("document.querySelector('.panel h2')?.textContent === 'Lines 6–8'");
    });
}

#[test]
fn what_ran_in_child_processes_says_so() {
    with_report(recordings::small, |browser, report| {
        for (lines, expected) in
            [("10", ""), ("11", "(in a child process)"), ("10-11", "(partly in a child process)")]
        {
            browser.open(report, &format!("#file/shop/cart.py?line={lines}"));
            browser.wait("document.querySelector('.panel .rows .row')");
            assert_eq!(browser.text(".panel .rows .row:first-child .own"), "test_discount");
            assert_eq!(browser.text(".panel .rows .row:first-child small"), expected, "{lines}");
        }
        assert_eq!(browser.text(".panel .rows .row:last-child .own"), "test_total");
        assert_eq!(browser.text(".panel .rows .row:last-child small"), "");
    });
}

#[test]
fn branches_and_untested_code_are_found() {
    with_report(recordings::small, |browser, report| {
        browser.open(report, "#file/shop/cart.py?line=9");
        browser.wait("document.querySelector('.ways')");
        assert_eq!(browser.text(".ways"), "Went to line 10 (1 test), line 11 (1 test)");
        browser.press("n");
        browser.wait("document.querySelector('.panel h2').textContent === 'Line 15'");
        assert_eq!(browser.text(".panel .said"), "Nothing ran this.");
        browser.press("ArrowUp");
        browser.wait("document.querySelector('.panel h2').textContent === 'Line 14'");
        assert!(browser.text(".panel .said").starts_with("This ran only outside of tests"));
    });
}

#[test]
fn the_overview_says_what_deserves_a_look() {
    with_report(recordings::small, |browser, _| {
        let figures = browser.text(".figures");
        for part in ["1 not run", "1 cut short", "2", "0 lost · 0 damaged", "Tests3"] {
            assert!(figures.contains(part), "{part}: {figures}");
        }
        browser.wait("document.querySelectorAll('.treemap .cell').length === 2");
        let colour = "getComputedStyle(document.querySelector('.cell.coverage')).backgroundColor";
        let before = browser.value(colour);
        browser.click("[data-mode=tests]");
        browser.wait("document.querySelectorAll('.cell.heat').length === 2");
        assert_ne!(browser.value(&colour.replace("coverage", "heat")), before);
        browser.click(".cell[href='#file/shop/cart.py']");
        browser.wait("document.querySelector('h1 .own')?.textContent === 'cart.py'");
    });
}

#[test]
fn search_finds_tests_files_and_lines() {
    with_report(recordings::small, |browser, _| {
        browser.press("/");
        browser.write("discount cart");
        browser.wait("document.querySelectorAll('#found a').length === 1");
        browser.press("Enter");
        browser.wait("document.querySelector('h1 .own')?.textContent === 'test_discount'");
        browser.press("/");
        browser.value("document.getElementById('search').select()");
        browser.write("CART.py:10");
        browser.wait("document.querySelectorAll('#found a').length === 1");
        assert_eq!(browser.text("#found a"), "fileshop/cart.pyline 10");
        browser.press("Enter");
        browser.wait("document.querySelector('.panel h2')?.textContent === 'Line 10'");
        browser.press("/");
        browser.value("document.getElementById('search').select()");
        browser.write("nosuchthing");
        browser.wait("document.querySelector('#found .none')");
        browser.press("Escape");
        assert_eq!(browser.value("document.getElementById('found').hidden"), true);
        browser.press("g");
        browser.press("t");
        browser.wait("document.querySelector('h1')?.textContent === 'Tests'");
        browser.press("ArrowDown");
        browser.press("ArrowDown");
        browser.press("Enter");
        browser.wait("document.querySelector('main').dataset.view === 'test'");
    });
}

#[test]
fn the_time_line_shows_how_each_process_ended() {
    with_report(recordings::small, |browser, report| {
        browser.open(report, "#processes");
        browser.wait("document.querySelectorAll('.lane').length === 2");
        assert_eq!(browser.text(".lane"), "4711clean");
        assert!(browser.text(".row:nth-child(2) .lane").starts_with("4712cut short: in </script>"));
        let depth =
            "getComputedStyle(document.querySelectorAll('.lane')[1]).getPropertyValue('--depth')";
        assert_eq!(browser.value(depth), "1", "it was forked by the other one");
        assert_eq!(browser.text(".facts h2"), "Process 4712", "what was cut short is shown first");
        assert_eq!(browser.text(".details .rows .bad"), "did not end");
        let colours = "(() => { const canvas = document.querySelector('.tracks');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size; })()";
        assert!(browser.value(colours).as_u64() > Some(5), "it is drawn");
        let test_is_drawn = "(() => { const canvas = document.querySelector('.tracks');
            const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
            context.drawImage(canvas, canvas.width * 0.2, 41, 1, 1, 0, 0, 1, 1);
            const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
            return ['span', 'span-other'].some((name) => hitlog.colour(name) === `rgb(${r}, ${g}, ${b})`); })()";
        assert_eq!(browser.value(test_is_drawn), true);
        let snapshot = "document.querySelector('.tracks').toDataURL()";
        let whole = browser.value(snapshot);
        browser.press("+");
        assert_ne!(browser.value(snapshot), whole);
        browser.press("0");
        assert_eq!(browser.value(snapshot), whole);
        // 200 of some 1,030 milliseconds: the first test of the first process.
        let place = "(() => { const box = document.querySelector('.tracks').getBoundingClientRect();
            return [box.left + box.width * 0.2, box.top + 26 + 15]; })()";
        let place = browser.value(place);
        browser.click_at(place[0].as_f64().expect("x"), place[1].as_f64().expect("y"));
        browser.wait("document.querySelector('h1 .own')?.textContent === 'test_total'");
    });
}

#[test]
fn colours_follow_the_system_and_the_switch() {
    with_report(recordings::small, |browser, report| {
        let light = "(() => { const [, ...rgb] = getComputedStyle(document.body).backgroundColor.match(/(\\d+), (\\d+), (\\d+)/);
            return rgb.reduce((sum, part) => sum + Number(part), 0) / 3; })()";
        browser.prefer("dark");
        assert!(browser.value(light).as_f64() < Some(60.0));
        browser.prefer("light");
        assert!(browser.value(light).as_f64() > Some(230.0));
        browser.press("d"); // light, then dark
        browser.press("d");
        assert!(browser.value(light).as_f64() < Some(60.0));
        browser.open(report, "#files");
        assert!(browser.value(light).as_f64() < Some(60.0), "it is remembered");
        contrast_is_enough(browser);
        browser.click("#theme"); // as the system
        browser.click("#theme"); // light
        contrast_is_enough(browser);
    });
}

/// Texts of the page have the contrast that WCAG 2.2 asks of level AA.
fn contrast_is_enough(browser: &mut Browser) {
    let ratios = "(() => {
        const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const channels = (name) => {
            context.fillStyle = hitlog.colour(name);
            context.fillRect(0, 0, 1, 1);
            return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        const luminance = (name) => channels(name)
            .map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
        const ratio = (one, other) => {
            const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        };
        const pairs = [];
        for (const text of ['text', 'muted', 'accent', 'tested', 'missing', 'partial', 'outside-text'])
            for (const ground of ['bg', 'panel']) pairs.push([text, ground, ratio(text, ground)]);
        for (const ground of ['cell-low', 'cell-mid', 'cell-high']) pairs.push(['cell-text', ground, ratio('cell-text', ground)]);
        for (const text of ['text', 'muted', 'py-keyword', 'py-string', 'py-comment', 'py-number', 'py-defined', 'partial'])
            for (const ground of ['panel', 'raised', 'chosen', 'missing-bg']) pairs.push([text, ground, ratio(text, ground)]);
        pairs.push(['missing', 'missing-bg', ratio('missing', 'missing-bg')], ['muted', 'active', ratio('muted', 'active')]);
        return pairs.filter(([, , value]) => value < 4.5).map(String);
    })()";
    assert_eq!(browser.value(ratios), serde_json::json!([]));
}

/// A view of each kind.
const VIEWS: [&str; 6] = [
    "#",
    "#files",
    "#tests",
    "#file/shop/cart.py?line=10",
    "#test/tests/test_cart.py::test_discount",
    "#processes",
];

/// Opens a view and waits until it is all there.
fn open_view(browser: &mut Browser, report: &Path, hash: &str) {
    browser.open(report, hash);
    browser.wait("document.querySelector('.treemap .cell, .rows .row')");
    browser.wait("document.querySelector('main').dataset.view !== 'test' || document.querySelector('.shown .line')");
}

#[test]
fn all_that_can_be_clicked_is_reached_by_keys_and_has_a_name() {
    with_report(recordings::small, |browser, report| {
        for hash in VIEWS {
            open_view(browser, report, hash);
            browser.value("document.activeElement.blur(), window.reached = new Set()");
            for _ in 0..browser.count("a, button, input, [tabindex='0']") + 2 {
                browser.press("Tab");
                browser.value("void window.reached.add(document.activeElement)");
            }
            // Arrows lead to the cells of the treemap, and to the rows of a table.
            let left = "[...document.querySelectorAll('a, button, input, .scroller, .treemap')]
                .filter((element) => element.checkVisibility() && !window.reached.has(element))
                .filter((element) => !element.matches('.treemap .cell, .rows a')).map((element) => element.outerHTML)";
            assert_eq!(browser.value(left), serde_json::json!([]), "{hash}");
            let tree = browser.call("Accessibility.getFullAXTree", serde_json::json!({}));
            let nodes = tree["nodes"].as_array().expect("a list").iter();
            let roles =
                ["link", "button", "grid", "searchbox", "combobox", "treeitem", "row", "navigation"];
            let used = nodes.filter(|node| {
                node["ignored"] == false
                    && node["role"]["value"].as_str().is_some_and(|role| roles.contains(&role))
            });
            let (named, unnamed): (Vec<_>, Vec<_>) = used
                .partition(|node| node["name"]["value"].as_str().is_some_and(|name| !name.is_empty()));
            assert!(named.len() > 8 && unnamed.is_empty(), "{hash}: {unnamed:?}");
        }
        open_view(browser, report, "#");
        browser.value("document.querySelector('.treemap').focus()");
        browser.press("ArrowDown");
        assert_eq!(
            browser.value("document.activeElement.matches('.cell[aria-label*=\"statement\"]')"),
            true
        );
        browser.press("Enter");
        browser.wait("document.querySelector('main').dataset.view === 'file'");
    });
}

#[test]
fn the_place_of_the_keys_is_seen() {
    with_report(recordings::small, |browser, report| {
        let outline = |selector: &str| {
            format!("getComputedStyle(document.querySelector('{selector}')).outlineStyle === 'solid'")
        };
        open_view(browser, report, "#tests");
        browser.press("ArrowDown");
        assert_eq!(browser.value(&outline(".row.active")), true);
        open_view(browser, report, "#file/shop/cart.py?line=9");
        browser.press("ArrowDown");
        assert_eq!(browser.value(&outline("#line-10.at")), true);
        let active = "document.querySelector('.code .scroller').getAttribute('aria-activedescendant')";
        assert_eq!(browser.value(active), "line-10");
        browser.press("Tab");
        assert_eq!(browser.value("getComputedStyle(document.activeElement).outlineStyle"), "solid");
    });
}

#[test]
fn a_name_without_room_is_told_in_full() {
    with_report(recordings::small, |browser, report| {
        let phone =
            serde_json::json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
        browser.call("Emulation.setDeviceMetricsOverride", phone);
        let cut = "[...document.querySelectorAll('main *, #found *')].filter((element) =>
            getComputedStyle(element).overflowX === 'hidden' && element.scrollWidth > element.clientWidth + 1
            && element.checkVisibility() && element.textContent.trim() && !element.matches('.unseen')
            && !element.closest('[title]') && !element.querySelector('[title]')).map((element) => element.outerHTML)";
        for hash in VIEWS {
            open_view(browser, report, hash);
            browser.press("/");
            browser.write("e");
            browser.wait("document.querySelectorAll('#found a').length > 2");
            assert_eq!(browser.value(cut), serde_json::json!([]), "{hash}");
            browser.press("Escape");
            assert_eq!(
                browser.value("document.documentElement.scrollWidth <= innerWidth"),
                true,
                "{hash}"
            );
        }
        let is_cut = "[...document.querySelectorAll('.row .name')].some((name) =>
            name.scrollWidth > name.clientWidth && name.querySelector('[title]'))";
        open_view(browser, report, "#tests");
        assert_eq!(browser.value(is_cut), true, "there was such a name");
    });
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    with_report(recordings::small, |browser, report| {
        let pwned = "window.pwned === undefined && !document.querySelector('main img, #found img')";
        assert_eq!(browser.value(pwned), true);
        browser.open(report, "#files");
        browser.click(".rows .row:nth-child(1) a");
        browser.wait(
            "document.querySelector('main').dataset.view === 'file' && document.querySelector('.code')",
        );
        let heading = browser.text("h1");
        assert!(
            heading.contains("<img src=x onerror=") && heading.contains("U+202E␛[31mU+2028"),
            "{heading}"
        );
        browser.click("#line-3");
        browser.click(".panel .rows a");
        browser.wait("document.querySelector('main').dataset.view === 'test' && document.querySelector('.shown .line')");
        let name = browser.value("hitlog.index.tests.name[0]");
        assert_eq!(name, HOSTILE, "the name itself is what was recorded");
        browser.press("/");
        browser.write("onerror");
        browser.wait("document.querySelectorAll('#found a').length === 2");
        for hash in [
            "",
            "#processes",
            "#file/%",
            "#file/../../etc",
            "#test/%3Cimg%20src%3Dx%20onerror%3Dpwned%3D1%3E",
            "#__proto__",
            "#constructor/x",
        ] {
            browser.open(report, hash);
            assert_eq!(browser.value(pwned), true, "{hash}");
        }
        assert!(browser.text("main").starts_with("There is no such view."));
    });
}

#[test]
fn a_report_that_was_written_again_is_not_mixed_with_the_old_one() {
    with_report(recordings::small, |browser, report| {
        let data = std::fs::read_dir(report).expect("readable").flatten();
        let data = data.map(|entry| entry.path()).find(|path| path.is_dir()).expect("data");
        std::fs::remove_dir_all(data).expect("writable");
        browser.value("void (location.hash = '#tests')");
        browser.wait("document.querySelector('h1')?.textContent === 'Tests'");
        browser.value("void (location.hash = '#file/shop/cart.py')");
        browser.wait(
            "document.querySelector('.note.warning')?.textContent.includes('load this page anew')",
        );
        // That the file is gone is all that was complained of.
        let others: Vec<_> =
            browser.complaints.drain(..).filter(|text| !text.contains("ERR_FILE_NOT_FOUND")).collect();
        assert_eq!(others, [""; 0]);
    });
}

#[test]
fn forty_million_hits_are_looked_at_without_stalling() {
    with_report(recordings::large, |browser, report| {
        browser.wait("document.querySelectorAll('.treemap .cell').length > 900");
        assert!(browser.count("*") < 5000);
        assert!(browser.text(".figures").contains("5,000"));

        browser.open(report, "#tests");
        browser.wait("document.querySelectorAll('.rows .row').length > 10");
        assert_eq!(
            browser.value("document.querySelector('[role=grid]').ariaRowCount"),
            TESTS.to_string()
        );
        browser.value("document.querySelector('.scroller').scrollTop = 1e7");
        browser.wait("document.querySelector('.rows .row:last-child')?.ariaRowIndex === '5000'");
        assert!(browser.count("*") < 1500);
        browser.click(".rows .row:last-child a");
        browser.wait("document.querySelector('.shown .line')");
        assert_eq!(browser.text("h1 .own"), "test_case_4999");
        let lines = u64::from(FILES_OF_TEST * LINES_OF_FILE);
        assert_eq!(browser.value("hitlog.index.tests.lines[4999]"), lines);
        assert_eq!(browser.value("hitlog.index.tests.lines.reduce((a, b) => a + b)"), 40_000_000);
        let ran = "[...Array(500).keys()].filter((line) => hitlog.has(window.seen, line)).length";
        let page =
            "(async () => { const row = await hitlog.loadTest(4999); const file = row.files[0][0];
            window.seen = hitlog.linesOfTest(await hitlog.loadFile(file), 4999); return file; })()";
        let file = browser.value(page).as_u64().expect("a file");
        assert_eq!(browser.value(ran), LINES_OF_FILE);
        assert!(browser.count("*") < 1500);

        browser.open(report, &format!("#file/package_{:02}/module_{file:03}.py", file / 50));
        browser.wait("document.querySelector('.mark-t')");
        browser.click(".mark-t");
        browser.wait("document.querySelector('.panel h2').textContent.startsWith('Line ')");
        let counted = browser.text(".line.chosen .tests");
        assert_eq!(browser.text(".panel .said").split(' ').next(), Some(counted.as_str()));
        assert!(browser.count("*") < 1500);

        browser.open(report, "#files");
        assert_eq!(
            browser.value("document.querySelector('[role=grid]').ariaRowCount"),
            FILES.to_string()
        );
        browser.press("/");
        browser.write("case_4321");
        browser.wait("document.querySelectorAll('#found a').length === 1");
        browser.press("Enter");
        browser.wait("document.querySelector('h1 .own')?.textContent === 'test_case_4321'");

        browser.open(report, "#processes");
        browser.wait("document.querySelector('.details .rows .row')");
        assert!(browser.count("*") < 1500);
    });
}
