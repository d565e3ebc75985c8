//! How a log's file is named: `<pid>-<log id>.hitlog`.
//!
//! The log id stands in the name so that a log whose header is lost in both copies can still be
//! read: the id is all that a reader needs to tell this log's records from foreign ones.

use super::LogId;

/// The extension of a log's file, without the dot.
pub const FILE_EXTENSION: &str = "hitlog";

/// The file name of the log `log_id` written by process `pid`.
///
/// ```
/// let name = hitlog::format::log_file_name(4711, &[0xab; 16]);
/// assert_eq!(name, "4711-abababababababababababababababab.hitlog");
/// assert_eq!(hitlog::format::parse_log_file_name(&name), Some((4711, [0xab; 16])));
/// ```
#[must_use]
pub fn log_file_name(pid: u32, log_id: &LogId) -> String {
    use std::fmt::Write as _;
    let mut name = format!("{pid}-");
    for byte in log_id {
        let _ = write!(name, "{byte:02x}");
    }
    name.push('.');
    name.push_str(FILE_EXTENSION);
    name
}

/// The pid and the log id in a log's file name; `None` if `name` is not one of a log.
#[must_use]
pub fn parse_log_file_name(name: &str) -> Option<(u32, LogId)> {
    let (pid, rest) = name.split_once('-')?;
    let hex = rest.strip_suffix(FILE_EXTENSION)?.strip_suffix('.')?;
    if hex.len() != 32 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut log_id = [0; 16];
    for (index, byte) in log_id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some((pid.parse().ok()?, log_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_not_logs() {
        for name in ["", "1-.hitlog", "x-abababababababababababababababab.hitlog", "run.json"] {
            assert_eq!(parse_log_file_name(name), None, "{name}");
        }
        let upper = "1-ABABABABABABABABABABABABABABABAB.hitlog";
        assert_eq!(parse_log_file_name(upper), None, "one spelling only");
    }
}
