//! What tests depend on beside the code that ran: configuration files, files with data, installed packages,
//! Python itself; and Python files of the project that ran but were not measured.
//!
//! The same function looks at them when tests are recorded and when it is asked what changed since.

use crate::hash::sha256;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Endings of the folders in which installers say what a package consists of.
const PACKAGE_ENDINGS: [&str; 4] = ["dist-info", "egg-info", "egg-link", "pth"];

/// Folders with other people's modules, or with none.
const FOREIGN_FOLDERS: [&str; 4] = ["__pycache__", "node_modules", "site-packages", "dist-packages"];

/// The module that a folder is.
pub(super) const PACKAGE: &str = "__init__";

/// Marks the root folder of an environment.
const ENVIRONMENT: &str = "pyvenv.cfg";

/// Stands for the hash of a file that was modified while it was in use.
const MODIFIED: &str = "modified meanwhile";

/// What to look at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// pytest's root folder, from which names of tests begin.
    pub root: PathBuf,
    /// The interpreter's path.
    pub interpreter: PathBuf,
    /// The interpreter's version, in its own words.
    pub python: String,
    /// Files of the project; also those that are not there, if it matters when they are.
    pub paths: BTreeSet<PathBuf>,
    /// Folders of installed packages.
    pub packages: BTreeSet<PathBuf>,
    /// Patterns of files with data, relative to the root.
    pub data: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Surroundings {
    /// What was looked at.
    #[serde(flatten)]
    pub request: Request,
    /// The hash of each file's content; `None` where there is no file.
    files: BTreeMap<PathBuf, Option<String>>,
    /// A hash of what is installed.
    installed: BTreeMap<PathBuf, String>,
    /// The hash of the content of each file with data.
    data_files: BTreeMap<PathBuf, Option<String>>,
    /// All modules below the root, loaded or not, relative to it: another one may take the place of one that was
    /// loaded. `None` in recordings that do not tell.
    modules: Option<BTreeSet<PathBuf>>,
}

/// How surroundings became others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Files of the project, with another content.
    pub(super) files: BTreeSet<PathBuf>,
    /// What concerns every test, in words.
    pub(super) of_all: Vec<String>,
}

impl Surroundings {
    /// Looks at what `request` names. What was modified at `since` or later, when tests may already have read
    /// it, counts as changed from then on.
    #[must_use]
    pub fn look(request: Request, since: Option<SystemTime>) -> Surroundings {
        let with_hash = |path: &PathBuf| match is_modified(path, since) {
            true => (path.clone(), Some(MODIFIED.to_owned())),
            false => (path.clone(), hash(path)),
        };
        let installed = |path: &PathBuf| (path.clone(), installed(path));
        let patterns = request.data.iter().map(|pattern| request.root.join(pattern));
        let data_files = patterns.flat_map(|pattern| matching(&pattern));
        Surroundings {
            files: request.paths.iter().map(with_hash).collect(),
            installed: request.packages.iter().map(installed).collect(),
            data_files: data_files.map(|path| (as_text(&path), with_hash(&path).1)).collect(),
            modules: Some(modules(&request.root)),
            request,
        }
    }

    /// The files that were looked at.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// The modules below the root that were not there, each with the names by which it can be imported: its own,
    /// and those of the folders that hold no other module, which were no packages before.
    pub(super) fn added_modules(&self) -> Vec<(PathBuf, BTreeSet<String>)> {
        let Some(known) = &self.modules else { return Vec::new() };
        let present = modules(&self.request.root);
        let added = present.difference(known).map(|path| {
            let folders = path.ancestors().skip(1);
            let is_package = path.file_stem().is_some_and(|stem| stem == PACKAGE);
            let is_unknown = |folder: &&Path| !known.iter().any(|module| module.starts_with(folder));
            let own = if is_package { path.parent() } else { Some(path.as_path()) };
            let names = own.into_iter().chain(folders.take_while(is_unknown));
            let names = names.filter_map(|name| Some(name.file_stem()?.to_str()?.to_owned()));
            (self.request.root.join(path), names.collect())
        });
        added.collect()
    }

    /// Takes over what an earlier look saw of files that this one did not look at, unless they are gone.
    pub(super) fn add_files_of(&mut self, former: &Surroundings) {
        for (path, hash) in &former.files {
            if path.exists() && self.request.paths.insert(path.clone()) {
                self.files.insert(path.clone(), hash.clone());
            }
        }
    }

