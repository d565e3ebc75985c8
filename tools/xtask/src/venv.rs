//! Python environments under `target/xtask`, made once and used again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::pythons::{Python, Version};
use crate::shell::{Failure, Result, capture, command, root, say, timed, work_folder};

/// What the suites need beside hitlog. `trio` is for jinja2's tests, `pretend` for packaging's.
const REQUIREMENTS: [&str; 7] =
    ["coverage", "markupsafe", "pretend", "pytest", "pytest-cov", "pytest-xdist", "trio"];

/// What some tests use where it is to be had without a compiler; they are skipped without.
const OPTIONAL_REQUIREMENTS: [&str; 2] = ["gevent", "greenlet"];

/// What a wheel is built from.
const SOURCES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "src", "tools/python"];

/// A Python environment with hitlog and what its suites need.
pub struct Venv {
    /// Version of its Python.
    pub version: Version,
    folder: PathBuf,
}

impl Venv {
    /// The environment for `python`, with hitlog built from the sources as they are.
    pub fn with_hitlog(python: &Python) -> Result<Venv> {
        let venv = Venv::create(python, "venv")?;
        venv.install(&REQUIREMENTS)?;
        venv.install_optional();
        venv.install_hitlog()?;
        Ok(venv)
    }

    /// The environment for `python` with what its suites need, without hitlog.
    pub fn with_coverage(python: &Python) -> Result<Venv> {
        let venv = Venv::create(python, "venv")?;
        venv.install(&REQUIREMENTS)?;
        Ok(venv)
    }

    /// The environment with the tools that check the form of Python code.
    pub fn with_linters(python: &Python) -> Result<Venv> {
        let venv = Venv::create(python, "lint")?;
        venv.install(&["ruff", "mypy", "coverage", "pytest"])?;
        Ok(venv)
    }

    /// The environment with pytest-testmon, which selects tests too, and what the suites need.
    pub fn with_testmon(python: &Python) -> Result<Venv> {
        let venv = Venv::create(python, "testmon")?;
        venv.install(&["markupsafe", "pytest<9", "pytest-testmon", "trio"])?;
        Ok(venv)
    }

    /// A program of this environment.
    pub fn program(&self, name: &str) -> Command {
        command(self.path_of(name))
    }

    /// Where the program `name` of this environment lies.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    fn create(python: &Python, purpose: &str) -> Result<Venv> {
        let folder = work_folder().join(format!("{purpose}-{}", python.version));
        let venv = Venv { version: python.version, folder };
        let origin = venv.folder.join("made-by");
        let maker = python.path.display().to_string();
        if fs::read_to_string(&origin).is_ok_and(|path| path == maker) && venv.has_pip() {
            return Ok(venv);
        }
        venv.make(python).map_err(|Failure(said)| {
            Failure(format!(
                "Python {} ({maker}) cannot make an environment. Install its modules venv and pip (on \
                 Debian: python3-venv).\n{said}",
                python.version
            ))
        })?;
        fs::write(origin, maker)?;
        Ok(venv)
    }

    fn make(&self, python: &Python) -> Result {
        let venv = |options: &[&str]| {
            let mut make = command(&python.path);
            capture(make.args(["-m", "venv", "--clear"]).args(options).arg(&self.folder))
        };
        if venv(&[]).is_ok() {
            return Ok(());
        }
        // A Python without ensurepip may still have a pip, which can install itself elsewhere.
        venv(&["--without-pip"])?;
        let target = self.path_of("python");
        let mut pip = command(&python.path);
        capture(pip.args(["-m", "pip", "--python"]).arg(target).args(["install", "pip"]))?;
        Ok(())
    }

    fn has_pip(&self) -> bool {
        capture(self.program("python").args(["-m", "pip", "--version"])).is_ok()
    }

    fn pip_install(&self) -> Command {
        let mut pip = self.program("python");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    }

    fn install(&self, requirements: &[&str]) -> Result {
        let stamp = self.folder.join("installed");
        let list = requirements.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == list) {
            return Ok(());
        }
        say(format!("Python {}: installing {}", self.version, requirements.join(", ")));
        capture(self.pip_install().args(requirements)).map_err(|Failure(said)| {
            Failure(format!(
                "pip could not install {}. Is the network there?\n{said}",
                requirements.join(" ")
            ))
        })?;
        Ok(fs::write(stamp, list)?)
    }

    /// Installs `requirement` unless it is there; fails if there is none for this Python.
    pub fn install_wheel(&self, requirement: &str) -> Result {
        if capture(self.program("python").args(["-m", "pip", "show", "--quiet", requirement])).is_ok() {
            return Ok(());
        }
        capture(self.pip_install().arg(requirement)).map(drop).map_err(|Failure(said)| {
            let last = said.lines().rev().find(|line| line.starts_with("ERROR")).unwrap_or_default();
            Failure(format!("pip cannot install it for Python {}: {last}", self.version))
        })
    }

    /// Installs what may be missing, once or when it is to be had.
    fn install_optional(&self) {
        let stamp = self.folder.join("installed-optional");
        if stamp.exists() {
            return;
        }
        let mut pip = self.pip_install();
        pip.args(["--only-binary", ":all:"]).args(OPTIONAL_REQUIREMENTS);
        match capture(&mut pip) {
            Ok(_) => drop(fs::write(stamp, "")),
            Err(_) => {
                let names = OPTIONAL_REQUIREMENTS.join(", ");
                say(format!("Python {}: no wheels of {names}: their tests are skipped", self.version));
            }
        }
    }

    /// Installs as a user does, except that the build is kept for the next Python and optimised less.
    fn install_hitlog(&self) -> Result {
        let stamp = self.folder.join("hitlog-installed");
        let installed = fs::metadata(&stamp).and_then(|file| file.modified());
        if installed
            .is_ok_and(|time| SOURCES.iter().all(|path| newest_change(&root().join(path)) < time))
        {
            return Ok(());
        }
        let start = SystemTime::now();
        say(format!("Python {}: building hitlog (the first time takes minutes)", self.version));
        let package = format!("{}[test]", root().join("tools/python").display());
        let mut pip = self.pip_install();
        pip.arg(&package).env("CARGO_TARGET_DIR", root().join("target").join("python"));
        pip.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
        timed("built and installed", || capture(&mut pip)).map_err(|Failure(said)| {
            Failure(format!(
                "{package} could not be built and installed. pip and maturin say why:\n{said}"
            ))
        })?;
        // What changed while the wheel was built may not be in it.
        Ok(fs::File::create(stamp)?.set_modified(start)?)
    }
}

/// When the file, or any source below the folder, was changed last.
fn newest_change(path: &Path) -> SystemTime {
    let Ok(metadata) = path.metadata() else { return SystemTime::UNIX_EPOCH };
    let own = metadata.modified().unwrap_or_else(|_| SystemTime::now());
    if metadata.is_file() {
        return own;
    }
    let entries = path.read_dir().into_iter().flatten().flatten();
    let is_made = |name: &str| name == "target" || name == "build" || name.starts_with(['.', '_']);
    let below = entries
        .filter(|entry| !(is_made(&entry.file_name().to_string_lossy()) && entry.path().is_dir()));
    below.map(|entry| newest_change(&entry.path())).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_wheel_is_built_from_has_a_time() {
        let library = newest_change(&root().join("src"));
        assert!(library > SystemTime::UNIX_EPOCH);
        assert!(library >= newest_change(&root().join("src").join("lib.rs")));
        assert_eq!(newest_change(&root().join("no-such-file")), SystemTime::UNIX_EPOCH);
    }
}
