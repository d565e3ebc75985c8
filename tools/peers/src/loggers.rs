//! Peers that append: measureme (rustc's own recorder), tracing-appender, okaywal.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering};

use measureme::{EventId, PageTag, Profiler};
use okaywal::{Configuration, Entry, EntryId, LogManager, SegmentReader, WriteAheadLog};
use tracing_appender::non_blocking::NonBlockingBuilder;

use crate::hits::{Hit, Hits, file_count};

pub fn fill_measureme(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let profiler = Profiler::new(directory.join("hits")).map_err(|error| error.to_string())?;
    let kind = profiler.alloc_string("line");
    let name = |number| EventId::from_label(profiler.alloc_string(&*format!("{number}.py")));
    let files: Vec<_> = (0..file_count(hits.end)).map(name).collect();
    for Hit { file, line, .. } in hits {
        profiler.record_integer_event(kind, files[file as usize - 1], 0, u64::from(line));
    }
    Ok(())
}

/// Bytes of a file's and of a stream's header, of a page's header, and of an event.
const MEASUREME_HEADER: usize = 8;
const MEASUREME_PAGE_HEADER: usize = 5;
const MEASUREME_EVENT: usize = 32;

pub fn count_measureme(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let bytes = fs::read(directory.join("hits.mm_profdata"))?;
    let mut rest = bytes.get(MEASUREME_HEADER..).unwrap_or_default();
    let mut events = 0;
    while rest.len() > MEASUREME_PAGE_HEADER {
        let (header, page) = rest.split_at(MEASUREME_PAGE_HEADER);
        let size = u32::from_le_bytes(header[1..].try_into()?) as usize;
        let (page, next) = page.split_at(size.min(page.len()));
        events += if header[0] == PageTag::Events as u8 { page.len() } else { 0 };
        rest = next;
    }
    Ok((events.saturating_sub(MEASUREME_HEADER) / MEASUREME_EVENT) as u64)
}

pub fn fill_tracing(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let file = File::create(directory.join("hits.log"))?;
    let (writer, _flushed_at_the_end) = NonBlockingBuilder::default().lossy(false).finish(file);
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, || {
        for Hit { file, line, .. } in hits {
            tracing::info!(file, line);
        }
    });
    Ok(())
}

pub fn count_lines(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let bytes = fs::read(directory.join("hits.log"))?;
    Ok(bytes.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Counts the entries that are recovered.
#[derive(Debug, Default)]
struct Counter(Arc<AtomicU64>);

impl LogManager for Counter {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let whole = entry.read_all_chunks()?.is_some();
        self.0.fetch_add(u64::from(whole), Ordering::Relaxed);
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: EntryId,
        _: &mut SegmentReader,
        _: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

fn open_wal(directory: &Path, counter: Counter) -> io::Result<WriteAheadLog> {
    // All entries stay in the log, as those of the others do.
    Configuration::default_for(directory).checkpoint_after_bytes(1 << 40).open(counter)
}

pub fn fill_okaywal(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let log = open_wal(directory, Counter::default())?;
    for Hit { file, line, .. } in hits {
        let mut entry = log.begin_entry()?;
        entry.write_chunk(&(u64::from(file) << 32 | u64::from(line)).to_le_bytes())?;
        entry.commit()?;
    }
    Ok(log.shutdown()?)
}

pub fn count_okaywal(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let count = Arc::new(AtomicU64::new(0));
    open_wal(directory, Counter(Arc::clone(&count)))?.shutdown()?;
    Ok(count.load(Ordering::Relaxed))
}
