//! Where the next data of a sparse file begins.

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// The offset of the first byte at or after `offset` that may hold data; `None` if there is none up to
/// the end of the file, or if the system cannot tell (then the file must be read).
///
/// Moves the file's own position, which nobody here uses: all reads name their offset.
pub(super) fn next_data(file: &File, offset: u64) -> NextData {
    let Ok(start) = libc::off_t::try_from(offset) else { return NextData::Unknown };
    // SAFETY: lseek takes no pointer; the descriptor is open as long as `file` is borrowed.
    let found = unsafe { libc::lseek(file.as_raw_fd(), start, libc::SEEK_DATA) };
    match u64::try_from(found) {
        Ok(found) => NextData::At(found),
        Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::ENXIO) => NextData::None,
        Err(_) => NextData::Unknown,
    }
}

/// What [`next_data`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextData {
    /// Data begins here; all before it reads as zeros.
    At(u64),
    /// Only zeros follow, to the end of the file.
    None,
    /// The file system does not tell.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn data_behind_a_hole_is_found() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"x", 32 << 20).unwrap();
        // A file system without holes answers with the offset it was asked for.
        assert!(matches!(next_data(&file, 0), NextData::At(at) if at <= 32 << 20));
        assert_ne!(next_data(&file, 32 << 20), NextData::None);
        assert_ne!(next_data(&file, (64 << 20) - 1), NextData::Unknown);
        assert_eq!(next_data(&file, 64 << 20), NextData::None);
    }

    #[test]
    fn what_cannot_be_told_is_not_taken_for_zeros() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(next_data(&File::from(OwnedFd::from(reader)), 0), NextData::Unknown);
        assert_eq!(next_data(&tempfile::tempfile().unwrap(), u64::MAX), NextData::Unknown);
    }
}
