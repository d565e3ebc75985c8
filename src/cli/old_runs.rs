//! Which runs under `.hitlog` may go, and how they go.
//!
//! A run that goes is renamed first (`<run id>.removing`), so that what is left of it if we are killed is no run
//! any more; the next cleaning removes the rest. It is removed file by file, through descriptors of its own
//! directory, so that nothing outside of it can be meant. It stays if anything in it is not what a run leaves,
//! if a writer of one of its logs lives, or if the process lives that began it (which holds a lock on the
//! directory).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use serde::Serialize;

use crate::format::FILE_EXTENSION;
use crate::reader::LogReader;
use crate::run_directory::{COMMAND_FILE, LOADED_FILE_PREFIX, NOTES_FILE_PREFIX, has_logs, is_run_id};

/// A run without logs and without an ended command that is younger than this may be one that is just beginning.
const BEGINNING_MAX: Duration = Duration::from_secs(60);

/// How a run's name ends while it is being removed.
const REMOVING_SUFFIX: &str = ".removing";

/// What becomes of an entry of the folder of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "lowercase")]
pub(super) enum Fate {
    /// One of the newest.
    Kept,
    /// Somebody may still write to it.
    Living { reason: String },
    /// Not what a run is, or not removable.
    Refused { reason: String },
    /// Gone, or would be.
    Removed { bytes: u64 },
}

/// An entry of the folder of runs.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    #[serde(flatten)]
    pub(super) fate: Fate,
    /// Whether it is a run, or what is left of one.
    #[serde(skip)]
    pub(super) is_run: bool,
}

/// Removes the runs in `folder` but the newest `keep`, or only says what would be removed. The newest are
/// those whose names are, but one without logs is older than all that have some.
pub(super) fn remove(folder: &Path, keep: usize, is_dry: bool) -> io::Result<Vec<Entry>> {
    let opened = File::open(folder)?;
    let (mut runs, mut half_removed) = (Vec::new(), Vec::new());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let path = folder.join(&name);
        match name.to_str() {
            Some(id) if is_run_id(id) && is_directory(&path) => runs.push((has_logs(&path), name)),
            Some(id) if is_half_removed(id) && is_directory(&path) => half_removed.push(name),
            Some(".gitignore") => {}
            _ => {
                let fate = Fate::Refused { reason: "not a run directory".to_owned() };
                entries.push(Entry { path, fate, is_run: false });
            }
        }
    }
    runs.sort_unstable_by(|left, right| right.cmp(left));
    let mut runs = runs.into_iter().map(|(_, name)| folder.join(name));
    let kept = runs.by_ref().take(keep);
    entries.extend(kept.map(|path| Entry { path, fate: Fate::Kept, is_run: true }));
    // A run of the same name cannot go before what is left of the one before.
    for mut path in half_removed.into_iter().map(|name| folder.join(name)).chain(runs) {
        let fate = remove_run(&opened, &mut path, is_dry).unwrap_or_else(|fate| fate);
        entries.push(Entry { path, fate, is_run: true });
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}

