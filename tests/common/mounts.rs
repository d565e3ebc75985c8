//! Real file systems of any kind and size: on images, mounted through loop devices.
#![allow(dead_code, reason = "not every test uses everything")]

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: a child that another one forks keeps open what is open then, and a file system with
/// open files cannot be unmounted.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test`, [`alone`]; where it cannot mount its file systems, it is skipped and says why.
pub fn on_mounted(kind: &str, test: impl FnOnce() -> Result<(), String>) {
    let _alone = alone();
    if let Err(reason) = test() {
        println!("skipped: no {kind} can be mounted here: {reason}");
    }
}

/// A mounted file system. It is unmounted when this is dropped.
pub struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts `source` with the options of mount(8); where that is not possible, why.
    pub fn new(source: &Path, options: &[&str]) -> Result<Mounted, String> {
        let mounted = Mounted(tempfile::tempdir().unwrap());
        said_by(Command::new("mount").args(options).arg(source).arg(mounted.path()))?;
        Ok(mounted)
    }

    /// A tmpfs of `kib` KiB.
    pub fn tmpfs(kib: usize) -> Result<Mounted, String> {
        Mounted::new(Path::new("hitlog-test"), &["-t", "tmpfs", "-o", &format!("size={kib}k")])
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).output();
    }
}

/// Makes an image of `kib` KiB with an empty file system, as `mkfs` (a program and its options) does.
pub fn make_image(image: &Path, kib: u64, mkfs: &[&str]) -> Result<(), String> {
    File::create(image).and_then(|file| file.set_len(kib * 1024)).map_err(|error| error.to_string())?;
    said_by(Command::new(mkfs[0]).args(&mkfs[1..]).arg(image))
}

/// Runs `command`; if it fails, in its own words.
fn said_by(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
