//! Where a run's logs lie: `<base>/.hitlog/<YYYYMMDD-HHMMSS-xxxx>/`, one directory per run.
//!
//! A run's directory is made by exclusive creation and never used again, so that two runs in one
//! folder can neither see nor erase each other's logs. Its name begins with the UTC time at which
//! the run began, so names sort as runs do, and ends with four random hex digits.
//!
//! ```text
//! .hitlog/20261120-101502-7f3a/
//!     4711-<log id>.hitlog   one log per process
//!     run.json               what is recorded, written before the first log
//!     config.json            which files are measured, written by the first process
//!     command.json           how the command of `hitlog run` ended
//!     tests.json             how pytest's tests ended, and what else they depend on
//!     process-4712.json      what its starter knows of a process: its name there, how it ended
//!     notes-4712.txt         what a process could not record, a sentence on each line
//!     loaded-4712.txt        files of the project that a process ran and that are not measured, each
//!                            path followed by NUL
//! ```
//!
//! `hitlog clean` calls a run `<run id>.removing` while it removes it: that is no run any more.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::calendar::date_and_time;

/// The folder in which all runs of a project lie.
pub const RUNS_FOLDER: &str = ".hitlog";

/// The environment variable by which a recorded process finds its run directory (an absolute path).
pub const RUN_VARIABLE: &str = "HITLOG_RUN";

/// The environment variable that carries the current context into processes that are started in it.
pub const CONTEXT_VARIABLE: &str = "HITLOG_CONTEXT";

/// The file in a run directory that says what is recorded.
pub const RUN_FILE: &str = "run.json";

/// The file in a run directory that says how the command of `hitlog run` ended.
pub const COMMAND_FILE: &str = "command.json";

/// The file in a run directory that says how pytest's tests ended, and what else they depend on.
pub const TESTS_FILE: &str = "tests.json";
/// How the file begins in which whoever started a process says what it is called and how it ended.
/// `process-4712.json` has the keys of [`COMMAND_FILE`] and `name`.
pub const PROCESS_FILE_PREFIX: &str = "process-";

/// How the file begins in which a process says what it could not record: `notes-4712.txt`.
pub const NOTES_FILE_PREFIX: &str = "notes-";

/// How the file begins in which a process names the files of the project that it ran and that are not
/// measured: `loaded-4712.txt`.
pub const LOADED_FILE_PREFIX: &str = "loaded-";

/// Random names tried before giving up. One second has 65,536 of them, so this many collisions in a
/// row mean that something other than chance is wrong.
const ATTEMPTS_MAX: u32 = 10_000;

/// Length of a run id, in bytes: `20261120-101502-7f3a`.
const RUN_ID_LENGTH: usize = 20;

/// Makes a directory for one run under `base`, which must exist, and returns its path (absolute if
/// `base` is). No two calls return the same directory, from however many threads and processes.
///
/// The directory is private to its owner (0700): logs hold command lines and names of tests.
///
/// # Errors
/// When the directory cannot be made; the text names it and says what to do.
///
/// ```
/// let base = tempfile::tempdir()?;
/// let run = hitlog::run_directory::create(base.path())?;
/// assert_eq!(hitlog::run_directory::newest(base.path()), Some(run));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn create(base: &Path) -> io::Result<PathBuf> {
    let seed = RandomState::new();
    create_named(base, |attempt| run_id(SystemTime::now(), seed.hash_one(attempt) as u16))
}

/// Holds a lock on the run directory `run`, which tells `hitlog clean` that its controller lives, until the
/// returned file is closed here and in every process forked meanwhile. `None` where it cannot be locked.
///
/// ```
/// let base = tempfile::tempdir()?;
/// let run = hitlog::run_directory::create(base.path())?;
/// let held = hitlog::run_directory::hold(&run).expect("a lock");
/// assert!(fs2::FileExt::try_lock_exclusive(&std::fs::File::open(&run)?).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(any(feature = "recorder", feature = "reader"))]
#[must_use]
pub fn hold(run: &Path) -> Option<fs::File> {
    let folder = fs::File::open(run).ok()?;
    fs2::FileExt::try_lock_shared(&folder).ok()?;
    Some(folder)
}

/// Whether anything was recorded into the run directory `run`.
#[must_use]
pub fn has_logs(run: &Path) -> bool {
    let is_log = |entry: fs::DirEntry| {
        entry.path().extension().is_some_and(|extension| extension == crate::format::FILE_EXTENSION)
    };
    fs::read_dir(run).is_ok_and(|entries| entries.flatten().any(is_log))
}

/// The run directory under `base` that was made last, of those with a log if there are any; `None` if
/// there is no run.
#[must_use]
pub fn newest(base: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(runs_folder(base)).ok()?;
    let runs = entries.flatten().filter_map(|entry| {
        let id = entry.file_name().into_string().ok().filter(|id| is_run_id(id))?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
        // Of two runs of the same second the one that was written to last.
        let made = (id[..RUN_ID_LENGTH - 5].to_owned(), metadata.modified().ok()?);
        Some((has_logs(&entry.path()), made, entry.path()))
    });
    runs.max().map(|(_, _, path)| path)
}

/// The folder of all runs under `base`, in the fewest words: `.hitlog` in the current folder.
pub(crate) fn runs_folder(base: &Path) -> PathBuf {
    if base == Path::new(".") { RUNS_FOLDER.into() } else { base.join(RUNS_FOLDER) }
}

