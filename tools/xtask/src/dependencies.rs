//! What is built into hitlog: under which licences, nothing twice, and only the little that a recorder may
//! carry into other people's processes. From `cargo tree`, without a network.

use std::collections::BTreeSet;

use crate::shell::{Failure, Result, capture, cargo, say};

/// Licences under which a dependency may be used; of several ones joined by OR, one is enough.
const LICENCES: [&str; 6] =
    ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0", "Unlicense", "Zlib"];

/// All that the feature `recorder` may pull in.
const OF_RECORDER: [&str; 7] = ["byteorder", "cfg-if", "crc32fast", "fs2", "hitlog", "libc", "memmap2"];

/// Fails unless all of it holds.
pub fn check() -> Result {
    let all = tree(&["--workspace", "--all-features", "--edges", "normal,build"])?;
    for package in &all {
        let (name, licence) = package.split_once('|').unwrap_or((package, ""));
        if !is_allowed(licence) {
            return Err(Failure(format!(
                "{name}: its licence is `{licence}`, which is not among {LICENCES:?}."
            )));
        }
    }
    let twice = tree(&[
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build",
        "--duplicates",
        "--depth",
        "0",
    ])?;
    if let Some(package) = twice.first() {
        return Err(Failure(format!(
            "{package}: built in two versions; `cargo tree --duplicates` says for whom."
        )));
    }
    let recorder =
        ["--package", "hitlog", "--no-default-features", "--features", "recorder", "--edges", "normal"];
    let recorder = tree(&recorder)?;
    let names: BTreeSet<&str> =
        recorder.iter().filter_map(|package| package.split(' ').next()).collect();
    if names != BTreeSet::from(OF_RECORDER) {
        return Err(Failure(format!("a recorder carries {names:?} and may carry {OF_RECORDER:?}.")));
    }
    say(format!(
        "{} packages, their licences allowed, none twice; a recorder carries {}",
        all.len(),
        names.len()
    ));
    Ok(())
}

/// The packages of `cargo tree` as `name version|licence`, sorted, each once.
fn tree(options: &[&str]) -> Result<BTreeSet<String>> {
    let mut cargo = cargo();
    cargo.args(["tree", "--locked", "--prefix", "none", "--format", "{p}|{l}"]).args(options);
    let printed = capture(&mut cargo)?;
    let lines = printed.lines().map(|line| line.trim_end_matches(" (*)").trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Whether an SPDX expression can be met: of OR one side, of AND both.
fn is_allowed(licence: &str) -> bool {
    let all = licence.split(" AND ").map(|part| part.trim_matches(['(', ')']));
    all.into_iter()
        .all(|part| part.replace('/', " OR ").split(" OR ").any(|one| LICENCES.contains(&one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_judged_as_they_are_joined() {
        for allowed in
            ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in
            ["", "GPL-3.0", "GPL-3.0 OR AGPL-3.0", "MIT AND GPL-3.0", "(MIT OR Zlib) AND GPL-3.0"]
        {
            assert!(!is_allowed(refused), "{refused}");
        }
    }
}
