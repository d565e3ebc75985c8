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

impl<'a> Column<'a> {
    /// The bytes of a text or a blob; an integer has none.
    fn text(self) -> &'a [u8] {
        match self {
            Column::Null | Column::Integer(_) => &[],
            Column::Text(text) => text.as_bytes(),
            Column::Blob(bytes) => bytes,
        }
    }

    /// Its serial type, and how many bytes of an integer are stored.
    #[inline(always)]
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

/// Bytes of the longest variable-length integer.
pub(super) const VARINT_BYTES_MAX: usize = 9;

/// Bytes of the longest integer.
const INTEGER_BYTES_MAX: usize = 8;

/// The record of a row of `columns`, made in `space`, which only grows.
#[inline]
pub(super) fn write_record<'space, const N: usize>(
    space: &'space mut Vec<u8>,
    columns: &[Column<'_>; N],
) -> &'space [u8] {
    const { assert!(1 + N * VARINT_BYTES_MAX < 0x80, "the length of the header is one byte") };
    // Not by `map`, which is not compiled into the loop.
    let mut types = [(0, 0); N];
    types.iter_mut().zip(columns).for_each(|(its, column)| *its = column.serial_type());
    let texts: usize = columns.iter().map(|column| column.text().len()).sum();
    let most = 1 + N * (VARINT_BYTES_MAX + INTEGER_BYTES_MAX) + texts;
    if space.len() < most {
        space.resize(most, 0);
    }
    let mut at = 1;
    types.iter().for_each(|(serial_type, _)| put_varint(space, &mut at, *serial_type));
    space[0] = at as u8;
    for (column, (_, stored)) in columns.iter().zip(types) {
        if let Column::Integer(number) = *column {
            // All eight bytes are stored, which is faster; the next column goes over what is too much.
            let bytes = (number << (64 - 8 * stored.max(1))).to_be_bytes();
            space[at..at + INTEGER_BYTES_MAX].copy_from_slice(&bytes);
            at += stored;
        } else {
            let text = column.text();
            space[at..at + text.len()].copy_from_slice(text);
            at += text.len();
        }
    }
    &space[..at]
}

/// Puts `number` at `at` as a variable-length integer, and `at` behind it: seven bits to a byte, the highest
/// first; a ninth byte has eight.
#[inline]
pub(super) fn put_varint(bytes: &mut [u8], at: &mut usize, number: u64) {
    match number {
        0..0x80 => {
            bytes[*at] = number as u8;
            *at += 1;
        }
        _ => put_long_varint(bytes, at, number),
    }
}

fn put_long_varint(bytes: &mut [u8], at: &mut usize, number: u64) {
    let mut put = |byte: u8| {
        bytes[*at] = byte;
        *at += 1;
    };
    if number >> 56 != 0 {
        let high = number >> 8;
        (0..8).rev().for_each(|group| put((high >> (7 * group)) as u8 | 0x80));
        return put(number as u8);
    }
    let groups = (64 - number.leading_zeros()).div_ceil(7);
    (1..groups).rev().for_each(|group| put((number >> (7 * group)) as u8 | 0x80));
    put(number as u8 & 0x7F);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_varint_has_seven_bits_to_a_byte() {
        let of = |number| {
            let (mut bytes, mut at) = ([0; VARINT_BYTES_MAX], 0);
            put_varint(&mut bytes, &mut at, number);
            bytes[..at].to_vec()
        };
        assert_eq!((of(0), of(127), of(128)), (vec![0], vec![127], vec![0x81, 0]));
        assert_eq!((of(300), of(16_384)), (vec![0x82, 0x2C], vec![0x81, 0x80, 0]));
        assert_eq!(of((1 << 56) - 1), [0xFF; 7].into_iter().chain([0x7F]).collect::<Vec<u8>>());
        assert_eq!(of(u64::MAX), [0xFF; 9]);
        assert_eq!(of(1 << 56), [0x80, 0xC0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]);
    }

    /// A column read back.
    #[derive(Clone, Debug, PartialEq)]
    enum Value {
        Null,
        Integer(i64),
        Bytes(Vec<u8>),
    }

    fn take_varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for at in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            if at == 8 {
                return number << 8 | u64::from(byte);
            }
            number = number << 7 | u64::from(byte & 0x7F);
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    /// As SQLite's description of its format tells.
    fn columns_of(record: &[u8]) -> Vec<Value> {
        let (mut header, mut content) = record.split_at(usize::from(record[0]));
        header = &header[1..];
        let mut columns = Vec::new();
        while !header.is_empty() {
            let serial_type = take_varint(&mut header);
            let length = match serial_type {
                0 | 8 | 9 => 0,
                1..=4 => serial_type as usize,
                5 => 6,
                6 => 8,
                _ => (serial_type as usize - 12) / 2,
            };
            let (bytes, rest) = content.split_at(length);
            content = rest;
            columns.push(match serial_type {
                0 => Value::Null,
                8 => Value::Integer(0),
                9 => Value::Integer(1),
                1..=6 => {
                    let sign = if bytes[0] >= 0x80 { -1 } else { 0 };
                    Value::Integer(
                        bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte)),
                    )
                }
                _ => Value::Bytes(bytes.to_vec()),
            });
        }
        assert!(content.is_empty(), "{content:?} is left");
        columns
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            (any::<i64>(), 0..64u32).prop_map(|(number, shift)| Value::Integer(number >> shift)),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::Bytes),
        ]
    }

    proptest! {
        /// Whatever stood in the space before.
        #[test]
        fn columns_are_read_back(rows in prop::collection::vec(prop::array::uniform5(any_value()), 1..4)) {
            let mut space = Vec::new();
            for row in rows {
                let columns = row.each_ref().map(|value| match value {
                    Value::Null => Column::Null,
                    Value::Integer(number) => Column::Integer(*number),
                    Value::Bytes(bytes) => Column::Blob(bytes),
                });
                prop_assert_eq!(columns_of(write_record(&mut space, &columns)), row);
            }
        }

        /// A number takes as few bytes as can be, and these are the number.
        #[test]
        fn integers_are_as_short_as_can_be(number: i64, shift in 0..64u32) {
            let number = number >> shift;
            let mut space = Vec::new();
            let record = write_record(&mut space, &[Column::Integer(number)]);
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
