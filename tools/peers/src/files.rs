//! hitlog, and the two ways in which any program writes records of 32 bytes to a file.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use hitlog::Recorder;
use hitlog::format::{RECORD_SIZE, Record, Slot, Words, classify, seal, slot_bytes, slot_words};
use hitlog::reader::LogReader;

use crate::hits::{Hit, Hits, file_count};

const FILE: &str = "records";

pub fn fill_hitlog(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let recorder = Recorder::open(directory)?;
    let files: Vec<_> = (0..file_count(hits.end)).map(|n| recorder.file(format!("{n}.py"))).collect();
    for hit in hits {
        recorder.line(files[hit.file as usize - 1], hit.line);
    }
    Ok(())
}

pub fn count_hitlog(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let mut lines = 0;
    for entry in std::fs::read_dir(directory)? {
        let log = LogReader::open(entry?.path())?;
        log.scan(0..log.slot_count(), |_, slot| {
            lines += u64::from(matches!(slot, Slot::Valid(Record::Line { .. })));
        })?;
    }
    Ok(lines)
}

fn record(hit: Hit) -> [u8; RECORD_SIZE] {
    slot_bytes(seal(Words::line(1, hit.file, hit.line), hit.number))
}

pub fn fill_by_write(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let mut file = File::create(directory.join(FILE))?;
    for hit in hits {
        file.write_all(&record(hit))?;
    }
    Ok(())
}

pub fn fill_buffered(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(directory.join(FILE))?);
    for hit in hits {
        file.write_all(&record(hit))?;
    }
    Ok(file.flush()?)
}

pub fn count_records(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let bytes = std::fs::read(directory.join(FILE))?;
    let slots = bytes.chunks_exact(RECORD_SIZE).enumerate();
    let whole = slots.filter(|(n, bytes)| {
        matches!(classify(slot_words(bytes), *n as u32), Slot::Valid(Record::Line { .. }))
    });
    Ok(whole.count() as u64)
}
