//! The `hitlog` command as its users meet it: exit codes, sentences, signals. Runs the built binary,
//! each test in a folder of its own.
#![cfg(feature = "cli")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod folder;
mod old_runs;
mod questions;
mod recorded;
#[path = "../common/tracer.rs"]
mod tracer;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use folder::{Ended, Folder, HITLOG, Running};

#[test]
fn the_status_of_the_command_is_the_status_of_run() {
    let folder = Folder::new();
    for code in [0, 1, 2, 77, 255] {
        assert_eq!(folder.run_shell(&format!("exit {code}")).code, Some(code));
    }
    for signal in [1, 2, 3, 6, 9, 11, 13, 15] {
        let ended = folder.run_shell(&format!("ulimit -c 0; kill -{signal} $$"));
        assert_eq!(ended.code, Some(128 + signal), "signal {signal}: {ended:?}");
    }
}

#[test]
fn a_command_in_which_nothing_recorded_is_told_so_with_the_reasons() {
    let folder = Folder::new();
    let ended = folder.hitlog(["run", "--", "true"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.starts_with("hitlog: the command ended (status 0), but no process recorded"));
    for part in ["pip install hitlog", "--source", "hitlog run --help"] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert!(!folder.path().join("hitlog.db").exists());
    let ended = folder.run_shell("kill -9 $$");
    assert!(ended.stderr.contains("ended (signal 9)"), "{ended:?}");
}

#[test]
fn what_kept_processes_from_recording_is_told() {
    let folder = Folder::new();
    let refused = "echo 'not recorded: pyproject.toml is broken' > $HITLOG_RUN/notes-$$.txt";
    let ended = folder.run_shell(refused);
    let told = "but no process recorded anything: not recorded: pyproject.toml is broken\n";
    assert!(ended.stderr.ends_with(told), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn an_option_that_there_is_not_is_told_from_a_command() {
    let folder = Folder::new();
    let ended = folder.hitlog(["run", "--nonsense", "--", "true"]);
    assert_eq!(ended.code, Some(127), "{ended:?}");
    assert!(ended.stderr.contains("It is no option of `hitlog run` either"), "{ended:?}");
}

#[test]
fn a_command_that_cannot_be_started_ends_as_with_env() {
    let folder = Folder::new();
    fs::write(folder.path().join("data"), "not a program").expect("writable");
    for (name, code) in
        [("no-such-command", 127), ("./no-such-command", 127), ("./data", 126), ("/", 126)]
    {
        let ended = folder.hitlog(["run", "--", name]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("hitlog: {name}: cannot be started: ")), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1);
    }
    assert_eq!(folder.runs(), Vec::<PathBuf>::new(), "nothing ran, nothing stays");
}

#[test]
fn a_run_says_what_is_recorded_and_how_the_command_ended() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("src")).expect("writable");
    let options = "--branch --test-contexts --source src --source jinja2 --context nightly --";
    let args = std::iter::once("run").chain(options.split(' '));
    let script = ["sh", "-c", "echo $HITLOG_RUN $HITLOG_CONTEXT; exit 3"];
    let ended = folder.hitlog(args.chain(script));
    assert_eq!(ended.code, Some(3));
    let cwd = folder.path().canonicalize().expect("it exists");
    let run = cwd.join(folder.runs()[0].strip_prefix(folder.path()).expect("below"));
    assert_eq!(ended.stdout, format!("{} nightly\n", run.display()));

    let expected = serde_json::json!({
        "version": 1, "cwd": cwd, "command": script, "branch": true,
        "source": [cwd.join("src"), "jinja2"], "context": "nightly", "test_contexts": true,
    });
    assert_eq!(folder.json("run.json"), expected);
    let command = folder.json("command.json");
    assert_eq!(command["exit_code"], 3);
    assert_eq!(command["signal"], serde_json::Value::Null);
    assert!(command["pid"].as_u64() > Some(0) && command["process_start_ticks"].as_u64() > Some(0));
}

#[test]
fn the_signal_that_ended_the_command_is_written_down() {
    let folder = Folder::new();
    folder.run_shell("kill -9 $$");
    assert_eq!(folder.json("command.json")["signal"], 9);
    assert_eq!(folder.json("command.json")["exit_code"], serde_json::Value::Null);
}

