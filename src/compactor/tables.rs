//! The large tables, each with its indexes, as [`Trees`] that are filled side by side.
//!
//! Rows come by file, then by context, in the order of most of the trees. An index by context is put in its
//! order at the end.

use super::keys::{Block, Ends, Pair};
use super::pages::Kind;
use super::record::{Column, write_record};
use super::trees::{TreeAt, Trees};
use rayon::prelude::*;
use rusqlite::{Connection, Result};
use std::collections::HashMap;
use std::io;

/// The tables that are filled here and nowhere else.
pub(super) const LARGE: [&str; 7] = [
    "line_bits",
    "arc",
    "hitlog_known_arc",
    "hitlog_arc_bits",
    "hitlog_other_arc",
    "hitlog_number",
    "hitlog_child_lines",
];

/// Rows up to which an index by context is kept in memory, 24 bytes each. A larger one is left to SQLite.
const ENTRIES_MAX: usize = 1 << 22;

/// Numbers of the pages at which SQLite looks for tables and indexes, by their names.
#[derive(Debug)]
pub(super) struct Roots(HashMap<String, u32>);

impl Roots {
    pub(super) fn read(connection: &Connection) -> Result<Roots> {
        let mut statement =
            connection.prepare("select name, rootpage from sqlite_schema where rootpage > 0")?;
        let roots = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        roots.collect::<Result<_>>().map(Roots)
    }

    /// # Panics
    /// If the schema has no such table or index.
    fn of(&self, name: &str) -> u32 {
        self.0[name]
    }

    pub(super) fn table(&self, name: &str) -> TreeAt {
        TreeAt { kind: Kind::Table, root: self.of(name) }
    }

    /// An index, or a table `without rowid`.
    pub(super) fn index(&self, name: &str) -> TreeAt {
        TreeAt { kind: Kind::Index, root: self.of(name) }
    }
}

/// Neighbouring rows of one file and context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    context: u32,
    file: u32,
    /// What is in the index behind context and file: the first of so many numbers in a row.
    first: u64,
    count: u32,
}

/// An index (context, file, number) over rows that come by file.
struct ByContext {
    name: &'static str,
    tree: TreeAt,
    entries: Vec<Entry>,
    /// There were too many.
    is_left: bool,
}

impl ByContext {
    fn new(roots: &Roots, name: &'static str) -> ByContext {
        ByContext { name, tree: roots.index(name), entries: Vec::new(), is_left: false }
    }

    #[inline]
    fn push(&mut self, pair: Pair, number: u64) {
        let (context, file) = (pair.context(), pair.file());
        if let Some(last) = self.entries.last_mut()
            && (last.context, last.file, last.first + u64::from(last.count)) == (context, file, number)
        {
            last.count += 1;
        } else if self.entries.len() < ENTRIES_MAX {
            self.entries.push(Entry { context, file, first: number, count: 1 });
        } else {
            self.is_left = true;
        }
    }

    /// The index's name, if SQLite has to make it.
    fn finish(mut self, trees: &mut Trees) -> io::Result<Option<&'static str>> {
        if self.is_left {
            return Ok(Some(self.name));
        }
        self.entries.par_sort_unstable();
        let mut record = Vec::new();
        for Entry { context, file, first, count } in self.entries {
            for number in first..first + u64::from(count) {
                let columns = [context.into(), file.into(), number.into()];
                trees.push_entry(self.tree, write_record(&mut record, &columns))?;
            }
        }
        trees.end(self.tree).map(|()| None)
    }
}

/// A table of hits, whose rows come in the order of its unique index.
pub(super) struct HitTable {
    rows: TreeAt,
    unique: TreeAt,
    by_context: ByContext,
    last_rowid: u64,
    record: Vec<u8>,
}

impl HitTable {
    /// `line_bits`.
    pub(super) fn lines(roots: &Roots) -> HitTable {
        HitTable::new(roots, "line_bits", "hitlog_line_bits_context")
    }

