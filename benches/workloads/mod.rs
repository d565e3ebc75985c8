//! Logs as large runs leave them, made from a few numbers and a seed: the same each time.
//!
//! A log holds contexts; a context runs some of the files, and of each the same number of hits; all of it
//! may be recorded several times. Processes take the contexts in turn.

#![allow(dead_code, reason = "not every bench uses everything")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hitlog::format::{
    EndReason, Header, LogId, NAME_CHUNK_BYTES, NameChunk, NameSpace, Record, log_file_name, place,
    seal, slot_bytes,
};

/// What a run recorded.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// For people.
    pub name: &'static str,
    /// Processes.
    pub logs: u32,
    /// Of all processes together.
    pub contexts: u32,
    /// Of all contexts together.
    pub files: u32,
    /// How many of the files each context runs.
    pub files_of_context: u32,
    /// Lines (or arcs) of each file in each context.
    pub hits: u32,
    /// How often each of them is recorded.
    pub repeats: u32,
    /// Arcs instead of lines.
    pub arcs: bool,
    /// For what is drawn by chance.
    pub seed: u64,
}

const USUAL: Workload = Workload {
    name: "",
    logs: 8,
    contexts: 800,
    files: 1000,
    files_of_context: 200,
    hits: 100,
    repeats: 1,
    arcs: false,
    seed: 1,
};

/// 8 processes with 2 million records each.
pub const LARGE: Workload = Workload { name: "8 logs of 2 M lines", ..USUAL };

/// As [`LARGE`], with arcs.
pub const LARGE_ARCS: Workload = Workload { name: "8 logs of 2 M arcs", arcs: true, ..LARGE };

/// A thousand short processes with 5,000 records each.
pub const MANY: Workload = Workload {
    name: "1,000 logs of 5,000 lines",
    logs: 1000,
    contexts: 1000,
    files_of_context: 50,
    ..USUAL
};

/// 40 million different hits in a million rows.
pub const CONTEXTS: Workload =
    Workload { name: "5,000 contexts x 1,000 files, 40 M lines", contexts: 5000, hits: 40, ..USUAL };

/// As [`CONTEXTS`], with arcs.
pub const CONTEXTS_ARCS: Workload =
    Workload { name: "5,000 contexts x 1,000 files, 40 M arcs", arcs: true, ..CONTEXTS };

/// Each hit twenty times.
pub const DUPLICATES: Workload = Workload {
    name: "8 logs of 2 M lines, each 20 times",
    contexts: 80,
    hits: 50,
    repeats: 20,
    ..USUAL
};

/// All that are measured.
pub const ALL: [Workload; 6] = [LARGE, LARGE_ARCS, MANY, DUPLICATES, CONTEXTS, CONTEXTS_ARCS];

impl Workload {
    /// Records of all logs, without names and trailers.
    pub fn records(&self) -> u64 {
        self.distinct() * u64::from(self.repeats)
    }

    /// Different (context, file, line or arc).
    pub fn distinct(&self) -> u64 {
        u64::from(self.contexts) * u64::from(self.files_of_context) * u64::from(self.hits)
    }

    /// About one part in `parts` of it.
    pub fn reduced(self, parts: u32) -> Workload {
        Workload {
            contexts: (self.contexts / parts).max(self.logs.min(4)),
            logs: if self.logs > 100 { self.logs / parts } else { self.logs.min(4) }.max(1),
            ..self
        }
    }

    /// The name of a context.
    pub fn context(number: u32) -> String {
        format!("tests/test_module_{:02}.py::test_case_{number:05}|run", number / 100)
    }

    /// The path of a file.
    pub fn path(number: u32) -> String {
        format!("/src/package/module_{number:04}.py")
    }

    /// Writes the logs into `run`.
    pub fn write(&self, run: &Path) -> io::Result<Vec<PathBuf>> {
        (0..self.logs).map(|number| self.write_log(number, run)).collect()
    }

    /// Writes the log of one of the processes.
    pub fn write_log(&self, number: u32, run: &Path) -> io::Result<PathBuf> {
        let mut log = LogFile::create(run, number)?;
        (0..self.files)
            .try_for_each(|file| log.name(NameSpace::File, 1 + file, &Workload::path(file)))?;
        let contexts = (number..self.contexts).step_by(self.logs as usize);
        for (id, context) in (1..).zip(contexts) {
            log.name(NameSpace::Context, id, &Workload::context(context))?;
            for _ in 0..self.repeats {
                self.each_hit(context, |file, from, to| log.hit(self.arcs, id, 1 + file, from, to))?;
            }
        }
        log.finish()
    }

    /// Calls `hit` with file, line and next line of all that `context` runs.
    pub fn each_hit<E>(
        &self,
        context: u32,
        mut hit: impl FnMut(u32, u32, u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = mixed(self.seed ^ u64::from(context)) as u32 % self.files;
        let step = (self.files / self.files_of_context).max(1);
        for number in 0..self.files_of_context {
            let file = (first + number * step) % self.files;
            // A context runs some functions of a file: lines that stand together, with gaps. All contexts
            // together run some 300 lines of it.
            let drawn = mixed(self.seed ^ u64::from(context) << 32 ^ u64::from(file));
            let start = 1 + (drawn % 5) as u32 * (self.hits / 2);
            for line in 0..self.hits {
                let gap = |line: u32| line + line / 8;
                hit(file, start + gap(line), start + gap(line + 1))?;
            }
        }
        Ok(())
    }
}

/// splitmix64: scatters neighbouring numbers.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// A log that is being written, slot by slot.
struct LogFile {
    path: PathBuf,
    file: BufWriter<File>,
    log_id: LogId,
    slot: u32,
}

impl LogFile {
    fn create(run: &Path, number: u32) -> io::Result<LogFile> {
        let mut log_id = [0xB7; 16];
        log_id[..4].copy_from_slice(&(number + 1).to_le_bytes());
        let pid = 1000 + number;
        let header =
            Header { log_id, first_log_id: log_id, pid, boot_id: [1; 16], ..Header::default() };
        let path = run.join(log_file_name(pid, &log_id));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        file.write_all(&header.to_bytes().repeat(2))?;
        Ok(LogFile { path, file, log_id, slot: 0 })
    }

    fn record(&mut self, record: Record) -> io::Result<()> {
        let place = place(&self.log_id, self.slot);
        self.slot += 1;
        self.file.write_all(&slot_bytes(seal(record.words(), place)))
    }

    fn name(&mut self, space: NameSpace, id: u32, name: &str) -> io::Result<()> {
        let chunks = name.as_bytes().chunks(NAME_CHUNK_BYTES);
        let count = chunks.len();
        for (index, chunk) in chunks.enumerate() {
            let (last, chunk) = (index + 1 == count, NameChunk::new(chunk));
            let record = Record::Name { space, id, index: index as u16, last, chunk };
            self.record(record)?;
            self.record(record)?;
        }
        Ok(())
    }

    fn hit(&mut self, is_arc: bool, context: u32, file: u32, from: u32, to: u32) -> io::Result<()> {
        self.record(match is_arc {
            true => Record::Arc { context, file, from: from as i32, to: to as i32 },
            false => Record::Line { context, file, line: from },
        })
    }

    fn finish(mut self) -> io::Result<PathBuf> {
        let records = u64::from(self.slot);
        let reason = EndReason::Closed;
        self.record(Record::Trailer { reason, exit_code: Some(0), time_ns: 1, records, lost: 0 })?;
        self.file.flush()?;
        Ok(self.path)
    }
}
