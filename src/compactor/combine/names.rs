//! One set of names for all recordings, of all that stays of them.

use super::paths::PathMap;
use super::{Error, Input};
use crate::compactor::keys::{CONTEXT_ID_MAX, FILE_ID_MAX};
use crate::query::File;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The output's ids for those of a recording.
pub(super) type Ids = HashMap<i64, u32>;

/// The names of the output, whose ids count from 1, and what they are in the recordings.
pub(super) struct Names {
    /// Sorted.
    pub(super) files: Vec<String>,
    /// For each file: where it is recorded, by position of the recording.
    pub(super) sources: Vec<Vec<(usize, File)>>,
    /// Sorted.
    pub(super) contexts: Vec<String>,
    /// For each recording: the output's ids for its own.
    pub(super) file_ids: Vec<Ids>,
    pub(super) context_ids: Vec<Ids>,
    /// How many different paths became others.
    pub(super) mapped: u64,
}

impl Names {
    pub(super) fn unite(inputs: &[Input<'_>], maps: &[PathMap]) -> Result<Names, Error> {
        let (mut by_path, mut mapped) = (BTreeMap::new(), BTreeSet::new());
        for (position, input) in inputs.iter().enumerate() {
            let is_gone =
                |file: &&File| input.changes.is_some_and(|changes| changes.gone.contains(&file.path));
            for file in input.database.files().iter().filter(|file| !is_gone(file)) {
                let path = maps.iter().find_map(|map| map.apply(&file.path));
                if path.as_ref().is_some_and(|path| *path != file.path) {
                    mapped.insert(&file.path);
                }
                let sources: &mut Vec<(usize, File)> =
                    by_path.entry(path.unwrap_or_else(|| file.path.clone())).or_default();
                sources.push((position, file.clone()));
            }
        }
        check_count("files", by_path.len(), FILE_ID_MAX)?;
        let (files, sources): (Vec<String>, Vec<_>) = by_path.into_iter().unzip();
        let mut file_ids = vec![Ids::new(); inputs.len()];
        for (id, sources) in (1..).zip(&sources) {
            for (position, file) in sources {
                file_ids[*position].insert(file.id, id);
            }
        }
        let (contexts, context_ids) = unite_contexts(inputs)?;
        let mapped = mapped.len() as u64;
        Ok(Names { files, sources, contexts, file_ids, context_ids, mapped })
    }
}

fn unite_contexts(inputs: &[Input<'_>]) -> Result<(Vec<String>, Vec<Ids>), Error> {
    let mut by_name: BTreeMap<String, Vec<(usize, i64)>> = BTreeMap::new();
    for (position, input) in inputs.iter().enumerate() {
        let contexts = input.database.contexts().map_err(|source| Error::Recording { source })?;
        let is_replaced =
            |context: &str| input.changes.is_some_and(|changes| changes.replaced.contains(context));
        for (id, context) in contexts.into_iter().filter(|(_, context)| !is_replaced(context)) {
            by_name.entry(labelled(input.label.as_deref(), &context)).or_default().push((position, id));
        }
    }
    check_count("contexts", by_name.len(), CONTEXT_ID_MAX)?;
    let mut ids = vec![Ids::new(); inputs.len()];
    for (new, old) in (1..).zip(by_name.values()) {
        for (position, id) in old {
            ids[*position].insert(*id, new);
        }
    }
    Ok((by_name.into_keys().collect(), ids))
}

/// A context with the label in front, as coverage.py puts a static context in front of others.
pub(super) fn labelled(label: Option<&str>, context: &str) -> String {
    match label {
        None => context.to_owned(),
        Some(label) if context.is_empty() => label.to_owned(),
        Some(label) => format!("{label}|{context}"),
    }
}

fn check_count(what: &'static str, found: usize, max: u32) -> Result<(), Error> {
    match found <= max as usize {
        true => Ok(()),
        false => Err(Error::TooManyNames { what, found: found as u64, max }),
    }
}
