//! Days as dates of the Gregorian calendar.

/// Seconds of a day.
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// Year, month and day, `days` after 1970-01-01. Counted in cycles of 400 years that begin with March, so
/// that a leap day is the last day of its year.
pub(crate) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 0000-03-01
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    (400 * cycle + year, month, day_of_month)
}

/// Date and time of day, `seconds` after 1970-01-01: year, month, day, hour, minute, second.
pub(crate) fn date_and_time(seconds: i64) -> ((i64, i64, i64), (i64, i64, i64)) {
    let second = seconds.rem_euclid(DAY_SECONDS);
    (date(seconds.div_euclid(DAY_SECONDS)), (second / 3600, second / 60 % 60, second % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_years_are_those_of_the_gregorian_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(-1), (1969, 12, 31));
        assert_eq!(date(11_015), (2000, 2, 28));
        assert_eq!(date(11_016), (2000, 2, 29), "every 400 years there is one");
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1), "every 100 years there is none");
        assert_eq!(date_and_time(1_795_169_702), ((2026, 11, 20), (10, 15, 2)));
        assert_eq!(date_and_time(-1), ((1969, 12, 31), (23, 59, 59)));
    }
}