/// Tries the names that `name` gives, the attempt's number being its argument, until one is free.
fn create_named(base: &Path, mut name: impl FnMut(u32) -> String) -> io::Result<PathBuf> {
    let folder = runs_folder(base);
    create_runs_folder(&folder).map_err(|error| explain(&folder, &error))?;
    for attempt in 0..ATTEMPTS_MAX {
        let path = folder.join(name(attempt));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(explain(&path, &error)),
            Ok(()) => return Ok(path),
        }
    }
    Err(explain(&folder, &io::Error::from(io::ErrorKind::AlreadyExists)))
}

/// Makes the folder of all runs, or finds it there.
fn create_runs_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => {
            // Logs are never meant for version control; a run does not fail for want of this line.
            let _ = fs::write(folder.join(".gitignore"), "*\n");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The error of a directory that cannot be made, as a sentence.
fn explain(path: &Path, error: &io::Error) -> io::Error {
    let text = format!(
        "{}: cannot make this directory for a run's logs ({error}). Record into another folder (--dir DIR).",
        path.display()
    );
    io::Error::new(error.kind(), text)
}

/// The id of a run that began at `time`.
fn run_id(time: SystemTime, random: u16) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{random:04x}")
}

/// Whether `name` has the form of a run id.
pub(crate) fn is_run_id(name: &str) -> bool {
    name.len() == RUN_ID_LENGTH
        && name.bytes().enumerate().all(|(index, byte)| match index {
            8 | 15 => byte == b'-',
            16.. => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    /// A path that the test's thread made, with what it wrote there.
    fn create_and_mark(base: &Path, mark: usize) -> PathBuf {
        let path = create(base).expect("a run directory");
        assert_eq!(fs::read_dir(&path).expect("readable").count(), 0, "somebody's directory");
        fs::write(path.join("mark"), mark.to_string()).expect("writable");
        path
    }

    #[test]
    fn twenty_threads_at_once_get_twenty_directories() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let base = base.path();
            let threads: Vec<_> =
                (0..20).map(|i| scope.spawn(move || create_and_mark(base, i))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(paths.iter().collect::<HashSet<_>>().len(), 20);
        for (index, path) in paths.iter().enumerate() {
            let mark = fs::read_to_string(path.join("mark")).expect("nothing was erased");
            assert_eq!(mark, index.to_string());
        }
        let newest = newest(base.path()).expect("there are runs");
        assert!(paths.contains(&newest));
    }

    #[test]
    fn a_taken_name_is_left_alone_and_another_one_tried() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let taken = create_named(base.path(), |_| "taken".into()).expect("free");
        fs::write(taken.join("1-log.hitlog"), "records").expect("writable");
        let path =
            create_named(
                base.path(),
                |attempt| {
                    if attempt < 100 { "taken".into() } else { "free".into() }
                },
            );
        assert_eq!(path.expect("the 101st name is free"), base.path().join(".hitlog/free"));
        assert_eq!(fs::read(taken.join("1-log.hitlog")).expect("still there"), b"records");
    }

    #[test]
    fn it_gives_up_when_every_name_is_taken() {
        let base = tempfile::tempdir().expect("a temporary folder");
        create_named(base.path(), |_| "taken".into()).expect("free");
        let error = create_named(base.path(), |_| "taken".into()).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn the_directory_is_private() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let path = create(base.path()).expect("a run directory");
        assert_eq!(path.metadata().expect("it exists").mode() & 0o077, 0);
    }

    #[test]
    fn a_base_that_takes_no_directory_is_named_with_a_way_out() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for base in [file.path(), Path::new("/proc"), Path::new("/no/such/folder")] {
            let text = create(base).expect_err("not possible there").to_string();
            assert!(text.starts_with(&*base.to_string_lossy()), "{text}");
            assert!(text.contains("--dir"), "{text}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_runs_folder_is_an_error() {
        let base = tempfile::tempdir().expect("a temporary folder");
        fs::write(base.path().join(RUNS_FOLDER), "mine").expect("writable");
        assert!(create(base.path()).is_err());
        assert_eq!(fs::read(base.path().join(RUNS_FOLDER)).expect("kept"), b"mine");
        assert_eq!(newest(base.path()), None);
    }

    #[test]
    fn the_newest_run_is_found_among_other_things() {
        let base = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(newest(base.path()), None);
        for name in ["20261120-101502-7f3a", "20261120-101503-0000", "20251231-235959-ffff", "zzz"] {
            fs::create_dir_all(base.path().join(RUNS_FOLDER).join(name)).expect("writable");
        }
        let with_log = base.path().join(".hitlog/20251231-235959-ffff");
        fs::write(base.path().join(".hitlog/20271120-101502-7f3a"), "a file").expect("writable");
        assert_eq!(newest(base.path()), Some(base.path().join(".hitlog/20261120-101503-0000")));
        fs::write(with_log.join("1-0.hitlog"), "").expect("writable");
        assert_eq!(newest(base.path()), Some(with_log), "the only one with a log");
    }

    #[test]
    fn run_ids_are_times_in_utc() {
        let at = |seconds| run_id(UNIX_EPOCH + Duration::from_secs(seconds), 0x7f3a);
        assert_eq!(at(0), "19700101-000000-7f3a");
        assert_eq!(at(1_795_169_702), "20261120-101502-7f3a");
        assert!(is_run_id(&at(1)));
    }
}
