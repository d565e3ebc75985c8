//! Turns all logs of a run into one SQLite file, which coverage.py reads as its own.
//!
//! ```text
//! discover -> scan (parallel) -> merge -> rows, logs -> publish
//! which       hits of chunks,   one set   sorted, as     wholly or
//! logs        names, spans      of ids    pages          not at all
//! ```
//!
//! * [`compact`] does it, as [`Options`] say, telling its [`Progress`], and returns a [`Report`].
//! * [`combine`] brings compacted files together, [`renew`] a run of some tests into the recording of all.
//! * [`Error`]: what stops it. Damage in logs does not: it is counted.
//!
//! The same logs give the same bytes, in whatever order they are given and with any number of threads.
//! Logs are never changed, and only deleted if asked.

mod arc_numbers;
mod arc_rows;
mod arcs;
mod bitmap;
mod combine;
mod database;
mod destination;
mod discover;
mod error;
mod hits;
mod indexed;
mod keys;
mod line_rows;
mod logs;
mod merge;
mod names;
mod numbits;
mod pages;
mod publish;
mod record;
mod report;
mod rows;
mod scan;
mod schema;
mod source;
mod tables;
mod trees;
pub(crate) mod wording;

pub use combine::{
    CombineOptions, Combined, PathMap, Recording, combine, configured_paths, renew, update,
};
pub use discover::told_in;
pub use error::Error;
pub use report::{LogReport, NotEnded, Processes, Report, Unreadable, quoted};

use crate::format::KIND_SKIPPABLE;
use crate::limits::DAMAGE_LISTED_MAX;
use discover::Inputs;
use merge::Merged;
use publish::Output;
use rows::Distinct;
use scan::Log;
use schema::Form;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Memory that hits may take if nothing else is said, in bytes.
const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;

/// How many processes are named that said the same.
const SPEAKERS_MAX: usize = 3;

/// What to compact into, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file to write. It is replaced only when the compaction is done, and only if it is a file of
    /// hitlog or coverage.py.
    pub output: PathBuf,
    /// How many threads work; one per core if `None`. Where there are several, one more puts rows into pages at the end.
    /// The result does not depend on it.
    pub threads: Option<usize>,
    /// Memory that hits may take, in bytes. Names, samples and contexts' times are not counted. The
    /// less there is, the more often logs are read; the result does not depend on it.
    pub memory_bytes: u64,
    /// Whether to delete each log that was read whole and whose writer has ended, once the output is in
    /// its place.
    pub delete_logs: bool,
    /// Whether `arc` is to be a table, as coverage.py makes it, and not a view of something some twenty
    /// times smaller. Coverage.py reads and adds to both alike; other programs may look for the table.
    pub plain_tables: bool,
}

impl Options {
    /// Compact into `output`, with all cores and 1 GiB of memory, deleting nothing, in the compact form.
    #[must_use]
    pub fn new(output: impl AsRef<Path>) -> Options {
        Options {
            output: output.as_ref().to_path_buf(),
            threads: None,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            delete_logs: false,
            plain_tables: false,
        }
    }
}

/// Is told how far a compaction is. Called by several threads at once.
pub trait Progress: Sync {
    /// So many more slots are going to be read.
    fn total(&self, slots: u64);
    /// So many more slots were read.
    fn advance(&self, slots: u64);
    /// What is done from here on: `reading`, `writing`.
    fn stage(&self, name: &str);
}

/// Nobody is told.
impl Progress for () {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stage(&self, _: &str) {}
}

