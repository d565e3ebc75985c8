//! The `hitlog` command: one verb, one file, each with its `Arguments` and a `run`.
//!
//! Results go to stdout, everything else to stderr. Exit codes are the same everywhere: 0 done, 1 done
//! but damage or loss was found (`check`, `compact --strict`) or the answer is no (`who`, `what`, `diff`),
//! 2 not done. Only `run` differs: it ends as the command that it ran.

mod affected;
pub mod check;
mod clean;
mod command;
mod compact;
mod completions;
mod diff;
pub mod dump;
mod error;
mod html;
mod merge;
mod old_runs;
mod run;
mod show;
mod what;
mod who;
mod who_formats;
mod wording;

pub use error::Error;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;

use crate::reader::escaped;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// Exit code: done, and nothing was wrong.
const DONE: u8 = 0;

/// Exit code: done, but something was damaged or lost.
const DONE_WITH_LOSS: u8 = 1;

/// Exit code: done, and the answer is no.
const NEGATIVE: u8 = 1;

/// Exit code: not done; a sentence on stderr says why.
const NOT_DONE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  hitlog run -- pytest -n 8          record a test run and compact it into hitlog.db
  coverage report --data-file=hitlog.db
  hitlog who src/shop/cart.py:88     which tests ran this line?
  hitlog what test_discount --only   which lines does nobody test without this test?
  hitlog affected                    which tests must run after what I changed?
  hitlog check .hitlog/*             is every log of every run whole?
  hitlog compact                     compact the last run once more
  hitlog dump .hitlog/*/4711-*.hitlog | less
  hitlog html -o report              lines, tests and processes for the browser

Exit codes: 0 done; 1 done, but damage or loss was found, or the answer is no; 2 not done.";

/// Records who ran what - which test ran which line or took which branch - from many processes at once.
#[derive(Parser)]
#[command(name = "hitlog", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Arguments),
    Compact(compact::Arguments),
    Who(who::Arguments),
    What(what::Arguments),
    Show(show::Arguments),
    Diff(diff::Arguments),
    Merge(merge::Arguments),
    Clean(clean::Arguments),
    Check(check::Arguments),
    Affected(affected::Arguments),
    Dump(dump::Arguments),
    Html(html::Arguments),
    Completions(completions::Arguments),
}

/// Runs the `hitlog` command with `args`, the first of which is the command's own name, and returns
/// its exit code. Writes to this process's stdout and stderr.
///
/// `run` takes over the process's handling of signals until it returns, so call this from a program
/// that has nothing else to do. Not to be called after a fork of a process with several threads.
///
/// ```
/// assert_eq!(hitlog::cli::main(["hitlog", "--version"].map(Into::into)), 0);
/// ```
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let verb = match Cli::try_parse_from(args) {
        Ok(cli) => cli.verb,
        Err(error) => return explain_usage(&error),
    };
    let result = match verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Compact(arguments) => compact::run(&arguments),
        Verb::Who(arguments) => who::run(&arguments),
        Verb::What(arguments) => what::run(&arguments),
        Verb::Show(arguments) => show::run(&arguments),
        Verb::Diff(arguments) => diff::run(&arguments),
        Verb::Merge(arguments) => merge::run(&arguments),
        Verb::Clean(arguments) => clean::run(&arguments),
        Verb::Check(arguments) => printing(|out, err| check::run(&arguments, out, err)),
        Verb::Affected(arguments) => affected::run(&arguments),
        Verb::Dump(arguments) => printing(|out, err| dump::run(&arguments, out, err)),
        Verb::Html(arguments) => html::run(&arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        // Whoever closes the pipe has seen enough (`hitlog dump LOG | head`).
        if error.is_closed_pipe() {
            return DONE;
        }
        say(&error);
        NOT_DONE
    })
}

/// Runs a verb that prints to stdout and stderr.
fn printing(verb: impl FnOnce(&mut dyn Write, &mut dyn Write) -> io::Result<u8>) -> Result<u8, Error> {
    verb(&mut io::stdout().lock(), &mut io::stderr().lock()).map_err(|source| Error::Stdout { source })
}

/// Takes a name as it is recorded: bytes that are not text are escaped, as the compactor does it.
fn recorded_name() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|name| escaped(name.as_bytes()).into_owned())
}

/// Writes an answer for machines, on one line.
fn write_json(answer: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer).map_err(io::Error::from).and_then(|()| writeln!(out))
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn explain_usage(error: &clap::Error) -> u8 {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        let printed = error.print().and_then(|()| io::stdout().flush());
        return match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                say(&Error::Stdout { source: error });
                NOT_DONE
            }
            _ if is_help => NOT_DONE,
            _ => DONE,
        };
    }
    let text = error.render().to_string();
    say(&text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    NOT_DONE
}

/// Tells the user `message`. That nobody can read it is no reason to fail: the terminal may be gone.
fn say(message: &dyn Display) {
    // A path can hold what a terminal would obey; a message of several lines is meant so.
    let is_command = |character: char| character.is_control() && character != '\n';
    let message = message.to_string().replace(is_command, " ");
    let _ = writeln!(io::stderr().lock(), "hitlog: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_help_with_examples() {
        for verb in Cli::command().get_subcommands() {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let call = format!("hitlog {}", verb.get_name());
            assert!(examples.starts_with("Examples:\n"), "{call}: {examples}");
            assert!(examples.matches(&call).count() >= 2, "{call}: {examples}");
        }
    }
}
