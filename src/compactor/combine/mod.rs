//! Combines compacted files into one: what compacting all their logs together would have given.
//!
//! ```text
//! open all -> one set of names -> hits, file by file -> own tables -> publish
//!             (mapped, labelled)  through the compactor's own writer
//! ```
//!
//! * [`combine`] does it, as [`CombineOptions`] say, and returns [`Combined`].
//! * [`Recording`]: one of the files, and the label that keeps its contexts apart.
//! * [`PathMap`]: what a path of another machine is here.
//!
//! [`update`] goes the same way, with a recording of which not all is true any more; [`renew`] makes the
//! other one of a run before.
//!
//! Files of coverage.py itself may be among the recordings. A log that is in several of them counts once, as
//! it was when it was longest.

mod names;
mod own_tables;
mod paths;
mod settings;
mod update;

pub use paths::PathMap;
pub use settings::configured_paths;
pub use update::{renew, update};

use super::database;
use super::error::Error;
use super::hits::{Budget, Collector, Hits, United};
use super::keys::{ARCS_OF_FILE_MAX, Pair};
use super::logs::path_text;
use super::publish::Output;
use super::rows::Distinct;
use super::schema::Form;
use super::wording::{counted, size};
use crate::limits::LINE_MAX;
use crate::query::affected::Renewal;
use crate::query::{self, Database, File, Lines};
use names::Names;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A compacted file, or one of coverage.py.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The file.
    pub path: PathBuf,
    /// What stands in front of its contexts in the output, as `label|`; `None` joins them with those of the
    /// same name in other recordings.
    pub label: Option<String>,
}

/// What to combine into, and how.
#[derive(Clone, Debug)]
pub struct CombineOptions {
    /// The file to write. It may be one of the recordings; it is replaced only when all is done.
    pub output: PathBuf,
    /// What paths become; the first that fits a path counts.
    pub maps: Vec<PathMap>,
    /// As [`Options::plain_tables`](super::Options::plain_tables).
    pub plain_tables: bool,
}

/// What was combined. Shown as text, it is the summary for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Combined {
    /// How many recordings.
    pub recordings: u64,
    /// Logs, each counted once.
    pub logs: u64,
    /// Contexts, without the empty one.
    pub contexts: u64,
    /// Files that were recorded.
    pub files: u64,
    /// Different lines of files that ran.
    pub lines: u64,
    /// Paths that were mapped to others.
    pub mapped: u64,
    /// Whether the output holds arcs.
    pub has_arcs: bool,
    /// What else is worth a sentence.
    pub notes: Vec<String>,
    /// The file that was written.
    pub output: String,
    /// Its size in bytes.
    pub output_bytes: u64,
}

impl fmt::Display for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Combined { recordings, logs, contexts, files, lines, .. } = *self;
        write!(f, "{}: {}  ", counted(recordings, "recording"), counted(logs, "log"))?;
        write!(f, "{}  {}", counted(contexts, "context"), counted(files, "file"))?;
        if self.mapped > 0 {
            write!(f, " ({} mapped)", counted(self.mapped, "path"))?;
        }
        writeln!(f, "  {} -> {} ({})", counted(lines, "line"), self.output, size(self.output_bytes))?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "note: {}", note.replace(char::is_control, " ")))
    }
}

/// Combines `recordings`, in whatever order, into one file.
///
/// # Errors
/// If one of them cannot be read, or the output not be written. The output is then what it was before.
///
/// ```
/// use hitlog::compactor::{CombineOptions, Options, Recording, combine, compact};
///
/// # let folder = tempfile::tempdir()?;
/// # #[cfg(feature = "recorder")] {
/// let mut recordings = Vec::new();
/// for (name, line) in [("linux", 1), ("container", 2)] {
///     let (run, output) = (folder.path().join(name), folder.path().join(format!("{name}.db")));
///     let recorder = hitlog::Recorder::open(&run)?;
///     recorder.line(recorder.file("/src/parser.rs"), line);
///     compact(&[run], &Options::new(&output), &())?;
///     recordings.push(Recording { path: output, label: None });
/// }
/// let output = folder.path().join("all.db");
/// let options = CombineOptions { output, maps: Vec::new(), plain_tables: false };
/// let combined = combine(&recordings, &options)?;
/// assert_eq!((combined.files, combined.lines, combined.logs), (1, 2, 2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn combine(recordings: &[Recording], options: &CombineOptions) -> Result<Combined, Error> {
    let output = Output::begin(&options.output)?;
    let open = |recording: &Recording| Input::open(&recording.path, recording.label.clone(), None);
    let inputs = recordings.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
    combine_inputs(inputs, output, options)
}

fn combine_inputs(
    inputs: Vec<Input<'_>>,
    output: Output,
    options: &CombineOptions,
) -> Result<Combined, Error> {
    let recordings = inputs.len() as u64;
    let names = Names::unite(&inputs, &options.maps)?;
    let written = write(&inputs, &names, &output, options)?;
    // Nothing of the output's former self is held while it is replaced.
    drop(inputs);
    let published = output.publish()?;
    Ok(Combined {
        recordings,
        logs: written.logs,
        contexts: names.contexts.iter().filter(|name| !name.is_empty()).count() as u64,
        files: names.files.len() as u64,
        lines: written.distinct.lines,
        mapped: names.mapped,
        has_arcs: written.has_arcs,
        notes: published.unsynced.into_iter().collect(),
        output: path_text(&options.output),
        output_bytes: published.bytes,
    })
}

