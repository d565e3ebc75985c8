//! Puts the finished output in its place: wholly or not at all.
//!
//! 1. [`Output::begin`]: refuse to replace what is not ours; make a temporary file beside the output.
//! 2. The caller fills the temporary file.
//! 3. [`Output::publish`]: sync it; lock the folder against other compactors and the previous output
//!    against its writers; remove the previous output's journals, which SQLite would otherwise roll back
//!    into the new one; rename; sync the folder.
//!
//! Whatever fails before the rename, the previous output stays whole and the temporary file goes.

use super::Error;
use super::destination::{irreplaceable, resolve};
use fs2::FileExt as _; // locks
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a temporary file's name begins and ends; 16 random hexadecimal digits stand in between.
const TEMPORARY_PREFIX: &str = ".hitlog-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// From which age on a temporary file that nobody has locked is one that a killed compactor left.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(60);

/// How long to wait for a process that is just writing to the previous output.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// What SQLite leaves beside a file of which it was writing.
const SIDECARS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// An output that is being made. Dropped without [`Output::publish`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Output {
    /// As the user named it, for messages.
    given: PathBuf,
    /// Absolute and without symbolic links: a link to a file stays, and the file is replaced.
    destination: PathBuf,
    temporary: PathBuf,
    /// Of the temporary file; tells other compactors that it is in use.
    _lock: File,
    is_published: bool,
}

/// An output that is in its place.
#[derive(Debug)]
pub(super) struct Published {
    /// Its size.
    pub(super) bytes: u64,
    /// That a power loss may bring the previous output back, if it may.
    pub(super) unsynced: Option<String>,
}

impl Output {
    /// Makes an empty temporary file for the output `path`.
    pub(super) fn begin(path: &Path) -> Result<Output, Error> {
        let given = path.to_path_buf();
        let destination = resolve(path)?;
        if let Some(found) = irreplaceable(&destination) {
            return Err(Error::Refused { path: given, found });
        }
        let temporary = destination.with_file_name(temporary_name());
        let lock = File::create_new(&temporary).map_err(|source| Error::Output {
            path: given.clone(),
            action: "make a file beside it",
            source,
        })?;
        let _ = lock.try_lock_exclusive();
        let output = Output { given, destination, temporary, _lock: lock, is_published: false };
        remove_leftovers(output.folder());
        Ok(output)
    }

    /// The output as the user named it cannot be written, because of `source`.
    pub(super) fn write_error(&self, source: io::Error) -> Error {
        Error::Output { path: self.given.clone(), action: "write it", source }
    }

    /// As [`Output::write_error`], where SQLite writes.
    pub(super) fn database_error(&self, source: rusqlite::Error) -> Error {
        Error::Database { path: self.given.clone(), source }
    }

    /// What was written is not what is read back: `finding`.
    pub(super) fn inconsistent(&self, finding: String) -> Error {
        Error::Inconsistent { path: self.given.clone(), finding }
    }

    /// The file to fill.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Replaces the previous output by the filled file.
    pub(super) fn publish(mut self) -> Result<Published, Error> {
        let file = self.failing("open what was written", File::open(&self.temporary))?;
        self.take_over_permissions(&file);
        self.failing("sync it", file.sync_all())?;
        let bytes = self.failing("measure it", file.metadata())?.len();
        let folder = self.failing("open its folder", File::open(self.folder()))?;
        // Where a folder cannot be locked, compactors still replace only whole outputs by whole ones.
        let _ = folder.lock_exclusive();
        let previous = self.lock_previous(BUSY_MAX)?;
        self.remove_journals()?;
        self.failing("replace it", fs::rename(&self.temporary, &self.destination))?;
        self.is_published = true;
        drop(previous);
        // The output is in its place: what is left to fail is no reason to say that it is not.
        let unsynced = folder.sync_all().err().map(|error| {
            format!(
                "{}: its folder cannot be brought to the medium ({error}); a power loss may bring the previous \
                 output back",
                self.given.display()
            )
        });
        Ok(Published { bytes, unsynced })
    }