/// Whether a run that is being removed has this name.
fn is_half_removed(name: &str) -> bool {
    name.strip_suffix(REMOVING_SUFFIX).is_some_and(is_run_id)
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn refused(error: impl Into<io::Error>) -> Fate {
    Fate::Refused { reason: error.into().to_string() }
}

/// Removes the run `path` in `folder`. `Err` if it stays; `path` is then where it is, or what is left of it.
fn remove_run(folder: &File, path: &mut PathBuf, is_dry: bool) -> Result<Fate, Fate> {
    let name = path.file_name().unwrap_or_default().to_owned();
    let is_begun = name.to_str().is_some_and(is_half_removed);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let run = File::from(openat(folder, &name, flags, Mode::empty()).map_err(refused)?);
    if run.try_lock().is_err() {
        let who = if is_begun {
            "somebody else removes it"
        } else {
            "the process that began it is still there"
        };
        return Err(Fate::Living { reason: who.to_owned() });
    }
    let (_, bytes) = removable(&run, path, is_begun)?;
    if is_dry {
        return Ok(Fate::Removed { bytes });
    }
    let mut removing = name.clone();
    if !is_begun {
        removing.push(REMOVING_SUFFIX);
        renameat(folder, &name, folder, &removing).map_err(refused)?;
        path.set_file_name(&removing);
    }
    // Somebody may have begun to write until it had another name.
    let emptied = match removable(&run, path, true) {
        Ok((files, _)) => remove_files(&run, &files),
        Err(fate) => Err((fate, 0)),
    };
    if let Err((fate, gone)) = emptied {
        // Whole as it is, it is a run as before.
        if gone == 0 && renameat(folder, &removing, folder, &name).is_ok() {
            path.set_file_name(&name);
        }
        return Err(fate);
    }
    unlinkat(folder, &removing, AtFlags::REMOVEDIR).map_err(refused)?;
    Ok(Fate::Removed { bytes })
}

/// Removes `files`. `Err` also has how many are gone.
fn remove_files(run: &File, files: &[OsString]) -> Result<(), (Fate, usize)> {
    files.iter().enumerate().try_for_each(|(gone, file)| {
        unlinkat(run, file, AtFlags::empty()).map_err(|error| (refused(error), gone))
    })
}

/// The names of the files in a run directory, and their size in all. `Err` if it must stay.
fn removable(run: &File, path: &Path, is_begun: bool) -> Result<(Vec<OsString>, u64), Fate> {
    let (files, bytes) = files_of(run)?;
    match living(run, path, &files, is_begun) {
        Some(reason) => Err(Fate::Living { reason }),
        None => Ok((files, bytes)),
    }
}

/// The names of the files in a run directory, and their size in all. `Err` if there is anything else.
fn files_of(run: &File) -> Result<(Vec<OsString>, u64), Fate> {
    let (mut files, mut bytes) = (Vec::new(), 0_u64);
    for entry in Dir::read_from(run).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let stat = statat(run, name, AtFlags::SYMLINK_NOFOLLOW).map_err(refused)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !is_of_a_run(name) {
            let reason = format!("{} in it is nothing that a run leaves", name.to_string_lossy());
            return Err(Fate::Refused { reason });
        }
        bytes = bytes.saturating_add(stat.st_size.unsigned_abs());
        files.push(name.to_owned());
    }
    Ok((files, bytes))
}

/// Whether a recorder, `hitlog run` or the pytest plugin writes files of such a name into a run directory.
fn is_of_a_run(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    is_log(name.as_ref().as_ref())
        || [".json", ".json.part"].iter().any(|end| name.ends_with(end))
        || name
            .strip_prefix("config.json.")
            .is_some_and(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        || ([NOTES_FILE_PREFIX, LOADED_FILE_PREFIX].iter().any(|start| name.starts_with(start))
            && name.ends_with(".txt"))
}

fn is_log(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == FILE_EXTENSION)
}

/// Why somebody may still write to the run, if so; `is_begun` if its removal has begun.
fn living(run: &File, path: &Path, files: &[OsString], is_begun: bool) -> Option<String> {
    let mut logs = files.iter().filter(|name| is_log(name)).map(|name| path.join(name)).peekable();
    if logs.peek().is_none() && !is_begun && !files.iter().any(|name| name == COMMAND_FILE) {
        let age = run.metadata().ok()?.modified().ok()?.elapsed().unwrap_or_default();
        return (age < BEGINNING_MAX).then(|| "it may be just beginning".to_owned());
    }
    let log = logs.find(|log| has_writer(log))?;
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some(format!("the process of {name} is still running"))
}

/// Whether the log's writer lives, by its identity, or by its lock where that says nothing.
fn has_writer(log: &Path) -> bool {
    let is_locked = || {
        let opened = File::open(log);
        opened.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    LogReader::open(log).is_ok_and(|log| log.is_writer_alive()) || is_locked()
}
