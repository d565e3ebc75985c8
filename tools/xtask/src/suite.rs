//! Real projects' test suites, from their source distributions on PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Failure, Result, capture, say, scripts, work_folder};
use crate::venv::Venv;

/// A project's test suite.
pub struct Suite {
    /// What the project is called.
    pub title: &'static str,
    /// Name and version, as its archive and folder are called.
    name: &'static str,
    requirement: &'static str,
    /// SHA-256 of the source distribution, as PyPI states it.
    sha256: &'static str,
    /// What coverage.py and hitlog measure. Lines where the project's own configuration asks for
    /// branches: whoever wants branches says so.
    coveragerc: &'static str,
    /// The files of tests; none for all.
    tests: &'static [&'static str],
}

/// 909 tests of middling length.
pub const JINJA2: Suite = Suite {
    title: "jinja2",
    name: "jinja2-3.1.6",
    requirement: "jinja2==3.1.6",
    sha256: "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d",
    coveragerc: "[run]\nsource =\n    jinja2\n    tests\n",
    tests: &[],
};

/// 650 short tests, most of which go through the same few functions.
pub const CLICK: Suite = Suite {
    title: "click",
    name: "click-8.1.8",
    requirement: "click==8.1.8",
    sha256: "ed53c9d8990d83c2a27deae68e4ee337473f6330c040a31d4225c9574d16096a",
    coveragerc: "[run]\nsource =\n    click\n    tests\n",
    tests: &[],
};

/// Thousands of very short tests.
pub const PACKAGING: Suite = Suite {
    title: "packaging",
    name: "packaging-24.2",
    requirement: "packaging==24.2",
    sha256: "c228a6dc5e932d346bc5739379109d49e8853dd8223571c7c5b55260edc0b97f",
    coveragerc: "[run]\nsource =\n    src\n    tests\n",
    tests: &[
        "tests/test_requirements.py",
        "tests/test_specifiers.py",
        "tests/test_utils.py",
        "tests/test_metadata.py",
        "tests/test_structures.py",
    ],
};

impl Suite {
    /// The suite's folder, freshly unpacked, so that nothing of an earlier run is in it.
    pub fn unpack(&self, venv: &Venv, purpose: &str) -> Result<PathBuf> {
        let archive = self.download(venv)?;
        let folder = work_folder().join(purpose).join(self.title);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        capture(venv.program("python").args(["-m", "tarfile", "-e"]).arg(archive).arg(&folder))?;
        let suite = folder.join(self.name);
        fs::write(suite.join(".coveragerc"), self.coveragerc)?;
        Ok(suite)
    }

    /// Makes `command` run pytest on this suite, unpacked to `folder`, with the library from its sources
    /// and our plugins at hand. It begins with the Python to use, or with what runs one.
    pub fn with_pytest(&self, mut command: Command, folder: &Path) -> Command {
        command.args(["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"]);
        let path = format!("{}:{}", folder.join("src").display(), scripts().display());
        command.args(self.tests).current_dir(folder).env("PYTHONPATH", path);
        command
    }

    /// A pytest of `venv` on this suite, unpacked to `folder`.
    pub fn pytest(&self, venv: &Venv, folder: &Path) -> Command {
        self.with_pytest(venv.program("python"), folder)
    }

    /// The source distribution, downloaded once.
    fn download(&self, venv: &Venv) -> Result<PathBuf> {
        let folder = work_folder().join("download");
        let archive = folder.join(format!("{}.tar.gz", self.name));
        if !archive.exists() {
            say(format!("downloading {}", self.name));
            let mut pip = venv.program("python");
            pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            pip.args(["--no-binary", ":all:", "--dest"]).arg(&folder).arg(self.requirement);
            capture(&mut pip).map_err(|Failure(said)| {
                Failure(format!(
                    "{} cannot be downloaded from PyPI. Is the network there?\n{said}",
                    self.requirement
                ))
            })?;
        }
        let digest =
            "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
        let found = capture(venv.program("python").args(["-c", digest]).arg(&archive))?;
        if found.trim_end() != self.sha256 {
            let path = archive.display();
            return Err(Failure(format!(
                "{path} is not what it should be (SHA-256 {}). Delete it.",
                found.trim_end()
            )));
        }
        Ok(archive)
    }
}
