//! Which files are measured.
//!
//! Without any setting: the files below the directory of the run that belong neither to an environment
//! nor to the standard library. With `source`: the files of these directories and packages. With
//! `include`: the files that match. `omit` has the last word. This is coverage.py's order, except that
//! coverage.py measures files outside of the directory too when nothing is set.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::configuration::Configuration;
use crate::glob::Glob;
use crate::real_path::{RealPaths, real_path};

/// Names of the directories that installers put other people's packages into.
const INSTALLED: [&[u8]; 2] = [b"site-packages", b"dist-packages"];
/// Files that mark the root directory of an environment: venv and conda.
const ENVIRONMENT_MARKS: [&str; 2] = ["pyvenv.cfg", "conda-meta"];

/// Decides for each file once; the caller keeps the answers.
pub struct Filter {
    /// The directory of the run.
    directory: Vec<u8>,
    source_directories: Vec<Vec<u8>>,
    pub source_packages: Vec<String>,
    include: Vec<Glob>,
    omit: Vec<Glob>,
    /// Directories that are never measured: the standard library and this package.
    excluded: Vec<Vec<u8>>,
    real_paths: Mutex<RealPaths>,
    environments: Mutex<HashMap<Vec<u8>, bool>>,
}

impl Filter {
    /// A filter with these settings; `excluded` are directories that are never measured by default.
    pub fn new(configuration: &Configuration, excluded: Vec<Vec<u8>>) -> Filter {
        let globs = |patterns: &[Vec<u8>]| patterns.iter().map(|pattern| Glob::new(pattern)).collect();
        let mut excluded: Vec<_> =
            excluded.into_iter().flat_map(|path| [real_path(&path), path]).collect();
        excluded.dedup();
        Filter {
            directory: configuration.directory.clone(),
            source_directories: configuration.source_directories.clone(),
            source_packages: configuration.source_packages.clone(),
            include: globs(&configuration.include),
            omit: globs(&configuration.omit),
            excluded,
            real_paths: Mutex::default(),
            environments: Mutex::default(),
        }
    }

    /// The absolute path under which the code named `name` is recorded; `None` if it is not measured.
    /// `is_in_package` says whether a path belongs to one of the packages to measure.
    pub fn decide(&self, name: &[u8], is_in_package: impl FnOnce(&[u8]) -> bool) -> Option<Vec<u8>> {
        // "<string>", "<frozen os>" and their like are no files.
        if name.is_empty() || name.starts_with(b"<") || name.starts_with(b"memory:") {
            return None;
        }
        let by_default = !self.has_source() && self.include.is_empty();
        if by_default && self.is_excluded(name) {
            return None;
        }
        let path = self.absolute(name)?;
        let wanted = if self.has_source() {
            self.is_in_source(&path) || is_in_package(&path)
        } else if by_default {
            !self.is_excluded(&path) && self.is_own(&self.directory, &path)
        } else {
            self.include.iter().any(|glob| glob.matches(&path))
        };
        (wanted && !self.omit.iter().any(|glob| glob.matches(&path))).then_some(path)
    }

    /// The absolute path of the code named `name`, which is not measured, if it is a file of the project all
    /// the same: one below the directory of the run and in no environment.
    pub fn unmeasured_of_project(&self, name: &[u8]) -> Option<Vec<u8>> {
        if !name.ends_with(b".py") || name.starts_with(b"<") || self.is_excluded(name) {
            return None;
        }
        let path = self.absolute(name)?;
        (!self.is_excluded(&path) && self.is_own(&self.directory, &path)).then_some(path)
    }

    fn has_source(&self) -> bool {
        !self.source_directories.is_empty() || !self.source_packages.is_empty()
    }

    fn is_excluded(&self, path: &[u8]) -> bool {
        self.excluded.iter().any(|directory| below(directory, path).is_some())
    }

    fn is_in_source(&self, path: &[u8]) -> bool {
        self.source_directories.iter().any(|directory| self.is_own(directory, path))
    }

    /// Whether `path` is `directory` itself or below it, and not in an environment that lies below it too.
    fn is_own(&self, directory: &[u8], path: &[u8]) -> bool {
        let Some(rest) = below(directory, path) else { return directory == path };
        let mut end = path.len() - rest.len();
        let directories = rest.split(|byte| *byte == b'/').collect::<Vec<_>>();
        for name in &directories[..directories.len() - 1] {
            end += name.len();
            if INSTALLED.contains(name) || self.is_environment(&path[..end]) {
                return false;
            }
            end += 1;
        }
        true
    }

    fn is_environment(&self, directory: &[u8]) -> bool {
        let mut known = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(directory) {
            return *answer;
        }
        let path = Path::new(OsStr::from_bytes(directory));
        let answer = ENVIRONMENT_MARKS.iter().any(|mark| path.join(mark).exists());
        known.insert(directory.to_vec(), answer);
        answer
    }

    fn absolute(&self, name: &[u8]) -> Option<Vec<u8>> {
        let path = std::path::absolute(Path::new(OsStr::from_bytes(name))).ok()?;
        let mut real_paths = self.real_paths.lock().unwrap_or_else(PoisonError::into_inner);
        Some(real_paths.resolve(path.as_os_str().as_bytes()))
    }
}

/// What follows `directory` and a slash in `path`.
pub fn below<'a>(directory: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(directory)?;
    if directory.ends_with(b"/") { Some(rest) } else { rest.strip_prefix(b"/") }
}
