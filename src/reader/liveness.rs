//! Whether the process that writes a log is still there.
//!
//! The writer holds a lock (flock) on its log. That is only a hint: a forked child or a mapping can
//! keep the lock after the process died. So where it can be asked - same boot, same pid namespace -
//! the process itself decides: it must have the pid *and* the start time of the header.

use crate::format::{BOOT_ID_UNKNOWN, Header};
use crate::process_identity::{boot_id, pid_namespace, process};
use fs2::FileExt;
use std::fs::File;
use std::io::ErrorKind;

/// Whether the writer of the log `file` with header `header` is alive. `file` must be an open file
/// description of its own: the lock taken here would otherwise be shared with other readers of it.
pub(super) fn is_writer_alive(file: &File, header: Option<&Header>) -> bool {
    let locked = match FileExt::try_lock_shared(file) {
        Ok(()) => {
            let _ = FileExt::unlock(file);
            Some(false)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(true),
        Err(_) => None,
    };
    decide(locked, header.map_or(Process::Unknown, process_of))
}

/// What is known of the process that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Present,
    Gone,
    Unknown,
}

/// `locked` is `None` where the file system has no locks.
fn decide(locked: Option<bool>, process: Process) -> bool {
    match process {
        Process::Gone => false,
        Process::Present => locked.unwrap_or(true),
        Process::Unknown => locked.unwrap_or(false),
    }
}

fn process_of(header: &Header) -> Process {
    let Some(boot_id) = boot_id().filter(|_| header.boot_id != BOOT_ID_UNKNOWN) else {
        return Process::Unknown;
    };
    if boot_id != header.boot_id {
        return Process::Gone;
    }
    if header.pid_namespace == 0 || pid_namespace() != Some(header.pid_namespace) {
        return Process::Unknown;
    }
    match start_ticks(header.pid) {
        Some(ticks) if header.process_start_ticks == 0 || ticks == header.process_start_ticks => {
            Process::Present
        }
        _ => Process::Gone,
    }
}

/// Start of the living process `pid`, in clock ticks since boot; `None` if there is none, or only a
/// zombie, which writes no more.
fn start_ticks(pid: u32) -> Option<u64> {
    Some(process(pid).filter(|process| !process.is_zombie)?.start_ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt as _;

    fn own_header() -> Header {
        Header {
            pid: std::process::id(),
            process_start_ticks: process("self").unwrap().start_ticks,
            pid_namespace: pid_namespace().unwrap(),
            boot_id: boot_id().unwrap(),
            ..Header::default()
        }
    }

    #[test]
    fn the_process_decides_where_it_can_be_asked() {
        assert_eq!(process_of(&own_header()), Process::Present);
        let other_start = Header { process_start_ticks: 1, ..own_header() };
        assert_eq!(process_of(&other_start), Process::Gone, "the pid was given to another process");
        let other_boot = Header { boot_id: [1; 16], ..own_header() };
        assert_eq!(process_of(&other_boot), Process::Gone);
        let other_namespace = Header { pid_namespace: 1, ..own_header() };
        assert_eq!(process_of(&other_namespace), Process::Unknown);
        let no_boot = Header { boot_id: BOOT_ID_UNKNOWN, ..own_header() };
        assert_eq!(process_of(&no_boot), Process::Unknown);
    }

    #[test]
    fn a_lock_alone_is_only_a_hint() {
        assert!(!decide(Some(true), Process::Gone), "a child of the dead writer holds it");
        assert!(!decide(Some(false), Process::Present), "the process goes on without this log");
        assert!(decide(Some(true), Process::Present));
        assert!(decide(Some(true), Process::Unknown));
        assert!(!decide(Some(false), Process::Unknown));
        assert!(decide(None, Process::Present));
        assert!(!decide(None, Process::Unknown));
    }

    #[test]
    fn a_file_that_takes_no_lock_tells_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // An O_PATH description can only be asked what it is.
        let path_only =
            File::options().read(true).custom_flags(libc::O_PATH).open(file.path()).unwrap();
        assert!(!is_writer_alive(&path_only, None));
        assert!(is_writer_alive(&path_only, Some(&own_header())), "the process tells");
    }

    #[test]
    fn a_held_lock_is_seen_through_another_description() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reader = File::open(file.path()).unwrap();
        assert!(!is_writer_alive(&reader, None));
        FileExt::lock_exclusive(file.as_file()).unwrap();
        assert!(is_writer_alive(&reader, None));
        assert!(is_writer_alive(&reader, Some(&own_header())));
    }
}