/// Compacts `inputs`: run directories, and single logs.
///
/// Logs of processes that are still running are read as they are. Threads are started for the time of
/// the call; it may run in several threads and processes at once, also into one output, which the last
/// one keeps.
///
/// # Errors
/// If an input is not there or not a run, a log that was named cannot be read, or the output cannot be
/// written. The output is then what it was before.
///
/// ```
/// use hitlog::compactor::{Options, compact};
///
/// # let folder = tempfile::tempdir()?;
/// # let (run, output) = (folder.path().join("run"), folder.path().join("hitlog.db"));
/// # #[cfg(feature = "recorder")] {
/// let recorder = hitlog::Recorder::open(&run)?;
/// let file = recorder.file("/src/parser.rs");
/// {
///     let _case = recorder.context("corpus/0007.json");
///     recorder.line(file, 42);
/// }
/// let report = compact(&[run], &Options::new(&output), &())?;
/// assert_eq!((report.processes.started, report.contexts, report.lines), (1, 1, 1));
///
/// let database = rusqlite::Connection::open(&output)?;
/// let question = "select context from hitlog_line where path = '/src/parser.rs' and line = 42";
/// let answer: String = database.query_row(question, [], |row| row.get(0))?;
/// assert_eq!(answer, "corpus/0007.json");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn compact(
    inputs: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let started = Instant::now();
    let given = inputs.to_vec();
    let inputs = discover::discover(inputs)?;
    let output = Output::begin(&options.output)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads.unwrap_or(0)).build();
    let pool = pool.map_err(|source| Error::Threads { source })?;
    let (merged, mut report) = pool.install(|| {
        progress.stage("reading");
        let mut merged = Merged::read(&inputs.logs, options.memory_bytes, progress)?;
        if merged.logs.is_empty() {
            return Err(Error::NothingRecorded { paths: given, reasons: reasons(&merged, &inputs) });
        }
        progress.stage("writing");
        let report = write(&mut merged, inputs, &output, options, progress)?;
        Ok((merged, report))
    })?;
    let published = output.publish()?;
    report.output_bytes = published.bytes;
    if let Some(note) = &published.unsynced {
        report.notes.push(format!("{note}, so no log is deleted"));
    }
    if options.delete_logs && published.unsynced.is_none() {
        merged.logs.iter().chain(&merged.copies).for_each(|log| delete(log, &mut report.notes));
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// What to say of an input that is not there.
#[cfg(feature = "cli")]
pub(crate) fn missing(path: &Path) -> Error {
    Error::Missing { path: path.to_path_buf(), newest: discover::newest_near(path) }
}

/// Finds out whether an output can be written at `path`, before a long run and not after it. Nothing is
/// left there.
///
/// # Errors
/// As [`compact`] would stop at this output.
pub fn check_output(path: &Path) -> Result<(), Error> {
    Output::begin(path).map(drop)
}

/// Why no log was read.
fn reasons(merged: &Merged, inputs: &Inputs) -> Vec<String> {
    let unreadable = merged.unreadable.iter().map(|(_, reason)| reason.to_string());
    unreadable.chain(inputs.notes.iter().cloned()).collect()
}

/// Fills the temporary file of `output`.
fn write(
    merged: &mut Merged,
    inputs: Inputs,
    output: &Output,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let failed = |source| Error::Database { path: options.output.clone(), source };
    let hits =
        |count: fn(&Log) -> u64| merged.logs.iter().chain(&merged.copies).map(count).sum::<u64>();
    let arcs = hits(|log| log.contents.arcs);
    let has_arcs = arcs > 0 || inputs.branch;
    let is_empty = arcs == 0 && hits(|log| log.contents.lines) == 0;
    let (mut notes, told) = (inputs.notes, inputs.told);

    let form = match has_arcs {
        false => Form::Lines,
        true if options.plain_tables => Form::PlainArcs,
        true => Form::CompactArcs,
    };

    let connection = database::create(output.temporary(), form).map_err(failed)?;
    // Without hits it is open which kind of data others may be combined with.
    database::write_meta(&connection, (has_arcs || !is_empty).then_some(has_arcs)).map_err(failed)?;
    database::write_names(&connection, "file", merged.files.texts.iter()).map_err(failed)?;
    database::write_names(&connection, "context", merged.contexts.texts.iter()).map_err(failed)?;
    let (logs, processes) = logs::describe(merged, &inputs.commands);
    logs::write(&connection, merged, &logs).map_err(failed)?;
    let states = logs::write_files(&connection, merged, &mut notes).map_err(failed)?;
    source::write(&connection, &merged.files.texts, &states).map_err(failed)?;
    logs::write_tests(&connection, &inputs.tests).map_err(failed)?;
    let distinct = database::finish(connection, form, output, |rows| {
        rows.write_files_of_logs(logs::files_of_logs(merged, &logs))?;
        merged.for_each_part(options.memory_bytes, progress, |hits| rows.write(hits))
    })?;
    notes.extend(notes_on(merged));
    notes.extend(notes_of_processes(told, &logs));
    let report = Report { logs, processes, has_arcs, notes, ..Report::default() };
    Ok(with_totals(report, merged, distinct, merged.count_unnamed()?, &options.output))
}

fn with_totals(
    mut report: Report,
    merged: &Merged,
    distinct: Distinct,
    unnamed: u64,
    output: &Path,
) -> Report {
    let sum = |count: fn(&LogReport) -> u64| report.logs.iter().map(count).fold(0, u64::saturating_add);
    report.records = sum(|log| log.records);
    report.lost = sum(|log| log.lost);
    report.damaged = sum(|log| log.damaged);
    report.foreign = sum(|log| log.foreign);
    report.missing = sum(|log| log.missing);
    report.unnamed = unnamed;
    report.contexts = merged.contexts.texts.iter().filter(|name| !name.is_empty()).count() as u64;
    report.files = merged.files.texts.len() as u64;
    report.lines = distinct.lines;
    report.arcs = distinct.arcs;
    report.left_out = distinct.left_out;
    report.output = logs::path_text(output);
    report.unreadable = merged.unreadable.iter().map(unreadable).collect();
    report
}

fn unreadable((path, reason): &(discover::LogPath, crate::reader::Error)) -> Unreadable {
    Unreadable { path: logs::path_text(&path.given), reason: reason.to_string() }
}

/// What people should know and no count tells.
fn notes_on(merged: &Merged) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, table) in [("path", &merged.files), ("context", &merged.contexts)] {
        notes.extend(table.escaped.iter().take(DAMAGE_LISTED_MAX).map(|name| {
            format!("{name}: this {what} has bytes that are not text; they are shown as \\xNN")
        }));
        let rest = table.escaped.len().saturating_sub(DAMAGE_LISTED_MAX) as u64;
        if rest > 0 {
            notes.push(format!(
                "{} more of that kind: bytes that are not text",
                wording::counted(rest, what)
            ));
        }
    }
    for copy in &merged.copies {
        let counted = merged.logs.iter().find(|log| log.log_id == copy.log_id).unwrap_or(copy);
        let (copy, counted) = (copy.path.given.display(), counted.path.given.display());
        notes.push(format!(
            "{copy}: a copy of {counted}; what it holds is in the output and not counted twice"
        ));
    }
    for log in &merged.logs {
        let path = log.path.given.display();
        if log.header.is_none() && log.counts.valid > 0 {
            notes.push(format!("{path}: both copies of the header are lost; its records were read"));
        }
        if log.trailing_bytes > 0 {
            let bytes = wording::counted(log.trailing_bytes, "byte");
            notes.push(format!("{path}: {bytes} behind the last whole slot; the file was cut"));
        }
        if log.contents.is_over_limits {
            notes.push(format!(
                "{path}: more names, contexts, samples or files than are kept; see limits.rs"
            ));
        }
        for (kind, count) in &log.contents.unknown_kinds {
            let count = wording::counted(*count, "record");
            let how =
                if kind & KIND_SKIPPABLE == 0 { "which a later hitlog may need" } else { "skipped" };
            notes.push(format!("{path}: {count} of kind {kind:#04x}, {how}"));
        }
    }
    notes
}

