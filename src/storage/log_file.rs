//! A log's file under its own lock, safe against hosts that close file descriptors they do not own.
//!
//! Daemons close every descriptor they find, and the next file they open gets our number. Before each
//! use (once in 256 KiB of log) the descriptor is compared with the identity of the file that was
//! created; one that is not ours any more is left alone, and the file is opened again by its name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::system;

/// Zeros for [`LogFile::extend`], in bytes: larger pieces make the kernel use large folios, which cost
/// three times as much per record when they are first touched.
const ZEROS_SIZE: usize = 64 * 1024;
static ZEROS: [u8; ZEROS_SIZE] = [0; ZEROS_SIZE];

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// Always `Some`, except while it is dropped.
    file: Mutex<Option<File>>,
    /// Whether the file's entry in its directory is on the medium.
    name_synced: AtomicBool,
}

impl LogFile {
    pub(super) fn create(path: &Path) -> io::Result<LogFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = open_beyond_stdio(&mut options, path)?;
        let identity = identity_of(&file)?;
        Ok(LogFile {
            path: path.to_owned(),
            identity,
            file: Mutex::new(Some(file)),
            name_synced: AtomicBool::new(false),
        })
    }

    /// What `work` makes of the file, which is certainly ours.
    pub(super) fn with<R>(&self, work: impl FnOnce(&File) -> io::Result<R>) -> io::Result<R> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match &*file {
            Some(file) if self.is_ours(file) => work(file),
            _ => {
                let again = self.open_again()?;
                let result = work(&again);
                if let Some(stranger) = file.replace(again) {
                    let _ = stranger.into_raw_fd();
                }
                result
            }
        }
    }

    fn is_ours(&self, file: &File) -> bool {
        identity_of(file).ok() == Some(self.identity)
    }

    fn open_again(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = open_beyond_stdio(&mut options, &self.path)?;
        if self.is_ours(&file) { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// See [`Storage::extend`](super::Storage::extend).
    pub(super) fn extend(&self, from: u64, to: u64) -> io::Result<()> {
        refuse_beyond_limit(to)?;
        self.with(|file| {
            let written = write_zeros(file, from, to);
            if written.is_err() {
                // Space that was written but is not used would count as blank slots: give it back.
                let _ = file.set_len(from);
            }
            written
        })
    }

    /// See [`Storage::write`](super::Storage::write).
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        refuse_beyond_limit(offset + bytes.len() as u64)?;
        self.with(|file| file.write_all_at(bytes, offset))
    }

    /// Brings the file and, the first time, its name to the medium. The file's lock is not held
    /// meanwhile: appends go on.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.with(File::try_clone)?.sync_all()?;
        if !self.name_synced.load(Ordering::Acquire) {
            File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
            self.name_synced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// See [`Storage::discard`](super::Storage::discard).
    pub(super) fn discard(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stranger) = file.filter(|file| !self.is_ours(file)) {
            let _ = stranger.into_raw_fd();
        }
    }
}

/// Opens a log with a descriptor that is none of stdin, stdout and stderr: a host that closed those writes
/// to their numbers all the same.
fn open_beyond_stdio(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)?;
    // A clone gets the lowest free number from 3.
    let file = if file.as_raw_fd() < 3 { file.try_clone()? } else { file };
    // A hint for readers that the writer lives; file systems without locks do without.
    let _ = fs2::FileExt::try_lock_exclusive(&file);
    Ok(file)
}

/// Beyond `RLIMIT_FSIZE` the kernel does not only refuse, it sends SIGXFSZ: so it is never asked.
fn refuse_beyond_limit(length: u64) -> io::Result<()> {
    if length > system::file_size_limit() {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(())
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let length = (to - at).min(ZEROS_SIZE as u64);
        file.write_all_at(&ZEROS[..length as usize], at)?;
        at += length;
    }
    Ok(())
}

fn identity_of(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
