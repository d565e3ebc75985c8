//! Walks slots and counts them. Every slot of a range ends up in exactly one class.
//!
//! The file is read with `pread` in blocks of 256 KiB, never mapped: a file that becomes shorter while
//! it is read would otherwise kill the reader. A block with nothing in it lets the scan ask the file
//! system where data goes on, so that a sparse file costs no more than what was written to it.

use super::holes::{NextData, next_data};
use super::open::read_at;
use super::{Error, LogReader};
use crate::format::{
    HEADER_SIZE, HitFinder, HitRun, LogId, RECORD_SIZE, Slot, SlotDamage, classify, place, slot_words,
};
use std::io;
use std::ops::{AddAssign, Range};

/// Bytes of one read.
const BLOCK_BYTES: usize = 256 * 1024;

/// Bytes of one read where a block could not be read: what a bad sector takes with it.
const PIECE_BYTES: usize = 4096;

/// How many damaged slots of a living writer's log are read a second time, in one scan: a record that is
/// just being stored looks damaged for a moment.
const REREADS_MAX: u32 = 1000;

/// How many slots were found in which state: `valid + blank + damaged + foreign = slots`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// All slots of the range.
    pub slots: u64,
    /// Slots with a record of this log, in its place.
    pub valid: u64,
    /// Slots without a record, also those of [`SlotCounts::unfinished`].
    pub blank: u64,
    /// Of the blank slots: those in which an append had begun when the process died.
    pub unfinished: u64,
    /// Slots with bytes that no writer left there, or that could not be read.
    pub damaged: u64,
    /// Slots with a whole record of another slot or another log.
    pub foreign: u64,
}

impl AddAssign for SlotCounts {
    fn add_assign(&mut self, other: SlotCounts) {
        self.slots += other.slots;
        self.valid += other.valid;
        self.blank += other.blank;
        self.unfinished += other.unfinished;
        self.damaged += other.damaged;
        self.foreign += other.foreign;
    }
}

/// Takes what a scan finds, in ascending order.
pub trait Visitor {
    /// Takes lines or arcs; the first is in slot `first`, the others follow it.
    fn hits(&mut self, first: u32, hits: HitRun<'_>);

    /// Takes slot `number`, which holds no line and no arc, and is not simply blank.
    fn slot(&mut self, number: u32, slot: Slot);
}

/// Takes hits one by one.
struct OneByOne<Visit>(Visit);

impl<Visit: FnMut(u32, Slot)> Visitor for OneByOne<Visit> {
    fn hits(&mut self, first: u32, hits: HitRun<'_>) {
        (first..).zip(hits.records()).for_each(|(number, hit)| (self.0)(number, Slot::Valid(hit)));
    }

    fn slot(&mut self, number: u32, slot: Slot) {
        (self.0)(number, slot);
    }
}

impl LogReader {
    /// Walks `slots` in ascending order and calls `visit` for each that is not simply blank: slots that
    /// were never written are counted, not visited. Slots beyond [`LogReader::slot_count`] do not exist
    /// and are not counted. Ranges of one log may be scanned by several threads at once.
    ///
    /// A slot whose bytes cannot be read - a bad sector, or the file became shorter since it was opened -
    /// counts as damaged ([`SlotDamage::Unreadable`]).
    ///
    /// # Errors
    /// If the system refuses to read, for a reason that is not in the file or its medium.
    pub fn scan(&self, slots: Range<u32>, visit: impl FnMut(u32, Slot)) -> Result<SlotCounts, Error> {
        self.scan_with(slots, &mut OneByOne(visit))
    }