    fn folder(&self) -> &Path {
        self.destination.parent().unwrap_or(Path::new("/"))
    }

    fn failing<T>(&self, action: &'static str, result: io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Output { path: self.given.clone(), action, source })
    }

    /// Who may read the previous output may read the next one. A system that does not let us say so is
    /// no reason to fail.
    fn take_over_permissions(&self, file: &File) {
        if let Ok(previous) = fs::symlink_metadata(&self.destination) {
            let _ = file.set_permissions(previous.permissions());
        }
    }

    /// Brings the previous output to rest: SQLite rolls back what a process left half written that died,
    /// and nobody else begins to write until the connection is dropped. Readers are not disturbed, and
    /// keep the file that they have open.
    ///
    /// Without this, a compactor that is killed between removing a journal and renaming would leave
    /// the previous output half written. One that SQLite cannot use has nothing to be kept.
    ///
    /// Who is just writing to it is waited for, for `busy_max`.
    fn lock_previous(&self, busy_max: Duration) -> Result<Option<Connection>, Error> {
        let size = fs::symlink_metadata(&self.destination).map_or(0, |metadata| metadata.len());
        if size == 0 {
            return Ok(None);
        }
        match lock(&self.destination, busy_max) {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if is_busy(&error) => Err(Error::Busy { path: self.given.clone() }),
            Err(_) => Ok(None),
        }
    }

    fn remove_journals(&self) -> Result<(), Error> {
        for suffix in SIDECARS {
            match fs::remove_file(self.beside(suffix)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => self.failing("remove the journal beside it", result)?,
            }
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.destination.clone().into_os_string();
        path.push(suffix);
        path.into()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A place beside an output for a database that is needed for a while. What is there goes when this is
/// dropped; if the process is killed before, a compaction into that folder removes it that begins more than a
/// minute later.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    lock: Option<File>,
}

impl Scratch {
    /// A path in the folder of `output`, where links to it lead, at which nothing is.
    ///
    /// # Errors
    /// If there can be no output.
    pub(super) fn beside(output: &Path) -> Result<Scratch, Error> {
        Ok(Scratch { path: resolve(output)?.with_file_name(temporary_name()), lock: None })
    }

    /// Where the database is to be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells other compactors that the database, which must be there by now, is in use. Without this they take
    /// it for left behind a minute after it was last written.
    ///
    /// # Errors
    /// When it cannot be opened. One that cannot be locked is no error: where files have no locks, others
    /// find none either.
    pub(super) fn hold(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        let _ = file.try_lock_exclusive();
        self.lock = Some(file);
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A name that no glob takes for data: coverage.py merges and deletes `<data file>.*`.
fn temporary_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{TEMPORARY_PREFIX}{random:016x}{TEMPORARY_SUFFIX}")
}

/// Removes the temporary files of compactors that were killed: those that nobody has locked. A young
/// one may be about to be.
fn remove_leftovers(folder: &Path) {
    let is_temporary = |name: &OsStr| {
        let digits = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX));
        let digits = digits.and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX));
        digits.is_some_and(|digits| {
            digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let is_old = |metadata: fs::Metadata| {
        let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
        metadata.is_file() && age.is_some_and(|age| age > LEFTOVER_AGE_MIN)
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_temporary(&entry.file_name()) && entry.metadata().is_ok_and(is_old) {
            let unused = File::open(entry.path()).is_ok_and(|file| file.try_lock_exclusive().is_ok());
            let _ = unused.then(|| fs::remove_file(entry.path()));
        }
    }
}

fn lock(path: &Path, busy_max: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Brings a write-ahead log home, if there is one. Where readers hold it, it stays theirs.
    connection.busy_timeout(Duration::ZERO)?;
    let _ = connection.execute_batch("pragma wal_checkpoint; pragma journal_mode = delete");
    connection.busy_timeout(busy_max)?;
    connection.execute_batch("begin immediate")?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    fn database(path: &Path, rows: u32) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("create table coverage_schema (version integer); begin").unwrap();
        for row in 0..rows {
            connection.execute("insert into coverage_schema values (?)", [row]).unwrap();
        }
        connection.execute_batch("commit").unwrap();
    }

    fn rows(path: &Path) -> u32 {
        let connection = Connection::open(path).unwrap();
        connection.query_row("select count(*) from coverage_schema", [], |row| row.get(0)).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn publish(path: &Path, rows: u32) -> Result<u64, Error> {
        let output = Output::begin(path)?;
        database(output.temporary(), rows);
        output.publish().map(|published| published.bytes)
    }

    #[test]
    fn an_output_that_is_not_published_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::begin(&folder.path().join("out.db")).unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(output);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_a_killed_compactor_left_is_removed_and_what_a_living_one_uses_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let make_old = |path: &Path| {
            let hour = Duration::from_secs(3600);
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::now() - hour).unwrap();
        };
        let leftover: &Path = &folder.path().join(temporary_name());
        let young: &Path = &folder.path().join(temporary_name());
        let other = |name: &str| folder.path().join(format!(".hitlog-{name}.tmp"));
        let others: [&Path; 2] = [&other("0123456789"), &other("no 16 hex digits")];
        let mut held = Scratch::beside(&folder.path().join("out.db")).unwrap();
        let left = std::mem::ManuallyDrop::new(Scratch::beside(&folder.path().join("out.db")).unwrap());
        let written = [leftover, young, others[0], others[1], held.path(), left.path()];
        written.iter().for_each(|path| fs::write(path, "").unwrap());
        held.hold().unwrap();
        let living = Output::begin(&folder.path().join("other.db")).unwrap();
        let old = [leftover, others[0], others[1], &living.temporary, held.path(), left.path()];
        old.iter().for_each(|path| make_old(path));
        publish(&folder.path().join("out.db"), 1).unwrap();
        let gone = [leftover, left.path()].map(|path| !path.exists());
        let stay = [young, others[0], others[1], &living.temporary, held.path()].map(Path::exists);
        assert_eq!((gone, stay), ([true; 2], [true; 5]));
    }

