//! Walks the pages of one table or index, from its root down.

use super::record::{Bytes, Record};
use super::{ENTRY_BYTES_MAX, PAGE_BYTES, ROW_BYTES_MAX, damaged, failed, local_bytes};
use rusqlite::Result;
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt as _;

/// Deeper than a tree of SQLite's largest file.
const DEPTH_MAX: usize = 20;

/// Largest payload that SQLite itself reads.
const PAYLOAD_BYTES_MAX: usize = 1_000_000_000;

/// A table or an index of SQLite's. Its rows stand in the order of their keys: of rowids or, in an index and
/// `without rowid`, of their first columns.
pub(in crate::query) struct Tree<'file> {
    pub(super) file: &'file File,
    pub(super) root: u32,
    pub(super) has_rowids: bool,
    /// How many the file has.
    pub(super) pages: u64,
}

impl Tree<'_> {
    /// Calls `visit` with each row whose key is in `keys`, in their order.
    ///
    /// # Errors
    /// If a page cannot be read or is damaged, and those of `visit`.
    pub(in crate::query) fn rows(
        &self,
        keys: RangeInclusive<i64>,
        mut visit: impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut walk = Walk { tree: self, left: self.pages, pages: Vec::new(), payload: Vec::new() };
        walk.page(self.root, 0, &keys, &mut visit).map(drop)
    }
}

/// One way through a tree.
struct Walk<'tree> {
    tree: &'tree Tree<'tree>,
    /// How many pages it may read: those of a damaged file can lead back to each other.
    left: u64,
    /// Space for pages, and for a payload that stands on several.
    pages: Vec<Box<[u8; PAGE_BYTES]>>,
    payload: Vec<u8>,
}

impl Walk<'_> {
    fn spare_page(&mut self) -> Box<[u8; PAGE_BYTES]> {
        self.pages.pop().unwrap_or_else(|| Box::new([0; PAGE_BYTES]))
    }

    fn read(&mut self, number: u32, page: &mut [u8; PAGE_BYTES]) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or_else(damaged)?;
        let before = number.checked_sub(1).ok_or_else(damaged)?;
        let at = u64::from(before) * PAGE_BYTES as u64;
        self.tree.file.read_exact_at(page, at).map_err(failed)
    }

    /// Visits the rows of the page `number` and of those below it. Whether rows behind them may have a key in `keys`.
    fn page(
        &mut self,
        number: u32,
        depth: usize,
        keys: &RangeInclusive<i64>,
        visit: &mut impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<bool> {
        if depth > DEPTH_MAX {
            return Err(damaged());
        }
        let mut page = self.spare_page();
        self.read(number, &mut page)?;
        let goes_on = self.cells(&page, depth, keys, visit)?;
        self.pages.push(page);
        Ok(goes_on)
    }

    fn cells(
        &mut self,
        page: &[u8; PAGE_BYTES],
        depth: usize,
        keys: &RangeInclusive<i64>,
        visit: &mut impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<bool> {
        let kind = Kind::of(page[0]).ok_or_else(damaged)?;
        let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
        // As SQLite has it: only the root of an empty tree is without a cell.
        let is_empty_tree = depth == 0 && kind.is_leaf;
        if kind.has_rowids != self.tree.has_rowids || (cells == 0 && !is_empty_tree) {
            return Err(damaged());
        }
        let list_at = if kind.is_leaf { 8 } else { 12 };
        let list = page.get(list_at..list_at + 2 * cells).ok_or_else(damaged)?;
        for at in list.chunks_exact(2) {
            let at = usize::from(u16::from_be_bytes([at[0], at[1]]));
            let mut cell = Bytes(page.get(at..).ok_or_else(damaged)?);
            let child = if kind.is_leaf { None } else { Some(cell.u32()?) };
            let length = if kind.has_rows() { cell.varint()? } else { 0 };
            let key = if kind.has_rowids {
                cell.varint()?.cast_signed()
            } else {
                Record::new(cell.0)?.integer()?
            };
            if key < *keys.start() {
                continue;
            }
            if let Some(child) = child
                && !self.page(child, depth + 1, keys, visit)?
            {
                return Ok(false);
            }
            if key > *keys.end() {
                return Ok(false);
            }
            if kind.has_rows() {
                let mut payload = std::mem::take(&mut self.payload);
                visit(Record::new(self.whole(cell, length, kind, &mut payload)?)?)?;
                self.payload = payload;
            }
        }
        if kind.is_leaf {
            return Ok(true);
        }
        self.page(Bytes(&page[8..12]).u32()?, depth + 1, keys, visit)
    }

    /// The `length` bytes that begin with `cell`, and go on from page to page if they are many.
    fn whole<'bytes>(
        &mut self,
        cell: Bytes<'bytes>,
        length: u64,
        kind: Kind,
        payload: &'bytes mut Vec<u8>,
    ) -> Result<&'bytes [u8]> {
        let length = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX);
        let length = length.ok_or_else(damaged)?;
        let local = local_bytes(length, if kind.has_rowids { ROW_BYTES_MAX } else { ENTRY_BYTES_MAX });
        let (local, rest) = cell.0.split_at_checked(local).ok_or_else(damaged)?;
        if local.len() == length {
            return Ok(local);
        }
        payload.clear();
        payload.extend_from_slice(local);
        let mut next = Bytes(rest).u32()?;
        let mut page = self.spare_page();
        while payload.len() < length {
            self.read(next, &mut page)?;
            next = Bytes(&page[..4]).u32()?;
            payload.extend_from_slice(&page[4..]);
        }
        self.pages.push(page);
        payload.truncate(length);
        Ok(payload)
    }
}

/// What stands in a page.
#[derive(Clone, Copy)]
struct Kind {
    is_leaf: bool,
    has_rowids: bool,
}

impl Kind {
    fn of(page_type: u8) -> Option<Kind> {
        let (is_leaf, has_rowids) = match page_type {
            2 => (false, false),
            5 => (false, true),
            10 => (true, false),
            13 => (true, true),
            _ => return None,
        };
        Some(Kind { is_leaf, has_rowids })
    }

    /// Whether its cells hold rows: those between children by rowid are only keys.
    fn has_rows(self) -> bool {
        self.is_leaf || !self.has_rowids
    }
}
