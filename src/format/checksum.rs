//! CRC-32/IEEE (the polynomial of zlib, PNG and Ethernet, reflected, 0xEDB88320) of a record held in
//! registers.
//!
//! The writer has its record as words, never as bytes: filling a byte array and handing that to a
//! CRC over slices stalls on store forwarding (five times the cost of the whole append). The tables
//! are "slicing by 8" (Kounavis and Berry, 2005): eight tables of 256 words, made at compile time.
//! `crc32fast` computes the same value from bytes and is the oracle in the tests and the reader's tool.

const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[k][b]`: what byte `b` does to the register when `k` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 1 == 1 { register >> 1 ^ POLYNOMIAL } else { register >> 1 };
            bit += 1;
        }
        tables[0][byte] = register;
        byte += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[distance - 1][byte];
            tables[distance][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        distance += 1;
    }
    tables
}

#[inline(always)]
const fn step8(register: u32, word: u64) -> u32 {
    let x = word ^ register as u64;
    TABLES[7][(x & 0xFF) as usize]
        ^ TABLES[6][(x >> 8 & 0xFF) as usize]
        ^ TABLES[5][(x >> 16 & 0xFF) as usize]
        ^ TABLES[4][(x >> 24 & 0xFF) as usize]
        ^ TABLES[3][(x >> 32 & 0xFF) as usize]
        ^ TABLES[2][(x >> 40 & 0xFF) as usize]
        ^ TABLES[1][(x >> 48 & 0xFF) as usize]
        ^ TABLES[0][(x >> 56) as usize]
}

#[inline(always)]
const fn step4(register: u32, word: u32) -> u32 {
    let x = word ^ register;
    TABLES[3][(x & 0xFF) as usize]
        ^ TABLES[2][(x >> 8 & 0xFF) as usize]
        ^ TABLES[1][(x >> 16 & 0xFF) as usize]
        ^ TABLES[0][(x >> 24) as usize]
}

/// CRC-32/IEEE of the 28 bytes that `words` and `last` are in little-endian order.
///
/// ```
/// let crc = hitlog::format::checksum::crc32_of_words([1, 2, 3], 4);
/// let mut bytes = [0; 28];
/// (bytes[0], bytes[8], bytes[16], bytes[24]) = (1, 2, 3, 4);
/// assert_eq!(crc, crc32fast::hash(&bytes));
/// ```
#[inline(always)]
#[must_use]
pub const fn crc32_of_words(words: [u64; 3], last: u32) -> u32 {
    let register = step8(step8(step8(!0, words[0]), words[1]), words[2]);
    !step4(register, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use byteorder::{ByteOrder, LittleEndian};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_crc32fast(words: [u64; 3], last: u32) {
            let mut bytes = [0; 28];
            LittleEndian::write_u64_into(&words, &mut bytes[..24]);
            LittleEndian::write_u32(&mut bytes[24..], last);
            prop_assert_eq!(crc32_of_words(words, last), crc32fast::hash(&bytes));
        }
    }
}
