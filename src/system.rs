//! What the recorder asks the operating system about itself: clocks, limits, identities.
//!
//! Nothing here fails loudly: what the system does not tell is reported as unknown, because a
//! recorder must not disturb the program it lives in.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use crate::format::LogId;
use crate::process_identity::read_start;

/// Nanoseconds of the monotonic clock (`CLOCK_MONOTONIC`), which is common to all processes since boot.
pub(crate) fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) fn wall_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |elapsed| elapsed.as_nanos() as i64)
}

/// The largest file this process may write, in bytes (`RLIMIT_FSIZE`).
pub(crate) fn file_size_limit() -> u64 {
    limit_of(libc::RLIMIT_FSIZE)
}

/// How much address space this process may have, in bytes (`RLIMIT_AS`).
pub(crate) fn address_space_limit() -> u64 {
    limit_of(libc::RLIMIT_AS)
}

fn limit_of(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the result.
    let result = unsafe { libc::getrlimit(resource, &mut limit) };
    if result == 0 { limit.rlim_cur } else { u64::MAX }
}

/// Whether `file` lies in memory, on a tmpfs.
pub(crate) fn is_on_tmpfs(file: &fs::File) -> bool {
    // SAFETY: zero is a value of each field.
    let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open as long as `file` lives; `facts` is a valid place for the result.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), &mut facts) };
    result == 0 && facts.f_type == libc::TMPFS_MAGIC
}

/// 128 random bits.
pub(crate) fn random_id() -> io::Result<LogId> {
    let mut id = LogId::default();
    // SAFETY: the buffer is valid for its length; 16 bytes are never cut short by a signal.
    let got = unsafe { libc::getrandom(id.as_mut_ptr().cast(), id.len(), 0) };
    if got == id.len() as isize { Ok(id) } else { Err(io::Error::last_os_error()) }
}

/// Name of the host.
pub(crate) fn host_name() -> Vec<u8> {
    let mut name = [0; 256];
    // SAFETY: the buffer is valid for the length given, which leaves room for a NUL byte after it.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    CStr::from_bytes_until_nul(&name).map_or(Vec::new(), |name| name.to_bytes().to_vec())
}

/// The command line: each argument followed by a NUL byte, at most 4096 bytes.
pub(crate) fn argv() -> Vec<u8> {
    read_start("/proc/self/cmdline", 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        assert!(argv().ends_with(&[0]));
        assert!(!host_name().is_empty());
        assert_ne!(random_id().unwrap(), random_id().unwrap());
        assert!(monotonic_ns() > 0 && wall_ns() > 0);
    }
}
