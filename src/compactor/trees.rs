//! Fills trees with records that come for all of them in turn. Where there is more than one thread, one makes
//! the records and another one puts them into pages.
//!
//! ```text
//! rows -> records -> | batch | batch | .. | -> trees -> pages -> file
//!                    `- none with one thread
//! ```
//!
//! Records are put into their trees in the order in which they came, so that the file does not depend on
//! the threads.

use super::pages::{Kind, Pages, Tree, Written};
use std::io::{self, Result};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Bytes of records, and records, of a batch.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_RECORDS: usize = 1 << 14;

/// Batches that wait for the other thread.
const BATCHES_WAITING: usize = 4;

/// Which tree is meant: its kind, and the page that SQLite gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeAt {
    pub(super) kind: Kind,
    pub(super) root: u32,
}

/// What is done to a tree.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A row with this rowid goes behind all others.
    Row(u64),
    /// An entry goes behind all others.
    Entry,
    /// It is full.
    End,
}

/// The trees of a file.
pub(super) struct Trees(Place);

/// Where they are filled.
enum Place {
    Here(Filler),
    There(Queue),
}

impl Trees {
    /// Those of the file `pages`. A thread is started if the present pool has more than one.
    pub(super) fn new(pages: Pages) -> Result<Trees> {
        let filler = Filler { pages, trees: Vec::new() };
        Ok(Trees(match rayon::current_num_threads() {
            1 => Place::Here(filler),
            _ => Place::There(Queue::start(filler)?),
        }))
    }

    /// Adds the row `rowid` to a table, behind all others. What fails may be told by a later call.
    #[inline]
    pub(super) fn push_row(&mut self, tree: TreeAt, rowid: u64, record: &[u8]) -> Result<()> {
        self.take(tree, Step::Row(rowid), record)
    }

    /// Adds an entry to an index, behind all others. What fails may be told by a later call.
    #[inline]
    pub(super) fn push_entry(&mut self, tree: TreeAt, record: &[u8]) -> Result<()> {
        self.take(tree, Step::Entry, record)
    }

    /// Ends a tree, to which nothing more is added.
    pub(super) fn end(&mut self, tree: TreeAt) -> Result<()> {
        self.take(tree, Step::End, &[])
    }

    #[inline]
    fn take(&mut self, tree: TreeAt, step: Step, record: &[u8]) -> Result<()> {
        match &mut self.0 {
            Place::Here(filler) => filler.take(tree, step, record),
            Place::There(queue) => queue.take(tree, step, record),
        }
    }

    /// Writes what waits. From here on, SQLite may open the file.
    pub(super) fn finish(self) -> Result<Written> {
        match self.0 {
            Place::Here(filler) => filler.pages.finish(),
            Place::There(queue) => queue.finish(),
        }
    }
}

/// Fills trees on the thread that has it.
struct Filler {
    pages: Pages,
    /// By their roots, which have small numbers: SQLite has just made them.
    trees: Vec<Option<Tree>>,
}

impl Filler {
    #[inline]
    fn take(&mut self, TreeAt { kind, root }: TreeAt, step: Step, record: &[u8]) -> Result<()> {
        let at = root as usize;
        if at >= self.trees.len() {
            self.trees.resize_with(at + 1, || None);
        }
        let place = &mut self.trees[at];
        let tree = place.get_or_insert_with(|| Tree::new(kind, root));
        match step {
            Step::Row(rowid) => tree.push_row(&mut self.pages, rowid, record),
            Step::Entry => tree.push_entry(&mut self.pages, record),
            Step::End => place.take().map_or(Ok(()), |tree| tree.finish(&mut self.pages)),
        }
    }
}

/// Steps that go to the other thread together.
#[derive(Default)]
struct Batch {
    steps: Vec<(TreeAt, Step, usize)>,
    /// One behind the other.
    records: Vec<u8>,
}

