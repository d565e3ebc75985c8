//! What several tests need: reading a log back, straight from its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hitlog::format::{
    HEADER_COPY_SIZE, HEADER_SIZE, Header, NameSpace, RECORD_SIZE, Record, Slot, classify,
    parse_header_copy, place, slot_words,
};

/// A log's content, read without the library's reader.
#[derive(Default)]
pub struct Content {
    pub header: Header,
    pub records: Vec<Record>,
    pub unfinished: u64,
    pub damaged: u64,
    pub foreign: u64,
}

#[allow(dead_code, reason = "not every test uses everything")]
impl Content {
    pub fn parse(bytes: &[u8]) -> Content {
        let header = parse_header_copy(&bytes[..HEADER_COPY_SIZE]).expect("first header copy");
        let second = parse_header_copy(&bytes[HEADER_COPY_SIZE..HEADER_SIZE]);
        assert_eq!(second.as_ref(), Ok(&header), "both header copies are equal");
        let mut content = Content { header, ..Content::default() };
        for (slot, record) in bytes[HEADER_SIZE..].chunks_exact(RECORD_SIZE).enumerate() {
            // Most of a log is blank, and checksums of it would be most of the work.
            if record == [0; RECORD_SIZE] {
                continue;
            }
            match classify(slot_words(record), place(&content.header.log_id, slot as u32)) {
                Slot::Valid(record) => content.records.push(record),
                Slot::Blank { unfinished } => content.unfinished += u64::from(unfinished),
                Slot::Damaged(_) => content.damaged += 1,
                Slot::Foreign { .. } => content.foreign += 1,
            }
        }
        content
    }

    pub fn read(path: &Path) -> Content {
        Content::parse(&std::fs::read(path).expect("the log can be read"))
    }

    /// Names of one space by id; fails on a name with a missing chunk.
    pub fn names(&self, wanted: NameSpace) -> BTreeMap<u32, String> {
        let names = self.whole_names(wanted);
        let is_wanted = |record: &Record| matches!(record, Record::Name { space, id, .. } if *space == wanted && !names.contains_key(id));
        assert!(!self.records.iter().any(is_wanted), "every name is whole");
        names
    }

    /// Names of one space by id, but those that were begun when the disk was full.
    pub fn whole_names(&self, wanted: NameSpace) -> BTreeMap<u32, String> {
        let mut chunks: BTreeMap<u32, BTreeMap<u16, (bool, Vec<u8>)>> = BTreeMap::new();
        for record in &self.records {
            if let Record::Name { space, id, index, last, chunk } = record
                && *space == wanted
            {
                let entry = (*last, chunk.as_bytes().to_vec());
                let known = chunks.entry(*id).or_default().insert(*index, entry.clone());
                assert!(known.is_none() || known == Some(entry), "copies are equal");
            }
        }
        let join = |parts: BTreeMap<u16, (bool, Vec<u8>)>| {
            let count = usize::from(*parts.keys().last()?) + 1;
            let is_whole = parts.len() == count && parts.values().last()?.0;
            let bytes: Vec<u8> = parts.into_values().flat_map(|(_, bytes)| bytes).collect();
            is_whole.then(|| String::from_utf8(bytes).expect("text"))
        };
        chunks.into_iter().filter_map(|(id, parts)| Some((id, join(parts)?))).collect()
    }

    /// All line hits as (context, file, line), by name; fails on a hit without one.
    pub fn lines(&self) -> BTreeSet<(String, String, u32)> {
        let mut contexts = self.whole_names(NameSpace::Context);
        contexts.insert(0, String::new());
        let files = self.whole_names(NameSpace::File);
        let hits = self.records.iter().filter_map(|record| match record {
            Record::Line { context, file, line } => {
                Some((contexts[context].clone(), files[file].clone(), *line))
            }
            _ => None,
        });
        hits.collect()
    }

    pub fn count(&self, wanted: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| wanted(record)).count()
    }

    pub fn trailers(&self) -> Vec<Record> {
        let is_trailer = |record: &&Record| matches!(record, Record::Trailer { .. });
        self.records.iter().filter(is_trailer).copied().collect()
    }

    /// Fails unless every slot is valid or blank.
    pub fn assert_whole(&self) {
        assert_eq!((self.damaged, self.foreign, self.unfinished), (0, 0, 0));
    }
}

/// The logs in a run directory, by name.
#[allow(dead_code, reason = "not every test uses everything")]
pub fn logs(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run).expect("the run directory can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The only log in a run directory.
#[allow(dead_code, reason = "not every test uses everything")]
pub fn only_log(run: &Path) -> Content {
    let logs = logs(run);
    assert_eq!(logs.len(), 1, "{logs:?}");
    Content::read(&logs[0])
}