#[test]
fn a_run_in_a_run_records_for_itself() {
    let folder = Folder::new();
    let script =
        "echo $HITLOG_RUN; \"$1\" run -- sh -c 'echo $HITLOG_RUN; echo ${HITLOG_CONTEXT-none}'";
    let args = ["run", "--context", "outer", "--", "sh", "-c", script, "sh", HITLOG];
    let ended = folder.hitlog(args);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert_ne!(lines[0], lines[1]);
    assert_eq!(lines[2], "none", "the outer run's context is not the inner one's");
    assert_eq!(folder.runs().len(), 2);
}

#[test]
fn the_command_keeps_its_streams_its_group_and_its_signal_dispositions() {
    let folder = Folder::new();
    let mut command = folder.command(["run", "--", "sh", "-c", "echo ready; cat; echo said >&2"]);
    let mut running = Running::start(&mut command);
    running.child.stdin.take().expect("a pipe").write_all(b"input\n").expect("writable");
    let ended = running.end();
    assert_eq!(ended.stdout, "input\n");
    assert!(ended.stderr.starts_with("said\n"));

    let ended = folder.run_shell("cut -d' ' -f5 /proc/$$/stat /proc/$PPID/stat");
    let groups: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(groups[0], groups[1], "the command's group and ours");

    let masks = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let direct = Command::new("sh").args(["-c", masks]).output().expect("sh starts");
    assert_eq!(folder.run_shell(masks).stdout, String::from_utf8_lossy(&direct.stdout));
}

#[test]
fn a_signal_sent_to_run_reaches_the_command_once() {
    let signals = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2];
    for signal in signals {
        let folder = Folder::new();
        // The trap answers and goes on; a line, or the end of its input, ends the script with the count,
        // after a while in which a second signal would come.
        let number = signal.as_raw();
        let script = format!(
            "n=0; trap 'n=$((n+1)); echo got' {number}; echo ready; \
             until read x || [ $? -le 128 ]; do :; done; sleep 0.2; exit $n"
        );
        let mut running = Running::start(&mut folder.command(["run", "--", "bash", "-c", &script]));
        running.signal(signal);
        assert_eq!(running.line(), "got", "{signal:?}");
        running.child.stdin.take().expect("a pipe").write_all(b"end\n").expect("writable");
        assert_eq!(running.end().code, Some(1), "{signal:?}");
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let folder = Folder::new();
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh", HITLOG, "run", "--"]);
    nohup.args(["sh", "-c", "kill -HUP $$ $PPID; echo alive"]).current_dir(folder.path());
    let ended = Ended::from(nohup.output().expect("sh starts"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "alive\n"));
}

/// Ctrl-C on a terminal reaches the whole group: the command must get one SIGINT, and run must live on
/// to compact.
#[test]
fn an_interrupt_from_the_terminal_reaches_the_command_once() {
    let folder = Folder::new();
    let script = "n=0; trap 'n=$((n+1))' INT; echo ready; until [ $n -gt 0 ]; do sleep 0.05; done; \
                  sleep 0.2; echo interrupts: $n; exit 5";
    fs::write(folder.path().join("script"), script).expect("writable");
    let mut terminal = Command::new("script");
    // Without exec the shell that script starts, in the same group, may end by the interrupt itself.
    terminal.args(["-qefc", &format!("exec '{HITLOG}' run -- bash script"), "/dev/null"]);
    terminal.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = terminal.spawn() else {
        println!("skipped: script(1), which makes a terminal, is not installed");
        return;
    };
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("readable");
    assert_eq!(line.trim_end(), "ready");
    let mut keyboard = child.stdin.take().expect("a pipe");
    keyboard.write_all(b"\x03").expect("writable");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("readable");
    assert!(rest.contains("interrupts: 1\r\n"), "{rest}");
    assert!(rest.contains("ended (status 5)"), "run itself survived: {rest}");
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
}

