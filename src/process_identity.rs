//! What the system tells of a process that stays the same as long as it lives: with pid, start, boot and pid
//! namespace, the writer of a log can be told from every other process. The writer takes it down, the
//! reader compares.

use std::fs;
use std::io::Read;

/// A process as its entry in `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Start in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Whether it has ended and only waits for its parent to look.
    pub(crate) is_zombie: bool,
}

/// The process `pid`, a number or `self`; `None` if there is none.
pub(crate) fn process(pid: impl std::fmt::Display) -> Option<Process> {
    let stat = read_start(&format!("/proc/{pid}/stat"), 1024);
    // The second field is the command in parentheses and may hold anything, also blanks and ')'.
    let end_of_command = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(&stat[end_of_command + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let is_zombie = matches!(fields.next()?, "Z" | "X"); // field 3
    let start_ticks = fields.nth(18)?.parse().ok()?; // field 22
    Some(Process { start_ticks, is_zombie })
}

/// The system's boot id, in the order in which it is written.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    parse_boot_id(str::from_utf8(&boot_id_text()).ok()?)
}

/// The boot id as the kernel prints it, with the end of its line; empty if unknown.
pub(crate) fn boot_id_text() -> Vec<u8> {
    read_start("/proc/sys/kernel/random/boot_id", 64)
}

/// The 16 bytes of a boot id as the kernel prints it (`8-4-4-4-12` hexadecimal digits).
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().split('-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(std::array::from_fn(|index| (number >> (120 - 8 * index)) as u8))
}

/// Inode number of this process's pid namespace.
pub(crate) fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

/// At most `length` bytes of a file of the kernel's, which gives them in one read; empty if unknown.
/// `fs::read` would ask for the size, which is 0, and begin with small reads.
pub(crate) fn read_start(path: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let got = fs::File::open(path).and_then(|mut file| file.read(&mut bytes));
    bytes.truncate(got.unwrap_or(0));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_under_both_names() {
        let own = process(std::process::id()).unwrap();
        assert_eq!(process("self"), Some(own));
        assert!(own.start_ticks > 0 && !own.is_zombie);
        assert!(pid_namespace().is_some_and(|inode| inode > 0));
        assert!(boot_id().is_some());
        assert_eq!(process(0), None);
    }

    #[test]
    fn a_child_that_nobody_waited_for_is_a_zombie() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let mut ends = (0..).map(|_| process(child.id()));
        assert!(ends.any(|child| child.is_some_and(|child| child.is_zombie)));
        child.wait().unwrap();
        assert_eq!(process(child.id()), None);
    }

    #[test]
    fn a_boot_id_is_read_or_unknown() {
        let text = "00010203-0405-0607-0809-0a0b0c0d0eff\n";
        let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(parse_boot_id(text), Some(expected));
        assert_eq!(parse_boot_id("0001"), None);
        assert_eq!(parse_boot_id(""), None);
    }
}
