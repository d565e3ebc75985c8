//! Whether a file belongs to one of the packages that are to be measured.
//!
//! Nothing is imported or searched for: a file is only asked about when its code is about to run, and
//! then its package is in `sys.modules`, or it can be reached from `sys.path`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use pyo3::prelude::*;

use crate::filter::below;
use crate::real_path::real_path;

/// Whether the file at `path` (absolute, real) belongs to one of `packages`.
pub fn contain(py: Python<'_>, packages: &[String], path: &[u8]) -> bool {
    if packages.is_empty() {
        return false;
    }
    let Ok(sys) = py.import("sys") else { return false };
    is_loaded(&sys, packages, path).unwrap_or(false)
        || is_reachable(&sys, packages, path).unwrap_or(false)
}

fn is_loaded(sys: &Bound<'_, PyModule>, packages: &[String], path: &[u8]) -> PyResult<bool> {
    let modules = sys.getattr("modules")?;
    for name in packages {
        let Ok(module) = modules.get_item(name) else { continue };
        if let Ok(directories) = module.getattr("__path__") {
            for directory in directories.try_iter()? {
                if below(&real(&directory?)?, path).is_some() {
                    return Ok(true);
                }
            }
        } else if let Ok(file) = module.getattr("__file__")
            && real(&file)? == path
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_reachable(sys: &Bound<'_, PyModule>, packages: &[String], path: &[u8]) -> PyResult<bool> {
    for directory in sys.getattr("path")?.try_iter()? {
        let Ok(directory) = real(&directory?) else { continue };
        let Some(rest) = below(&directory, path) else { continue };
        let module = rest.strip_suffix(b".py").unwrap_or(rest);
        let begins = |package: &String| {
            let package = package.replace('.', "/");
            module == package.as_bytes() || below(package.as_bytes(), module).is_some()
        };
        if packages.iter().any(begins) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn real(path: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let path: OsString = path.extract()?;
    let path = std::path::absolute(if path.is_empty() { ".".into() } else { path })?;
    Ok(real_path(path.as_os_str().as_bytes()))
}