    /// `arc`.
    pub(super) fn arcs(roots: &Roots) -> HitTable {
        HitTable::new(roots, "arc", "hitlog_arc_context")
    }

    /// `hitlog_other_arc`.
    pub(super) fn other_arcs(roots: &Roots) -> HitTable {
        HitTable::new(roots, "hitlog_other_arc", "hitlog_other_arc_context")
    }

    fn new(roots: &Roots, table: &str, by_context: &'static str) -> HitTable {
        HitTable {
            rows: roots.table(table),
            unique: roots.index(&format!("sqlite_autoindex_{table}_1")),
            by_context: ByContext::new(roots, by_context),
            last_rowid: 0,
            record: Vec::new(),
        }
    }

    pub(super) fn push_lines(
        &mut self,
        trees: &mut Trees,
        pair: Pair,
        numbits: &[u8],
    ) -> io::Result<()> {
        let (file, context) = (pair.file().into(), pair.context().into());
        let columns = [file, context, Column::Blob(numbits)];
        self.push(trees, pair, &columns, |rowid| [file, context, rowid])
    }

    #[inline]
    pub(super) fn push_arc(&mut self, trees: &mut Trees, pair: Pair, ends: Ends) -> io::Result<()> {
        let columns = [pair.file().into(), pair.context().into(), ends.from().into(), reached(ends)];
        let [file, context, from, to] = columns;
        self.push(trees, pair, &columns, |rowid| [file, context, from, to, rowid])
    }

    /// Adds a row; `unique` makes its entry in the unique index from its rowid.
    #[inline]
    fn push<const N: usize, const M: usize>(
        &mut self,
        trees: &mut Trees,
        pair: Pair,
        columns: &[Column<'_>; N],
        unique: impl FnOnce(Column<'static>) -> [Column<'static>; M],
    ) -> io::Result<()> {
        self.last_rowid += 1;
        trees.push_row(self.rows, self.last_rowid, write_record(&mut self.record, columns))?;
        let entry = unique(self.last_rowid.into());
        trees.push_entry(self.unique, write_record(&mut self.record, &entry))?;
        self.by_context.push(pair, self.last_rowid);
        Ok(())
    }

    pub(super) fn finish(self, trees: &mut Trees) -> io::Result<Option<&'static str>> {
        trees.end(self.rows)?;
        trees.end(self.unique)?;
        self.by_context.finish(trees)
    }
}

/// The line reached; NULL where a line stands alone.
fn reached(ends: Ends) -> Column<'static> {
    ends.to().map_or(Column::Null, Column::from)
}

/// `hitlog_known_arc`.
pub(super) struct KnownArcs {
    rows: TreeAt,
    by_ends: TreeAt,
    record: Vec<u8>,
}

impl KnownArcs {
    pub(super) fn new(roots: &Roots) -> KnownArcs {
        KnownArcs {
            rows: roots.index("hitlog_known_arc"),
            by_ends: roots.index("hitlog_known_arc_ends"),
            record: Vec::new(),
        }
    }

    /// Adds the arcs of the next file: `by_number`, and the same with their numbers by line left and line reached.
    pub(super) fn push_file(
        &mut self,
        trees: &mut Trees,
        file: u32,
        by_number: &[Ends],
        by_ends: &[(Ends, u32)],
    ) -> io::Result<()> {
        for (number, ends) in (0_u32..).zip(by_number) {
            let columns = [file.into(), number.into(), ends.from().into(), reached(*ends)];
            trees.push_entry(self.rows, write_record(&mut self.record, &columns))?;
        }
        for (ends, number) in by_ends {
            let columns = [file.into(), ends.from().into(), reached(*ends), (*number).into()];
            trees.push_entry(self.by_ends, write_record(&mut self.record, &columns))?;
        }
        Ok(())
    }

