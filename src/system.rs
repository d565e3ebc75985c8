//! What the recorder asks the operating system about itself: clocks, limits, identities.
//!
//! Nothing here fails loudly: what the system does not tell is reported as unknown, because a
//! recorder must not disturb the program it lives in.

use std::ffi::CStr;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use crate::format::{BOOT_ID_UNKNOWN, LogId};

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

/// Facts that stay true across fork.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: Vec<u8>,
    pub(crate) boot_id: [u8; 16],
}

impl Host {
    pub(crate) fn read() -> Host {
        let boot_id = read_start("/proc/sys/kernel/random/boot_id", 64);
        let boot_id = parse_boot_id(&String::from_utf8_lossy(&boot_id));
        Host { name: host_name(), boot_id: boot_id.unwrap_or(BOOT_ID_UNKNOWN) }
    }
}

fn host_name() -> Vec<u8> {
    let mut name = [0; 256];
    // SAFETY: the buffer is valid for the length given, which leaves room for a NUL byte after it.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    CStr::from_bytes_until_nul(&name).map_or(Vec::new(), |name| name.to_bytes().to_vec())
}

/// At most `length` bytes of a file of the kernel's, which gives them in one read; empty if unknown.
/// `fs::read` would ask for the size, which is 0, and begin with small reads.
fn read_start(path: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let got = fs::File::open(path).and_then(|mut file| file.read(&mut bytes));
    bytes.truncate(got.unwrap_or(0));
    bytes
}

/// The 16 bytes of a boot id as the kernel prints it (`8-4-4-4-12` hexadecimal digits).
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim_end().split('-').collect();
    let mut id = [0; 16];
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(id)
}

/// Start of this process in clock ticks since boot; 0 if unknown.
pub(crate) fn process_start_ticks() -> u64 {
    let stat = read_start("/proc/self/stat", 1024);
    // The second field is the command in parentheses and may hold anything, also ')'.
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else { return 0 };
    let rest = String::from_utf8_lossy(&stat[end + 1..]);
    rest.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Inode number of this process's pid namespace; 0 if unknown.
pub(crate) fn pid_namespace() -> u64 {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let text = String::from_utf8_lossy(link.as_os_str().as_bytes()).into_owned();
    let number = text.trim_start_matches("pid:[").trim_end_matches(']');
    number.parse().unwrap_or(0)
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
        assert!(process_start_ticks() > 0);
        assert!(pid_namespace() > 0);
        assert!(argv().ends_with(&[0]));
        assert_ne!(Host::read().boot_id, BOOT_ID_UNKNOWN);
        assert_ne!(random_id().unwrap(), random_id().unwrap());
    }

    #[test]
    fn a_boot_id_is_read_or_unknown() {
        let text = "00010203-0405-0607-0809-0a0b0c0d0eff\n";
        let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(parse_boot_id(text), Some(expected));
        assert_eq!(parse_boot_id("0001"), None);
    }
}
