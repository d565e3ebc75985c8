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

use super::names::Names;
use super::{CombineOptions, Error, Input, Output, write};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// What becomes of the base.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Contexts that are left out.
    pub replaced: HashSet<String>,
    /// Files that are left out.
    pub gone: HashSet<String>,
    /// For each file of which another version ran, its lines that are unchanged: their former and their
    /// present numbers. All other lines are left out.
    pub moved: HashMap<String, BTreeMap<u32, u32>>,
    /// How each test ended, in pytest's words.
    pub outcomes: BTreeMap<String, String>,
    /// What tests depend on beside the code that ran, as JSON.
    pub surroundings: Vec<String>,
}

/// Writes `output`, from the recording `base` with its `changes` and the recording `recorded`. It may be
/// either of them. No other process is kept from reading them; `output` is replaced at the end, as a whole.
/// Returns its size in bytes.
///
/// # Errors
/// If one of them cannot be read, or the output cannot be written. It is then what it was before.
pub fn update(base: &Path, recorded: &Path, changes: &Changes, output: &Path) -> Result<u64, Error> {
    let options =
        CombineOptions { output: output.to_path_buf(), maps: Vec::new(), plain_tables: false };
    let output = Output::begin(output)?;
    let inputs = [Input::open(base, None, Some(changes))?, Input::open(recorded, None, None)?];
    write(&inputs, &Names::unite(&inputs, &[])?, &output, &options)?;
    drop(inputs);
    output.publish().map(|published| published.bytes)
}
