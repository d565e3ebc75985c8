//! Which logs to read: those of the given run directories, and those given themselves.

use super::Error;
use crate::format::FILE_EXTENSION;
use crate::reader::not_regular;
use crate::run_directory::{
    self, COMMAND_FILE, NOTES_FILE_PREFIX, PROCESS_FILE_PREFIX, RUN_FILE, RUNS_FOLDER, TESTS_FILE,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// What is read of a file that is no log, in bytes: the names of a hundred thousand tests fit.
const BYTES_MAX: u64 = 64 << 20;

/// Files on single processes that are read of one run: a computer has no more processes than that.
const PROCESS_FILES_MAX: usize = 1 << 16;

/// A log to be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogPath {
    /// As it was given, or found in a directory as that was given.
    pub(super) given: PathBuf,
    /// Where it is: without symbolic links, which the user may name but a run directory may not hold.
    pub(super) real: PathBuf,
    /// Whether the user named this very log.
    pub(super) is_named: bool,
}

/// What whoever started a process wrote about it: `hitlog run` about its command, pytest about its workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Command {
    pub(super) pid: u32,
    pub(super) process_start_ticks: u64,
    pub(super) exit_code: Option<i64>,
    pub(super) signal: Option<i32>,
    /// What it is called, as `gw3`.
    pub(super) name: Option<String>,
}

/// What `hitlog run` wrote before the command began, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Run {
    branch: bool,
}

/// What pytest wrote about the tests of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tests {
    /// How each test ended, in pytest's words.
    pub(super) outcomes: BTreeMap<String, String>,
    /// What else the tests depend on; see `query::affected`.
    pub(super) surroundings: serde_json::Value,
}

/// Everything that the inputs lead to.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Sorted, each file once.
    pub(super) logs: Vec<LogPath>,
    /// What is known of processes of these runs beside their logs.
    pub(super) commands: Vec<Command>,
    /// What pytest wrote about its tests, in these runs.
    pub(super) tests: Vec<Tests>,
    /// Whether one of these runs was to record branches.
    pub(super) branch: bool,
    /// What processes could not record, as sentences, and who said each.
    pub(super) told: BTreeMap<String, BTreeSet<u32>>,
    /// What was passed over.
    pub(super) notes: Vec<String>,
}

/// Finds the logs that `inputs` (run directories and logs) name.
pub(super) fn discover(inputs: &[PathBuf]) -> Result<Inputs, Error> {
    let mut found = Inputs::default();
    let mut folders = BTreeSet::new();
    for input in inputs {
        let real = fs::canonicalize(input).map_err(|source| missing(input, source))?;
        if real.is_dir() {
            list(input, &real, &mut found)?;
            folders.insert(real);
        } else {
            folders.extend(real.parent().map(Path::to_path_buf));
            found.logs.push(LogPath { given: input.clone(), real, is_named: true });
        }
    }
    keep_each_once(&mut found.logs);
    for folder in &folders {
        read_run(folder, &mut found);
    }
    found.notes.sort();
    found.notes.dedup();
    Ok(found)
}

fn missing(input: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::Missing { path: input.to_path_buf(), newest: newest_near(input) }
        }
        _ => Error::Folder { path: input.to_path_buf(), source },
    }
}

/// The newest run beside `input`, if that is a place for runs, or else under the current directory.
pub(super) fn newest_near(input: &Path) -> Option<PathBuf> {
    let is_runs_folder = |folder: &&Path| folder.file_name().is_some_and(|name| name == RUNS_FOLDER);
    let near = input.ancestors().find(is_runs_folder).and_then(Path::parent);
    let near = near.and_then(run_directory::newest);
    let here = || run_directory::newest(Path::new("."));
    near.or_else(here)
}

