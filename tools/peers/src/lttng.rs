//! LTTng-UST: tracepoints into shared memory, from which a daemon writes a trace. It keeps what a killed process
//! recorded, too, and is measured where its packages are installed (on Debian: lttng-tools, liblttng-ust-dev,
//! babeltrace2). The session is set up before, and the trace is written and read after what is measured.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use libloading::{Library, Symbol};

use crate::hits::{Hit, Hits};

const LIBRARY: &str = "libhits.so";
const TRACE: &str = "trace";

/// How long LTTng may take to stop, or to write the rest of a trace.
const SECONDS_MAX: &str = "10";

/// The status of timeout(1) if it had to end the command.
const TIMED_OUT: i32 = 124;

/// Why it cannot be measured here.
pub fn absent() -> Option<String> {
    let try_all = || -> Result<(), Box<dyn Error>> {
        let scratch = tempfile::tempdir()?;
        let data = scratch.path().join("data");
        fs::create_dir(&data)?;
        run(Command::new("babeltrace2").arg("--version"))?;
        prepare(&data)?;
        end_session(&data)
    };
    try_all().err().map(|error| error.to_string())
}

/// Builds the library with the tracepoint, and begins a session. Where the buffers are full, the process waits
/// (it has to be started with `LTTNG_UST_ALLOW_BLOCKING`), as with all peers that keep each record.
pub fn prepare(directory: &Path) -> Result<(), Box<dyn Error>> {
    build_library(directory)?;
    let session = session(directory);
    let trace = directory.join(TRACE);
    run(Command::new("lttng").arg("create").arg(&session).arg("--output").arg(trace))?;
    let channel = ["enable-channel", "--userspace", "--blocking-timeout=inf", "hits", "--session"];
    run(Command::new("lttng").args(channel).arg(&session))?;
    let event = ["enable-event", "--userspace", "--channel=hits", "hits:line", "--session"];
    run(Command::new("lttng").args(event).arg(&session))?;
    run(Command::new("lttng").arg("start").arg(&session)).map(drop)
}

pub fn fill(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    // SAFETY: the library was built from hits.c; what is run when it is loaded is LTTng's.
    let library = unsafe { Library::new(directory.join(LIBRARY)) }?;
    // SAFETY: the type is that of the function in hits.c.
    let record_line: Symbol<extern "C" fn(u32, u32)> = unsafe { library.get(b"record_line") }?;
    for Hit { file, line, .. } in hits {
        record_line(file, line);
    }
    Ok(())
}

/// Ends the session. Where a process was killed while it stored an event, LTTng may wait for that event for
/// ever: then what there is counts.
fn end_session(directory: &Path) -> Result<(), Box<dyn Error>> {
    let session = session(directory);
    for verb in ["stop", "destroy"] {
        let mut bounded = Command::new("timeout");
        let output = bounded.args(["--kill-after=1", SECONDS_MAX, "lttng", verb, &session]).output()?;
        if !output.status.success() && output.status.code() != Some(TIMED_OUT) {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("lttng {verb}: {}", said.lines().next().unwrap_or_default()).into());
        }
    }
    Ok(())
}

/// Ends the session, and counts the events of its trace.
pub fn count(directory: &Path) -> Result<u64, Box<dyn Error>> {
    end_session(directory)?;
    let trace = directory.join(TRACE);
    let counted = run(Command::new("babeltrace2").arg("--component=sink.utils.counter").arg(trace))?;
    // It says so in between, too.
    let mut lines = counted.lines().rev();
    let events = lines.find_map(|line| line.trim().strip_suffix(" Event messages"));
    Ok(events.ok_or("babeltrace2 does not say how many events there are.")?.parse()?)
}

fn session(directory: &Path) -> String {
    let scratch = directory.parent().and_then(Path::file_name).unwrap_or_default();
    format!("peers-{}", scratch.display())
}

fn build_library(directory: &Path) -> Result<(), Box<dyn Error>> {
    for (name, text) in
        [("hits.c", include_str!("../lttng/hits.c")), ("hits.h", include_str!("../lttng/hits.h"))]
    {
        fs::write(directory.join(name), text)?;
    }
    let mut cc = Command::new("cc");
    cc.current_dir(directory).args(["-O2", "-fPIC", "-shared", "-o", LIBRARY, "hits.c", "-I."]);
    run(cc.args(["-llttng-ust", "-ldl"])).map(drop)
}

/// What `command` prints.
fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program}: {}", said.lines().next().unwrap_or_default()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