    /// What is no longer as here. `python` is the version of the interpreter that is going to run the tests,
    /// if that is known.
    pub(super) fn compare(&self, python: Option<&str>) -> Difference {
        let present = Surroundings::look(self.request.clone(), None);
        let mut found = Difference::default();
        let differing =
            |(path, hash): &(&PathBuf, &Option<String>)| present.files.get(*path) != Some(*hash);
        found.files.extend(self.files.iter().filter(differing).map(|(path, _)| path.clone()));
        if python.is_some_and(|python| python != self.request.python) {
            found.of_all.push("another Python".to_owned());
        }
        for (path, hash) in &self.installed {
            if present.installed.get(path) != Some(hash) {
                found.of_all.push(format!("other packages in {}", path.display()));
            }
        }
        let names: BTreeSet<_> = self.data_files.keys().chain(present.data_files.keys()).collect();
        let is_other = |path: &&&PathBuf| self.data_files.get(**path) != present.data_files.get(**path);
        found
            .of_all
            .extend(names.iter().filter(is_other).map(|path| format!("data: {}", path.display())));
        found
    }
}

/// A path that JSON can hold.
fn as_text(path: &Path) -> PathBuf {
    PathBuf::from(path.to_string_lossy().as_ref())
}

fn is_modified(path: &Path, since: Option<SystemTime>) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    matches!((modified, since), (Ok(modified), Some(since)) if modified >= since)
}

fn hash(path: &Path) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    Some(sha256(&fs::read(path).ok()?))
}

/// A hash of the names of the packages in `folder`, which hold their versions, and of the lists of their
/// files, which hold these files' hashes.
fn installed(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_package = |path: &PathBuf| {
        PACKAGE_ENDINGS.iter().any(|ending| path.extension().is_some_and(|found| found == *ending))
    };
    let packages: BTreeSet<PathBuf> = entries.filter(is_package).collect();
    let mut text = Vec::new();
    for package in packages {
        text.extend_from_slice(package.as_os_str().as_bytes());
        let list = if package.is_dir() { package.join("RECORD") } else { package };
        text.extend(hash(&list).unwrap_or_default().into_bytes());
        text.push(0);
    }
    sha256(&text)
}

/// All Python modules below `root`, relative to it: those in hidden folders and environments are left out.
fn modules(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let is_foreign = name.starts_with('.') || FOREIGN_FOLDERS.contains(&&*name);
                if !is_foreign && !path.join(ENVIRONMENT).exists() {
                    folders.push(path);
                }
            } else if name.ends_with(".py") {
                found.extend(path.strip_prefix(root).map(as_text));
            }
        }
    }
    found
}

fn matching(pattern: &Path) -> Vec<PathBuf> {
    let paths = pattern.to_str().and_then(|pattern| glob::glob(pattern).ok());
    paths.into_iter().flatten().flatten().filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn everything_that_changes_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("packages/a-1.0.dist-info")).unwrap();
        fs::write(at("packages/a-1.0.dist-info/RECORD"), "a.py,sha256=1").unwrap();
        fs::create_dir_all(at("data/deep")).unwrap();
        fs::write(at("data/deep/a.txt"), "1").unwrap();
        fs::write(at("pytest.ini"), "").unwrap();
        let request = Request {
            root: folder.path().to_owned(),
            python: "3.12".into(),
            paths: [at("pytest.ini"), at("tox.ini")].into(),
            packages: [at("packages")].into(),
            data: vec!["data/**/*.txt".into()],
            ..Request::default()
        };
        let meanwhile = Surroundings::look(request.clone(), Some(SystemTime::UNIX_EPOCH));
        assert_eq!(meanwhile.compare(None).files, [at("pytest.ini")].into());
        let before = Surroundings::look(request, None);
        assert_eq!(before.compare(Some("3.12")), Difference::default());
        assert_eq!(before.compare(Some("3.13")).of_all, ["another Python"]);

        fs::write(at("tox.ini"), "[pytest]").unwrap();
        assert_eq!(before.compare(None).files, [at("tox.ini")].into());
        fs::write(at("data/b.txt"), "").unwrap();
        fs::write(at("data/deep/a.txt"), "2").unwrap();
        assert_eq!(before.compare(None).of_all.len(), 2);
        fs::remove_dir_all(at("data")).unwrap();
        assert_eq!(before.compare(None).of_all.len(), 1);
        fs::write(at("packages/a-1.0.dist-info/RECORD"), "a.py,sha256=2").unwrap();
        assert_eq!(before.compare(None).of_all.len(), 2);
    }

    #[test]
    fn files_whose_names_are_no_text_can_be_told_as_json() {
        let folder = tempfile::tempdir().unwrap();
        let strange = folder.path().join(OsStr::from_bytes(b"strange\xFF"));
        fs::create_dir(&strange).unwrap();
        fs::write(strange.join("a.py"), "").unwrap();
        let data = vec!["**/*.txt".into()];
        let request = Request { root: folder.path().to_owned(), data, ..Request::default() };
        fs::write(strange.join("a.txt"), "1").unwrap();
        let before = serde_json::to_string(&Surroundings::look(request, None)).unwrap();
        let before: Surroundings = serde_json::from_str(&before).unwrap();
        assert_eq!(before.compare(None), Difference::default());
        assert!(before.added_modules().is_empty());
        fs::write(strange.join("b.py"), "").unwrap();
        assert_eq!(before.added_modules().len(), 1);
    }
}
