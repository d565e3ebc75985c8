//! Runs a command as if nobody stood between it and its caller: in the same process group, on the
//! same terminal, with the same signals, and with an exit status that says the same.
//!
//! What the terminal sends (Ctrl-C, Ctrl-\, a hang-up, a new window size) reaches every process of the
//! group by itself; handing it on would make the command see it twice. What somebody sends to this
//! process alone with kill(2) is handed on. A signal's origin tells the two apart.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::thread;

use crate::process_identity::process;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// The signals that are handed on to the command.
const HANDED_ON: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// How a command ended.
#[derive(Debug, serde::Serialize)]
pub(super) struct Ended {
    pid: u32,
    /// When it started, in clock ticks since boot: with the pid, the identity of the process.
    process_start_ticks: u64,
    exit_code: Option<i32>,
    signal: Option<i32>,
}

impl Ended {
    /// The exit status by which a shell would report the command's end: 128 + n after signal n.
    pub(super) fn exit_code(&self) -> u8 {
        let code = self.signal.map(|signal| 128 + signal).or(self.exit_code);
        code.map_or(u8::MAX, |code| code as u8)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.signal {
            Some(signal) => write!(f, "signal {signal}"),
            None => write!(f, "status {}", self.exit_code()),
        }
    }
}

/// The exit status by which env(1) and shells report that a command could not be started.
pub(super) fn not_started_exit_code(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// This process's handling of signals while a command runs.
pub(super) struct Signals {
    signals: SignalsInfo<WithOrigin>,
}

impl Signals {
    /// Takes over the signals; until the command has ended none of them ends this process.
    ///
    /// A signal that is ignored (as under nohup) stays ignored, here and in the command. SIGXFSZ is
    /// handled because Python ignores it in its own process, and exec hands down what is ignored but
    /// not what is handled: the command finds what it would find without us.
    pub(super) fn take_over() -> io::Result<Signals> {
        let ignored = ignored_signals();
        let handed_on = HANDED_ON.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let signals = SignalsInfo::new(handed_on.chain([SIGCHLD, SIGXFSZ]))?;
        Ok(Signals { signals })
    }

    /// Runs `command` to its end.
    pub(super) fn run(&mut self, command: &mut Command) -> io::Result<Ended> {
        let mut child = command.spawn()?;
        // A dead child keeps its entry until `wait`, so its start can still be read.
        let process_start_ticks = process(child.id()).map_or(0, |child| child.start_ticks);
        let status = self.wait(&mut child)?;
        let signal = status.signal();
        Ok(Ended { pid: child.id(), process_start_ticks, exit_code: status.code(), signal })
    }

    /// Waits for `child`, handing signals on. One thread does both, so no signal can go to a process
    /// that took over the pid of a child that was waited for.
    fn wait(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                // A Ctrl-C that ended the command was meant for it, not for what follows.
                self.signals.pending().for_each(drop);
                return Ok(status);
            }
            for origin in self.signals.wait() {
                hand_on(&origin, child.id());
            }
        }
    }

    /// From here on, a signal tells the user `message` and ends this process, as it would without any
    /// handler.
    pub(super) fn end_with(mut self, message: String) {
        thread::spawn(move || {
            for origin in self.signals.forever() {
                if ![SIGCHLD, SIGWINCH, SIGXFSZ].contains(&origin.signal) {
                    super::say(&message);
                    let _ = emulate_default_handler(origin.signal);
                }
            }
        });
    }
}

/// Hands a signal on to the process `pid` if somebody sent it to this process alone.
fn hand_on(origin: &Origin, pid: u32) {
    let sender = origin.process.map(|process| process.pid);
    let is_sent = matches!(origin.cause, Cause::Sent(_)) && sender != Some(pid as i32);
    if !is_sent || !HANDED_ON.contains(&origin.signal) {
        return;
    }
    if let (Some(pid), Some(signal)) =
        (Pid::from_raw(pid as i32), Signal::from_named_raw(origin.signal))
    {
        // It may have ended in this instant.
        let _ = kill_process(pid, signal);
    }
}

/// The signals that this process ignores: bit n - 1 for signal n.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
