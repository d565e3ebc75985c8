//! `hitlog merge`: several recordings into one file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{DONE, Error};
use crate::compactor::{self, CombineOptions, Combined, PathMap, Recording, configured_paths};

const EXAMPLES: &str = "\
Examples:
  hitlog merge unit.db integration.db -o all.db
  hitlog merge ci/*.db -o all.db --map /app=. --map /builds/shop=.    recordings from containers
  hitlog merge --label py39=39.db --label py314=314.db -o all.db      contexts kept apart
  hitlog merge hitlog.db more.db -o hitlog.db                         the output may be an input

The result is what compacting all their logs together would have given. Contexts of the same name are one
context; --label keeps them apart, as coverage.py's static contexts do (`py39|tests/test_cart.py::test_full|run`).
Paths: --map first, then coverage.py's [paths], as configured in the current folder.

Exit codes: 0 done; 2 not done, and the output is what it was before.";

/// Merge recordings into one file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Compacted files, or data files of coverage.py
    #[arg(value_name = "FILE", required_unless_present = "labelled")]
    files: Vec<PathBuf>,

    /// One more, whose contexts get the label NAME; may be repeated
    #[arg(long = "label", value_name = "NAME=FILE", value_parser = parse_label)]
    labelled: Vec<Recording>,

    /// Where the files of folder OLD are here; may be repeated
    #[arg(long = "map", value_name = "OLD=NEW", value_parser = parse_map)]
    maps: Vec<PathMap>,

    /// The file to write; replaced only when all is done
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Write branches as rows of coverage.py's own table (see `hitlog compact --help`)
    #[arg(long)]
    plain_tables: bool,

    /// Print the summary as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let joined = arguments.files.iter().map(|path| Recording::from(path.as_path()));
    let recordings: Vec<Recording> = joined.chain(arguments.labelled.iter().cloned()).collect();
    let combined = combine(&recordings, arguments).map_err(|source| Error::Compactor { source })?;
    if arguments.json {
        let printed = super::write_json(&combined, &mut io::stdout().lock());
        printed.map_err(|source| Error::Stdout { source })?;
    } else {
        let _ = write!(io::stderr().lock(), "{combined}");
    }
    Ok(DONE)
}

fn combine(recordings: &[Recording], arguments: &Arguments) -> Result<Combined, compactor::Error> {
    let mut maps = arguments.maps.clone();
    maps.extend(configured_paths(Path::new("."))?);
    let (output, plain_tables) = (arguments.output.clone(), arguments.plain_tables);
    compactor::combine(recordings, &CombineOptions { output, maps, plain_tables })
}

fn parse_label(text: &str) -> Result<Recording, String> {
    match text.split_once('=') {
        Some((label, path)) if !label.is_empty() && !path.is_empty() => {
            Ok(Recording { path: path.into(), label: Some(label.to_owned()) })
        }
        _ => Err("write it as NAME=FILE".to_owned()),
    }
}

fn parse_map(text: &str) -> Result<PathMap, String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok(PathMap::new(old, new)),
        _ => Err("write it as OLD=NEW".to_owned()),
    }
}
