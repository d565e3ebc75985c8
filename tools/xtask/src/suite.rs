//! Real projects' test suites, from their source distributions on PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Failure, Result, capture, say, scripts, work_folder};
use crate::venv::Venv;

/// A project whose source distribution has its tests.
pub struct Project {
    /// The name under which it is imported.
    pub package: &'static str,
    requirement: &'static str,
    name: &'static str,
    /// SHA-256 of the source distribution, as PyPI states it.
    sha256: &'static str,
}

/// The project with which most is shown.
pub const JINJA2: Project = Project {
    package: "jinja2",
    requirement: "jinja2==3.1.6",
    name: "jinja2-3.1.6",
    sha256: "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d",
};

/// Another one, of another kind.
pub const CLICK: Project = Project {
    package: "click",
    requirement: "click==8.1.8",
    name: "click-8.1.8",
    sha256: "ed53c9d8990d83c2a27deae68e4ee337473f6330c040a31d4225c9574d16096a",
};

/// Measures lines where the project's own configuration asks for branches: lines are what the demo asks
/// about and what coverage.py's C tracer is compared with.
fn coveragerc(package: &str) -> String {
    format!("[run]\nsource =\n    {package}\n    tests\n")
}

/// The folder of jinja2's suite, freshly unpacked, so that nothing of an earlier run is in it.
pub fn unpack(venv: &Venv, purpose: &str) -> Result<PathBuf> {
    unpack_project(venv, &JINJA2, purpose)
}

/// The folder of a project's suite, freshly unpacked.
pub fn unpack_project(venv: &Venv, project: &Project, purpose: &str) -> Result<PathBuf> {
    let archive = download(venv, project)?;
    let folder = work_folder().join(purpose);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    capture(venv.program("python").args(["-m", "tarfile", "-e"]).arg(archive).arg(&folder))?;
    let suite = folder.join(project.name);
    fs::write(suite.join(".coveragerc"), coveragerc(project.package))?;
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
fn download(venv: &Venv, project: &Project) -> Result<PathBuf> {
    let folder = work_folder().join("download");
    let Project { name, requirement, sha256, .. } = project;
    let archive = folder.join(format!("{name}.tar.gz"));
    if !archive.exists() {
        say(format!("downloading {name}"));
        let mut pip = venv.program("python");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", ":all:", "--dest"]).arg(&folder).arg(requirement);
        capture(&mut pip).map_err(|Failure(said)| {
            Failure(format!(
                "{requirement} cannot be downloaded from PyPI. Is the network there?\n{said}"
            ))
        })?;
    }
    let digest =
        "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let found = capture(venv.program("python").args(["-c", digest]).arg(&archive))?;
    if found.trim_end() != *sha256 {
        let path = archive.display();
        return Err(Failure(format!(
            "{path} is not what it should be (SHA-256 {}). Delete it.",
            found.trim_end()
        )));
    }
    Ok(archive)
}
