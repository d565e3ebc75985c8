//! What shall be measured in a run: `run.json`, written by whoever began the run, and `config.json`,
//! written once by the first Python process of the run (see `_configuration.py`).
//!
//! In `config.json` a path or a pattern is a string with one character for each byte, so that every
//! path that can be a file's name can be a path there.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Error;

/// The settings of a run that the recorder needs.
#[derive(Debug, Default)]
pub struct Configuration {
    /// The directory in which the run was begun; measured by default.
    pub directory: Vec<u8>,
    /// Directories to measure, with everything below them.
    pub source_directories: Vec<Vec<u8>>,
    /// Packages to measure, wherever they are.
    pub source_packages: Vec<String>,
    /// Whether branches are recorded, too.
    pub branch: bool,
    /// Patterns of the files to measure.
    pub include: Vec<Vec<u8>>,
    /// Patterns of files that are never measured.
    pub omit: Vec<Vec<u8>>,
    /// The context of the whole run, in front of every other one.
    pub static_context: Vec<u8>,
    /// Whether tests of unittest have a context each.
    pub test_contexts: bool,
}

/// Where the configuration of the run in `run_directory` is.
pub fn configuration_path(run_directory: &Path) -> PathBuf {
    run_directory.join("config.json")
}

/// Reads the configuration of the run in `run_directory`.
///
/// # Errors
/// A file is missing or not as it must be, or the run wants what this recorder cannot do.
pub fn read(run_directory: &Path) -> Result<Configuration, Error> {
    let run = match read_json(&run_directory.join("run.json")) {
        Err(Error::File { source, .. }) if source.kind() == ErrorKind::NotFound => Value::Null,
        run => run?,
    };
    let path = configuration_path(run_directory);
    let config = read_json(&path)?;
    let bytes = |key: &str| byte_strings(&path, &config, key);
    Ok(Configuration {
        directory: one_byte_string(&path, &config["directory"])?,
        source_directories: bytes("source_directories")?,
        source_packages: strings(&config["source_packages"]),
        branch: run["branch"] == Value::Bool(true) || config["branch"] == Value::Bool(true),
        include: bytes("include")?,
        omit: bytes("omit")?,
        static_context: run["context"].as_str().map_or_else(
            || one_byte_string(&path, &config["context"]),
            |name| Ok(name.as_bytes().to_vec()),
        )?,
        test_contexts: run["test_contexts"] == Value::Bool(true),
    })
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let file = |source| Error::File { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(file)?;
    serde_json::from_slice(&bytes).map_err(|error| file(error.into()))
}

fn strings(values: &Value) -> Vec<String> {
    let values = values.as_array().into_iter().flatten();
    values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

fn byte_strings(path: &Path, config: &Value, key: &str) -> Result<Vec<Vec<u8>>, Error> {
    let values = config[key].as_array().into_iter().flatten();
    values.map(|value| one_byte_string(path, value)).collect()
}

fn one_byte_string(path: &Path, value: &Value) -> Result<Vec<u8>, Error> {
    let text = value.as_str().unwrap_or_default();
    let bytes = text.chars().map(|character| u8::try_from(u32::from(character)));
    bytes.collect::<Result<_, _>>().map_err(|_| Error::File {
        path: path.to_owned(),
        source: std::io::Error::new(ErrorKind::InvalidData, "a character that is not a byte"),
    })
}

/// The bytes of a path.
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
