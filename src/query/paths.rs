//! Paths as people write them, compare them, and as SQLite takes them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// `path` without `.` and `..`, whether it exists or not: names of tests outside of pytest's root have them.
pub(super) fn normalized(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if parts.file_name().is_some() => drop(parts.pop()),
            Component::ParentDir if parts.has_root() => {}
            part => parts.push(part),
        }
    }
    parts
}

/// `path` as somebody in the current folder would write it: without that folder, if it is below.
pub(crate) fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_string_lossy().into_owned()
}

/// `path` as a URI with `options`, as SQLite's documentation has it ("Uniform Resource Identifiers").
pub(crate) fn uri(path: &Path, options: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let escaped = path.as_os_str().as_bytes().iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    format!("file://{}{options}", escaped.collect::<String>())
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn dots_are_taken_out() {
        let normal = |path: &str| normalized(Path::new(path)).display().to_string();
        assert_eq!(normal("./a/../b/./c.py"), "b/c.py");
        assert_eq!(normal("../a/../../b"), "../../b");
        assert_eq!(normal("/../a/.."), "/");
    }

    #[test]
    fn a_uri_has_nothing_that_sqlite_would_take_for_its_options() {
        assert_eq!(
            uri(Path::new("/a b/c?d#%.db"), "?immutable=1"),
            "file:///a%20b/c%3Fd%23%25.db?immutable=1"
        );
    }

    #[test]
    fn what_is_below_this_folder_is_told_from_here() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(from_here(&here.join("src/cart.py")), "src/cart.py");
        assert_eq!(from_here(Path::new("/elsewhere/cart.py")), "/elsewhere/cart.py");
    }
}
