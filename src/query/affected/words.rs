//! In which files of the project a name stands: a module that is named may be imported.

use super::Error;
use super::python::Shape;
use super::recording::Recording;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The files in which each word stands.
#[derive(Default)]
pub(super) struct Words {
    files: HashMap<String, Vec<PathBuf>>,
}

impl Words {
    /// Reads all sources of `recording`, and of the files `unmeasured` that belong to it but of which no line was
    /// recorded.
    pub(super) fn read(recording: &Recording, unmeasured: BTreeSet<&PathBuf>) -> Result<Words, Error> {
        let mut all = Words::default();
        for file in &recording.files {
            if let Some(shape) = recording.shape(file)? {
                all.add(&file.path, shape);
            }
        }
        for path in unmeasured {
            if let Some(shape) = std::fs::read(path).ok().and_then(|source| Shape::of(&source)) {
                all.add(path, shape);
            }
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path, shape: Shape) {
        for word in shape.words {
            self.files.entry(word).or_default().push(path.to_owned());
        }
    }

    /// Whether the module in the file `path` is named in any other file: it may be imported there.
    pub(super) fn is_named_outside(&self, path: &Path) -> bool {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        self.files_naming(stem).iter().any(|file| file != path)
    }

    /// The files in which `word` stands.
    pub(super) fn files_naming(&self, word: &str) -> &[PathBuf] {
        self.files.get(word).map_or(&[], Vec::as_slice)
    }
}