#[test]
fn an_output_that_cannot_be_written_is_found_before_the_command_runs() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("folder")).expect("writable");
    fs::write(folder.path().join("cart.py"), "print(1)\n").expect("writable");
    for output in ["no/such/hitlog.db", "/dev/null/hitlog.db", "folder", "cart.py"] {
        let ended = folder.hitlog(["run", "-o", output, "--", "touch", "ran"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("hitlog: {output}: ")), "{ended:?}");
        assert!(ended.stderr.contains("-o"), "{ended:?}");
    }
    assert!(!folder.path().join("ran").exists());
    assert!(folder.runs().is_empty());
}

#[test]
fn a_folder_that_takes_no_run_is_named_with_a_way_out() {
    let folder = Folder::new();
    fs::write(folder.path().join("file"), "").expect("writable");
    // Root may write anywhere, but not under a file and not in /proc.
    for dir in ["file", "/proc", "no-such-folder"] {
        let ended = folder.hitlog(["run", "--dir", dir, "--", "touch", "ran"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.starts_with(&format!("hitlog: {dir}/.hitlog: cannot make")), "{ended:?}");
        assert!(ended.stderr.contains("--dir DIR"), "{ended:?}");
    }
    assert!(!folder.path().join("ran").exists());
}

#[test]
fn a_missing_input_is_named_with_the_newest_run() {
    let folder = Folder::new();
    let ended = folder.hitlog(["compact"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.starts_with("hitlog: .hitlog: no run here."), "{ended:?}");
    let ended = folder.hitlog(["compact", "nosuch"]);
    assert!(ended.stderr.contains("there is none yet: record one with hitlog run"), "{ended:?}");

    folder.hitlog(["run", "--", "true"]);
    let newest = folder.runs()[0].strip_prefix(folder.path()).expect("below").display().to_string();
    let ended = folder.hitlog(["compact", "nosuch"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let sentence = "hitlog: nosuch: no such run directory or log. Runs are under .hitlog/";
    assert_eq!(ended.stderr, format!("{sentence} (newest: {newest}).\n"));
    assert_eq!(folder.hitlog(["check", "nosuch"]).stderr, ended.stderr);
}

#[test]
fn wrong_arguments_are_told_in_the_same_voice() {
    let folder = Folder::new();
    for args in
        [&["frob"][..], &["compact", "--frob"], &["run"], &["check"], &["compact", "--threads", "0"]]
    {
        let ended = folder.hitlog(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.starts_with("hitlog: "), "{ended:?}");
        assert!(ended.stderr.contains("--help"), "{ended:?}");
    }
    let ended = folder.hitlog::<&str>([]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("Usage: hitlog <COMMAND>"), "{ended:?}");
}

const VERBS: [&str; 11] =
    ["run", "compact", "who", "what", "show", "diff", "merge", "clean", "check", "dump", "completions"];

#[test]
fn every_verb_explains_itself_with_examples() {
    let folder = Folder::new();
    for verb in VERBS {
        let ended = folder.hitlog([verb, "--help"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let examples = format!("Examples:\n  hitlog {verb} ");
        assert!(ended.stdout.contains(&examples), "{verb}: {}", ended.stdout);
        assert!(!ended.stdout.contains('\x1b'), "colour only on a terminal");
    }
    assert!(folder.hitlog(["--help"]).stdout.contains("Examples:\n  hitlog run -- pytest"));
    let version = format!("hitlog {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(folder.hitlog(["--version"]).stdout, version);
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let folder = Folder::new();
    for (shell, part) in
        [("bash", "complete -F"), ("zsh", "#compdef hitlog"), ("fish", "complete -c hitlog")]
    {
        let ended = folder.hitlog(["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains(part), "{shell}");
        VERBS.iter().for_each(|verb| assert!(ended.stdout.contains(verb), "{shell}: {verb}"));
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = Folder::new();
    let mut command = folder.command(["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{:?}", output.status.signal());
    assert_eq!(output.stderr, b"");
}

#[test]
fn help_that_cannot_be_written_is_not_done() {
    let folder = Folder::new();
    for argument in ["--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = Ended::from(folder.command([argument]).stdout(full).output().unwrap());
        assert_eq!(ended.code, Some(2), "{argument}: {ended:?}");
        assert!(ended.stderr.contains("stdout cannot be written"), "{argument}: {ended:?}");
    }
}
