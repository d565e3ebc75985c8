//! The files of a recording as they are at present, beside what they were.

use super::Error;
use super::lines::{Comparison, compare};
use super::python::Shape;
use super::recording::{RecordedFile, Recording};
use crate::hash::sha256;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Prints for each path on stdin, which end with NUL, whether Python can compile what is there.
const COMPILE: &str = "
import os, sys
for path in sys.stdin.buffer.read().split(b'\\0')[:-1]:
    try:
        with open(path, 'rb') as file:
            compile(file.read(), os.fsdecode(path), 'exec', dont_inherit=True)
        print(1)
    except Exception:
        print(0)
";

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is the same.
    Same,
    /// Another text, of which it is known what changed.
    Edited(Comparison),
    /// Another text, or none; why no more is known.
    Other(&'static str),
}

/// Where the sources come from with which the present ones are compared.
pub(super) enum Origin {
    /// The recording.
    Remembered,
    /// Git.
    Revision(Revision),
}

/// A revision of the git repository around a folder.
pub(super) struct Revision {
    name: String,
    top: PathBuf,
}

impl Revision {
    /// `name` in the repository that `folder` belongs to.
    pub(super) fn find(folder: &Path, name: &str) -> Result<Revision, Error> {
        let revision = Revision { name: name.to_owned(), top: folder.to_owned() };
        let top = revision.git(&["rev-parse", "--show-toplevel"])?;
        let verified = format!("{name}^{{commit}}");
        revision.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &verified])?;
        let top = String::from_utf8_lossy(&top).trim_end_matches('\n').to_owned();
        Ok(Revision { top: top.into(), ..revision })
    }

    fn git(&self, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        let failed = |reason| Error::Git { revision: self.name.clone(), reason };
        let output = Command::new("git").current_dir(&self.top).args(arguments).output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let reason = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        Err(failed(if reason.is_empty() { "it does not know that revision".into() } else { reason }))
    }

    /// What `path` was; `None` if git did not have it.
    fn text(&self, path: &Path) -> Option<Vec<u8>> {
        let below = path.strip_prefix(&self.top).ok()?;
        self.git(&["cat-file", "blob", &format!("{}:{}", self.name, below.to_str()?)]).ok()
    }
}

/// What became of `file`. Whether the present text can be compiled is not looked at.
pub(super) fn fate(recording: &Recording, file: &RecordedFile, origin: &Origin) -> Result<Fate, Error> {
    let present = fs::read(&file.path).ok();
    let hash = present.as_deref().map(sha256);
    let is_as_recorded = file.sha256.is_some() && hash == file.sha256;
    if let Origin::Revision(revision) = origin {
        let before = revision.text(&file.path);
        if before.is_some() && before == present {
            return Ok(Fate::Same);
        }
        let hash_before = before.as_deref().map(sha256);
        if before.is_some() && file.sha256.is_some() && hash_before != file.sha256 {
            return Ok(Fate::Other("was recorded from another version"));
        }
        if before.is_some() {
            return Ok(difference(before, present));
        }
    }
    Ok(match file.state.as_str() {
        _ if is_as_recorded => Fate::Same,
        // What is made and removed by tests changes with the code that makes it.
        "missing" | "unknown" if present.is_none() => Fate::Same,
        "unknown" if !recording.has_run(file)? => Fate::Same,
        "changed" => Fate::Other("changed while it was recorded"),
        "kept" => difference(recording.source(file)?, present),
        "large" => Fate::Other("changed, and is too large to tell where"),
        _ => Fate::Other("was not remembered"),
    })
}

fn difference(before: Option<Vec<u8>>, present: Option<Vec<u8>>) -> Fate {
    let Some(present) = present else { return Fate::Other("is gone") };
    let before = before.and_then(|source| Shape::of(&source));
    match (before, Shape::of(&present)) {
        (Some(before), Some(present)) if before.encoding != present.encoding => {
            Fate::Other("is in another encoding")
        }
        (Some(before), Some(present)) => Fate::Edited(compare(&before, &present)),
        _ => Fate::Other("changed, and is not Python"),
    }
}

/// For each of `paths` whether `interpreter` can compile it. What cannot be asked counts as broken.
pub(super) fn compiles(interpreter: &Path, paths: &[&Path]) -> Vec<bool> {
    let answer = ask(interpreter, paths).unwrap_or_default();
    let mut answers = answer.lines().map(|line| line == "1");
    paths.iter().map(|_| answers.next().unwrap_or(false)).collect()
}

fn ask(interpreter: &Path, paths: &[&Path]) -> std::io::Result<String> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut child = Command::new(interpreter)
        .args(["-I", "-S", "-W", "ignore", "-c", COMPILE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let input: Vec<u8> =
        paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&input));
    let output = child.wait_with_output()?;
    written.map(|()| String::from_utf8_lossy(&output.stdout).into_owned())
}
