//! A row in SQLite's record format, as it is read.

use super::damaged;
use rusqlite::Result;

/// Bytes that are taken from their beginning.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'bytes>(pub(super) &'bytes [u8]);

impl<'bytes> Bytes<'bytes> {
    fn take(&mut self, length: usize) -> Result<&'bytes [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        let taken = self.take(4)?;
        Ok(u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    /// Seven bits of each byte but the ninth, which is the last one and has eight.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64> {
        match self.0.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for (position, byte) in self.0.iter().enumerate().take(9) {
            let is_ninth = position == 8;
            number = if is_ninth {
                number << 8 | u64::from(*byte)
            } else {
                number << 7 | u64::from(byte & 0x7f)
            };
            if is_ninth || *byte < 0x80 {
                self.0 = &self.0[position + 1..];
                return Ok(number);
            }
        }
        Err(damaged())
    }
}

/// The columns of a row, which are taken in their order.
pub(in crate::query) struct Record<'row> {
    types: Bytes<'row>,
    values: Bytes<'row>,
}

impl<'row> Record<'row> {
    pub(super) fn new(record: &'row [u8]) -> Result<Record<'row>> {
        let mut types = Bytes(record);
        let length = usize::try_from(types.varint()?).map_err(|_| damaged())?;
        let (head, values) = record.split_at_checked(length).ok_or_else(damaged)?;
        let taken = record.len() - types.0.len();
        Ok(Record { types: Bytes(head.get(taken..).ok_or_else(damaged)?), values: Bytes(values) })
    }

    /// The next column, if it is an integer.
    #[inline]
    pub(in crate::query) fn integer(&mut self) -> Result<i64> {
        let length = match self.types.varint()? {
            length @ 1..=4 => length as usize,
            5 => 6,
            6 => 8,
            8 => return Ok(0),
            9 => return Ok(1),
            _ => return Err(damaged()),
        };
        Ok(match *self.values.take(length)? {
            [a] => i64::from(i8::from_be_bytes([a])),
            [a, b] => i64::from(i16::from_be_bytes([a, b])),
            [a, b, c] => i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8),
            [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
            [a, b, c, d, e, f] => i64::from_be_bytes([a, b, c, d, e, f, 0, 0]) >> 16,
            [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(damaged()),
        })
    }

    /// The next columns, if they are integers.
    #[inline]
    pub(in crate::query) fn integers<const COLUMNS: usize>(&mut self) -> Result<[i64; COLUMNS]> {
        let mut integers = [0; COLUMNS];
        for integer in &mut integers {
            *integer = self.integer()?;
        }
        Ok(integers)
    }

    /// The next column, if it is a blob.
    pub(in crate::query) fn blob(&mut self) -> Result<&'row [u8]> {
        match self.types.varint()? {
            length if length >= 12 && length % 2 == 0 => {
                self.values.take(usize::try_from((length - 12) / 2).map_err(|_| damaged())?)
            }
            _ => Err(damaged()),
        }
    }
}
