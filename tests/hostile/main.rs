//! Logs and run directories that nobody's recorder writes: each is refused for a reason that is told, or what
//! can be kept is kept; memory and time stay bounded; and coverage.py reads what comes of it.
//!
//! coverage.py is that of HITLOG_TEST_PYTHON (`cargo xtask test` sets it); without it, only its part is
//! skipped.
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod directories;
mod logs;
#[path = "../common/process_log.rs"]
mod process_log;

use process_log::ProcessLog;
use serde_json::Value;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a compaction may take at most: resident memory in KiB, time of all processors in seconds, and bytes
/// of output.
const MEMORY_KIB_MAX: i64 = 256 * 1024;
const SECONDS_MAX: i64 = 5;
const OUTPUT_BYTES_MAX: u64 = 256 << 20;

/// A program that a sane process ran, beside which the hostile ones lie.
const PROGRAM: &str = "import sys\n\nif len(sys.argv) > 5:\n    print(sys.argv)\n";

/// A folder with a program, a run with one sane log, and what is made of it.
struct Case {
    folder: tempfile::TempDir,
}

/// How a compaction ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    /// The report, as one line of JSON.
    report: String,
    stderr: String,
    memory_kib: i64,
    seconds: i64,
}

impl Case {
    fn new() -> Case {
        let case = Case { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(case.run()).unwrap();
        std::fs::write(case.program(), PROGRAM).unwrap();
        let program = case.program().to_str().unwrap().to_owned();
        ProcessLog::new(1).line("sane", &program, 1).line("sane", &program, 3).write(&case.run());
        case
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self) -> PathBuf {
        self.path().join("run")
    }

    fn program(&self) -> PathBuf {
        self.path().join("program.py")
    }

    fn output(&self) -> PathBuf {
        self.path().join("hitlog.db")
    }

    /// Compacts the run, within the limits.
    fn compact(&self, name: &str) -> Ended {
        self.compact_within(MEMORY_KIB_MAX, SECONDS_MAX, name)
    }

    fn compact_within(&self, memory_kib_max: i64, seconds_max: i64, name: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hitlog"));
        command.args(["compact", "--json"]).arg(self.run()).arg("-o").arg(self.output());
        let ended = run_measured(command.current_dir(self.path()));
        assert!(ended.memory_kib < memory_kib_max, "{name}: {} KiB", ended.memory_kib);
        assert!(ended.seconds < seconds_max, "{name}: {} s of processor time", ended.seconds);
        let size = self.output().metadata().map_or(0, |metadata| metadata.len());
        assert!(size < OUTPUT_BYTES_MAX, "{name}: an output of {size} bytes");
        ended
    }

    /// How many lines of the sane program are in the output.
    fn sane_lines(&self) -> u32 {
        let connection = rusqlite::Connection::open(self.output()).unwrap();
        let sql = "select count(*) from hitlog_line where path = ? and context = 'sane'";
        connection.query_row(sql, [self.program().to_str().unwrap()], |row| row.get(0)).unwrap()
    }
}

/// Runs `command` to its end and takes its memory and time from the kernel.
fn run_measured(command: &mut Command) -> Ended {
    let limit = libc::rlimit { rlim_cur: 4 << 30, rlim_max: 4 << 30 };
    // SAFETY: between fork and exec only one system call is made.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    #[allow(clippy::zombie_processes, reason = "wait4 below waits for it")]
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut report, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let mut status = 0;
    // SAFETY: all zero is a value of these plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: valid places for both results, for a child that was not waited for.
    let pid = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert_eq!(pid, child.id() as i32);
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec;
    Ended { code, report, stderr, memory_kib: usage.ru_maxrss, seconds }
}

impl Ended {
    /// What is wrong, unless the compaction was done and its report holds `text`.
    fn unless_it_says(&self, text: &str) -> Option<String> {
        let is_fine = self.code == Some(0) && self.report.contains(text);
        (!is_fine)
            .then(|| format!("`{text}` is not in {:?} {} {}", self.code, self.shown(), self.stderr))
    }

    /// The report, as far as it can be read by people.
    fn shown(&self) -> String {
        self.report.chars().take(3000).collect()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.report).unwrap()
    }
}

/// Runs coverage.py's reports on all outputs in one Python, and fails unless each ends with 0.
fn assert_coverage_py_reads(outputs: &[(String, PathBuf)]) {
    let Ok(python) = std::env::var("HITLOG_TEST_PYTHON") else {
        println!("skipped: HITLOG_TEST_PYTHON names no Python with coverage.py");
        return;
    };
    let script = "\
import contextlib, io, os, sys, tempfile
from coverage.cmdline import main
folder = tempfile.mkdtemp()
for output in sys.argv[1:]:
    data = ['-i', '--data-file=' + output]
    os.chdir(os.path.dirname(output))
    for report in (['report'], ['xml', '-o', folder + '/xml'], ['json', '--show-contexts', '-o', folder + '/json'],
                   ['html', '--show-contexts', '-d', folder + '/html']):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = main(report[:1] + data + report[1:])
        if code or (report == ['report'] and 'program.py' not in said.getvalue()):
            sys.exit(f'{output}: {report[0]} ended with {code}: {said.getvalue()}')
print('read', len(sys.argv) - 1)";
    let paths = outputs.iter().map(|(_, path)| path);
    let output = Command::new(python).args(["-c", script]).args(paths).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let names: Vec<_> =
        outputs.iter().map(|(name, path)| format!("{} {name}", path.display())).collect();
    assert!(output.status.success(), "{said}{stdout}\n{}", names.join("\n"));
    assert!(stdout.contains(&format!("read {}", outputs.len())), "{stdout}");
}
