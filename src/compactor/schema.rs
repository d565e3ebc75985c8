//! The tables, indexes and views of the output.
//!
//! The first seven tables are those of coverage.py's data files, schema version 7, so that coverage.py
//! reads the file as its own. All else is ours and named `hitlog_...`; coverage.py leaves it alone.
//!
//! * `hitlog_log`: one row for each log. `started_at` and `ended_at` are ISO 8601 in UTC; `argv` is a
//!   JSON array; `state` is `clean`, `cut` or `running`; `exit_code` and `signal` are NULL where not known;
//!   logs with the same `first_log_id` are segments of one process, in the order of `segment`; `name` is
//!   what pytest-xdist calls a worker (`gw3`), and stands in the last segment, as exit code and signal.
//! * `hitlog_context`: one row for each time that a thread spent in a context. `duration_ns` is NULL if
//!   the context had not ended when the log did; `context_id` is NULL if the context ran again since, in
//!   another log.
//! * `hitlog_sample`: measurements. `time_ns` is in nanoseconds since 1970 UTC; a value of 2^63 or more is
//!   stored as REAL.
//! * `hitlog_file`: size in bytes and modification time (nanoseconds since 1970 UTC) of the files that ran.
//! * `hitlog_source`: each file as it was when it ran. `state` is `kept`; `large` (only the hash is kept);
//!   or why nothing is: `changed`, `missing`, `unreadable`. `sha256` is in hexadecimal, `source` is
//!   compressed by zlib.
//! * `hitlog_log_file`: which logs name which files.
//! * `hitlog_child_lines`: ranges of lines that ran in a context in children only, which were started in it,
//!   and not in the process that began it. Lines that only arcs tell of are not among them.
//! * `hitlog_test`: how each test ended, in pytest's words; `pending` is one that must run again.
//! * `hitlog_surroundings`: a JSON object for each run: what else its tests depend on, as it was.
//! * `hitlog_line (path, line, context)` and `hitlog_arc (path, from_line, to_line, context)`: who ran
//!   what, in words. Both are right whether lines or arcs were recorded.
//! * `hitlog_number`: line numbers, to unfold numbits with.
//!
//! Where arcs were recorded, `arc` is a view, unless plain tables were asked for: a context takes much the
//! same arcs as the one before, and a row for each takes some fifty bytes with its index. Behind the view are:
//!
//! * `hitlog_known_arc`: the arcs of each file by number. An arc without a line reached is a line that
//!   only arcs tell of.
//! * `hitlog_arc_bits`: which of them were taken in a context; bit `n` of a row: arc `64 * block + n`.
//! * `hitlog_other_arc`: arcs that have no number: what `coverage combine --append` adds, mostly.

use crate::query::pages::{ARC_BITS, LINE_BITS};

/// Every line number up to here is in `hitlog_number`, whether it was hit or not, so that lines which
/// `coverage combine --append` adds to the file are seen by the views as well.
pub(super) const NUMBERS_MIN: u32 = 8192;

/// What hits are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines, as numbits.
    Lines,
    /// Arcs, as rows of coverage.py's own table.
    PlainArcs,
    /// Arcs, as bits behind a view.
    CompactArcs,
}

/// All but those that are also read as pages.
const TABLES: &str = ";
create table coverage_schema (version integer);
create table meta (key text, value text, unique (key));
create table file (id integer primary key, path text, unique (path));
create table context (id integer primary key, context text, unique (context));
create table tracer (
    file_id integer primary key, tracer text,
    foreign key (file_id) references file (id));

create table hitlog_log (
    log_id text primary key, parent_log_id text, path text,
    host text, pid integer, ppid integer, argv text,
    started_at text, ended_at text, state text, exit_code integer, signal integer, last_context text,
    records integer, damaged integer, lost integer,
    first_log_id text, segment integer, name text) without rowid;
create table hitlog_context (context_id integer, log_id text, started_at text, duration_ns integer);
create table hitlog_sample (log_id text, name text, context_id integer, time_ns integer, value integer);
create table hitlog_file (file_id integer primary key, size integer, mtime_ns integer);
create table hitlog_source (file_id integer primary key, state text, sha256 text, source blob);
create table hitlog_log_file (file_id integer, log_id text, primary key (file_id, log_id)) without rowid;
create table hitlog_child_lines (
    file_id integer, context_id integer, first_line integer, last_line integer,
    primary key (file_id, context_id, first_line)) without rowid;
