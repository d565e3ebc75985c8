//! The folder that a report is written into.
//!
//! ```text
//! DIR/index.html            names the folder beside it; replaced last, in one step
//!     hitlog-<fingerprint>/ the page's own scripts and the data of one recording
//! ```
//!
//! So the report that was there stays whole until the other one is; a page of it that is still open finds
//! its data gone and says so, instead of mixing them with others. Anything else in DIR is left alone.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fs2::FileExt as _;
use serde::Serialize;

use super::{Error, script};

/// How every `index.html` of ours begins.
const MARK: &str = "<!doctype html>\n<!-- hitlog html -->\n";

/// How the names of all folders begin that a report makes in its own.
const PREFIX: &str = "hitlog-";

/// What stands for the name of the data's folder in the page.
const PLACEHOLDER: &str = "HITLOG_DATA";

const PAGE: &str = include_str!("assets/index.html");

/// The page's style and scripts, in the order in which they are loaded.
const ASSETS: [(&str, &str); 14] = [
    ("style.css", include_str!("assets/style.css")),
    ("data.js", include_str!("assets/data.js")),
    ("text.js", include_str!("assets/text.js")),
    ("dom.js", include_str!("assets/dom.js")),
    ("list.js", include_str!("assets/list.js")),
    ("treemap.js", include_str!("assets/treemap.js")),
    ("python.js", include_str!("assets/python.js")),
    ("code.js", include_str!("assets/code.js")),
    ("overview.js", include_str!("assets/overview.js")),
    ("files.js", include_str!("assets/files.js")),
    ("tests.js", include_str!("assets/tests.js")),
    ("processes.js", include_str!("assets/processes.js")),
    ("search.js", include_str!("assets/search.js")),
    ("app.js", include_str!("assets/app.js")),
];

/// A report that is being written. Dropped before [`Folder::publish`], it leaves nothing behind.
pub(super) struct Folder {
    output: PathBuf,
    name: String,
    /// Where data go until all are there.
    unfinished: PathBuf,
    is_published: bool,
    bytes: u64,
    /// Held as long as this report is being written.
    _lock: File,
    _made: MadeFolders,
}

impl Folder {
    /// Makes `output` if it is not there, and a place for the data of the recording `fingerprint`.
    pub(super) fn begin(output: &Path, fingerprint: u64) -> Result<Folder, Error> {
        if let Some(found) = other_content(output) {
            return Err(Error::Refused { path: output.to_path_buf(), found });
        }
        let made = MadeFolders::of(output);
        at(output, "make this folder", fs::create_dir_all(output))?;
        let lock = at(output, "open this folder", File::open(output))?;
        lock.try_lock_exclusive().map_err(|_| Error::Busy { path: output.to_path_buf() })?;
        let name = format!("{PREFIX}{fingerprint:016x}");
        let unfinished = output.join(format!("{name}.part"));
        at(&unfinished, "clear this folder", remove(&unfinished))?;
        at(output, "write in this folder", fs::create_dir(&unfinished))?;
        let output = output.to_path_buf();
        let mut folder = Folder {
            output,
            name,
            unfinished,
            is_published: false,
            bytes: 0,
            _lock: lock,
            _made: made,
        };
        ASSETS.iter().try_for_each(|(name, text)| folder.write(name, text))?;
        Ok(folder)
    }

    /// Writes the script that delivers `value` under `name`.
    pub(super) fn write_script(&mut self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        self.write(&format!("data-{name}.js"), &script::deliver(name, value))
    }

    fn write(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.unfinished.join(name);
        self.bytes += text.len() as u64;
        at(&path, "write this file", fs::write(&path, text))
    }

    /// Puts the report in its place. Returns how many bytes it has.
    pub(super) fn publish(mut self) -> Result<u64, Error> {
        let (data, index) = (self.output.join(&self.name), self.output.join("index.html"));
        let page = format!("{MARK}{}", PAGE.replace(PLACEHOLDER, &self.name));
        at(&index, "write this file", fs::write(self.unfinished.join("index.html.part"), &page))?;
        at(&data, "replace this folder", remove(&data))?;
        at(&data, "make this folder", fs::rename(&self.unfinished, &data))?;
        self.is_published = true;
        at(&index, "replace this file", fs::rename(data.join("index.html.part"), &index))?;
        self.remove_others();
        Ok(self.bytes + page.len() as u64)
    }

    /// Removes the data of earlier reports. What cannot be removed is in nobody's way.
    fn remove_others(&self) {
        for entry in fs::read_dir(&self.output).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_data(&name) && name != self.name {
                let _ = remove(&entry.path());
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = remove(&self.unfinished);
        }
    }
}

/// The folders that are made for a report, from the innermost out. Dropped, those of them that are empty go.
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    /// Of `folder` and those that it is in: the ones that are not there.
    fn of(folder: &Path) -> MadeFolders {
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        MadeFolders(folder.ancestors().take_while(is_missing).map(Path::to_path_buf).collect())
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        self.0.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

fn at<T>(path: &Path, action: &'static str, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Output { path: path.to_path_buf(), action, source })
}

/// Removes a folder of data, which need not be there. A link is not followed.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether this is the name of a folder of data: `hitlog-`, 16 digits, perhaps `.part`.
fn is_data(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).map(|rest| rest.strip_suffix(".part").unwrap_or(rest));
    digits
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What is at `output`, with its article, if that is neither empty nor a report. A link stands for the folder
/// that it leads to.
fn other_content(output: &Path) -> Option<&'static str> {
    let there = fs::symlink_metadata(output).ok()?;
    let metadata = match fs::metadata(output) {
        Err(_) if there.is_symlink() => return Some("a link that leads nowhere"),
        metadata => metadata.ok()?,
    };
    if !metadata.is_dir() {
        return Some("a file");
    }
    let names = fs::read_dir(output).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_ours = |name: &std::ffi::OsStr| name.to_str().is_some_and(is_data);
    let is_report = begins_with_mark(&output.join("index.html"));
    let has_others = names.into_iter().any(|name| !is_ours(&name));
    (has_others && !is_report).then_some("a folder with other files")
}

