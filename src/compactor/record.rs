//! Rows in SQLite's record format: what each column is, then the columns.
//!
//! ```text
//! | bytes of the header | a serial type for each column | the columns, one after the other |
//! ```

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

impl From<u32> for Column<'_> {
    fn from(number: u32) -> Self {
        Column::Integer(number.into())
    }
}

impl From<u64> for Column<'_> {
    /// SQLite's integers have a sign: the same bits.
    fn from(number: u64) -> Self {
        Column::Integer(number.cast_signed())
    }
}

impl From<i32> for Column<'_> {
    fn from(number: i32) -> Self {
        Column::Integer(number.into())
    }
}

impl Column<'_> {
    /// Its serial type, and how many bytes of an integer are stored.
    #[inline]
    fn serial_type(self) -> (u64, usize) {
        match self {
            Column::Null => (0, 0),
            Column::Integer(0) => (8, 0),
            Column::Integer(1) => (9, 0),
            Column::Integer(number) => {
                let bits = 65 - (number ^ number >> 63).leading_zeros();
                match bits.div_ceil(8) {
                    bytes @ 1..=4 => (bytes.into(), bytes as usize),
                    5 | 6 => (5, 6),
                    _ => (6, 8),
                }
            }
            Column::Text(text) => (13 + 2 * text.len() as u64, 0),
            Column::Blob(bytes) => (12 + 2 * bytes.len() as u64, 0),
        }
    }
}

/// Puts the record of a row of `columns`, of which there are at most a dozen, in the place of `record`.
#[inline]
pub(super) fn write_record<const N: usize>(record: &mut Vec<u8>, columns: &[Column<'_>; N]) {
    let types = columns.map(Column::serial_type);
    record.clear();
    // A serial type takes at most nine bytes: the length of the header is one.
    record.push(0);
    types.iter().for_each(|(serial_type, _)| push_varint(record, *serial_type));
    record[0] = record.len() as u8;
    for (column, (_, stored)) in columns.iter().zip(types) {
        match *column {
            Column::Null => {}
            Column::Integer(number) => {
                let bytes = (number << (64 - 8 * stored.max(1))).to_be_bytes();
                record.extend_from_slice(&bytes[..stored]);
            }
            Column::Text(text) => record.extend_from_slice(text.as_bytes()),
            Column::Blob(bytes) => record.extend_from_slice(bytes),
        }
    }
}

/// Appends `number` as a variable-length integer: seven bits to a byte, the highest first; a ninth byte has
/// eight.
#[inline]
pub(super) fn push_varint(bytes: &mut Vec<u8>, number: u64) {
    match number {
        0..0x80 => bytes.push(number as u8),
        _ => push_long_varint(bytes, number),
    }
}

fn push_long_varint(bytes: &mut Vec<u8>, number: u64) {
    if number >> 56 != 0 {
        let high = number >> 8;
        (0..8).rev().for_each(|at| bytes.push((high >> (7 * at)) as u8 | 0x80));
        return bytes.push(number as u8);
    }
    let groups = (64 - number.leading_zeros()).div_ceil(7);
    (1..groups).rev().for_each(|at| bytes.push((number >> (7 * at)) as u8 | 0x80));
    bytes.push(number as u8 & 0x7F);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_varint_has_seven_bits_to_a_byte() {
        let of = |number| {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            bytes
        };
        assert_eq!((of(0), of(127), of(128)), (vec![0], vec![127], vec![0x81, 0]));
        assert_eq!((of(300), of(16_384)), (vec![0x82, 0x2C], vec![0x81, 0x80, 0]));
        assert_eq!(of((1 << 56) - 1), [0xFF; 7].into_iter().chain([0x7F]).collect::<Vec<u8>>());
        assert_eq!(of(u64::MAX), [0xFF; 9]);
        assert_eq!(of(1 << 56), [0x80, 0xC0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]);
    }

    proptest! {
        /// A number takes as few bytes as can be, and these are the number.
        #[test]
        fn integers_are_as_short_as_can_be(number: i64, shift in 0..64u32) {
            let number = number >> shift;
            let mut record = Vec::new();
            write_record(&mut record, &[Column::Integer(number)]);
            let stored = &record[2..];
            let widths = [(8, 0), (9, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 8)];
            prop_assert!(widths.contains(&(record[1], stored.len())));
            let filled = if stored.first().is_some_and(|byte| byte >> 7 == 1) { 0xFF } else { 0 };
            let mut bytes = [filled; 8];
            bytes[8 - stored.len()..].copy_from_slice(stored);
            let found = if record[1] == 9 { 1 } else { i64::from_be_bytes(bytes) };
            prop_assert_eq!(found, number);
            let fits = |bytes: usize| number >> (8 * bytes - 1) == 0 || number >> (8 * bytes - 1) == -1;
            let narrower = [1, 2, 3, 4, 6].into_iter().filter(|bytes| *bytes < stored.len());
            prop_assert!(narrower.into_iter().all(|bytes| !fits(bytes)));
        }
    }
}
