//! Signals as a terminal gives them.
//!
//! A background job and nohup leave SIGINT or SIGHUP ignored, what is ignored is inherited by every child,
//! and a shell or a Python that starts so does not handle them: tests of signals would wait for ever.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM, as in the masks of `/proc/<pid>/status`.
const OF_INTEREST: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14;

/// Starts this program once more, with every signal as by default, if one of interest is ignored. Where
/// env(1) cannot do that, the program goes on as it is.
pub fn reset_ignored() {
    let Ok(program) = std::env::current_exe() else { return };
    if ignored() & OF_INTEREST == 0 || !env_resets_signals() {
        return;
    }
    let mut again = Command::new("env");
    again.arg("--default-signal").arg(program).args(std::env::args_os().skip(1));
    // Only returns if env cannot be started after all.
    let _ = again.exec();
}

fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn env_resets_signals() -> bool {
    let mut probe = Command::new("env");
    probe.args(["--default-signal", "true"]).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}
