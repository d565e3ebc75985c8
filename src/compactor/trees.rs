//! Fills trees with records that come for all of them in turn. Where there is more than one thread, one makes
//! the records and another one puts them into pages.
//!
//! ```text
//! one thread:   rows -> records -> trees -> pages -> file
//! several:      rows -> records -> | batch | batch | .. | -> trees -> pages -> file
//! ```
//!
//! Records are put into their trees in the order in which they came, so that the file does not depend on
//! the threads.

use super::pages::{Kind, Pages, Tree, Written};
use std::io::{self, Result};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Bytes of records from which on a batch is full.
const BATCH_BYTES: usize = 256 << 10;

/// Records of a full batch.
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
pub(super) enum Trees {
    /// They are filled by whoever has them.
    Here(Filler),
    /// A thread of their own fills them, which ends with them.
    There(Queue),
}

impl Trees {
    /// Those of the file `path`, which SQLite has closed. A thread is started if the present pool has more
    /// than one, and if there may be one more.
    pub(super) fn open(path: &Path) -> Result<Trees> {
        let filler = Filler::open(path)?;
        if rayon::current_num_threads() == 1 {
            return Ok(Trees::Here(filler));
        }
        match Queue::start(filler) {
            Ok(queue) => Ok(Trees::There(queue)),
            Err(_) => Filler::open(path).map(Trees::Here),
        }
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
        match self {
            Trees::Here(filler) => filler.take(tree, step, record),
            Trees::There(queue) => queue.take(tree, step, record),
        }
    }

    /// Writes what waits; all trees have ended. From here on, SQLite may open the file.
    pub(super) fn finish(self) -> Result<Written> {
        match self {
            Trees::Here(filler) => filler.finish(),
            Trees::There(queue) => queue.finish(),
        }
    }
}

/// How far a tree is.
enum State {
    /// Nothing was put into it.
    Empty,
    Filling(Tree),
    Full,
}

/// Fills trees on the thread that has it.
pub(super) struct Filler {
    pages: Pages,
    /// By their roots, which have small numbers: SQLite has just made them.
    trees: Vec<State>,
}

impl Filler {
    fn open(path: &Path) -> Result<Filler> {
        Ok(Filler { pages: Pages::open(path)?, trees: Vec::new() })
    }

    #[inline]
    fn take(&mut self, TreeAt { kind, root }: TreeAt, step: Step, record: &[u8]) -> Result<()> {
        let at = root as usize;
        if at >= self.trees.len() {
            self.trees.resize_with(at + 1, || State::Empty);
        }
        let state = &mut self.trees[at];
        if let State::Empty = state {
            *state = State::Filling(Tree::new(kind, root));
        }
        let State::Filling(tree) = state else {
            return Err(io::Error::other("a table was filled behind its end"));
        };
        match step {
            Step::Row(rowid) => tree.push_row(&mut self.pages, rowid, record),
            Step::Entry => tree.push_entry(&mut self.pages, record),
            Step::End => match std::mem::replace(state, State::Full) {
                State::Filling(tree) => tree.finish(&mut self.pages),
                State::Empty | State::Full => Ok(()),
            },
        }
    }

