//! How numbers, times and processes are put into words for people.

use crate::format::{Header, SlotDamage};
use crate::reader::escaped;

/// `number` with its digits in groups of three: `1,203,551`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2,000 records`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

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

/// Nanoseconds since 1970 as `2026-11-20 10:15:02.123456789 UTC`.
pub(super) fn utc(ns: i64) -> String {
    let (seconds, ns) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ns:09} UTC")
}

/// Year, month and day of the day `days` after 1970-01-01 in the Gregorian calendar. Counted in years
/// that begin in March, so that the leap day is the last day of its year.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097)); // 400 years each
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups() {
        let expected = [(0, "0"), (999, "999"), (1000, "1,000"), (1_203_551, "1,203,551")];
        for (number, text) in expected {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(2, "record"), "2 records");
    }

    #[test]
    fn times_are_dates_of_the_gregorian_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000000000 UTC");
        assert_eq!(utc(-1), "1969-12-31 23:59:59.999999999 UTC");
        assert_eq!(utc(951_782_400_000_000_005), "2000-02-29 00:00:00.000000005 UTC");
        assert_eq!(utc(1_795_169_702_000_000_000), "2026-11-20 10:15:02.000000000 UTC");
        assert_eq!(utc(i64::MAX), "2262-04-11 23:47:16.854775807 UTC");
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
