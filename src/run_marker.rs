//! By which a child process that was started without the environment finds the run that its ancestor
//! records into: a small file that a recording process leaves in a directory private to its user.
//!
//! ```text
//! /run/user/UID/hitlog/ or /tmp/hitlog-UID/        mode 0700, owned by the user, no symbolic link
//!     4711-8674203-4026531836                      pid, start in clock ticks since boot, pid namespace
//!         hitlog 1 NUL  boot id NUL  run directory NUL                  written at once, when it appears
//!         8674203 NUL  tests/test_shop.py::test_total|run NUL           appended: in which context a child
//!         8674919 NUL  tests/test_shop.py::test_sum|run NUL             was started, and the time in ticks
//! ```
//!
//! The name says whose it is, so that nobody else's descendants take it for theirs, even if the process is
//! dead and its pid given away. Such a leftover is removed by whoever begins next. Both places follow from
//! the user alone, because the child has no variable to go by. A context that ran when the child was
//! started is told by time, which the system keeps for a process to a hundredth of a second.
//!
//! The one that looks is `_hitlog_start.py` of the Python package: it must cost nearly nothing in
//! processes that nobody records, so it is written where no library has to be loaded.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::process_identity::{boot_id_text, pid_namespace, process, read_start};

/// The first field of a marker.
const VERSION: &[u8] = b"hitlog 1";

/// How often a directory is made again that another process removed because it was empty.
const ATTEMPTS_MAX: u32 = 100;

/// The marker of one process.
pub struct RunMarker {
    path: PathBuf,
    /// Of the process that left it, and not of a forked child's.
    pid: u32,
    /// The context noted last.
    context: Vec<u8>,
}

impl RunMarker {
    /// Leaves a marker for this process, which records into `run_directory`: children started in no other
    /// way that hitlog learns of begin in `context`. Markers of dead processes are removed.
    ///
    /// The marker stays until [`RunMarker::remove`]. A forked child has none of its own.
    ///
    /// # Errors
    /// There is no directory for it that only this user can write to; the text says which is wrong.
    pub fn leave(run_directory: &Path, context: &[u8]) -> io::Result<RunMarker> {
        leave_below(&directories()?, run_directory, context)
    }

    /// Notes that a child is about to be started in `context`, which is not noted again while it stays the
    /// same. To be called before the start.
    ///
    /// # Errors
    /// What the system says; the child then begins in a context noted before.
    pub fn child_starts(&mut self, context: &[u8]) -> io::Result<()> {
        if self.context == context {
            return Ok(());
        }
        let mut file =
            OpenOptions::new().append(true).custom_flags(libc::O_NOFOLLOW).open(&self.path)?;
        file.write_all(&entry(context)?)?;
        self.context = context.to_vec();
        Ok(())
    }