/// Adds the logs in the run directory `folder`.
fn list(folder: &Path, real: &Path, found: &mut Inputs) -> Result<(), Error> {
    let refuse = |source| Error::Folder { path: folder.to_path_buf(), source };
    let mut is_run = real.join(RUN_FILE).exists();
    for entry in fs::read_dir(real).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        let name = entry.file_name();
        if Path::new(&name).extension().is_none_or(|extension| extension != FILE_EXTENSION) {
            continue;
        }
        is_run = true;
        let given = folder.join(&name);
        match not_regular(entry.file_type().map_err(refuse)?) {
            Some(kind) => found.notes.push(format!("{}: {kind}, passed over", given.display())),
            None => found.logs.push(LogPath { given, real: entry.path(), is_named: false }),
        }
    }
    match is_run {
        true => Ok(()),
        false => Err(Error::NotARun { path: folder.to_path_buf(), newest: newest_near(folder) }),
    }
}

/// Drops what is given a second time, through whatever path. Of several paths the least one stays, so
/// that the order of the inputs does not matter.
fn keep_each_once(logs: &mut Vec<LogPath>) {
    let mut named: BTreeMap<PathBuf, bool> = BTreeMap::new();
    for log in logs.iter() {
        *named.entry(log.real.clone()).or_default() |= log.is_named;
    }
    logs.sort();
    let mut seen_paths = HashSet::new();
    let mut seen_files = HashSet::new();
    logs.retain_mut(|log| {
        log.is_named = named.get(&log.real).copied().unwrap_or(false);
        let file = fs::symlink_metadata(&log.real).map(|metadata| (metadata.dev(), metadata.ino()));
        seen_paths.insert(log.real.clone()) && file.map_or(true, |file| seen_files.insert(file))
    });
}

/// Adds what the JSON files in the run directory `folder` say, if they are there.
fn read_run(folder: &Path, found: &mut Inputs) {
    if let Some(run) = read_json::<Run>(&folder.join(RUN_FILE), &mut found.notes) {
        found.branch |= run.branch;
    }
    found.commands.extend(read_json(&folder.join(COMMAND_FILE), &mut found.notes));
    found.tests.extend(read_json(&folder.join(TESTS_FILE), &mut found.notes));
    for name in names_in(folder) {
        if name.starts_with(PROCESS_FILE_PREFIX) && name.ends_with(".json") {
            found.commands.extend(read_json(&folder.join(name), &mut found.notes));
        } else if let Some(pid) = name.strip_prefix(NOTES_FILE_PREFIX) {
            let pid = pid.strip_suffix(".txt").and_then(|pid| pid.parse().ok());
            read_notes(&folder.join(&name), pid, &mut found.told);
        }
    }
}

/// What processes of the run in `folder` could not record, as sentences; none where nothing was noted, or
/// where there is no such folder.
///
/// ```
/// let run = tempfile::tempdir()?;
/// std::fs::write(run.path().join("notes-4711.txt"), "no log could be made\n")?;
/// let told: Vec<String> = hitlog::compactor::told_in(run.path()).collect();
/// assert_eq!(told, ["no log could be made"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn told_in(folder: &Path) -> impl Iterator<Item = String> {
    let mut found = Inputs::default();
    read_run(folder, &mut found);
    found.told.into_keys()
}

/// The names of the files on single processes in `folder`, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let is_one =
        |name: &String| name.starts_with(PROCESS_FILE_PREFIX) || name.starts_with(NOTES_FILE_PREFIX);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_one);
    let mut names: Vec<String> = names.take(PROCESS_FILES_MAX).collect();
    names.sort();
    names
}

/// Adds the sentences of process `pid`, who may have been killed while it wrote the last one.
fn read_notes(path: &Path, pid: Option<u32>, told: &mut BTreeMap<String, BTreeSet<u32>>) {
    let (Some(pid), Ok(bytes)) = (pid, read_file(path)) else { return };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    for sentence in text.lines().filter(|sentence| !sentence.is_empty()) {
        told.entry(sentence.to_owned()).or_default().insert(pid);
    }
}

/// The beginning of a file, which must not be a symbolic link.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).map(|_| bytes)
}

