//! Directories that others can write to, or nobody can: logs are private whatever the umask, what others
//! planted is neither followed nor overwritten, and identities that are taken are left alone.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use common::{Content, logs};
use hitlog::Recorder;
use hitlog::format::LogId;
use hitlog::storage::{self, Storage};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The umask is that of the whole process.
static UMASK: Mutex<()> = Mutex::new(());

fn with_umask(mask: libc::mode_t, work: impl FnOnce()) {
    let _guard = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: sets a number of this process.
    let before = unsafe { libc::umask(mask) };
    work();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn record(run: &Path) {
    let recorder = Recorder::open(run).unwrap();
    recorder.line(recorder.file("a.py"), 1);
}

#[test]
fn logs_and_their_directory_are_private_under_every_umask() {
    for mask in [0o000, 0o022, 0o027, 0o077] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join(".hitlog").join("run");
        with_umask(mask, || record(&run));
        assert_eq!(mode(&run), 0o700, "umask {mask:o}");
        assert_eq!(mode(&logs(&run)[0]), 0o600, "umask {mask:o}");
    }
}

#[test]
fn a_directory_that_is_there_keeps_its_permissions_and_its_logs_are_private() {
    for permissions in [0o777, 0o1777, 0o755, 0o700] {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(permissions)).unwrap();
        with_umask(0, || record(folder.path()));
        assert_eq!(mode(folder.path()), permissions);
        assert_eq!(mode(&logs(folder.path())[0]), 0o600, "in a directory of {permissions:o}");
    }
}

/// Whoever could foresee a log's name would plant a link there; the name is random, and the link would not
/// be followed.
#[test]
fn what_is_planted_in_the_place_of_a_log_is_neither_followed_nor_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let at = |name: &str| folder.path().join(name);
    symlink(&victim, at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::hard_link(&victim, at("hard")).unwrap();
    fs::write(at("file"), "theirs").unwrap();
    for name in ["link", "dangling", "hard", "file"] {
        let error = storage::create(&at(name)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(!at("nowhere").exists());
}

#[test]
fn a_thousand_taken_identities_are_left_alone() {
    const TAKEN: u32 = 900;
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let tries = Arc::new(AtomicU32::new(0));
        let (directory, counted) = (folder.path().to_owned(), Arc::clone(&tries));
        let open = move |_: u32, log_id: &LogId| -> io::Result<Box<dyn Storage>> {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{:02x?}-{number}", log_id[0]));
            if number < TAKEN {
                fs::write(&path, "somebody else's").unwrap();
            }
            storage::create(&path)
        };
        let recorder = Recorder::with_storage(Box::new(open), b"run".to_vec(), folder.path().into());
        let recorder = recorder.unwrap();
        recorder.line(recorder.file("a.py"), 1);
        drop(recorder);
        assert_eq!(tries.load(Ordering::Relaxed), TAKEN + 1);
        let (theirs, ours): (Vec<_>, Vec<_>) =
            logs(folder.path()).into_iter().partition(|path| path.metadata().unwrap().len() < 100);
        assert_eq!((theirs.len() as u32, ours.len()), (TAKEN, 1));
        assert!(theirs.iter().all(|path| fs::read(path).unwrap() == b"somebody else's"));
        assert_eq!(Content::read(&ours[0]).lines().len(), 1);
    }
}

/// Runs `work` in a child that is nobody; `None` where only root may become that.
fn as_nobody(work: impl FnOnce() -> bool) -> Option<bool> {
    const NOBODY: u32 = 65_534;
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: becoming another user needs root");
        return None;
    }
    // SAFETY: the child uses memory, system calls and the recorder, and never returns.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: for this child only.
            let is_nobody = unsafe { libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0 };
            let is_fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
            // SAFETY: ends the child without the harness's exit handlers.
            unsafe { libc::_exit(i32::from(!(is_nobody && is_fine))) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` is a valid place for the result.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            Some(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)
        }
    }
}

#[test]
fn where_nothing_may_be_written_a_recorder_says_so_and_the_host_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = folder.path().to_owned();
    let refused = as_nobody(move || {
        let message = Recorder::open(&run).err().map(|error| error.to_string()).unwrap_or_default();
        message.contains("Permission denied") && Recorder::open(run.join("deeper")).is_err()
    });
    assert_ne!(refused, Some(false));
    assert_eq!(logs(folder.path()).len(), 0);
}

#[test]
fn users_share_a_sticky_directory_and_not_their_logs() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    record(folder.path());
    let ours = logs(folder.path())[0].clone();
    let (run, path) = (folder.path().to_owned(), ours.clone());
    let is_fine = as_nobody(move || {
        record(&run);
        fs::read(&path).is_err() && fs::remove_file(&path).is_err()
    });
    let Some(is_fine) = is_fine else { return };
    assert!(is_fine);
    let owners: Vec<u32> =
        logs(folder.path()).iter().map(|log| log.metadata().unwrap().uid()).collect();
    assert_eq!((owners.len(), owners.contains(&0), owners.contains(&65_534)), (2, true, true));
}