    /// As [`LogReader::scan`], for a visitor that takes lines and arcs in runs, which costs less for each.
    ///
    /// ```
    /// use hitlog::format::{Header, Record, log_file_name, place, seal, slot_bytes};
    /// use hitlog::reader::{Digest, LogReader};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let header = Header { log_id: [7; 16], pid: 4711, ..Header::default() };
    /// let mut bytes = header.to_bytes().repeat(2);
    /// for slot in 0..3 {
    ///     let line = Record::Line { context: 0, file: 1, line: 80 + slot };
    ///     bytes.extend(slot_bytes(seal(line.words(), place(&header.log_id, slot))));
    /// }
    /// let path = folder.path().join(log_file_name(4711, &header.log_id));
    /// std::fs::write(&path, bytes)?;
    ///
    /// let log = LogReader::open(&path)?;
    /// let mut digest = Digest::default();
    /// assert_eq!(log.scan_with(0..log.slot_count(), &mut digest)?.valid, 3);
    /// assert_eq!(digest.finish().lines, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`LogReader::scan`].
    pub fn scan_with(
        &self,
        slots: Range<u32>,
        visitor: &mut impl Visitor,
    ) -> Result<SlotCounts, Error> {
        let end = slots.end.min(self.slot_count());
        let mut next = slots.start.min(end);
        let counts = SlotCounts { slots: u64::from(end - next), ..SlotCounts::default() };
        let rereads_left = if self.is_writer_alive() { REREADS_MAX } else { 0 };
        let mut scan = Scan { log: self, log_id: self.log_id(), counts, rereads_left, visitor };
        let mut buffer = vec![0; BLOCK_BYTES.min(counts.slots as usize * RECORD_SIZE)];
        while next < end {
            let count = (end - next).min((BLOCK_BYTES / RECORD_SIZE) as u32);
            let blank_before = scan.counts.blank;
            scan.block(next, &mut buffer[..count as usize * RECORD_SIZE])?;
            next += count;
            if scan.counts.blank - blank_before == u64::from(count) {
                next = scan.skip_hole(next, end);
            }
        }
        Ok(scan.counts)
    }
}

/// A scan under way.
struct Scan<'scan, V> {
    log: &'scan LogReader,
    log_id: LogId,
    counts: SlotCounts,
    rereads_left: u32,
    visitor: &'scan mut V,
}

