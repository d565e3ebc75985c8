//! A folder in which a test runs `hitlog`, and what came of it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub const HITLOG: &str = env!("CARGO_BIN_EXE_hitlog");

/// The folder in which a test's commands run.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(HITLOG);
        command.args(args).current_dir(self.path());
        command.env_remove("HITLOG_RUN").env_remove("HITLOG_CONTEXT");
        command
    }

    pub fn hitlog<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        Ended::from(self.command(args).output().expect("the command starts"))
    }

    /// Records a shell script.
    pub fn run_shell(&self, script: &str) -> Ended {
        self.hitlog(["run", "--", "sh", "-c", script])
    }

    pub fn runs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join(".hitlog")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// A file of the only run.
    pub fn json(&self, name: &str) -> serde_json::Value {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        let text = fs::read_to_string(runs[0].join(name)).expect("the file is there");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

/// A command that has printed its first line.
pub struct Running {
    pub child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Running { child, stdout };
        assert_eq!(running.line(), "ready");
        running
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("readable");
        line.trim_end().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a pid");
        kill_process(pid, signal).expect("it is still running");
    }

    pub fn end(mut self) -> Ended {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("readable");
        let output = self.child.wait_with_output().expect("it ends");
        Ended { stdout: rest, ..Ended::from(output) }
    }
}