    fn finish(self) -> Result<Written> {
        if self.trees.iter().any(|state| matches!(state, State::Filling(_))) {
            return Err(io::Error::other("a table was not filled to its end"));
        }
        self.pages.finish()
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

/// The way to the other thread, which ends when this is dropped.
pub(super) struct Queue {
    batch: Batch,
    /// Full batches; behind the last one, none. Taken away when nothing more comes.
    full: Option<SyncSender<Option<Batch>>>,
    /// Batches come back, and are used again.
    empty: Receiver<Batch>,
    /// What it wrote; nothing if it was left before the end.
    thread: Option<JoinHandle<Result<Option<Written>>>>,
}

impl Queue {
    fn start(filler: Filler) -> Result<Queue> {
        let (full, batches) = sync_channel(BATCHES_WAITING);
        let (back, empty) = channel();
        let thread = Builder::new().name("hitlog pages".into());
        let thread = thread.spawn(move || fill(filler, &batches, &back))?;
        Ok(Queue { batch: Batch::default(), full: Some(full), empty, thread: Some(thread) })
    }

    #[inline]
    fn take(&mut self, tree: TreeAt, step: Step, record: &[u8]) -> Result<()> {
        self.batch.steps.push((tree, step, record.len()));
        self.batch.records.extend_from_slice(record);
        let is_full =
            self.batch.records.len() >= BATCH_BYTES || self.batch.steps.len() >= BATCH_RECORDS;
        if is_full { self.send_batch() } else { Ok(()) }
    }

    fn send_batch(&mut self) -> Result<()> {
        let next = self.empty.try_recv().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        self.send(Some(batch))
    }

    fn send(&mut self, batch: Option<Batch>) -> Result<()> {
        let sent = self.full.as_ref().is_some_and(|full| full.send(batch).is_ok());
        // Who does not take it has ended, which happens only if something failed.
        if sent { Ok(()) } else { self.join().and(Err(io::ErrorKind::BrokenPipe.into())) }
    }

    fn finish(mut self) -> Result<Written> {
        self.send_batch()?;
        self.send(None)?;
        self.join()?.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits for the end of the thread.
    fn join(&mut self) -> Result<Option<Written>> {
        self.full = None;
        let Some(thread) = self.thread.take() else { return Ok(None) };
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.full = None;
        // Something else failed, and is told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Fills trees with what `batches` bring, up to the end or until nobody sends any more.
fn fill(
    mut filler: Filler,
    batches: &Receiver<Option<Batch>>,
    back: &Sender<Batch>,
) -> Result<Option<Written>> {
    for batch in batches {
        let Some(mut batch) = batch else { return filler.finish().map(Some) };
        batch.give_to(&mut filler)?;
        batch.clear();
        let _ = back.send(batch);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::tables::Roots;
    use super::*;
    use rusqlite::Connection;
    use std::path::PathBuf;

    /// Lets `fill` fill an index in a pool of so many threads. The file.
    fn filled(
        folder: &Path,
        threads: usize,
        fill: impl Fn(&mut Trees, TreeAt) -> Result<()> + Sync,
    ) -> Result<PathBuf> {
        let path = folder.join(format!("{threads}.db"));
        let _ = std::fs::remove_file(&path);
        let connection = Connection::open(&path).unwrap();
        let sql = "pragma journal_mode = off; create table t (number); create index i on t (number)";
        connection.execute_batch(sql).unwrap();
        let roots = Roots::read(&connection).unwrap();
        drop(connection);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trees = Trees::open(&path)?;
            assert_eq!(matches!(trees, Trees::There(_)), threads > 1);
            fill(&mut trees, roots.index("i"))?;
            trees.finish()
        })?;
        Ok(path)
    }

    #[test]
    fn a_second_thread_makes_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = [1, 2].map(|threads| {
            let path = filled(folder.path(), threads, |trees, tree| {
                let numbers = 0..=3 * BATCH_RECORDS as u64;
                { numbers }.try_for_each(|number| trees.push_entry(tree, &number.to_be_bytes()))?;
                trees.end(tree)
            });
            std::fs::read(path.unwrap()).unwrap()
        });
        assert!(one.len() > 8 * BATCH_RECORDS);
        assert!(one == two);
    }

    #[test]
    fn what_fails_on_the_other_thread_is_told() {
        let folder = tempfile::tempdir().unwrap();
        // In the last batch, and so far before it that the thread has ended when more is sent.
        for entries in [10, 10 * BATCH_RECORDS] {
            let failure = filled(folder.path(), 2, |trees, tree| {
                trees.push_entry(tree, &[1; 4000])?;
                { 1..entries }.try_for_each(|_| trees.push_entry(tree, &[1; 8]))?;
                trees.end(tree)
            });
            let failure = failure.unwrap_err();
            assert_eq!(failure.to_string(), "an entry is too long for a page", "{entries}");
        }
    }

    #[test]
    fn a_thread_that_is_left_ends() {
        let folder = tempfile::tempdir().unwrap();
        let failure = filled(folder.path(), 2, |trees, tree| {
            { 0..5 * BATCH_RECORDS }.try_for_each(|_| trees.push_entry(tree, &[1; 8]))?;
            Err(io::Error::other("the logs are gone"))
        });
        assert_eq!(failure.unwrap_err().to_string(), "the logs are gone");
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let ours = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|file| file.starts_with(folder.path()))
        };
        assert_eq!(open.filter(ours).count(), 0, "the thread had the file open");
    }

    #[test]
    fn a_table_has_one_end() {
        let folder = tempfile::tempdir().unwrap();
        for threads in [1, 2] {
            let unended = filled(folder.path(), threads, |trees, tree| trees.push_entry(tree, &[1]));
            assert_eq!(unended.unwrap_err().to_string(), "a table was not filled to its end");
            let twice = filled(folder.path(), threads, |trees, tree| {
                trees.end(tree)?;
                trees.push_entry(tree, &[1])
            });
            assert_eq!(twice.unwrap_err().to_string(), "a table was filled behind its end");
        }
    }
}