/// A recording that is open.
struct Input<'a> {
    database: Database,
    label: Option<String>,
    /// What of it is no longer true. Of a file or log that it and another recording tell of, the other one is
    /// believed.
    changes: Option<&'a Renewal>,
}

impl<'a> Input<'a> {
    fn open(
        path: &Path,
        label: Option<String>,
        changes: Option<&'a Renewal>,
    ) -> Result<Input<'a>, Error> {
        let database = Database::open(path).map_err(|source| Error::Recording { source })?;
        Ok(Input { database, label, changes })
    }

    /// Adds what ran of `file`. `pair` gives a context that stays the output's numbers.
    fn collect(
        &self,
        file: &File,
        pair: impl Fn(i64) -> Option<Pair>,
        collected: &mut Collected<'_>,
    ) -> Result<(), query::Error> {
        let moved = self.changes.and_then(|changes| changes.moved.get(&file.path));
        let line_of = |line: u32| moved.map_or(Some(line), |moved| moved.get(&line).copied());
        let end_of = |end: i32| Some(line_of(end.unsigned_abs())?.cast_signed() * end.signum());
        let mut of_children: HashMap<i64, Lines> = HashMap::new();
        self.database.child_lines_of_file(file, |context, lines| {
            of_children.insert(context, lines.clone());
        })?;
        let add_line = |context, line, collected: &mut Collected<'_>| {
            let Some((pair, present)) = pair(context).zip(line_of(line)) else { return };
            match of_children.get(&context).is_some_and(|lines| lines.contains(line)) {
                true => collected.of_children.line(pair, present),
                false => collected.hits.line(pair, present),
            }
        };
        // A line that only arcs tell of has to be told of itself if the arcs may go.
        let is_line_told = !self.database.has_arcs() || moved.is_some();
        if is_line_told {
            self.database.hits_of_file(file, |context, lines| {
                let lines = lines.iter().filter(|line| (1..=LINE_MAX).contains(line));
                lines.for_each(|line| add_line(context, line, collected));
            })?;
        }
        self.database.arcs_of_file(file, |context, from, to| match u32::try_from(from) {
            Ok(line) if from == to && line > 0 => {
                if !is_line_told {
                    add_line(context, line, collected);
                }
            }
            _ => {
                if let (Some(pair), Some(from), Some(to)) = (pair(context), end_of(from), end_of(to)) {
                    collected.hits.arc(pair, from, to);
                }
            }
        })
    }
}

/// The hits of one file of the output.
struct Collected<'budget> {
    /// All but those of children.
    hits: Collector<'budget>,
    /// Lines that ran in children only, as the recordings have it.
    of_children: Collector<'budget>,
}

/// What was written.
struct Written {
    distinct: Distinct,
    logs: u64,
    has_arcs: bool,
}

/// Fills the temporary file of `output`.
fn write(
    inputs: &[Input<'_>],
    names: &Names,
    output: &Output,
    options: &CombineOptions,
) -> Result<Written, Error> {
    let failed = |source| Error::Database { path: options.output.clone(), source };
    let has_arcs = inputs.iter().any(|input| input.database.has_arcs());
    let form = match has_arcs {
        false => Form::Lines,
        true if options.plain_tables => Form::PlainArcs,
        true => Form::CompactArcs,
    };
    let connection = database::create(output.temporary(), form).map_err(failed)?;
    let is_known = inputs.iter().any(|input| input.database.is_form_known());
    database::write_meta(&connection, is_known.then_some(has_arcs)).map_err(failed)?;
    database::write_names(&connection, "file", &names.files).map_err(failed)?;
    database::write_names(&connection, "context", &names.contexts).map_err(failed)?;
    let logs = own_tables::write(&connection, inputs, names).map_err(failed)?;
    let distinct = database::finish(connection, form, output, |rows| {
        let mut files = (1..).zip(&names.sources);
        files.try_for_each(|(file, sources)| rows.write(&hits_of_file(inputs, names, file, sources)?))
    })?;
    Ok(Written { distinct, logs, has_arcs })
}

/// All hits of one file of the output, which is `sources` in the recordings.
fn hits_of_file(
    inputs: &[Input<'_>],
    names: &Names,
    file: u32,
    sources: &[(usize, File)],
) -> Result<United, Error> {
    let budget = Budget::unlimited();
    let mut collected =
        Collected { hits: Collector::new(&budget), of_children: Collector::new(&budget) };
    for (position, source) in sources {
        let pair = |context| Some(Pair::new(file, *names.context_ids[*position].get(&context)?));
        let read = inputs[*position].collect(source, pair, &mut collected);
        read.map_err(|source| Error::Recording { source })?;
    }
    let too_many = || Error::TooManyNames {
        what: "arcs of one file",
        found: u64::MAX,
        max: ARCS_OF_FILE_MAX as u32,
    };
    let lines_of_children = collected.of_children.finish().lines;
    let hits = Hits { lines_of_children, ..collected.hits.finish() };
    United::new(vec![hits], &budget).ok_or_else(too_many)
}

/// The recordings at `paths`, joined.
impl From<&Path> for Recording {
    fn from(path: &Path) -> Recording {
        Recording { path: path.to_owned(), label: None }
    }
}