fn read_json<T: for<'json> Deserialize<'json>>(path: &Path, notes: &mut Vec<String>) -> Option<T> {
    let parsed = match read_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error.to_string()),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
    };
    parsed.map_err(|error| notes.push(format!("{}: not understood ({error})", path.display()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &Inputs) -> Vec<String> {
        let name =
            |log: &LogPath| log.given.file_name().map(|name| name.to_string_lossy().into_owned());
        inputs.logs.iter().filter_map(name).collect()
    }

    #[test]
    fn a_run_directory_gives_its_logs_and_names_what_it_passes_over() {
        let run = tempfile::tempdir().unwrap();
        let at = |name: &str| run.path().join(name);
        fs::write(at("2-b.hitlog"), "").unwrap();
        fs::write(at("1-a.hitlog"), "").unwrap();
        fs::write(at("config.json"), "{}").unwrap();
        fs::write(at("run.json"), r#"{"version": 1, "branch": true}"#).unwrap();
        fs::write(
            at("command.json"),
            r#"{"pid": 7, "process_start_ticks": 8, "exit_code": null, "signal": 9}"#,
        )
        .unwrap();
        fs::write(at("process-9.json"), r#"{"pid": 9, "name": "gw1"}"#).unwrap();
        fs::write(at("notes-9.txt"), "same\nother\n").unwrap();
        fs::write(at("notes-10.txt"), "same\n").unwrap();
        fs::create_dir(at("deeper.hitlog")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("link.hitlog")).unwrap();
        let found = discover(&[run.path().to_path_buf()]).unwrap();
        assert_eq!(names(&found), ["1-a.hitlog", "2-b.hitlog"]);
        assert!(found.branch);
        let command = Command { pid: 7, process_start_ticks: 8, signal: Some(9), ..Command::default() };
        let worker = Command { pid: 9, name: Some("gw1".into()), ..Command::default() };
        assert_eq!(found.commands, [command, worker]);
        assert_eq!(
            found.told.into_iter().collect::<Vec<_>>(),
            [("other".to_owned(), BTreeSet::from([9])), ("same".to_owned(), BTreeSet::from([9, 10])),]
        );
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].ends_with("deeper.hitlog: a directory, passed over"));
        assert!(found.notes[1].ends_with("link.hitlog: a symbolic link, passed over"));
    }

    #[test]
    fn a_log_counts_once_however_often_it_is_given() {
        let run = tempfile::tempdir().unwrap();
        let log = run.path().join("1-a.hitlog");
        fs::write(&log, "").unwrap();
        fs::hard_link(&log, run.path().join("2-b.hitlog")).unwrap();
        let link = run.path().join("link");
        std::os::unix::fs::symlink(&log, &link).unwrap();
        let inputs = [run.path().to_path_buf(), log, link];
        let forward = discover(&inputs).unwrap();
        let backward = discover(&[inputs[2].clone(), inputs[1].clone(), inputs[0].clone()]).unwrap();
        assert_eq!(names(&forward), ["1-a.hitlog"]);
        assert_eq!(forward.logs, backward.logs);
        assert!(forward.logs[0].is_named);
    }

    #[test]
    fn a_mistake_gets_a_sentence_and_a_way_out() {
        let base = tempfile::tempdir().unwrap();
        let run = run_directory::create(base.path()).unwrap();
        let missing = discover(&[base.path().join(".hitlog/nosuch")]).unwrap_err().to_string();
        assert!(missing.contains("nosuch: no such run directory or log. Runs are under"), "{missing}");
        assert!(missing.contains(&format!("(newest: {})", run.display())), "{missing}");
        let folder = discover(&[base.path().join(".hitlog")]).unwrap_err().to_string();
        assert!(folder.contains(".hitlog: there are no logs in this directory"), "{folder}");
        assert!(folder.contains(&run.display().to_string()), "{folder}");
    }

    #[test]
    fn what_a_json_file_does_not_say_is_noted_and_nothing_else() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("run.json"), "{").unwrap();
        let found = discover(&[run.path().to_path_buf()]).unwrap();
        assert_eq!((found.logs.len(), found.branch), (0, false));
        assert!(found.notes[0].contains("run.json: not understood"), "{:?}", found.notes);
    }
}
