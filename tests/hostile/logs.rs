//! Hostile logs, made by hand: one for each rule that a log can break, and for each length that it can lie
//! about.

use crate::process_log::{ProcessLog, log_id};
use crate::{Case, MEMORY_KIB_MAX, SECONDS_MAX, assert_coverage_py_reads};
use hitlog::format::{
    EndReason, HEADER_COPY_SIZE, HEADER_SIZE, Header, NameChunk, NameSpace, RECORD_SIZE, Record, Words,
    place, seal, slot_bytes,
};
use hitlog::limits::{
    CONTEXT_EVENTS_KEPT_MAX, FILES_KEPT_MAX, LINE_MAX, NAME_BYTES_MAX, NAME_CHUNKS_KEPT_MAX,
    NAME_ID_MAX, SAMPLES_KEPT_MAX,
};

/// What a log does to be hostile, how its bytes come to be, and what the report must say of it.
type Hostile = (&'static str, fn() -> Vec<u8>, &'static str);

/// A log with a hit and a name of its own, to which `change` adds something.
fn log(change: impl FnOnce(&mut ProcessLog)) -> Vec<u8> {
    let mut log = ProcessLog::new(2);
    log.line("hostile", "/hostile.py", 1);
    change(&mut log);
    log.bytes()
}

/// A log whose header is another one.
fn header(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    log(|log| change(&mut log.header))
}

