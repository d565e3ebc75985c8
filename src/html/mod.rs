//! `hitlog html`: a compacted file as a folder of pages that a browser opens without a server.
//!
//! ```text
//! database -> names (files, tests) -> files  (one at a time: lines, who ran them, source)  -> script -> folder
//!                                  -> tests  (which files, how many lines, how long)
//!                                  -> processes (when, from whom, how each ended)
//! ```
//!
//! A page that is opened from the file system may load scripts, but not read files. So the data are
//! scripts, each of which hands one value to the page: an index that is always loaded, and one script
//! for each file, for each 128 tests and for the processes, loaded when somebody asks.
//! What is in them is only ever shown as text. The page itself is in `assets/` and is the same for all data.
//!
//! One file of the recording is held in memory at a time, and for each (test, file) a few numbers.

mod error;
mod files;
mod folder;
mod lines;
mod names;
mod processes;
mod script;
mod source;
mod statements;
mod tests;

pub use error::Error;

use std::path::Path;

use crate::query::Database;
use folder::Folder;
use lines::Runs;
use names::Names;
use processes::Processes;
use serde::Serialize;
use source::Source;

/// What a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files in which something ran.
    pub files: u64,
    /// Tests, or other named contexts.
    pub tests: u64,
    /// Processes, of which only hitlog's own recordings tell.
    pub processes: u64,
    /// What all files of the report take on the disk.
    pub bytes: u64,
}

/// Writes the report on the compacted file `database` into the folder `output`, which is made if it is
/// not there. A report that is there is replaced once the whole of the new one is written.
///
/// # Errors
/// [`Error`] says which file or folder is in the way, and what to do. A report that was there stays.
///
/// ```no_run
/// let summary = hitlog::html::write("hitlog.db".as_ref(), "htmlhit".as_ref())?;
/// assert!(summary.files > 0);
/// # Ok::<(), hitlog::html::Error>(())
/// ```
pub fn write(database: &Path, output: &Path) -> Result<Summary, Error> {
    let database = Database::open(database)?;
    let names = Names::read(&database)?;
    let mut folder = Folder::begin(output, names.fingerprint())?;
    let mut tests = tests::Tests::new(&names);
    let mut index = files::Index::default();
    for file in &names.files {
        let runs = Runs::read(&database, file, &names)?;
        let source = Source::read(&database, file)?;
        let page = files::Page::new(runs, source, &mut tests.of_file(file.number));
        index.push(file, &page);
        folder.write_script(&format!("file-{}", file.number), &page)?;
    }
    let processes = Processes::read(&database, &names)?;
    tests.add_times(&processes);
    for (chunk, number) in tests.chunks().zip(0..) {
        folder.write_script(&format!("tests-{number}"), &chunk)?;
    }
    folder.write_script("processes", &processes.page())?;
    folder.write_script("index", &index.page(&names, &tests, &processes))?;
    Ok(Summary {
        files: names.files.len() as u64,
        tests: names.tests.len() as u64,
        processes: processes.count(),
        bytes: folder.publish()?,
    })
}