impl Batch {
    fn give_to(&self, filler: &mut Filler) -> Result<()> {
        let mut rest = &self.records[..];
        for (tree, step, length) in &self.steps {
            let (record, behind) = rest.split_at(*length);
            filler.take(*tree, *step, record)?;
            rest = behind;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.steps.clear();
        self.records.clear();
    }
}

/// The way to the other thread.
struct Queue {
    batch: Batch,
    full: SyncSender<Batch>,
    /// Batches come back, and are used again.
    empty: Receiver<Batch>,
    /// None once it is known how it ended.
    thread: Option<JoinHandle<Result<Written>>>,
}

impl Queue {
    fn start(filler: Filler) -> Result<Queue> {
        let (full, batches) = sync_channel(BATCHES_WAITING);
        let (back, empty) = channel();
        let thread = Builder::new().name("hitlog pages".into());
        let thread = thread.spawn(move || fill(filler, &batches, &back))?;
        Ok(Queue { batch: Batch::default(), full, empty, thread: Some(thread) })
    }

    #[inline]
    fn take(&mut self, tree: TreeAt, step: Step, record: &[u8]) -> Result<()> {
        self.batch.steps.push((tree, step, record.len()));
        self.batch.records.extend_from_slice(record);
        let is_full =
            self.batch.records.len() >= BATCH_BYTES || self.batch.steps.len() >= BATCH_RECORDS;
        if is_full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        match self.full.send(batch) {
            Ok(()) => Ok(()),
            // It has ended, which it does only if something failed.
            Err(_) => join(self.thread.take()).and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn finish(mut self) -> Result<Written> {
        self.send()?;
        drop(self.full);
        join(self.thread.take())
    }
}

/// Waits for the end of the thread that fills, and tells what it wrote.
fn join(thread: Option<JoinHandle<Result<Written>>>) -> Result<Written> {
    let thread = thread.ok_or(io::ErrorKind::BrokenPipe)?;
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Fills trees with what `batches` bring, until nobody sends any more.
fn fill(mut filler: Filler, batches: &Receiver<Batch>, back: &Sender<Batch>) -> Result<Written> {
    for mut batch in batches {
        batch.give_to(&mut filler)?;
        batch.clear();
        let _ = back.send(batch);
    }
    filler.pages.finish()
}

#[cfg(test)]
mod tests {
    use super::super::tables::Roots;
    use super::*;
    use rusqlite::Connection;
    use std::path::{Path, PathBuf};

    /// Fills an index by as many threads as are said; `entry` makes the entries from their numbers.
    fn fill(
        folder: &Path,
        threads: usize,
        entries: u64,
        entry: impl Fn(u64) -> Vec<u8> + Sync,
    ) -> Result<PathBuf> {
        let path = folder.join(format!("{threads}.db"));
        let connection = Connection::open(&path).unwrap();
        let sql = "pragma journal_mode = off; create table t (number); create index i on t (number)";
        connection.execute_batch(sql).unwrap();
        let roots = Roots::read(&connection).unwrap();
        drop(connection);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trees = Trees::new(Pages::open(&path)?)?;
            assert_eq!(matches!(trees.0, Place::There(_)), threads > 1);
            let tree = roots.index("i");
            (0..entries).try_for_each(|number| trees.push_entry(tree, &entry(number)))?;
            trees.end(tree)?;
            trees.finish()
        })?;
        Ok(path)
    }

    #[test]
    fn a_second_thread_makes_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let batches = 3 * BATCH_RECORDS as u64 + 1;
        let [one, two] = [1, 2].map(|threads| {
            let entry = |number: u64| number.to_be_bytes().to_vec();
            std::fs::read(fill(folder.path(), threads, batches, entry).unwrap()).unwrap()
        });
        assert!(one.len() > 8 * BATCH_RECORDS);
        assert!(one == two);
    }

    #[test]
    fn what_fails_on_the_other_thread_is_told() {
        let folder = tempfile::tempdir().unwrap();
        // In the last batch, and so far before it that the thread has ended when more is sent.
        for entries in [10, 10 * BATCH_RECORDS as u64] {
            let too_long = |number| vec![1; if number == 5 { 4000 } else { 8 }];
            let failure = fill(folder.path(), 2, entries, too_long).unwrap_err();
            assert_eq!(failure.to_string(), "an entry is too long for a page", "{entries}");
            std::fs::remove_file(folder.path().join("2.db")).unwrap();
        }
    }
}
