//! How numbers, sizes and times are put into words.

use crate::calendar::date_and_time;

/// `number` with its digits in groups of three: `1,203,551`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

/// `1 file`, `2,000 files`; what ends in s or x gets `es`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let ending = match what.as_bytes().last() {
        _ if number == 1 => "",
        Some(b's' | b'x') => "es",
        _ => "s",
    };
    format!("{} {what}{ending}", grouped(number))
}

/// `512 bytes`, `6.1 MB`: as disks are sold, by thousands.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.iter().find(|(_, unit)| bytes as f64 >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => counted(bytes, "byte"),
    }
}

/// Nanoseconds since 1970 as ISO 8601, which SQLite's and Python's date functions read:
/// `2026-11-20T10:15:02.123456Z`.
pub(super) fn utc(ns: i64) -> String {
    let (seconds, ns) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", ns / 1000)
}

/// The name of signal `number`, if it is a common one.
pub(crate) fn signal(number: i32) -> String {
    let name = match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        _ => return format!("signal {number}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_their_nouns_agree() {
        let expected = [(0, "0"), (999, "999"), (1000, "1,000"), (1_203_551, "1,203,551")];
        expected.iter().for_each(|(number, text)| assert_eq!(grouped(*number), *text));
        assert_eq!(counted(1, "process"), "1 process");
        assert_eq!(counted(1000, "process"), "1,000 processes");
        assert_eq!(counted(0, "file"), "0 files");
        assert_eq!([size(1), size(999), size(6_100_000)], ["1 byte", "999 bytes", "6.1 MB"]);
    }

    #[test]
    fn times_are_dates_of_the_gregorian_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(utc(951_782_400_000_005_000), "2000-02-29T00:00:00.000005Z");
        assert_eq!(utc(1_795_169_702_123_456_789), "2026-11-20T10:15:02.123456Z");
        assert_eq!(utc(i64::MAX), "2262-04-11T23:47:16.854775Z");
    }
}