fn begins_with_mark(path: &Path) -> bool {
    let mut start = Vec::new();
    let opened = File::open(path).map(|file| file.take(MARK.len() as u64));
    opened.and_then(|mut file| file.read_to_end(&mut start)).is_ok() && start == MARK.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_report_takes_the_place_of_an_earlier_one_and_leaves_other_files() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("deep/report");
        let mut first = Folder::begin(&output, 1).unwrap();
        first.write_script("file-0", &[1]).unwrap();
        let bytes = first.publish().unwrap();
        fs::write(output.join(".gitignore"), "*").unwrap();
        assert_eq!(names(&output), [".gitignore", "hitlog-0000000000000001", "index.html"]);
        let data = names(&output.join("hitlog-0000000000000001"));
        assert!(data.contains(&"data-file-0.js".to_owned()) && data.contains(&"app.js".to_owned()));
        let files = data.iter().map(|name| output.join("hitlog-0000000000000001").join(name));
        let size = |path: PathBuf| fs::metadata(path).unwrap().len();
        assert_eq!(files.map(size).sum::<u64>() + size(output.join("index.html")), bytes);

        drop(Folder::begin(&output, 2).unwrap());
        assert_eq!(names(&output), [".gitignore", "hitlog-0000000000000001", "index.html"]);
        Folder::begin(&output, 2).unwrap().publish().unwrap();
        assert_eq!(names(&output), [".gitignore", "hitlog-0000000000000002", "index.html"]);
        Folder::begin(&output, 2).unwrap().publish().unwrap();
        let page = fs::read_to_string(output.join("index.html")).unwrap();
        assert!(page.contains("hitlog-0000000000000002/app.js") && !page.contains(PLACEHOLDER));
    }

    #[test]
    fn folders_that_were_made_for_nothing_go() {
        let parent = tempfile::tempdir().unwrap();
        let (there, output) = (parent.path().join("there"), parent.path().join("there/deep/report"));
        fs::create_dir(&there).unwrap();
        drop(Folder::begin(&output, 1).unwrap());
        assert_eq!((names(parent.path()), names(&there)), (vec!["there".to_owned()], vec![]));
        Folder::begin(&output, 1).unwrap().publish().unwrap();
        drop(Folder::begin(&output, 2).unwrap());
        assert_eq!(names(&output), ["hitlog-0000000000000001", "index.html"]);
    }

    #[test]
    fn what_is_no_report_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let refused = |path: &Path| match Folder::begin(path, 1) {
            Err(error @ Error::Refused { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|_| ())),
        };
        let site = parent.path().join("site");
        fs::create_dir(&site).unwrap();
        fs::write(site.join("index.html"), "<!doctype html>\n<p>Mine").unwrap();
        assert!(refused(&site).contains("a folder with other files, and no report of hitlog."));
        assert_eq!(names(&site), ["index.html"]);
        assert!(refused(&site.join("index.html")).contains("index.html: this is a file"));
        let link = |name: &str, target: &Path| {
            std::os::unix::fs::symlink(target, parent.path().join(name)).unwrap();
            parent.path().join(name)
        };
        assert!(refused(&link("astray", Path::new("nowhere"))).contains("a link that leads nowhere"));
        assert!(refused(&link("to-site", &site)).contains("a folder with other files"));
        let report = parent.path().join("report");
        fs::create_dir(&report).unwrap();
        Folder::begin(&link("to-report", &report), 1).unwrap().publish().unwrap();
        assert_eq!(names(&report), ["hitlog-0000000000000001", "index.html"]);
    }

    #[test]
    fn what_a_killed_report_left_is_no_obstacle() {
        let output = tempfile::tempdir().unwrap();
        fs::create_dir(output.path().join("hitlog-00000000000000ab.part")).unwrap();
        Folder::begin(output.path(), 1).unwrap().publish().unwrap();
        assert_eq!(names(output.path()), ["hitlog-0000000000000001", "index.html"]);
    }

    #[test]
    fn two_reports_are_not_written_into_one_folder_at_once() {
        let output = tempfile::tempdir().unwrap();
        let first = Folder::begin(output.path(), 1).unwrap();
        let second = Folder::begin(output.path(), 2);
        assert!(matches!(second, Err(Error::Busy { .. })));
        first.publish().unwrap();
        assert_eq!(names(output.path()), ["hitlog-0000000000000001", "index.html"]);
    }

    #[test]
    fn every_asset_is_loaded_by_the_page() {
        for (name, text) in ASSETS {
            assert!(PAGE.contains(&format!("\"{PLACEHOLDER}/{name}\"")), "{name} is not loaded");
            assert!(text.trim_start().starts_with("/*"), "{name} does not say what it is for");
        }
    }
}
