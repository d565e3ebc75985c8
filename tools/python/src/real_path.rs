//! Absolute paths without symbolic links, as coverage.py stores them.
//!
//! Most files of a program share a few directories, so the real path of a directory is looked up once.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Directories whose real paths are known.
#[derive(Default)]
pub struct RealPaths {
    directories: HashMap<Vec<u8>, Vec<u8>>,
}

impl RealPaths {
    /// The real path of `path`, which must be absolute. What does not exist is taken as it is written.
    pub fn resolve(&mut self, path: &[u8]) -> Vec<u8> {
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return path.to_vec() };
        let (parent, name) = (&path[..slash], &path[slash + 1..]);
        if matches!(name, b"" | b"." | b"..") {
            return real_path(path);
        }
        let known = self.directories.get(parent).cloned();
        let mut joined = known.unwrap_or_else(|| {
            let real = real_path(parent);
            self.directories.insert(parent.to_vec(), real.clone());
            real
        });
        if joined != b"/" {
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        if is_link(&joined) { real_path(&joined) } else { joined }
    }
}

fn is_link(path: &[u8]) -> bool {
    let metadata = std::fs::symlink_metadata(Path::new(OsStr::from_bytes(path)));
    metadata.is_ok_and(|metadata| metadata.is_symlink())
}

/// The real path of the longest part of `path` that exists, followed by the rest of it.
pub fn real_path(path: &[u8]) -> Vec<u8> {
    let path = if path.is_empty() { Path::new("/") } else { Path::new(OsStr::from_bytes(path)) };
    let mut existing = path;
    let mut missing = Vec::new();
    let mut real = loop {
        if let Ok(real) = existing.canonicalize() {
            break real;
        }
        let Some(parent) = existing.parent() else { break PathBuf::from("/") };
        // Without a file name, the last component is "..".
        missing.push(existing.file_name());
        existing = parent;
    };
    for name in missing.into_iter().rev() {
        match name {
            Some(name) => real.push(name),
            None => drop(real.pop()),
        }
    }
    real.into_os_string().into_vec()
}