/// A log both of whose headers have `bytes` at `at`, under a right checksum.
fn raw_header(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut log = log(|_| {});
    for copy in log[..HEADER_SIZE].chunks_exact_mut(HEADER_COPY_SIZE) {
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32fast::hash(&copy[..HEADER_COPY_SIZE - 4]);
        copy[HEADER_COPY_SIZE - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    log
}

/// A log that ends with records of any content, whose checksums are right.
fn raw(words: &[Words]) -> Vec<u8> {
    let mut log = log(|_| {});
    for words in words {
        let slot = ((log.len() - HEADER_SIZE) / RECORD_SIZE) as u32;
        log.extend(slot_bytes(seal(*words, place(&log_id(2), slot))));
    }
    log
}

/// The words of `record`, with other numbers in its payload.
fn words(record: Record, payload: [u64; 2]) -> Words {
    Words { payload, ..record.words() }
}

fn line_words(file: u32, line: u32) -> Words {
    let record = Record::Line { context: 0, file: 1, line: 1 };
    words(record, [u64::from(file) << 32, u64::from(line)])
}

fn arc_words(from: i32, to: i32) -> Words {
    let record = Record::Arc { context: 0, file: 1, from: 1, to: 2 };
    words(record, [1 << 32, u64::from(from as u32) | u64::from(to as u32) << 32])
}

fn chunk(id: u32, index: u16, last: bool, text: &[u8]) -> Record {
    Record::Name { space: NameSpace::Context, id, index, last, chunk: NameChunk::new(text) }
}

/// A log whose only file has this path.
fn path(path: &[u8]) -> Vec<u8> {
    log(|log| {
        let file = log.file(path);
        log.push(Record::Line { context: 0, file, line: 1 });
    })
}

fn trailer(time_ns: u64, records: u64, lost: u32) -> Record {
    Record::Trailer { reason: EndReason::Closed, exit_code: Some(u16::MAX), time_ns, records, lost }
}

const HEADERS: &[Hostile] = &[
    ("an empty file", Vec::new, r#""records":0"#),
    ("one copy of a header", || log(|_| {})[..HEADER_COPY_SIZE].to_vec(), r#""records":0"#),
    ("half a header", || log(|_| {})[..2000].to_vec(), r#""records":0"#),
    (
        "zeros in the place of both headers",
        || [vec![0; HEADER_SIZE], log(|_| {})[HEADER_SIZE..].to_vec()].concat(),
        "both copies of the header are lost",
    ),
    ("a later version", || raw_header(8, &2u16.to_le_bytes()), "version 2"),
    ("version 65535", || raw_header(8, &u16::MAX.to_le_bytes()), "version 65535"),
    ("an unknown incompatible flag", || raw_header(20, &(1u32 << 31).to_le_bytes()), "0x80000000"),
    (
        "records of 64 bytes",
        || raw_header(10, &64u16.to_le_bytes()),
        "both copies of the header are lost",
    ),
    (
        "records of 0 bytes",
        || raw_header(10, &0u16.to_le_bytes()),
        "both copies of the header are lost",
    ),
    (
        "a header of 4 GiB",
        || raw_header(12, &u32::MAX.to_le_bytes()),
        "both copies of the header are lost",
    ),
    (
        "a command line of 4 GiB",
        || raw_header(140, &u32::MAX.to_le_bytes()),
        "both copies of the header are lost",
    ),
    (
        "a run id longer than its room",
        || raw_header(136, &[0xFF; 4]),
        "both copies of the header are lost",
    ),
    (
        "a command line of terminal commands",
        || header(|header| header.argv = b"\x1b]0;x\x07\0\xff\n\0\0\0".to_vec()),
        r"\u001b]0;x\u0007",
    ),
    (
        "a host of several lines, not text",
        || header(|header| header.host = b"a\n\xff\0b".to_vec()),
        r"a\n\\xff",
    ),
    ("the highest pid", || header(|header| header.pid = u32::MAX), "4294967295"),
    (
        "the first of all times",
        || header(|header| header.wall_start_ns = i64::MIN),
        r#""started_at":"1677-"#,
    ),
    (
        "the last of all times",
        || header(|header| header.wall_start_ns = i64::MAX),
        r#""started_at":"2262-"#,
    ),
    ("its own parent", || header(|header| header.parent_log_id = header.log_id), r#""started":2"#),
    (
        "a segment without the ones before",
        || header(|header| (header.segment, header.first_log_id) = (u32::MAX, [9; 16])),
        r#""segment":4294967295"#,
    ),
];

const RECORDS: &[Hostile] = &[
    ("line 2^31 - 1", || raw(&[line_words(1, i32::MAX as u32)]), r#""damaged":1"#),
    ("line 2^32 - 1", || raw(&[line_words(1, u32::MAX)]), r#""damaged":1"#),
    ("line 0", || raw(&[line_words(1, 0)]), r#""damaged":1"#),
    ("the highest line", || raw(&[line_words(1, LINE_MAX)]), r#""damaged":0"#),
    ("file 0", || raw(&[line_words(0, 1)]), r#""damaged":1"#),
    ("a file beyond the limit", || raw(&[line_words(NAME_ID_MAX + 1, 1)]), r#""damaged":1"#),
    ("the highest file, without a name", || raw(&[line_words(NAME_ID_MAX, 1)]), r#""unnamed":1"#),
    ("arcs between the ends of the world", || raw(&[arc_words(i32::MIN, i32::MAX)]), r#""damaged":1"#),
    ("arcs at the limit", || raw(&[arc_words(-(LINE_MAX as i32), LINE_MAX as i32)]), r#""arcs":1"#),
    (
        "every kind there is",
        || {
            log(|log| {
                (1..=255).for_each(|kind| {
                    log.push(Record::Unknown { kind });
                })
            })
        },
        "which a later hitlog may need",
    ),
    (
        "kind 0 under a right checksum",
        || raw(&[Words { head: 0, payload: [7, 7], payload_last: 7 }]),
        r#""damaged":1"#,
    ),
    ("all bits set", || [log(|_| {}), vec![0xFF; 32 * 1000]].concat(), r#""damaged":1000"#),
    (
        "slots of another log",
        || {
            [log(|_| {}), ProcessLog::new(3).line("", "/x.py", 1).bytes()[HEADER_SIZE..].to_vec()]
                .concat()
        },
        r#""foreign":3"#,
    ),
    (
        "a slot that is cut",
        || [log(|_| {}), vec![1; 31]].concat(),
        "31 bytes behind the last whole slot",
    ),
    (
        "one hit, a million times",
        || {
            log(|log| {
                for _ in 0..1_000_000 {
                    log.push(Record::Line { context: 1, file: 1, line: 7 });
                }
            })
        },
        r#""records":1000005"#,
    ),
    (
        "every file id once, none with a name",
        || {
            log(|log| {
                for file in (2..NAME_ID_MAX).step_by(20) {
                    log.push(Record::Line { context: 0, file, line: LINE_MAX });
                }
            })
        },
        r#""unnamed":838861"#,
    ),
    (
        "files of one arc, which ends at the largest line",
        || {
            log(|log| {
                for number in 0..1000 {
                    let file = log.file(format!("/{number}.py").as_bytes());
                    log.push(Record::Arc { context: 0, file, from: LINE_MAX as i32, to: 1 });
                }
            })
        },
        r#""arcs":1000"#,
    ),
];

const NAMES: &[Hostile] = &[
    (
        "a name that never ends",
        || {
            log(|log| {
                for index in 0..4096 {
                    log.push(chunk(9, index, false, &[b'x'; 16]));
                }
                log.push(Record::Line { context: 9, file: 1, line: 1 });
            })
        },
        r#""unnamed":1"#,
    ),
    (
        "a name that ends everywhere",
        || {
            log(|log| {
                for index in 0..100 {
                    log.push(chunk(9, index, true, b"end"));
                }
                log.push(Record::Line { context: 9, file: 1, line: 1 });
            })
        },
        r#""contexts":3"#,
    ),
    (
        "two names for one id",
        || {
            log(|log| {
                log.push(chunk(9, 0, true, b"first")).push(chunk(9, 0, true, b"second"));
                log.start("", 1).push(Record::Line { context: 9, file: 1, line: 1 });
            })
        },
        r#""contexts":3"#,
    ),
    (
        "a name without its middle",
        || {
            log(|log| {
                log.push(chunk(9, 0, false, b"sixteen bytes...")).push(chunk(9, 2, true, b"end"));
                log.push(Record::Line { context: 9, file: 1, line: 1 });
            })
        },
        r#""unnamed":1"#,
    ),
    (
        "a chunk of 17 bytes",
        || raw(&[Words { head: 0x0000_1102, payload: [9, 9], payload_last: 9 }]),
        r#""damaged":1"#,
    ),
    ("a path of 64 KiB", || path(&[b'x'; NAME_BYTES_MAX]), r#""files":3"#),
    ("an empty path", || path(b""), r#""files":3"#),
    (
        "a path with a zero byte",
        || path(b"/a\0b.py"),
        r"/a\\x00b.py: this path has bytes that are not text",
    ),
    ("a path of two lines", || path(b"/a\nb.py"), r#""files":3"#),
    (
        "a path that is not text",
        || path(b"/\xff\xfe\xed\xa0\x80.py"),
        "this path has bytes that are not text",
    ),
    ("a path upwards", || path(b"../../../../etc/passwd"), r#""files":3"#),
    ("a path of SQL", || path(b"'); drop table file; --"), r#""files":3"#),
    ("a path of terminal commands", || path(b"/\x1b[2J\x1b]0;x\x07.py"), r#""files":3"#),
    ("a path of markup", || path(b"/<script>&\"'{{}}.py"), r#""files":3"#),
    (
        "a context of all bytes",
        || {
            log(|log| {
                let all: Vec<u8> = (0..=255).collect();
                let context = log.context(all);
                log.push(Record::Line { context, file: 1, line: 1 });
            })
        },
        "this context has bytes that are not text",
    ),
];

const ENDS: &[Hostile] = &[
    (
        "2^64 - 1 records",
        || {
            log(|log| {
                log.push(trailer(9, u64::MAX, 0));
            })
        },
        r#""missing":18446744073709551"#,
    ),
    (
        "2^32 - 1 lost",
        || {
            log(|log| {
                log.push(trailer(9, 0, u32::MAX));
            })
        },
        r#""lost":4294967295"#,
    ),
    (
        "2^64 - 1 lost",
        || {
            log(|log| {
                log.push(Record::Loss { lost: u64::MAX, errno: u16::MAX, time_ns: 0 });
            })
        },
        r#""lost":18446744073709551615"#,
    ),
    (
        "a thousand ends that disagree",
        || {
            log(|log| {
                for number in 0..1000 {
                    log.push(trailer(number % 7, number, 0));
                }
            })
        },
        r#""clean":1"#,
    ),
    (
        "contexts that end before they begin",
        || {
            log(|log| {
                log.push(Record::ContextStart {
                    context: 1,
                    thread: 0,
                    time_ns: u64::MAX,
                    inherited: false,
                });
                log.push(Record::ContextStop { context: 1, thread: 0, time_ns: 0 });
            })
        },
        r#""last_context":"hostile""#,
    ),
    (
        "more switches of contexts than are kept",
        || {
            log(|log| {
                for number in 0..CONTEXT_EVENTS_KEPT_MAX as u32 + 9 {
                    log.push(Record::ContextStart {
                        context: 1,
                        thread: number,
                        time_ns: u64::from(number),
                        inherited: true,
                    });
                }
            })
        },
        "more names, contexts, samples or files than are kept",
    ),
    (
        "more samples than are kept",
        || {
            log(|log| {
                let name = log.name(NameSpace::Sample, "x") as u16;
                for _ in 0..SAMPLES_KEPT_MAX + 9 {
                    log.push(Record::Sample { name, context: 0, time_ns: u64::MAX, value: u64::MAX });
                }
            })
        },
        "more names, contexts, samples or files than are kept",
    ),
    (
        "the facts of more files than are kept",
        || {
            log(|log| {
                for file in 1..FILES_KEPT_MAX as u32 + 9 {
                    log.push(Record::FileFacts { file, size: 1, mtime_ns: 1 });
                }
            })
        },
        "more names, contexts, samples or files than are kept",
    ),
    (
        "facts that contradict",
        || {
            log(|log| {
                for (size, mtime_ns) in [(0, i64::MIN), (u64::MAX, i64::MAX)] {
                    log.push(Record::FileFacts { file: 1, size, mtime_ns });
                }
            })
        },
        r#""files":2"#,
    ),
];

#[test]
fn every_hostile_log_is_told_and_harms_nothing() {
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for (name, bytes, says) in [HEADERS, RECORDS, NAMES, ENDS].concat() {
        let case = Case::new();
        let log = case.run().join(ProcessLog::new(2).file_name());
        std::fs::write(&log, bytes()).unwrap();
        let before = std::fs::read(&log).unwrap();
        let ended = case.compact(name);
        if let Some(problem) = ended.unless_it_says(says) {
            problems.push(format!("{name}: {problem}"));
            continue;
        }
        assert_eq!(case.sane_lines(), 2, "{name}");
        assert!(std::fs::read(&log).unwrap() == before, "{name}: no log is changed");
        assert_eq!(
            std::fs::read_dir(case.path()).unwrap().count(),
            3,
            "{name}: nothing beside the output"
        );
        // Megabytes of names are no task for HTML.
        if ended.json()["contexts"].as_u64() < Some(1000) {
            cases.push((name.to_owned(), case));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(cases.len() >= 40, "{}", cases.len());
    let outputs: Vec<_> = cases.iter().map(|(name, case)| (name.clone(), case.output())).collect();
    assert_coverage_py_reads(&outputs);
}

/// Two million names of one log, all different, are kept and written: the most work that a single log can ask
/// for, in a build that is not optimised.
#[test]
fn more_names_than_are_kept_are_left_out() {
    let case = Case::new();
    let bytes = log(|log| {
        for id in 0..NAME_CHUNKS_KEPT_MAX as u32 + 9 {
            log.push(chunk(10 + id, 0, true, format!("{id:x}").as_bytes()));
        }
    });
    std::fs::write(case.run().join(ProcessLog::new(2).file_name()), bytes).unwrap();
    let ended = case.compact_within(MEMORY_KIB_MAX, 2 * SECONDS_MAX, "more names than are kept");
    let says = "more names, contexts, samples or files than are kept";
    assert_eq!(ended.unless_it_says(says), None);
}

/// The report stays short, however many names would be worth a note.
#[test]
fn notes_on_names_are_counted_beyond_the_first() {
    let case = Case::new();
    let bytes = log(|log| {
        for id in 0..5000_u32 {
            log.push(chunk(10 + id, 0, true, &[&b"\xff"[..], &id.to_le_bytes()].concat()));
        }
    });
    std::fs::write(case.run().join(ProcessLog::new(2).file_name()), bytes).unwrap();
    let ended = case.compact("5,000 names that are not text");
    assert_eq!(ended.unless_it_says("4,000 contexts more of that kind"), None);
    assert!(ended.report.len() < 1 << 20, "{} bytes", ended.report.len());
}
