//! How numbers, times and processes are put into words for people.

pub(super) use crate::compactor::wording::{counted, grouped, size};

use crate::calendar::date_and_time;
use crate::format::{Header, SlotDamage};
use crate::query::paths::from_here;
use crate::reader::escaped;
use std::fmt::Display;
use std::path::Path;

/// Why a slot is damaged, in one word.
pub(super) fn damage_word(damage: SlotDamage) -> &'static str {
    match damage {
        SlotDamage::Checksum => "checksum",
        SlotDamage::Content => "content",
        SlotDamage::Unreadable => "unreadable",
    }
}

/// The arguments of the process's command line.
pub(super) fn arguments_of(header: &Header) -> impl Iterator<Item = &[u8]> {
    header.argv.split_inclusive(|byte| *byte == 0).map(|word| word.strip_suffix(&[0]).unwrap_or(word))
}

/// The process's command line on one line.
pub(super) fn label(header: &Header) -> String {
    let words: Vec<_> = arguments_of(header).map(escaped).collect();
    let mut text = words.join(" ").replace(char::is_control, " ");
    if header.argv_cut {
        text.push_str(" ...");
    }
    text
}

/// A duration for people: `0.4 ms`, `12 ms`, `1.9 s`.
pub(super) fn duration(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    match ms {
        ms if ms < 0.995 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 99_950.0 => format!("{:.1} s", ms / 1e3),
        ms => format!("{} s", grouped((ms / 1e3).round() as u64)),
    }
}

/// A name or a path on one line, without what a terminal would obey.
pub(super) fn one_line(text: impl Display) -> String {
    text.to_string().replace(char::is_control, " ")
}

/// A recorded path as a user of the current folder would write it, on one line.
pub(super) fn shown_path(path: impl AsRef<Path>) -> String {
    one_line(from_here(path.as_ref()))
}

/// Nanoseconds since 1970 as `2026-11-20 10:15:02.123456789 UTC`.
pub(super) fn utc(ns: i64) -> String {
    let (seconds, ns) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ns:09} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_of_the_gregorian_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000000000 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59.999999999 UTC");
        assert_eq!(utc(951_782_400_000_000_005), "2000-02-29 00:00:00.000000005 UTC");
        assert_eq!(utc(1_795_169_702_000_000_000), "2026-11-20 10:15:02.000000000 UTC");
        assert_eq!(utc(i64::MAX), "2262-04-11 23:47:16.854775807 UTC");
    }

    #[test]
    fn durations_have_two_or_three_digits() {
        let expected = [
            (0, "0.0 ms"),
            (420_000, "0.4 ms"),
            (994_999, "1.0 ms"),
            (12_345_678, "12 ms"),
            (999_499_999, "999 ms"),
            (1_900_000_000, "1.9 s"),
            (1_234_400_000_000, "1,234 s"),
        ];
        expected.iter().for_each(|(ns, text)| assert_eq!(duration(*ns), *text));
    }

    #[test]
    fn a_command_line_is_one_line() {
        let header = Header { argv: b"python\0-c\0a\nb\0".to_vec(), ..Header::default() };
        assert_eq!(label(&header), "python -c a b");
        assert_eq!(arguments_of(&header).count(), 3);
        let cut = Header { argv: b"python\0\0x".to_vec(), argv_cut: true, ..Header::default() };
        assert_eq!(label(&cut), "python  x ...");
        assert_eq!(arguments_of(&cut).collect::<Vec<_>>(), [&b"python"[..], b"", b"x"]);
    }
}