    #[test]
    fn a_link_stays_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real #1?.db"), folder.path().join("link.db"));
        publish(&real, 1).unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        publish(&link, 2).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(rows(&real), 2);
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }

    /// A hot journal beside `path`, as a process leaves it that dies in the middle of a transaction.
    fn leave_hot_journal(path: &Path) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("pragma cache_size = 1; begin").unwrap();
        connection
            .execute_batch(
                "with recursive n (x) as (select 1 union all select x + 1 from n where x < 50000)
                 insert into coverage_schema select x from n; update coverage_schema set version = 0",
            )
            .unwrap();
        let copies = ["", "-journal"].map(|suffix| {
            let name = [path.as_os_str(), OsStr::new(suffix)].join(OsStr::new(""));
            (name.clone(), fs::read(name).unwrap())
        });
        drop(connection);
        copies.into_iter().for_each(|(name, bytes)| fs::write(name, bytes).unwrap());
    }

    #[test]
    fn no_journal_reaches_the_next_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        publish(&path, 9000).unwrap();
        leave_hot_journal(&path);
        assert_eq!(names(folder.path()), ["out.db", "out.db-journal"]);
        publish(&path, 5).unwrap();
        assert_eq!(names(folder.path()), ["out.db"]);
        assert_eq!(rows(&path), 5);
    }

    /// A kill between removing the journal and renaming would leave the previous output half written.
    #[test]
    fn a_hot_journal_is_rolled_back_before_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        publish(&path, 9000).unwrap();
        let before = fs::read(&path).unwrap();
        leave_hot_journal(&path);
        assert!(fs::read(&path).unwrap() != before);
        let output = Output::begin(&path).unwrap();
        assert!(output.lock_previous(Duration::ZERO).unwrap().is_some());
        assert!(fs::read(&path).unwrap() == before);
    }

    #[test]
    fn a_journal_that_cannot_be_removed_stops_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        publish(&path, 3).unwrap();
        fs::create_dir(folder.path().join("out.db-journal")).unwrap();
        let error = publish(&path, 5).unwrap_err();
        assert!(
            matches!(error, Error::Output { action: "remove the journal beside it", .. }),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["out.db", "out.db-journal"]);
        fs::remove_dir(folder.path().join("out.db-journal")).unwrap();
        assert_eq!(rows(&path), 3);
    }

    #[test]
    fn what_hangs_around_is_removed_even_without_an_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        for suffix in SIDECARS {
            fs::write(folder.path().join(format!("out.db{suffix}")), [0xD9; 5000]).unwrap();
        }
        publish(&path, 5).unwrap();
        assert_eq!((names(folder.path()), rows(&path)), (vec!["out.db".to_owned()], 5));
    }

    #[test]
    fn a_write_ahead_log_is_brought_home() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        publish(&path, 1).unwrap();
        let writer = Connection::open(&path).unwrap();
        let mode: String = writer.query_row("pragma journal_mode = wal", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        writer.execute_batch("insert into coverage_schema values (9)").unwrap();
        publish(&path, 7).unwrap();
        drop(writer);
        assert_eq!((names(folder.path()), rows(&path)), (vec!["out.db".to_owned()], 7));
    }

    /// SQLite deletes what a journal names only if that names the journal, too; SQLite 3.40 deleted any file.
    #[test]
    fn a_journal_that_names_another_file_does_not_cost_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("out.db"), folder.path().join("victim"));
        publish(&path, 9000).unwrap();
        leave_hot_journal(&path);
        fs::write(&victim, "precious").unwrap();
        let mut journal = fs::read(folder.path().join("out.db-journal")).unwrap();
        let name = victim.as_os_str().as_bytes();
        let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
        journal.extend(((1_u32 << 30) / 4096 + 1).to_be_bytes());
        journal.extend(name);
        journal.extend((name.len() as u32).to_be_bytes());
        journal.extend(sum.to_be_bytes());
        journal.extend([0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7]);
        fs::write(folder.path().join("out.db-journal"), journal).unwrap();
        publish(&path, 5).unwrap();
        assert_eq!(names(folder.path()), ["out.db", "victim"]);
        assert_eq!(rows(&path), 5);
    }

    #[test]
    fn an_output_that_somebody_writes_to_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        publish(&path, 1).unwrap();
        let output = Output::begin(&path).unwrap();
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("begin immediate").unwrap();
        assert!(matches!(output.lock_previous(Duration::ZERO), Err(Error::Busy { .. })));
        writer.execute_batch("rollback").unwrap();
        let previous = output.lock_previous(Duration::ZERO).unwrap();
        assert!(previous.is_some());
        writer.busy_timeout(Duration::ZERO).unwrap();
        assert!(writer.execute_batch("begin immediate").is_err(), "nobody writes until it is replaced");
        drop(previous);
        fs::write(&path, [b'x'; 5000]).unwrap();
        assert!(output.lock_previous(Duration::ZERO).unwrap().is_none(), "nothing is to be kept");
    }

    #[test]
    fn two_at_once_both_succeed_and_one_remains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.db");
        std::thread::scope(|scope| {
            for rows in [10, 20, 30, 40] {
                let path = &path;
                scope.spawn(move || (0..5).for_each(|_| assert!(publish(path, rows).unwrap() > 0)));
            }
        });
        assert!([10, 20, 30, 40].contains(&rows(&path)));
        assert_eq!(names(folder.path()), ["out.db"]);
    }
}