    /// Whether this process left it, and not a parent that was forked.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Removes the marker, and the directory after the last one. Does nothing in a forked child.
    pub fn remove(self) {
        if !self.is_ours() {
            return;
        }
        let _ = fs::remove_file(&self.path);
        if let Some(directory) = self.path.parent() {
            // It stays while there are others.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Where a user's markers may be.
fn directories() -> io::Result<[PathBuf; 2]> {
    let user = user()?;
    Ok([format!("/run/user/{user}/hitlog").into(), format!("/tmp/hitlog-{user}").into()])
}

/// The effective user of this process.
fn user() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

fn leave_below(directories: &[PathBuf], run: &Path, context: &[u8]) -> io::Result<RunMarker> {
    let mut refusal = io::Error::from(io::ErrorKind::NotFound);
    for directory in directories {
        match leave_in(directory, run, context) {
            Ok(marker) => return Ok(marker),
            Err(error) => {
                refusal = io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
            }
        }
    }
    Err(refusal)
}

fn leave_in(directory: &Path, run: &Path, context: &[u8]) -> io::Result<RunMarker> {
    let name = own_name()?;
    let (boot, run) = (boot_id_text(), std::path::absolute(run)?);
    let head = [VERSION, boot.trim_ascii(), run.as_os_str().as_bytes()];
    let contents = [&joined(&head)[..], &entry(context)?].concat();
    let path = directory.join(&name);
    for _ in 0..ATTEMPTS_MAX {
        make_private(directory)?;
        sweep(directory);
        match write_whole(&path, &contents) {
            // The process whose marker was the last one removed the directory in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(()) => {
                return Ok(RunMarker { path, pid: std::process::id(), context: context.to_vec() });
            }
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The name of this process's marker.
fn own_name() -> io::Result<String> {
    let unknown = || io::Error::other("the system does not tell the start of this process (/proc)");
    let start = process("self").ok_or_else(unknown)?.start_ticks;
    let namespace = pid_namespace().ok_or_else(unknown)?;
    Ok(format!("{}-{start}-{namespace}", std::process::id()))
}

/// Makes `directory`, or finds that it is one to which only this user can write.
fn make_private(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(directory)?;
    if found.is_dir() && found.uid() == user()? && found.mode() & 0o7777 == 0o700 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "this is not a directory of this user alone (mode 0700), so it is not used. Remove it",
    ))
}

/// Writes a file that nobody sees before it is whole; one of this name was left before an `exec`.
fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("part");
    let _ = fs::remove_file(&unfinished);
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(contents)?;
    fs::rename(&unfinished, path)
}

/// The note of a child's start in `context`.
fn entry(context: &[u8]) -> io::Result<Vec<u8>> {
    Ok(joined(&[now_ticks()?.to_string().as_bytes(), context]))
}

/// The fields, each with a NUL after it and none inside.
fn joined(fields: &[&[u8]]) -> Vec<u8> {
    let ended = |field: &&[u8]| -> Vec<u8> {
        field.iter().copied().filter(|byte| *byte != 0).chain([0]).collect()
    };
    fields.iter().flat_map(ended).collect()
}

/// The time in hundredths of a second since boot, in which the system also tells the start of a process.
fn now_ticks() -> io::Result<u64> {
    let uptime = read_start("/proc/uptime", 64);
    let seconds = uptime.split(|byte| *byte == b' ').next().and_then(|text| str::from_utf8(text).ok());
    let ticks = seconds.and_then(|text| text.replace('.', "").parse().ok());
    ticks.ok_or_else(|| io::Error::other("the system does not tell the time since boot (/proc/uptime)"))
}

/// Removes the markers of dead processes. Of a process in another pid namespace nobody here can tell.
fn sweep(directory: &Path) {
    let Some(namespace) = pid_namespace() else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| is_of_dead(name, namespace)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether `name` is that of a marker, finished or not, whose process is no more.
fn is_of_dead(name: &str, own_namespace: u64) -> bool {
    let numbers = name.trim_end_matches(".part").split('-').map(str::parse::<u64>);
    let Ok([pid, start, namespace]) = <[u64; 3]>::try_from(numbers.flatten().collect::<Vec<_>>())
    else {
        return false;
    };
    let is_it = |process: crate::process_identity::Process| process.start_ticks == start;
    namespace == own_namespace && !process(pid).is_some_and(is_it)
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a skipped test says so")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Place {
        _base: tempfile::TempDir,
        directory: PathBuf,
    }

    fn place() -> Place {
        let base = tempfile::tempdir().expect("a temporary folder");
        Place { directory: base.path().join("hitlog-0"), _base: base }
    }

    fn fields(marker: &RunMarker) -> Vec<String> {
        let contents = fs::read(&marker.path).expect("readable");
        let fields = contents.split(|byte| *byte == 0);
        fields.map(|field| String::from_utf8_lossy(field).into_owned()).collect()
    }

    #[test]
    fn a_marker_tells_the_run_and_each_context_once() {
        let place = place();
        let before = now_ticks().unwrap();
        let mut marker = leave_in(&place.directory, Path::new("/runs/r"), b"a\0b").unwrap();
        for context in [&b"a\0b"[..], b"c", b"c", b""] {
            marker.child_starts(context).unwrap();
        }
        let fields = fields(&marker);
        assert_eq!(fields[0], "hitlog 1");
        assert_eq!(fields[2], "/runs/r");
        assert_eq!([&fields[4], &fields[6], &fields[8]], ["ab", "c", ""]);
        let times: Vec<u64> = [3, 5, 7].map(|place: usize| fields[place].parse().unwrap()).into();
        assert!(before <= times[0] && times.is_sorted() && times[2] <= now_ticks().unwrap());
        assert_eq!(fields.len(), 10, "each field ends with a NUL: {fields:?}");
    }

    #[test]
    fn the_last_one_to_go_leaves_nothing() {
        let place = place();
        let marker = leave_in(&place.directory, Path::new("/r"), b"").unwrap();
        let other = place.directory.join("1-1-1");
        fs::write(&other, "").unwrap();
        let path = marker.path.clone();
        assert!(marker.is_ours());
        marker.remove();
        assert!(!path.exists() && other.exists());
        fs::remove_file(other).unwrap();
        leave_in(&place.directory, Path::new("/r"), b"").unwrap().remove();
        assert!(!place.directory.exists());
    }

    #[test]
    fn a_forked_child_removes_nothing() {
        let place = place();
        let mut marker = leave_in(&place.directory, Path::new("/r"), b"").unwrap();
        marker.pid += 1;
        let path = marker.path.clone();
        assert!(!marker.is_ours());
        marker.remove();
        assert!(path.exists());
    }

    #[test]
    fn what_others_could_have_put_there_is_not_used() {
        let place = place();
        let elsewhere = place.directory.with_extension("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, &place.directory).unwrap();
        assert!(leave_in(&place.directory, Path::new("/r"), b"").is_err(), "a symbolic link");
        fs::remove_file(&place.directory).unwrap();
        fs::write(&place.directory, "").unwrap();
        assert!(leave_in(&place.directory, Path::new("/r"), b"").is_err(), "a file");
        fs::remove_file(&place.directory).unwrap();
        for mode in [0o755, 0o770, 0o1700, 0o777] {
            fs::create_dir(&place.directory).unwrap();
            fs::set_permissions(&place.directory, fs::Permissions::from_mode(mode)).unwrap();
            assert!(leave_in(&place.directory, Path::new("/r"), b"").is_err(), "{mode:o}");
            assert_eq!(fs::read_dir(&place.directory).unwrap().count(), 0);
            fs::remove_dir(&place.directory).unwrap();
        }
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_another_user_is_not_used() {
        let place = place();
        DirBuilder::new().mode(0o700).create(&place.directory).unwrap();
        if std::os::unix::fs::chown(&place.directory, Some(1), None).is_err() {
            println!("skipped: only root can give a directory away");
            return;
        }
        let refusal =
            leave_below(std::slice::from_ref(&place.directory), Path::new("/r"), b"").err().unwrap();
        assert!(refusal.to_string().starts_with(&place.directory.display().to_string()), "{refusal}");
        assert_eq!(fs::read_dir(&place.directory).unwrap().count(), 0);
    }

    #[test]
    fn where_one_place_is_refused_the_next_is_used() {
        let place = place();
        let missing = place.directory.join("missing").join("hitlog");
        let marker = leave_below(&[missing, place.directory.clone()], Path::new("/r"), b"").unwrap();
        assert_eq!(marker.path.parent(), Some(&*place.directory));
    }

    #[test]
    fn markers_of_the_dead_are_swept_and_others_left() {
        let place = place();
        make_private(&place.directory).unwrap();
        let namespace = pid_namespace().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let start = process(child.id()).unwrap().start_ticks;
        child.wait().unwrap();
        let (dead, own) = (child.id(), std::process::id());
        let gone = [
            format!("{dead}-{start}-{namespace}"),
            format!("{dead}-{start}-{namespace}.part"),
            format!("{own}-1-{namespace}"),
        ];
        let left = [format!("{dead}-{start}-1"), "something else".into(), own_name().unwrap()];
        for name in gone.iter().chain(&left[..2]) {
            fs::write(place.directory.join(name), "").unwrap();
        }
        let _marker = leave_in(&place.directory, Path::new("/r"), b"").unwrap();
        let there = |name: &String| place.directory.join(name).exists();
        assert_eq!(gone.map(|name| there(&name)), [false; 3]);
        assert_eq!(left.map(|name| there(&name)), [true; 3]);
    }

    #[test]
    fn twenty_processes_come_and_go_in_one_directory() {
        let place = place();
        std::thread::scope(|scope| {
            for number in 0..20 {
                let path = place.directory.join(format!("{number}-1-1"));
                let directory = &place.directory;
                scope.spawn(move || {
                    for _ in 0..50 {
                        while make_private(directory).and_then(|()| write_whole(&path, b"x")).is_err() {
                        }
                        RunMarker { path: path.clone(), pid: std::process::id(), context: Vec::new() }
                            .remove();
                    }
                });
            }
        });
        assert!(!place.directory.exists());
    }
}
