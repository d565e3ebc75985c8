//! Where an output goes, and whether what is there may be replaced.

use super::Error;
use crate::query::paths::uri;
use crate::query::{SQLITE_MAGIC, has};
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The absolute path that `path` leads to.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let failing = |action, result: io::Result<PathBuf>| {
        result.map_err(|source| Error::Output { path: path.to_path_buf(), action, source })
    };
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return failing("follow this link", fs::canonicalize(path));
    }
    let Some(name) = path.file_name() else {
        return Err(Error::Refused { path: path.to_path_buf(), found: "a directory" });
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = failing("find its folder", fs::canonicalize(folder.unwrap_or(Path::new("."))))?;
    Ok(folder.join(name))
}

/// What is at `destination`, with its article, if that must not be replaced: anything but an empty file
/// and a database of coverage.py's form.
pub(super) fn irreplaceable(destination: &Path) -> Option<&'static str> {
    let metadata = fs::symlink_metadata(destination).ok()?;
    if metadata.is_dir() {
        return Some("a directory");
    } else if !metadata.is_file() {
        return Some("not a regular file");
    } else if metadata.len() == 0 {
        return None;
    }
    let mut magic = Vec::new();
    let opened = File::open(destination);
    let read = opened.and_then(|file| file.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut magic));
    match read {
        Err(_) => Some("a file that you may not read"),
        Ok(_) if magic != SQLITE_MAGIC => Some("not a file of hitlog or coverage.py"),
        Ok(_) => match has_coverage_schema(destination) {
            Ok(true) => None,
            Ok(false) => Some("a database of another program"),
            Err(_) => Some("a damaged database"),
        },
    }
}

/// Reads without locking and without rolling anything back.
fn has_coverage_schema(path: &Path) -> rusqlite::Result<bool> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, "?immutable=1"), flags)?;
    has(&connection, "coverage_schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_kind_of_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let found = |name: &str| irreplaceable(&at(name)).unwrap_or_default();
        let lost = |name: &str| resolve(&at(name)).unwrap_err().to_string();
        fs::create_dir(at("folder")).unwrap();
        assert!(found("folder").contains("a directory"));
        fs::write(at("cart.py"), "total = 1\n").unwrap();
        assert!(found("cart.py").contains("not a file of hitlog or coverage.py"));
        Connection::open(at("app.db")).unwrap().execute_batch("create table t (x)").unwrap();
        assert!(found("app.db").contains("a database of another program"));
        fs::write(at("torn.db"), SQLITE_MAGIC).unwrap();
        assert!(found("torn.db").contains("a damaged database"));
        assert!(lost("none/out.db").contains("Make its folder first"));
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        assert!(lost("dangling").contains("cannot follow this link"));
        fs::write(at("empty.db"), "").unwrap();
        assert_eq!(irreplaceable(&at("empty.db")), None);
        assert_eq!(irreplaceable(&at("none.db")), None);
        Connection::open(at("own.db"))
            .unwrap()
            .execute_batch("create table coverage_schema (x)")
            .unwrap();
        assert_eq!(irreplaceable(&at("own.db")), None);
    }
}