create table hitlog_test (test text primary key, outcome text) without rowid;
create table hitlog_surroundings (value text);
create table hitlog_number (line integer primary key);
";

/// Coverage.py's own table of arcs.
const ARC_TABLE: &str = "
create table arc (
    file_id integer, context_id integer, fromno integer, tono integer,
    foreign key (file_id) references file (id),
    foreign key (context_id) references context (id),
    unique (file_id, context_id, fromno, tono));
";

/// What stands in its place. Numbers are the inner loop, whatever is asked: `cross join` says so.
///
/// What coverage.py inserts into the view goes to a table beside it, if it is not there already.
const COMPACT_ARCS: &str = "
create table hitlog_known_arc (
    file_id integer, number integer, fromno integer, tono integer,
    primary key (file_id, number)) without rowid;
create table hitlog_other_arc (
    file_id integer, context_id integer, fromno integer, tono integer,
    unique (file_id, context_id, fromno, tono));
create view arc (file_id, context_id, fromno, tono) as
select taken.file_id, taken.context_id, known.fromno, known.tono
  from hitlog_arc_bits as taken
  cross join hitlog_known_arc as known
    on known.file_id = taken.file_id
   and known.number between 64 * taken.block and 64 * taken.block + 63
 where (taken.bits >> (known.number & 63)) & 1
   and known.tono is not null
union all
select file_id, context_id, fromno, tono from hitlog_other_arc where tono is not null;
create trigger hitlog_arc_insert instead of insert on arc begin
    insert or ignore into hitlog_other_arc
    select new.file_id, new.context_id, new.fromno, new.tono
     where not exists (
        select 1
          from hitlog_known_arc as known
          cross join hitlog_arc_bits as taken
            on taken.file_id = new.file_id
           and taken.block = known.number >> 6
           and taken.context_id = new.context_id
         where known.file_id = new.file_id and known.fromno = new.fromno and known.tono = new.tono
           and (taken.bits >> (known.number & 63)) & 1);
end;
";

/// The indexes that lead from a context to what it ran, and to how long it took.
const INDEXES: &str = "
create index hitlog_line_bits_context on line_bits (context_id, file_id);
create index hitlog_context_context on hitlog_context (context_id);
";

const PLAIN_INDEXES: &str = "
create index hitlog_arc_context on arc (context_id, file_id);
";

/// And from the ends of an arc to its number.
const COMPACT_INDEXES: &str = "
create index hitlog_known_arc_ends on hitlog_known_arc (file_id, fromno, tono);
create index hitlog_arc_bits_context on hitlog_arc_bits (context_id, file_id);
create index hitlog_other_arc_context on hitlog_other_arc (context_id, file_id);
";

/// Without statistics, older SQLites take each question by way of all that a file's contexts took; the limit
/// keeps them cheap, and they are the same each time.
const COMPACT_STATISTICS: &str = "
pragma analysis_limit = 1000;
analyze hitlog_arc_bits;
analyze hitlog_known_arc;
";

/// A bit of a numbits is tested by the position of its byte in a string of all bytes: pure SQL has no
/// other way from a blob to a number. A byte behind the end is empty, is found at position 1, and so counts as 0.
///
/// Arcs tell lines at both of their ends. A line that some arc leaves is taken from there; one that arcs
/// only reach, from those. An arc from a line to itself says no more than that the line ran.
const PLAIN_VIEWS: &str = "
create view hitlog_line (path, line, context) as
select file.path, hitlog_number.line, context.context
  from line_bits
  join file on file.id = line_bits.file_id
  join context on context.id = line_bits.context_id
  join hitlog_number on hitlog_number.line < 8 * length(line_bits.numbits)
 where (instr(x'BYTES', substr(line_bits.numbits, hitlog_number.line / 8 + 1, 1)) - 1)
       >> (hitlog_number.line % 8) & 1
union all
select distinct file.path, arc.fromno, context.context
  from arc
  join file on file.id = arc.file_id
  join context on context.id = arc.context_id
 where arc.fromno > 0
