//! Running other programs: seen by the user, and failing with a sentence.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Why a command of ours stops, as a sentence.
#[derive(Debug)]
pub struct Failure(pub String);

/// What the functions of this program return.
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// Prints a line for the user.
pub fn say(text: impl Display) {
    // Nobody may be listening; the work goes on.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints what comes next.
pub fn announce(text: impl Display) {
    say(format!("\n=== {text}"));
}

/// Root of the project.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tools/xtask lies two levels below the root").to_owned()
}

/// The folder of everything that these commands download or build.
pub fn work_folder() -> PathBuf {
    root().join("target").join("xtask")
}

/// The folder of this program's Python files.
pub fn scripts() -> PathBuf {
    root().join("tools/xtask/python")
}

/// A Python file of this program.
pub fn script(name: &str) -> PathBuf {
    scripts().join(name)
}

/// A command that runs in the project's root and is not part of anybody's recorded run.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env_remove("HITLOG_RUN").env_remove("HITLOG_CONTEXT");
    command
}

/// The cargo that runs this program.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// How `command` is shown.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ").replace(&format!("{}/", root().display()), "")
}

/// Runs `command`, whose output the user sees.
pub fn run(command: &mut Command) -> Result {
    say(format!("$ {}", shown(command)));
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure(format!("`{}` ended with {status}.", shown(command))))
    }
}

/// Runs `command` and returns what it wrote to stdout; what it wrote to stderr is shown if it fails.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure(format!("`{}` ended with {}.\n{said}", shown(command), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A finished command whose stdout was shown and kept.
pub struct Seen {
    /// What it wrote to stdout.
    pub stdout: String,
    /// Its exit status; `None` after a signal.
    pub code: Option<i32>,
}

/// Runs `command`; the user sees its output line by line, and the caller gets it. `meanwhile` runs beside
/// it and is told when the command has ended.
pub fn watch(command: &mut Command, meanwhile: impl FnOnce(&AtomicBool) + Send) -> Result<Seen> {
    say(format!("$ {}", shown(command)));
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| not_started(command, &error))?;
    let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).split(b'\n');
    let mut stdout = String::new();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| meanwhile(&ended));
        for line in lines.map_while(io::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            say(&line);
            stdout.push_str(&line);
            stdout.push('\n');
        }
        ended.store(true, Ordering::Relaxed);
    });
    Ok(Seen { stdout, code: child.wait()?.code() })
}

fn not_started(command: &Command, error: &io::Error) -> Failure {
    let name = command.get_program().to_string_lossy();
    Failure(format!("`{name}` cannot be started: {error}. Is it installed and on PATH?"))
}

/// Runs `work` and says how long it took.
pub fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work()?;
    say(format!("({what}: {:.1} s)", start.elapsed().as_secs_f64()));
    Ok(result)
}