impl<V: Visitor> Scan<'_, V> {
    fn block(&mut self, first: u32, bytes: &mut [u8]) -> Result<(), Error> {
        match read_at(&self.log.file, bytes, offset_of(first)) {
            Ok(length) => {
                self.slots(first, bytes, length);
                Ok(())
            }
            Err(_) => self.pieces(first, bytes),
        }
    }

    /// A block in which something cannot be read, piece by piece.
    fn pieces(&mut self, first: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let mut first = first;
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            let length = match read_at(&self.log.file, piece, offset_of(first)) {
                Ok(length) => length,
                Err(error) if is_of_the_medium(&error) => 0,
                Err(source) => {
                    let path = self.log.path().to_path_buf();
                    return Err(Error::Read { path, offset: offset_of(first), source });
                }
            };
            self.slots(first, piece, length);
            first += (piece.len() / RECORD_SIZE) as u32;
        }
        Ok(())
    }

    /// The slots in `bytes`, of which only the first `length` could be read.
    fn slots(&mut self, first: u32, bytes: &[u8], length: usize) {
        let (read, unread) = bytes.split_at(length / RECORD_SIZE * RECORD_SIZE);
        let mut finder = HitFinder::default();
        let (mut number, mut rest) = (first, read);
        while !rest.is_empty() {
            let place = place(&self.log_id, number);
            let count = match finder.run(rest, place) {
                Some(hits) => {
                    self.hits(number, hits);
                    hits.count()
                }
                None => {
                    self.no_hit(number, classify(slot_words(&rest[..RECORD_SIZE]), place));
                    1
                }
            };
            number += count;
            rest = &rest[count as usize * RECORD_SIZE..];
        }
        for (number, _) in (number..).zip(unread.chunks_exact(RECORD_SIZE)) {
            self.count_and_visit(number, Slot::Damaged(SlotDamage::Unreadable));
        }
    }

    fn hits(&mut self, first: u32, hits: HitRun<'_>) {
        self.counts.valid += u64::from(hits.count());
        self.visitor.hits(first, hits);
    }

    fn no_hit(&mut self, number: u32, slot: Slot) {
        match slot {
            Slot::Blank { unfinished: true } | Slot::Damaged(_) | Slot::Foreign { .. }
                if self.rereads_left > 0 =>
            {
                self.read_again(number, slot);
            }
            _ => self.count_and_visit(number, slot),
        }
    }

    fn count_and_visit(&mut self, number: u32, slot: Slot) {
        match slot {
            Slot::Valid(_) => self.counts.valid += 1,
            Slot::Blank { unfinished: false } => {
                self.counts.blank += 1;
                return;
            }
            Slot::Blank { unfinished: true } => {
                self.counts.blank += 1;
                self.counts.unfinished += 1;
            }
            Slot::Damaged(_) => self.counts.damaged += 1,
            Slot::Foreign { .. } => self.counts.foreign += 1,
        }
        self.visitor.slot(number, slot);
    }

    /// Takes what a slot of a living writer's log, which held `before`, holds now.
    #[cold]
    fn read_again(&mut self, number: u32, before: Slot) {
        self.rereads_left -= 1;
        let mut bytes = [0; RECORD_SIZE];
        let Ok(RECORD_SIZE) = read_at(&self.log.file, &mut bytes, offset_of(number)) else {
            return self.count_and_visit(number, before);
        };
        let place = place(&self.log_id, number);
        match HitFinder::default().run(&bytes, place) {
            Some(hits) => self.hits(number, hits),
            None => self.count_and_visit(number, classify(slot_words(&bytes), place)),
        }
    }

    /// The first slot at or after `next` that may have been written; those before it are counted.
    fn skip_hole(&mut self, next: u32, end: u32) -> u32 {
        let slot_of = |offset: u64| {
            let slots = offset.saturating_sub(HEADER_SIZE as u64) / RECORD_SIZE as u64;
            slots.clamp(u64::from(next), u64::from(end)) as u32
        };
        let data_at = match next_data(&self.log.file, offset_of(next)) {
            NextData::At(offset) => offset,
            // Also the answer behind the end of a file that became shorter: go no further than that.
            NextData::None => self.log.file.metadata().map_or(0, |metadata| metadata.len()),
            NextData::Unknown => return next,
        };
        let data = slot_of(data_at);
        self.counts.blank += u64::from(data - next);
        data
    }
}

fn offset_of(slot: u32) -> u64 {
    HEADER_SIZE as u64 + u64::from(slot) * RECORD_SIZE as u64
}

