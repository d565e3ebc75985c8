//! `hitlog dump`: a log's header and records, for people or, as JSON lines, for machines.
//!
//! The JSON is part of `format-spec.md`: a second reader prints the same bytes. Nothing is held in
//! memory but what the reader's limits allow; slots are printed as they are read.

mod json;
mod text;

use crate::format::Slot;
use crate::reader::{Contents, Digest, Error, LogReader, SlotCounts};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hitlog dump .hitlog/20261120-101502-7f3a/4711-*.hitlog | less
  hitlog dump --json LOG | grep '\"damaged\"'            what is damaged, and where
  hitlog dump --json LOG | jq 'select(.record == \"context_start\")'
  hitlog dump --json LOG | tail -1                     the counts alone

Exit codes: 0 done, whatever state the log is in (`hitlog check` judges that); 2 not readable.";

/// Show the header and the records of a log.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print one JSON object per line: the header, each slot in use, names, counts
    #[arg(long)]
    pub json: bool,
    /// The logs
    #[arg(required = true, value_name = "LOG")]
    pub logs: Vec<PathBuf>,
}

/// How many slots are read between two looks at whether the output is still wanted.
const STRIDE_SLOTS: u32 = 1 << 16;

/// Prints each log to `out`, and what cannot be read, one sentence for each, to `err`. Returns the exit
/// code: 0, or 2 if a log could not be read. Whoever closes the pipe has seen enough: code 0.
///
/// # Errors
/// If `out` or `err` cannot be written, for another reason than a closed pipe.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let mut code = 0;
    for path in &arguments.logs {
        let mut buffered = io::BufWriter::with_capacity(64 * 1024, &mut *out);
        let dumped = dump(path, arguments.json, &mut buffered).and_then(|()| Ok(buffered.flush()?));
        drop(buffered.into_parts()); // what an error left in the buffer is not tried again
        match dumped {
            Ok(()) => {}
            Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(code),
            Err(Stop::Output(error)) => return Err(error),
            Err(Stop::Log(error)) => {
                writeln!(err, "hitlog: {error}")?;
                code = 2;
            }
        }
    }
    Ok(code)
}

/// Why a dump ended early.
enum Stop {
    Output(io::Error),
    Log(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

fn dump(path: &std::path::Path, json: bool, out: &mut dyn Write) -> Result<(), Stop> {
    let log = LogReader::open(path).map_err(Stop::Log)?;
    if json {
        json::header(&log, out)?;
        let (counts, contents) = each_slot(&log, |number, slot| json::slot(&log, number, slot, out))?;
        json::names(&contents, out)?;
        json::summary(&log, &counts, &contents, out)?;
    } else {
        // Names stand behind the records that use them, too: read everything once before.
        let (counts, contents) = each_slot(&log, |_, _| Ok(()))?;
        text::header(&log, &counts, &contents, out)?;
        each_slot(&log, |number, slot| text::slot(&log, &contents, number, slot, out))?;
    }
    Ok(())
}

/// Calls `print` for each slot that is not simply blank, until it fails.
fn each_slot(
    log: &LogReader,
    mut print: impl FnMut(u32, &Slot) -> io::Result<()>,
) -> Result<(SlotCounts, Contents), Stop> {
    let mut counts = SlotCounts::default();
    let mut digest = Digest::default();
    let mut first = 0;
    while first < log.slot_count() {
        let end = log.slot_count().min(first + STRIDE_SLOTS);
        let mut printed = Ok(());
        let visit = |number, slot| {
            digest.add(number, &slot);
            if printed.is_ok() {
                printed = print(number, &slot);
            }
        };
        counts += log.scan(first..end, visit).map_err(Stop::Log)?;
        printed?;
        first = end;
    }
    Ok((counts, digest.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output whose reader went away.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(crate::format::log_file_name(7, &[1; 16]));
        std::fs::write(&log, "").unwrap();
        let arguments = Arguments { json: true, logs: vec![log] };
        let mut err = Vec::new();
        assert_eq!(run(&arguments, &mut Closed, &mut err).unwrap(), 0);
        assert_eq!(err, b"");
    }

    #[test]
    fn what_is_no_log_is_named_and_the_others_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join(crate::format::log_file_name(7, &[1; 16]));
        std::fs::write(&log, "").unwrap();
        let arguments = Arguments { json: true, logs: vec!["nosuch".into(), log] };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&arguments, &mut out, &mut err).unwrap(), 2);
        assert!(String::from_utf8(err).unwrap().starts_with("hitlog: nosuch: no such log."));
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }
}
