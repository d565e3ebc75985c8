//! Puts a recording of some tests into the recording of all.
//!
//! ```text
//! base      contexts that ran again are left out, lines move with their sources  -+-> output
//! recorded  everything                                                           -+
//! ```
//!
//! What the base tells of a file is brought to the version that ran last: a line that did not change is known
//! by its present number, so that one file of the output has one numbering. In a process of the base from
//! which contexts are left out, what stays is that something ran there.

use super::{CombineOptions, Combined, Error, Input, Output, combine_inputs};
use crate::compactor::publish::Scratch;
use crate::compactor::{Options, Report, compact};
use crate::query::affected::{Renewal, renewal};
use std::path::{Path, PathBuf};

/// Compacts the run `run_directory`, in which some tests of the recording `output` ran again, and puts it into
/// that, as [`renewal`] says. `selected` are the tests that were to run, `collected` all that there are, or none
/// if that is not known. The report is the run's, but for the output that it names.
///
/// # Errors
/// If the run cannot be compacted, the recording cannot be read or not be written. It is then what it was
/// before.
///
/// ```
/// use hitlog::compactor::{Options, compact, renew};
///
/// # let folder = tempfile::tempdir()?;
/// # #[cfg(feature = "recorder")] {
/// let [all, again] = ["all", "again"].map(|run| folder.path().join(run));
/// for (run, lines) in [(&all, [1, 2]), (&again, [1, 3])] {
///     let recorder = hitlog::Recorder::open(run)?;
///     let _test = recorder.context("tests/t.py::test_parser|run");
///     lines.iter().for_each(|line| recorder.line(recorder.file("/src/parser.py"), *line));
/// }
/// let output = folder.path().join("hitlog.db");
/// compact(&[all], &Options::new(&output), &())?;
/// let report = renew(again, &output, &["tests/t.py::test_parser".to_owned()], &[])?;
/// assert_eq!((report.output, report.lines), (output.display().to_string(), 2));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn renew(
    run_directory: PathBuf,
    output: &Path,
    selected: &[String],
    collected: &[String],
) -> Result<Report, Error> {
    // Not in the run directory, which the process that recorded keeps locked.
    let mut recorded = Scratch::beside(output)?;
    let compacted = compact(&[run_directory], &Options::new(recorded.path()), &());
    let mut report = compacted.map_err(|error| error.of_output(output))?;
    let held = recorded.hold();
    held.map_err(|source| Error::Output {
        path: output.to_path_buf(),
        action: "open the run beside it",
        source,
    })?;
    let changes = renewal(output, recorded.path(), selected, collected);
    let changes = changes.map_err(|source| Error::Renewal { source })?;
    let updated = update(output, recorded.path(), &changes, output)?;
    report.output = updated.output;
    report.output_bytes = updated.output_bytes;
    report.notes.extend(updated.notes);
    Ok(report)
}

/// Writes `output`, from the recording `base` with its `changes` and the recording `recorded`. It may be
/// either of them. No other process is kept from reading them; `output` is replaced at the end, as a whole.
///
/// # Errors
/// If one of them cannot be read, or the output cannot be written. It is then what it was before.
pub fn update(
    base: &Path,
    recorded: &Path,
    changes: &Renewal,
    output: &Path,
) -> Result<Combined, Error> {
    let options =
        CombineOptions { output: output.to_path_buf(), maps: Vec::new(), plain_tables: false };
    let output = Output::begin(output)?;
    let inputs = vec![Input::open(base, None, Some(changes))?, Input::open(recorded, None, None)?];
    combine_inputs(inputs, output, &options)
}
