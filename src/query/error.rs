//! Why a question has no answer. That a line never ran is an answer, and no error.

use rusqlite::ErrorCode;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no answer. The text is a sentence that names the file and a remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such database.
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The database cannot be read.
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than a file of hitlog or coverage.py.
    NotRecorded {
        /// The path.
        path: PathBuf,
        /// What it is instead, with its article.
        found: &'static str,
    },
    /// A data file of another version of coverage.py's schema.
    Schema {
        /// The path.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Tables of hitlog that this version does not know.
    OtherVersion {
        /// The path.
        path: PathBuf,
        /// What wrote the file.
        writer: String,
    },
    /// Nothing in the file says which test ran what.
    NoContexts {
        /// The path.
        path: PathBuf,
    },
    /// The file has none of hitlog's own tables.
    NoTables {
        /// The path.
        path: PathBuf,
        /// What was to be read from them.
        wanted: &'static str,
    },
    /// No such file in the recording.
    UnknownFile {
        /// What was given.
        given: String,
        /// The database.
        database: PathBuf,
        /// Recorded files with similar names, the most similar first.
        nearest: Vec<String>,
    },
    /// A file that is there, and of which nothing was recorded.
    NotMeasured {
        /// What was given.
        given: String,
        /// The database.
        database: PathBuf,
    },
    /// A folder, where a file is meant.
    Folder {
        /// What was given.
        given: String,
    },
    /// No such test in the recording.
    UnknownTest {
        /// What was given.
        given: String,
        /// The database.
        database: PathBuf,
        /// Recorded tests with similar names, the most similar first.
        nearest: Vec<String>,
    },
    /// A name that several files or tests go by.
    Ambiguous {
        /// What was given.
        given: String,
        /// What it may mean, in the plural.
        what: &'static str,
        /// All that it may mean.
        found: Vec<String>,
    },
    /// SQLite cannot read the file.
    Database {
        /// The path.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// How many of several possible names a sentence lists.
const LISTED_MAX: usize = 5;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { path } => write!(
                f,
                "{}: no such file. Make it with `pytest --hitlog` or `hitlog run -- COMMAND`, or name another \
                 one.",
                path.display()
            ),
            Error::Read { path, source } => {
                write!(f, "{}: cannot be read ({source}). Name another file.", path.display())
            }
            Error::NotRecorded { path, found } => {
                write!(f, "{}: this is {found}. Name a file of hitlog or coverage.py.", path.display())
            }
            Error::Schema { path, found } => write!(
                f,
                "{}: a coverage.py data file of schema {found}; hitlog reads schema 7 (coverage.py 5.0 and \
                 later). Record again, or use a hitlog that knows it.",
                path.display()
            ),
            Error::OtherVersion { path, writer } => write!(
                f,
                "{}: written by {writer}, with tables that hitlog {} does not know. Use that version, or \
                 compact the logs again.",
                path.display(),
                env!("CARGO_PKG_VERSION")
            ),
            Error::NoContexts { path } => write!(
                f,
                "{}: nothing in it says which test ran what. Record with `pytest --hitlog` (or coverage.py's \
                 --cov-context=test).",
                path.display()
            ),
            Error::NoTables { path, wanted } => write!(
                f,
                "{}: a file of coverage.py, which knows nothing of {wanted}. Record with `pytest --hitlog` or \
                 `hitlog run`.",
                path.display()
            ),
            Error::UnknownFile { given, database, nearest } => write!(
                f,
                "{given}: no such file, neither in {} nor on disk.{}",
                database.display(),
                hint("`hitlog show` tells what was recorded", nearest)
            ),
            Error::NotMeasured { given, database } => write!(
                f,
                "{given}: not measured: nothing of this file ran while {} was recorded, or the configuration \
                 leaves it out (source, include, omit).",
                database.display()
            ),
            Error::Folder { given } => {
                write!(
                    f,
                    "{given}: this is a folder. Name a file in it; `hitlog show --all` lists them."
                )
            }
            Error::UnknownTest { given, database, nearest } => write!(
                f,
                "{given}: no such test in {}.{}",
                database.display(),
                hint("`hitlog show` tells what was recorded", nearest)
            ),
            Error::Ambiguous { given, what, found } => {
                write!(f, "{given}: {} {what} go by that name; give more of it: ", found.len())?;
                write!(f, "{}", found[..found.len().min(LISTED_MAX)].join(", "))?;
                let more = if found.len() > LISTED_MAX { ", ..." } else { "." };
                write!(f, "{more}")
            }
            Error::Database { path, source } => {
                write!(f, "{}: cannot be read ({source}). {}", path.display(), remedy(source))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Read { source, .. } => Some(source),
            Error::Database { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn hint(otherwise: &str, nearest: &[String]) -> String {
    match nearest {
        [] => format!(" {otherwise}."),
        names => format!(" Is it {}?", names.join(" or ")),
    }
}

fn remedy(source: &rusqlite::Error) -> &'static str {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "Another process is writing to it; ask again when that is done."
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "It is damaged; compact the logs again (`hitlog compact`)."
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            "Somebody left it half written; open it once with a program that may write to it."
        }
        _ => "Compact the logs again; if it stays so, please report it with this sentence.",
    }
}