/// What processes said that they could not record, each sentence once, behind the names of those who said
/// it.
fn notes_of_processes(
    mut told: BTreeMap<String, BTreeSet<u32>>,
    logs: &[LogReport],
) -> impl Iterator<Item = String> {
    for (log, pid) in logs.iter().filter(|log| log.lost > 0).filter_map(|log| Some((log, log.pid?))) {
        let lost = wording::counted(log.lost, "record");
        let sentence = format!("{lost} could not be written (disk full, no permission, or limits.rs)");
        told.entry(sentence).or_default().insert(pid);
    }
    let names: BTreeMap<u32, String> =
        logs.iter().filter_map(|log| Some((log.pid?, log.name.clone()?))).collect();
    told.into_iter().map(move |(sentence, pids)| {
        let who = |pid: &u32| names.get(pid).cloned().unwrap_or_else(|| format!("pid {pid}"));
        let mut who_said: Vec<String> = pids.iter().take(SPEAKERS_MAX).map(who).collect();
        if pids.len() > SPEAKERS_MAX {
            who_said.push(format!("{} more", pids.len() - SPEAKERS_MAX));
        }
        format!("{}: {sentence}", who_said.join(", "))
    })
}

/// Whether somebody holds the lock of `log`, on whatever machine: a writer that this system's processes say
/// nothing about.
fn is_locked(log: &Log) -> bool {
    let file = fs::File::open(&log.path.real);
    let tried = file.and_then(|file| fs2::FileExt::try_lock_shared(&file));
    tried.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Deletes `log` if nothing can be gained from reading it again.
fn delete(log: &Log, notes: &mut Vec<String>) {
    // A log that has no header yet may be one that its writer is just making.
    if !log.is_whole || log.is_writer_alive || log.header.is_none() || is_locked(log) {
        return;
    }
    let path = log.path.given.display();
    match fs::symlink_metadata(&log.path.real) {
        Ok(metadata) if metadata.len() != log.size => {
            notes.push(format!("{path}: grew since it was read, not deleted"));
        }
        Ok(_) => {
            if let Err(error) = fs::remove_file(&log.path.real) {
                notes.push(format!("{path}: not deleted ({error})"));
            }
        }
        Err(_) => {}
    }
}