/// Whether the bytes are lost (EIO, or a checksum of the file system), and others can still be read.
fn is_of_the_medium(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EUCLEAN | libc::EBADMSG | libc::ENODATA | libc::EILSEQ)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{self, Header, Record, log_file_name, seal};
    use crate::reader::Digest;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    const ID: LogId = [0xCD; 16];

    #[test]
    fn what_the_medium_lost_is_told_from_what_cannot_be_read_at_all() {
        let of_the_medium = |code| is_of_the_medium(&io::Error::from_raw_os_error(code));
        assert!([libc::EIO, libc::EUCLEAN, libc::EBADMSG].into_iter().all(of_the_medium));
        assert!(![libc::EACCES, libc::ENOMEM, libc::EINVAL].into_iter().any(of_the_medium));
    }

    fn line(line: u32) -> Record {
        Record::Line { context: 0, file: 1, line }
    }

    fn slot_bytes(record: Record, log_id: &LogId, slot: u32) -> [u8; RECORD_SIZE] {
        format::slot_bytes(seal(record.words(), place(log_id, slot)))
    }

    fn log_of(slots: &[[u8; RECORD_SIZE]]) -> (tempfile::TempDir, LogReader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(log_file_name(7, &ID));
        let header = Header { log_id: ID, pid: 7, ..Header::default() }.to_bytes();
        std::fs::write(&path, [header.repeat(2), slots.concat()].concat()).unwrap();
        let log = LogReader::open(&path).unwrap();
        (folder, log)
    }

    /// A slot of each class, and two of one.
    fn one_of_each() -> [[u8; RECORD_SIZE]; 6] {
        let mut unfinished = slot_bytes(line(5), &ID, 2);
        unfinished[24..].fill(0);
        let mut flipped = slot_bytes(line(6), &ID, 3);
        flipped[9] ^= 4;
        [
            slot_bytes(line(1), &ID, 0),
            [0; RECORD_SIZE],
            unfinished,
            flipped,
            slot_bytes(line(4), &ID, 5),
            slot_bytes(line(0), &ID, 5),
        ]
    }

    #[test]
    fn each_slot_is_in_one_class() {
        let (_folder, log) = log_of(&one_of_each());
        let mut seen = Vec::new();
        let counts = log.scan(0..u32::MAX, |number, slot| seen.push((number, slot))).unwrap();
        let expected = [
            (0, Slot::Valid(line(1))),
            (2, Slot::Blank { unfinished: true }),
            (3, Slot::Damaged(SlotDamage::Checksum)),
            (4, Slot::Foreign { place: place(&ID, 5) }),
            (5, Slot::Damaged(SlotDamage::Content)),
        ];
        assert_eq!(seen, expected);
        let expected =
            SlotCounts { slots: 6, valid: 1, blank: 2, unfinished: 1, damaged: 2, foreign: 1 };
        assert_eq!(counts, expected);
        for cut in 0..6 {
            let mut sum = log.scan(0..cut, |_, _| {}).unwrap();
            sum += log.scan(cut..6, |_, _| {}).unwrap();
            assert_eq!(sum, expected, "cut at {cut}");
        }
    }

    #[test]
    fn runs_say_what_slots_say_one_by_one() {
        let mut slots = one_of_each().to_vec();
        for slot in 6..700 {
            let (context, file) = (slot / 100, 1 + slot / 300);
            let record = match slot / 50 % 2 {
                0 => Record::Line { context, file, line: slot },
                _ => Record::Arc { context, file, from: slot as i32, to: -1 },
            };
            slots.push(slot_bytes(record, &ID, slot));
        }
        let (_folder, log) = log_of(&slots);
        let (mut one_by_one, mut in_runs) = (Digest::default(), Digest::default());
        let counts = log.scan(0..700, |number, slot| one_by_one.add(number, &slot)).unwrap();
        assert_eq!(log.scan_with(0..700, &mut in_runs).unwrap(), counts);
        let (one_by_one, in_runs) = (one_by_one.finish(), in_runs.finish());
        assert_eq!((in_runs.lines, in_runs.arcs), (345, 350));
        assert_eq!(format!("{in_runs:?}"), format!("{one_by_one:?}"));
    }

    #[test]
    fn what_the_medium_does_not_give_is_counted_slot_by_slot() {
        let (_folder, mut log) = log_of(&vec![[0; RECORD_SIZE]; 300]);
        // Nothing is mapped at these addresses: every read is an input/output error.
        log.file = File::open("/proc/self/mem").unwrap();
        let mut seen = Vec::new();
        let counts = log.scan(0..300, |number, slot| seen.push((number, slot))).unwrap();
        let unreadable = |number| (number, Slot::Damaged(SlotDamage::Unreadable));
        assert_eq!(seen, (0..300).map(unreadable).collect::<Vec<_>>());
        assert_eq!(counts, SlotCounts { slots: 300, damaged: 300, ..SlotCounts::default() });
    }

    #[test]
    fn what_the_system_refuses_to_read_ends_the_scan() {
        let (_folder, mut log) = log_of(&one_of_each());
        log.file = File::options().write(true).open(log.path()).unwrap();
        let error = log.scan(2..6, |_, _| panic!("nothing was read")).unwrap_err();
        assert!(matches!(error, Error::Read { offset, .. } if offset == offset_of(2)), "{error}");
    }

    /// The visitor of the first slot plays the writer, who stores the second one meanwhile.
    #[test]
    fn a_record_that_is_just_being_stored_is_looked_at_again() {
        let whole = [0, 1].map(|slot| slot_bytes(line(slot + 1), &ID, slot));
        let mut begun = whole;
        begun[1][24..].fill(0);
        let (_folder, log) = log_of(&begun);
        let writer = File::options().write(true).open(log.path()).unwrap();
        let scan = || {
            let mut seen = Vec::new();
            let log = LogReader::open(log.path()).unwrap();
            let counts = log.scan(0..2, |number, slot| {
                writer.write_all_at(&whole[1], offset_of(1)).unwrap();
                seen.push((number, slot));
            });
            writer.write_all_at(&begun[1], offset_of(1)).unwrap();
            (counts.unwrap(), seen)
        };
        let first = (0, Slot::Valid(line(1)));
        assert_eq!(scan().1, [first, (1, Slot::Blank { unfinished: true })], "nobody writes");
        fs2::FileExt::lock_exclusive(&writer).unwrap();
        let (counts, seen) = scan();
        assert_eq!(seen, [first, (1, Slot::Valid(line(2)))]);
        assert_eq!(counts, SlotCounts { slots: 2, valid: 2, ..SlotCounts::default() });
    }

    #[test]
    fn slots_are_looked_at_again_up_to_a_limit() {
        let count = 1 + REREADS_MAX + 1;
        let whole: Vec<_> = (0..count).map(|slot| slot_bytes(line(slot + 1), &ID, slot)).collect();
        let mut begun = whole.clone();
        begun[1..].iter_mut().for_each(|slot| slot[24..].fill(0));
        let (_folder, log) = log_of(&begun);
        let writer = File::options().write(true).open(log.path()).unwrap();
        fs2::FileExt::lock_exclusive(&writer).unwrap();
        let counts = LogReader::open(log.path()).unwrap().scan(0..count, |number, _| {
            if number == 0 {
                writer.write_all_at(&whole.concat(), offset_of(0)).unwrap();
            }
        });
        let (slots, valid) = (count.into(), (1 + REREADS_MAX).into());
        let expected = SlotCounts { slots, valid, blank: 1, unfinished: 1, ..SlotCounts::default() };
        assert_eq!(counts.unwrap(), expected, "the last one is as it was when the block was read");
    }

    #[test]
    fn ranges_add_up_to_the_whole() {
        let slots: Vec<_> = (0..20_000).map(|slot| slot_bytes(line(slot + 1), &ID, slot)).collect();
        let (_folder, log) = log_of(&slots);
        let whole = log.scan(0..log.slot_count(), |_, _| {}).unwrap();
        let mut sum = SlotCounts::default();
        for range in [0..1, 1..9000, 9000..20_000, 20_000..30_000] {
            sum += log.scan(range, |_, _| {}).unwrap();
        }
        assert_eq!((whole.valid, sum), (20_000, whole));
    }

    #[test]
    fn what_a_shrinking_file_lost_is_counted_as_damaged() {
        let slots: Vec<_> = (0..20_000).map(|slot| slot_bytes(line(slot + 1), &ID, slot)).collect();
        let (_folder, log) = log_of(&slots);
        let file = File::options().write(true).open(log.path()).unwrap();
        file.set_len(HEADER_SIZE as u64 + 32 * 9000 + 5).unwrap();
        let mut unreadable = 0;
        let counts = log
            .scan(0..log.slot_count(), |_, slot| {
                unreadable += u32::from(slot == Slot::Damaged(SlotDamage::Unreadable));
            })
            .unwrap();
        assert_eq!((counts.valid, counts.damaged, unreadable), (9000, 11_000, 11_000));
    }

    #[test]
    fn holes_are_blank_and_what_follows_is_found() {
        let (_folder, log) = log_of(&[]);
        let far = 30_000_000;
        let file = File::options().write(true).open(log.path()).unwrap();
        file.write_all_at(&slot_bytes(line(8), &ID, far), offset_of(far)).unwrap();
        let log = LogReader::open(log.path()).unwrap();
        let mut seen = Vec::new();
        let counts = log.scan(0..log.slot_count(), |number, slot| seen.push((number, slot))).unwrap();
        assert_eq!(seen, [(far, Slot::Valid(line(8)))]);
        assert_eq!((counts.blank, counts.slots), (u64::from(far), u64::from(far) + 1));
    }
}
