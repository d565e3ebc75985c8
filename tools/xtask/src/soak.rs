//! `cargo xtask soak`: the tests that get better the longer they run, at the figures of the failure model,
//! or over and over with fresh seeds until the time is up.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::pythons;
use crate::shell::{Failure, Result, announce, cargo, run, say};
use crate::venv::Venv;

/// A test, and the environment variable that says how often it does its thing.
struct Case {
    /// The features without which it is not compiled; none for a test in Python.
    features: &'static str,
    /// A file in `tests/`, by name; one in Python by its path.
    target: &'static str,
    test: &'static str,
    knob: &'static str,
    /// How often in one round.
    figure: u64,
}

const fn case(target: &'static str, test: &'static str, knob: &'static str, figure: u64) -> Case {
    Case { features: "cli,recorder", target, test, knob, figure }
}

const CASES: &[Case] = &[
    case("process_ends", "every_append_that_returned_survives_sigkill", "HITLOG_KILLS", 100_000),
    Case {
        features: "",
        target: "tools/python/tests/test_random_kills.py",
        test: "test_every_line_that_ran_survives_sigkill",
        knob: "HITLOG_PYTHON_KILLS",
        figure: 10_000,
    },
    case("process_ends", "forks_while_other_threads_append_lose_nothing", "HITLOG_FORKS", 5000),
    case(
        "power_loss",
        "nothing_wrong_is_accepted_and_what_was_synced_is_there",
        "HITLOG_POWER_STATES",
        10_000_000,
    ),
    case(
        "power_images",
        "what_was_synced_on_ext4_is_there_and_nothing_wrong_is_accepted",
        "HITLOG_POWER_IMAGES",
        100,
    ),
    case(
        "power_images",
        "what_was_synced_on_xfs_is_there_and_nothing_wrong_is_accepted",
        "HITLOG_POWER_IMAGES",
        100,
    ),
    case(
        "power_images",
        "what_was_synced_on_btrfs_is_there_and_nothing_wrong_is_accepted",
        "HITLOG_POWER_IMAGES",
        100,
    ),
    case(
        "compact_system_calls",
        "whatever_call_fails_the_output_is_whole_and_the_failure_is_told",
        "HITLOG_FAULTS",
        10_000,
    ),
    case("compact_killed", "the_output_is_the_old_one_or_the_new_one", "HITLOG_COMPACT_KILLS", 20_000),
    case("compact_bytes", "the_same_logs_give_the_same_bytes", "HITLOG_PERMUTATIONS", 2000),
    case("concurrency", "what_living_writers_recorded_is_there_and_stays_there", "HITLOG_ROUNDS", 200),
    case("concurrency", "two_compactors_at_once_leave_one_whole_output_each", "HITLOG_STARTS", 2000),
    case("concurrency", "a_log_that_changes_under_its_writer_harms_no_reader", "HITLOG_CHANGES", 1000),
    case("full_disk", "a_full_ext4_stops_the_recording_and_nothing_else", "HITLOG_DISK_SIZES", 500),
    case("fuzz_regressions", "what_is_written_is_read", "HITLOG_CASES", 100_000),
    case("fuzz_regressions", "write_faults_lose_nothing_that_is_not_counted", "HITLOG_CASES", 10_000),
    case("differential", "two_readers_print_the_same", "HITLOG_DIFFERENTIAL_LOGS", 20_000),
];

/// For how long to go on, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// `None`: one round.
    minutes: Option<u64>,
    seed: u64,
}

/// Runs the cases round by round, each round with another seed, until the time is up or one fails.
pub fn run_all(options: &[&str]) -> Result {
    let plan = parse(options)?;
    let started = Instant::now();
    let mut round = 0;
    loop {
        let seed = plan.seed.wrapping_add(round);
        for case in CASES {
            announce(format!("round {round}: {} x {} (--seed {seed})", case.figure, case.test));
            case.run(seed)?;
        }
        round += 1;
        let over =
            plan.minutes.is_none_or(|minutes| started.elapsed() >= Duration::from_secs(60 * minutes));
        if over {
            break;
        }
    }
    announce(format!("what ran in {} s", started.elapsed().as_secs()));
    for case in CASES {
        say(format!("{:>12} {}", case.figure * round, case.test));
    }
    say(format!("seeds {} to {}", plan.seed, plan.seed.wrapping_add(round - 1)));
    Ok(())
}

impl Case {
    fn run(&self, seed: u64) -> Result {
        let mut command = if self.features.is_empty() { self.pytest()? } else { self.cargo_test() };
        command.env(self.knob, self.figure.to_string()).env("HITLOG_SEED", seed.to_string());
        run(&mut command)
    }

    fn pytest(&self) -> Result<Command> {
        let mut pytest = Venv::with_hitlog(&pythons::usual()?)?.program("python");
        pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
        pytest.arg(format!("{}::{}", self.target, self.test));
        Ok(pytest)
    }

    fn cargo_test(&self) -> Command {
        let mut cargo = cargo();
        cargo.args([
            "test",
            "--quiet",
            "--release",
            "--no-default-features",
            "--features",
            self.features,
        ]);
        // Built faster; the tests need no more.
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        cargo.args(["--test", self.target, "--", "--exact", self.test]);
        cargo
    }
}

/// `--once` is one round with the seed that every ordinary test has.
fn parse(options: &[&str]) -> Result<Plan> {
    let mut plan = Plan { minutes: Some(10), seed: clock_seed() };
    let mut words = options.iter();
    while let Some(option) = words.next() {
        match *option {
            "--once" => plan.minutes = None,
            "--minutes" => plan.minutes = Some(number(option, words.next())?),
            "--seed" => plan.seed = number(option, words.next())?,
            _ => {
                return Err(Failure(format!("`{option}` is not an option; see `cargo xtask --help`.")));
            }
        }
    }
    Ok(plan)
}

fn number(option: &str, value: Option<&&str>) -> Result<u64> {
    let number = value.and_then(|value| value.parse().ok());
    number.ok_or_else(|| Failure(format!("{option} needs a number; see `cargo xtask --help`.")))
}

/// A seed that no run before had.
fn clock_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::root;

    #[test]
    fn options_are_read() {
        assert_eq!(
            parse(&["--minutes", "3", "--seed", "7"]).unwrap(),
            Plan { minutes: Some(3), seed: 7 }
        );
        assert_eq!(parse(&["--once", "--seed", "7"]).unwrap(), Plan { minutes: None, seed: 7 });
        for wrong in [&["--minutes"][..], &["--seed", "x"], &["7"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    /// With --exact, a test that is not there is a success.
    #[test]
    fn every_case_is_there_and_has_its_knob() {
        for case in CASES {
            let (path, begin) = match case.features {
                "" => (root().join(case.target), "def"),
                _ => (root().join(format!("tests/{}.rs", case.target)), "fn"),
            };
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains(&format!("{begin} {}(", case.test)), "{}", case.test);
            assert!(text.contains(case.knob), "{}", case.knob);
        }
    }
}
