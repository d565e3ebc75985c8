//! `cargo xtask bench python`: what recording costs jinja2's suite, beside coverage.py on the same suite.
//!
//! Each way runs in turn, round after round, so that a busy machine hurts all alike; the minimum counts.
//! The time is that of the whole command, with start-up, compaction and saving.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::pythons::Python;
use crate::shell::{Result, announce, capture, say};
use crate::suite;
use crate::venv::Venv;

const ROUNDS: usize = 5;

/// A way to run the suite.
struct Way {
    name: &'static str,
    options: &'static [&'static str],
    core: Option<&'static str>,
}

const WAYS: [Way; 3] = [
    Way { name: "nothing recorded", options: &[], core: None },
    Way { name: "hitlog, a context per test", options: &["--hitlog"], core: None },
    Way {
        name: "coverage.py, C tracer, a context per test",
        options: &["--cov", "--cov-context=test", "--cov-report="],
        core: Some("ctrace"),
    },
];

/// Measures on each of `pythons`.
pub fn run_all(pythons: &[Python]) -> Result {
    pythons.iter().try_for_each(|python| run_on(&Venv::with_hitlog(python)?))
}

fn run_on(venv: &Venv) -> Result {
    announce(format!("jinja2's suite on Python {}, minimum of {ROUNDS}", venv.version));
    let suite = suite::unpack(venv, &format!("bench-{}", venv.version))?;
    let mut times = [Duration::MAX; WAYS.len()];
    for _ in 0..ROUNDS {
        for (way, time) in WAYS.iter().zip(&mut times) {
            *time = measure(venv, &suite, way)?.min(*time);
        }
    }
    for (way, time) in WAYS.iter().zip(times) {
        let ratio = time.as_secs_f64() / times[0].as_secs_f64();
        say(format!("{:>7.2} s  {ratio:>5.2} x  {}", time.as_secs_f64(), way.name));
    }
    Ok(())
}

fn measure(venv: &Venv, suite: &Path, way: &Way) -> Result<Duration> {
    let mut pytest: Command = suite::pytest(venv, suite);
    pytest.arg("-q").args(way.options);
    if let Some(core) = way.core {
        pytest.env("COVERAGE_CORE", core);
    }
    let start = Instant::now();
    capture(&mut pytest)?;
    Ok(start.elapsed())
}