union all
select distinct file.path, arc.tono, context.context
  from arc
  join file on file.id = arc.file_id
  join context on context.id = arc.context_id
 where arc.tono > 0
   and not exists (select 1 from arc as leaving
                    where leaving.file_id = arc.file_id and leaving.context_id = arc.context_id
                      and leaving.fromno = arc.tono);
create view hitlog_arc (path, from_line, to_line, context) as
select file.path, arc.fromno, arc.tono, context.context
  from arc
  join file on file.id = arc.file_id
  join context on context.id = arc.context_id
 where arc.fromno <> arc.tono;
";

/// The same from bits: there a line that ran has a bit of its own. How numbers and bits belong together is
/// said twice, for questions that come from a context and for those that come from a line.
const COMPACT_VIEWS: &str = "
create view hitlog_line (path, line, context) as
select file.path, known.fromno, context.context
  from hitlog_arc_bits as taken
  join hitlog_known_arc as known
    on known.file_id = taken.file_id
   and known.number between 64 * taken.block and 64 * taken.block + 63
   and taken.block = known.number >> 6
  join file on file.id = taken.file_id
  join context on context.id = taken.context_id
 where (taken.bits >> (known.number & 63)) & 1
   and known.fromno > 0
   and (known.tono = known.fromno or known.tono is null)
union all
select distinct file.path, other.fromno, context.context
  from hitlog_other_arc as other
  join file on file.id = other.file_id
  join context on context.id = other.context_id
 where other.fromno > 0
   and not exists (
    select 1
      from hitlog_known_arc as known
      cross join hitlog_arc_bits as taken
        on taken.file_id = other.file_id
       and taken.block = known.number >> 6
       and taken.context_id = other.context_id
     where known.file_id = other.file_id and known.fromno = other.fromno
       and (known.tono = known.fromno or known.tono is null)
       and (taken.bits >> (known.number & 63)) & 1)
union all
select distinct file.path, other.tono, context.context
  from hitlog_other_arc as other
  join file on file.id = other.file_id
  join context on context.id = other.context_id
 where other.tono > 0
   and not exists (select 1 from hitlog_other_arc as leaving
                    where leaving.file_id = other.file_id and leaving.context_id = other.context_id
                      and leaving.fromno = other.tono)
   and not exists (
    select 1
      from hitlog_known_arc as known
      cross join hitlog_arc_bits as taken
        on taken.file_id = other.file_id
       and taken.block = known.number >> 6
       and taken.context_id = other.context_id
     where known.file_id = other.file_id and known.fromno = other.tono
       and (known.tono = known.fromno or known.tono is null)
       and (taken.bits >> (known.number & 63)) & 1);
create view hitlog_arc (path, from_line, to_line, context) as
select file.path, known.fromno, known.tono, context.context
  from hitlog_arc_bits as taken
  join hitlog_known_arc as known
    on known.file_id = taken.file_id
   and known.number between 64 * taken.block and 64 * taken.block + 63
   and taken.block = known.number >> 6
  join file on file.id = taken.file_id
  join context on context.id = taken.context_id
 where (taken.bits >> (known.number & 63)) & 1
   and known.fromno <> known.tono
union all
select file.path, other.fromno, other.tono, context.context
  from hitlog_other_arc as other
  join file on file.id = other.file_id
  join context on context.id = other.context_id
 where other.fromno <> other.tono;
";

/// The statements that make all tables, indexes and views, empty.
pub(super) fn tables(form: Form) -> String {
    if form == Form::CompactArcs {
        let read_as_pages = [LINE_BITS.definition, ARC_BITS.definition].join(";");
        return [&read_as_pages, TABLES, COMPACT_ARCS, INDEXES, COMPACT_INDEXES, COMPACT_VIEWS]
            .concat();
    }
    let bytes: String = (0..=255_u8).map(|byte| format!("{byte:02X}")).collect();
    let views = PLAIN_VIEWS.replace("BYTES", &bytes);
    [LINE_BITS.definition, TABLES, ARC_TABLE, INDEXES, PLAIN_INDEXES, &views].concat()
}

/// The statements that make the statistics, to be run when the tables are full.
pub(super) fn statistics(form: Form) -> &'static str {
    if form == Form::CompactArcs { COMPACT_STATISTICS } else { "" }
}