    pub(super) fn finish(self, trees: &mut Trees) -> io::Result<()> {
        trees.end(self.rows)?;
        trees.end(self.by_ends)
    }
}

/// `hitlog_arc_bits`.
pub(super) struct ArcBits {
    rows: TreeAt,
    by_context: ByContext,
    record: Vec<u8>,
}

impl ArcBits {
    pub(super) fn new(roots: &Roots) -> ArcBits {
        ArcBits {
            rows: roots.index("hitlog_arc_bits"),
            by_context: ByContext::new(roots, "hitlog_arc_bits_context"),
            record: Vec::new(),
        }
    }

    /// Adds a row; they come by file, then block, then context.
    pub(super) fn push(
        &mut self,
        trees: &mut Trees,
        pair: Pair,
        block: u32,
        bits: u64,
    ) -> io::Result<()> {
        let (file, context) = (pair.file().into(), pair.context().into());
        let columns = [file, block.into(), context, bits.into()];
        trees.push_entry(self.rows, write_record(&mut self.record, &columns))?;
        self.by_context.push(pair, block.into());
        Ok(())
    }

    pub(super) fn finish(self, trees: &mut Trees) -> io::Result<Option<&'static str>> {
        trees.end(self.rows)?;
        self.by_context.finish(trees)
    }
}

/// Neighbouring lines of one file and context.
#[derive(Clone, Copy)]
pub(super) struct LineRange {
    pair: Pair,
    first: u32,
    last: u32,
}

/// Adds lines to `ranges`; they come by file, then context.
pub(super) fn add_lines(ranges: &mut Vec<LineRange>, block: &Block) {
    for line in block.iter() {
        match ranges.last_mut() {
            Some(range) if range.pair == block.pair() && range.last + 1 == line => range.last = line,
            _ => ranges.push(LineRange { pair: block.pair(), first: line, last: line }),
        }
    }
}

/// `hitlog_child_lines`.
pub(super) struct ChildLines {
    rows: TreeAt,
    record: Vec<u8>,
}

impl ChildLines {
    pub(super) fn new(roots: &Roots) -> ChildLines {
        ChildLines { rows: roots.index("hitlog_child_lines"), record: Vec::new() }
    }

    /// Adds all of a file at once, so that neither ranges nor the pages that they fill depend on the parts in which
    /// lines come.
    pub(super) fn push_file(&mut self, trees: &mut Trees, ranges: &[LineRange]) -> io::Result<()> {
        for LineRange { pair, first, last } in ranges {
            let columns = [pair.file().into(), pair.context().into(), (*first).into(), (*last).into()];
            trees.push_entry(self.rows, write_record(&mut self.record, &columns))?;
        }
        Ok(())
    }

    pub(super) fn finish(self, trees: &mut Trees) -> io::Result<()> {
        trees.end(self.rows)
    }
}

/// Fills `hitlog_number` with `lines`, each of which is a rowid.
pub(super) fn write_numbers(
    roots: &Roots,
    trees: &mut Trees,
    mut lines: impl Iterator<Item = u32>,
) -> io::Result<()> {
    let mut record = Vec::new();
    let record = write_record(&mut record, &[Column::Null]);
    let tree = roots.table("hitlog_number");
    lines.try_for_each(|line| trees.push_row(tree, line.into(), record))?;
    trees.end(tree)
}

/// Fills `hitlog_log_file` with `(file, log id)`, which are sorted, each once.
pub(super) fn write_log_files<'a>(
    roots: &Roots,
    trees: &mut Trees,
    rows: impl Iterator<Item = (u32, &'a str)>,
) -> io::Result<()> {
    let mut record = Vec::new();
    let tree = roots.index("hitlog_log_file");
    for (file, log_id) in rows {
        trees.push_entry(tree, write_record(&mut record, &[file.into(), Column::Text(log_id)]))?;
    }
    trees.end(tree)
}
