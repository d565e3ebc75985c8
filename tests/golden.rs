//! Logs of every version of the format that was ever written, and what a reader makes of them: for ever.
//!
//! `tests/golden/v1/*.hitlog` and, beside each, what `hitlog dump --json` prints. They are never made anew: a
//! difference is a reader that does not know its old logs any more.

use hitlog::cli::dump;
use std::path::{Path, PathBuf};

fn dump_of(log: &Path) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = dump::Arguments { json: true, logs: vec![log.to_path_buf()] };
    let code = dump::run(&arguments, &mut out, &mut err).unwrap();
    assert_eq!((code, err.len()), (0, 0), "{}: {}", log.display(), String::from_utf8_lossy(&err));
    String::from_utf8(out).unwrap()
}

/// The dump names the log by its path, which differs from machine to machine.
fn without_path(dump: &str, log: &Path) -> String {
    dump.replace(log.to_str().unwrap(), "LOG")
}

#[test]
fn every_golden_log_reads_as_it_always_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "hitlog"))
        .collect();
    assert!(logs.len() >= 5, "{logs:?}");
    for log in logs {
        let expected = std::fs::read_to_string(log.with_extension("json")).unwrap();
        assert!(expected.lines().count() > 1, "{}", log.display());
        assert_eq!(without_path(&dump_of(&log), &log), expected, "{}", log.display());
    }
}
