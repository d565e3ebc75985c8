//! What a recorder writes, a reader reads: every line, arc and sample, under its names, and nothing else.

use std::io;
use std::sync::{Arc, Mutex};

use crate::common::Content;
use crate::operations::Model;
use hitlog::Recorder;
use hitlog::format::LogId;
use hitlog::storage::Storage;
use hitlog::storage::memory::Memory;

/// Slots of a log: few, so that a longer recording goes on in further segments.
const SLOTS: usize = 6000;

/// Records what `input` says, and compares.
pub fn run(input: &[u8]) {
    let made: Arc<Mutex<Vec<Arc<Memory>>>> = Arc::default();
    let list = Arc::clone(&made);
    let open = move |_: u32, _: &LogId| -> io::Result<Box<dyn Storage>> {
        let memory = Arc::new(Memory::new(SLOTS, u64::MAX));
        list.lock().expect("no panic inside").push(Arc::clone(&memory));
        Ok(Box::new(memory))
    };
    let recorder = Recorder::with_storage(Box::new(open), b"run".to_vec(), "memory".into());
    let recorder = recorder.expect("memory takes a log");
    let mut model = Model::default();
    model.work(&recorder, input);
    assert_eq!(recorder.lost(), 0);
    drop(recorder);
    for memory in made.lock().expect("no panic inside").iter() {
        let content = Content::parse(&memory.to_bytes());
        content.assert_whole();
        assert!(!content.trailers().is_empty(), "it ended clean");
        assert_eq!(model.missing(&content), 0);
    }
}
