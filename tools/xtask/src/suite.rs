//! A real project's test suite: jinja2's, from its source distribution on PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Failure, Result, capture, say, scripts, work_folder};
use crate::venv::Venv;

const REQUIREMENT: &str = "jinja2==3.1.6";
const NAME: &str = "jinja2-3.1.6";

/// SHA-256 of the source distribution, as PyPI states it.
const SHA256: &str = "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d";

/// Measures lines where the project's own configuration asks for branches: lines are what the demo asks
/// about and what coverage.py's C tracer is compared with.
const COVERAGERC: &str = "[run]\nsource =\n    jinja2\n    tests\n";

/// The suite's folder, freshly unpacked, so that nothing of an earlier run is in it.
pub fn unpack(venv: &Venv, purpose: &str) -> Result<PathBuf> {
    let archive = download(venv)?;
    let folder = work_folder().join(purpose);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    capture(venv.program("python").args(["-m", "tarfile", "-e"]).arg(archive).arg(&folder))?;
    let suite = folder.join(NAME);
    fs::write(suite.join(".coveragerc"), COVERAGERC)?;
    Ok(suite)
}

/// A pytest of `venv` in the suite's folder, with the library from its sources and our plugins at hand.
pub fn pytest(venv: &Venv, suite: &Path) -> Command {
    let mut pytest = venv.program("python");
    pytest.args(["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"]);
    let path = format!("{}:{}", suite.join("src").display(), scripts().display());
    pytest.current_dir(suite).env("PYTHONPATH", path);
    pytest
}

/// The source distribution, downloaded once.
fn download(venv: &Venv) -> Result<PathBuf> {
    let folder = work_folder().join("download");
    let archive = folder.join(format!("{NAME}.tar.gz"));
    if !archive.exists() {
        say(format!("downloading {NAME}"));
        let mut pip = venv.program("python");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", ":all:", "--dest"]).arg(&folder).arg(REQUIREMENT);
        capture(&mut pip).map_err(|Failure(said)| {
            Failure(format!(
                "{REQUIREMENT} cannot be downloaded from PyPI. Is the network there?\n{said}"
            ))
        })?;
    }
    let digest =
        "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let found = capture(venv.program("python").args(["-c", digest]).arg(&archive))?;
    if found.trim_end() != SHA256 {
        let path = archive.display();
        return Err(Failure(format!(
            "{path} is not what it should be (SHA-256 {}). Delete it.",
            found.trim_end()
        )));
    }
    Ok(archive)
}
