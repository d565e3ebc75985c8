//! `cargo xtask mutate`: does `hitlog affected` name every test that a change makes fail?
//!
//! Lines of two projects are changed, one at a time; `mutate.py` does the work. pytest-testmon looks at the
//! same changes of click; on jinja2's suite it ends with an internal error (code of templates has file names
//! without an ending).

use crate::pythons;
use crate::shell::{Failure, Result, announce, command, root, run, script, work_folder};
use crate::suite::{CLICK, JINJA2};
use crate::venv::Venv;

/// How many lines of each project are changed if nothing else is said.
const COUNT: u32 = 100;

/// Runs it with `options`, as the help describes them.
pub fn run_usual(options: &[&str]) -> Result {
    let count = match options {
        [] => COUNT,
        ["--count", count] => {
            count.parse().map_err(|_| Failure(format!("--count {count}: no number.")))?
        }
        _ => return Err(Failure("mutate knows --count N; see `cargo xtask --help`.".into())),
    };
    let python = pythons::usual()?;
    let (venv, testmon) = (Venv::with_hitlog(&python)?, Venv::with_testmon(&python)?);
    let mut missed = Vec::new();
    for project in [&JINJA2, &CLICK] {
        announce(format!("{count} changes of {}", project.title));
        let folder = project.unpack(&venv, &format!("mutate-{}", venv.version))?;
        let results = work_folder().join(format!("mutate-{}.jsonl", project.title));
        let mut mutate = command(venv.path_of("python"));
        mutate.current_dir(root()).arg(script("mutate.py")).arg(&folder);
        mutate.args(["--package", &format!("src/{}", project.title), "--count", &count.to_string()]);
        mutate.arg("--hitlog").arg(venv.path_of("hitlog")).arg("--results").arg(results);
        if project.title == CLICK.title {
            mutate.arg("--testmon").arg(testmon.path_of("python"));
        }
        missed.extend(run(&mut mutate).err());
    }
    missed.pop().map_or(Ok(()), Err)
}
