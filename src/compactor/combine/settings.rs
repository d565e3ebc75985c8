//! Coverage.py's `[paths]`, from wherever it would read its configuration in a folder.

use super::Error;
use super::paths::PathMap;
use std::fs;
use std::io;
use std::path::Path;

/// The files that coverage.py looks into, in its order, and what its sections are called there.
const FILES: [(&str, &str); 5] = [
    (".coveragerc", ""),
    (".coveragerc.toml", ""),
    ("setup.cfg", "coverage:"),
    ("tox.ini", "coverage:"),
    ("pyproject.toml", ""),
];

/// The maps that coverage.py's `[paths]` in `folder` means: of each list the first path is what the
/// others become. None if there is no such configuration.
///
/// # Errors
/// If a configuration cannot be read or understood.
pub fn configured_paths(folder: &Path) -> Result<Vec<PathMap>, Error> {
    for (name, prefix) in FILES {
        let path = folder.join(name);
        let unusable = |reason: String| Error::Configuration { path: path.clone(), reason };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text.map_err(|error| unusable(error.to_string()))?,
        };
        let lists = match name.ends_with(".toml") {
            true => from_toml(&text, name).map_err(unusable)?,
            false => from_ini(&text, prefix),
        };
        if let Some(lists) = lists {
            return Ok(lists.iter().flat_map(|list| maps_of(folder, list)).collect());
        }
    }
    Ok(Vec::new())
}

fn maps_of(folder: &Path, list: &[String]) -> Vec<PathMap> {
    let Some((new, patterns)) = list.split_first() else { return Vec::new() };
    patterns.iter().map(|pattern| PathMap::from_pattern(folder, pattern, new)).collect()
}

/// The lists of `[tool.coverage.paths]`, or of `[paths]` in a file of coverage.py's own. `None` if the file
/// has nothing for coverage.py.
fn from_toml(text: &str, name: &str) -> Result<Option<Vec<Vec<String>>>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let own = match name {
        "pyproject.toml" => table.get("tool").and_then(|tool| tool.get("coverage")?.as_table()),
        _ => Some(&table).filter(|table| !table.is_empty()),
    };
    let Some(own) = own else { return Ok(None) };
    let paths = own.get("paths").and_then(toml::Value::as_table);
    let lists = paths.into_iter().flat_map(toml::Table::values).map(texts);
    lists.collect::<Option<_>>().map(Some).ok_or_else(|| "paths are lists of strings".to_owned())
}

/// A list of strings, or a string of several lines.
fn texts(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(split(text)),
        value => value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
    }
}

/// The lists of `[paths]` or `[coverage:paths]`, as Python's configparser reads them. `None` if none of the
/// sections is coverage.py's.
fn from_ini(text: &str, prefix: &str) -> Option<Vec<Vec<String>>> {
    let mut lists: Vec<String> = Vec::new();
    let mut section = "";
    let mut is_configured = prefix.is_empty();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let is_continued = line.starts_with(char::is_whitespace);
        let word = line.trim();
        if let Some(name) = word.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name;
            is_configured |= name.starts_with(prefix);
        } else if section.strip_prefix(prefix) != Some("paths") || word.is_empty() {
            continue;
        } else if let Some(list) = lists.last_mut().filter(|_| is_continued) {
            list.push('\n');
            list.push_str(word);
        } else if let Some((_, value)) = word.split_once(['=', ':']) {
            lists.push(value.trim().to_owned());
        }
    }
    is_configured.then(|| lists.iter().map(|list| split(list)).collect())
}

fn split(list: &str) -> Vec<String> {
    list.split([',', '\n']).map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INI: &str = "[coverage:run]\nbranch = 1\n\n[coverage:paths]\n; where CI has it\nsource =\n    src\n    */ci/*/src\nother = a, b\n[flake8]\npaths =\n    no\n";

    fn lists(lists: Option<Vec<Vec<String>>>) -> Vec<Vec<String>> {
        lists.expect("a configuration")
    }

    #[test]
    fn every_place_of_coverage_py_is_read() {
        let expected = [vec!["src", "*/ci/*/src"], vec!["a", "b"]];
        assert_eq!(lists(from_ini(INI, "coverage:")), expected);
        assert_eq!(lists(from_ini(&INI.replace("coverage:", ""), "")), expected);
        assert_eq!(from_ini("[flake8]\nx = 1\n", "coverage:"), None);
        let toml = "[tool.coverage.paths]\nsource = ['src', '*/ci/*/src']\nother = 'a, b'\n";
        let mut found = lists(from_toml(toml, "pyproject.toml").unwrap());
        found.sort_by_key(|list| list[0] != "src");
        assert_eq!(found, expected);
        assert_eq!(from_toml("[tool.black]\n", "pyproject.toml"), Ok(None));
        assert!(from_toml("[tool.coverage.paths]\nsource = 1\n", "pyproject.toml").is_err());
    }

    #[test]
    fn the_first_file_with_a_configuration_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(configured_paths(folder.path()).unwrap(), []);
        write("pyproject.toml", "[tool.coverage.paths]\nsource = ['src', '/a', '/b']\n");
        assert_eq!(configured_paths(folder.path()).unwrap().len(), 2);
        write("tox.ini", "[tox]\n");
        assert_eq!(configured_paths(folder.path()).unwrap().len(), 2);
        write("setup.cfg", INI);
        assert_eq!(configured_paths(folder.path()).unwrap().len(), 2);
        write(".coveragerc", "[run]\n");
        assert_eq!(configured_paths(folder.path()).unwrap(), []);
        fs::remove_file(folder.path().join(".coveragerc")).unwrap();
        fs::remove_file(folder.path().join("setup.cfg")).unwrap();
        write("pyproject.toml", "[tool.coverage\n");
        let error = configured_paths(folder.path()).unwrap_err().to_string();
        assert!(error.contains("pyproject.toml: not understood"), "{error}");
    }
}
