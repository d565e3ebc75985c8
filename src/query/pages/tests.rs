//! What is read here, beside what SQLite reads.

use super::*;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// A row: its key, two more integers, and its blob.
type Row = (i64, i64, i64, Vec<u8>);

/// Integers of every length, and blobs of which some flow over to other pages.
fn rows() -> Vec<Row> {
    let length = |number: usize| if number.is_multiple_of(97) { 7 * number } else { number % 60 };
    rows_with_blobs((0..3000).map(length))
}

fn rows_with_blobs(lengths: impl Iterator<Item = usize>) -> Vec<Row> {
    let row = |(number, length): (i64, usize)| {
        let sign = if number % 3 == 0 { -1 } else { 1 };
        let blob = (0..length).map(|at| (at as i64 + number) as u8).collect();
        (number / 7, number, sign << (number % 64), blob)
    };
    (0..).zip(lengths).map(row).collect()
}

fn database(folder: &Path, settings: &str) -> (PathBuf, Connection) {
    database_of(&rows(), folder, settings)
}

/// The same rows in a table by rowid, and in one without.
fn database_of(rows: &[Row], folder: &Path, settings: &str) -> (PathBuf, Connection) {
    let path = folder.join("rows.db");
    let connection = Connection::open(&path).unwrap();
    let tables = "create table by_rowid (key integer, number integer, value integer, data blob);
                  create table by_key (key integer, number integer, value integer, data blob,
                                       primary key (key, number)) without rowid;
                  begin;";
    connection.execute_batch(&format!("{settings}; {tables}")).unwrap();
    for table in ["by_rowid", "by_key"] {
        let mut insert =
            connection.prepare(&format!("insert into {table} values (?, ?, ?, ?)")).unwrap();
        for (key, number, value, data) in rows {
            assert_eq!(insert.execute((key, number, value, data)), Ok(1));
        }
    }
    connection.execute_batch("commit").unwrap();
    (path, connection)
}

fn pages(path: &Path) -> PageReader {
    PageReader::of(Arc::new(File::open(path).unwrap()), path, true)
}

/// The tree of a table, whatever its definition.
fn tree<T>(
    pages: &PageReader,
    connection: &Connection,
    name: &str,
    read: impl FnOnce(&Tree<'_>) -> Result<T>,
) -> Result<Option<T>> {
    pages.locked(connection, |locked| {
        let sql = "select rootpage from sqlite_master where name = ?";
        let root = connection.query_row(sql, [name], |row| row.get(0))?;
        read(&locked.tree(root, name != "by_key"))
    })
}

fn read(
    pages: &PageReader,
    connection: &Connection,
    table: &str,
    keys: RangeInclusive<i64>,
) -> Result<Option<Vec<Row>>> {
    tree(pages, connection, table, |tree| {
        let mut found = Vec::new();
        tree.rows(keys, |mut row| {
            let [key, number, value] = row.integers()?;
            found.push((key, number, value, row.blob()?.to_vec()));
            Ok(())
        })?;
        Ok(found)
    })
}

#[test]
fn rows_are_those_that_sqlite_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (path, connection) = database(folder.path(), "");
    let pages = pages(&path);
    let all = rows();
    for keys in [0..=428, 0..=0, 17..=17, 5..=300, 428..=428, -9..=3, 400..=900, 429..=900, -5..=-1] {
        let expected: Vec<Row> = all.iter().filter(|row| keys.contains(&row.0)).cloned().collect();
        assert_eq!(read(&pages, &connection, "by_key", keys.clone()), Ok(Some(expected)), "{keys:?}");
    }
    for rowids in [1..=3000, 1..=1, 2999..=3000, 500..=1700, 3000..=9000, 3001..=9000, -4..=0] {
        let rows = (1..).zip(&all).filter(|(rowid, _)| rowids.contains(rowid));
        let expected: Vec<Row> = rows.map(|(_, row)| row.clone()).collect();
        let found = read(&pages, &connection, "by_rowid", rowids.clone());
        assert_eq!(found, Ok(Some(expected)), "{rowids:?}");
    }
}

/// From each of some lengths on, more pages are needed, or another part of the payload stands on the first one.
#[test]
fn payloads_around_all_limits_are_read_wholly() {
    let lengths = [0..4, 960..1030, 4020..4100, 4550..4620, 5040..5120, 8110..8190];
    let all = rows_with_blobs(lengths.into_iter().flatten());
    let folder = tempfile::tempdir().unwrap();
    let (path, connection) = database_of(&all, folder.path(), "");
    let pages = pages(&path);
    for table in ["by_key", "by_rowid"] {
        let found = read(&pages, &connection, table, 0..=i64::MAX).unwrap().unwrap();
        let differ = found.iter().zip(&all).find(|(found, row)| found != row);
        assert_eq!(differ.map(|(_, row)| (row.1, row.3.len())), None, "{table}");
        assert_eq!(found.len(), all.len(), "{table}");
    }
}

#[test]
fn rowids_of_every_length_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("create table rows (rowid_again integer)").unwrap();
    let powers = (0..63).map(|bit| 1_i64 << bit);
    let mut rowids: Vec<i64> = powers.flat_map(|power| [power, power - 1, -power, !power]).collect();
    rowids.sort_unstable();
    rowids.dedup();
    let mut insert =
        connection.prepare("insert into rows (rowid, rowid_again) values (?1, ?1)").unwrap();
    for rowid in &rowids {
        assert_eq!(insert.execute([rowid]), Ok(1));
    }
    let pages = pages(&path);
    for keys in [i64::MIN..=i64::MAX, -(1 << 40)..=-1, 1 << 56..=1 << 60] {
        let mut found = Vec::new();
        let read = tree(&pages, &connection, "rows", |tree| {
            tree.rows(keys.clone(), |mut row| row.integer().map(|rowid| found.push(rowid)))
        });
        let expected: Vec<i64> = rowids.iter().copied().filter(|rowid| keys.contains(rowid)).collect();
        assert_eq!((read, found), (Ok(Some(())), expected), "{keys:?}");
    }
}

#[test]
fn a_column_of_another_type_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.db");
    let connection = Connection::open(&path).unwrap();
    let values = ["null", "0", "1", "7", "1.5", "'seven'", "x'07'", "''", "x''"];
    let table = format!("create table rows as values ({})", values.join("), ("));
    connection.execute_batch(&table).unwrap();
    let (mut integers, mut blobs) = (Vec::new(), Vec::new());
    let read = tree(&pages(&path), &connection, "rows", |tree| {
        tree.rows(0..=9, |mut row| {
            integers.push(row.integer().ok());
            Ok(())
        })?;
        tree.rows(0..=9, |mut row| {
            blobs.push(row.blob().ok().map(<[u8]>::to_vec));
            Ok(())
        })
    });
    assert_eq!(read, Ok(Some(())));
    assert_eq!(integers, [None, Some(0), Some(1), Some(7), None, None, None, None, None]);
    let (seven, empty) = (Some(vec![7]), Some(Vec::new()));
    assert_eq!(blobs, [None, None, None, None, None, None, seven, None, empty]);
}

#[test]
fn a_file_that_is_out_of_the_ordinary_is_left_to_sqlite() {
    for settings in ["pragma page_size = 8192", "pragma page_size = 65536", "pragma journal_mode = wal"]
    {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path(), settings);
        assert_eq!(read(&pages(&path), &connection, "by_key", 0..=1), Ok(None), "{settings}");
    }
}

/// As when a file is copied over one that had a log: SQLite takes that for its own.
#[test]
fn a_log_that_is_left_beside_the_file_is_left_to_sqlite() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (path, connection) = database(folder.path(), "");
    drop(connection);
    let (with_log, writer) = database(other.path(), "pragma journal_mode = wal");
    let log = |path: &Path| path.with_extension("db-wal");
    fs::copy(log(&with_log), log(&path)).unwrap();
    drop(writer);
    let connection = Connection::open(&path).unwrap();
    assert_eq!(read(&pages(&path), &connection, "by_key", 0..=1), Ok(None));
}

#[test]
fn a_file_that_was_replaced_is_left_to_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let (path, connection) = database(folder.path(), "");
    let file = Arc::new(File::open(&path).unwrap());
    std::fs::rename(&path, folder.path().join("before.db")).unwrap();
    drop(database(folder.path(), ""));
    assert_eq!(read(&PageReader::of(file, &path, true), &connection, "by_key", 0..=1), Ok(None));
}

/// Whether this process holds a lock on `path` by which nobody else may write.
fn is_locked(path: &Path) -> bool {
    let place = format!(":{} ", fs::metadata(path).unwrap().ino());
    let own = format!(" {} ", std::process::id());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("READ") && line.contains(&own) && line.contains(&place))
}

#[test]
fn nobody_can_write_while_pages_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, connection) = database(folder.path(), "");
    let first = pages(&path);
    let is_locked = tree(&first, &connection, "by_key", |tree| {
        let before = is_locked(&path);
        // Had this one a handle of its own, its end would be the end of the lock.
        drop(first.again(&path, true));
        tree.rows(0..=428, |_| Ok(()))?;
        Ok([before, is_locked(&path)])
    });
    assert_eq!(is_locked, Ok(Some([true, true])));
}

/// What SQLite makes of it.
fn asked(connection: &Connection, table: &str) -> Result<Vec<Row>> {
    let order = if table == "by_key" { "key, number" } else { "rowid" };
    let sql = format!("select key, number, value, data from {table} order by {order}");
    let mut statement = connection.prepare(&sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    statement.query_map([], row)?.collect()
}

#[test]
fn damaged_pages_tell_no_more_and_no_less_than_sqlite_says() {
    let folder = tempfile::tempdir().unwrap();
    let (path, connection) = database(folder.path(), "");
    drop(connection);
    let whole = std::fs::read(&path).unwrap();
    let damaged_path = folder.path().join("damaged.db");
    let mut errors = 0;
    for round in 0..600_usize {
        let mut bytes = whole.clone();
        // Behind the schema: now the head of a page, where it says what stands where, now any byte.
        let page = PAGE_BYTES * (1 + round * 31 % (whole.len() / PAGE_BYTES - 1));
        let at = if round % 2 == 0 { page + round % 64 } else { page + round * 131 % PAGE_BYTES };
        bytes[at] = bytes[at].wrapping_add(1 + (round % 255) as u8);
        std::fs::write(&damaged_path, &bytes).unwrap();
        let connection = Connection::open(&damaged_path).unwrap();
        let pages = pages(&damaged_path);
        for table in ["by_key", "by_rowid"] {
            match read(&pages, &connection, table, i64::MIN..=i64::MAX) {
                Err(error) => {
                    assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt));
                    errors += 1;
                }
                Ok(found) => assert_eq!(found, asked(&connection, table).ok(), "{table}, {at}"),
            }
        }
    }
    assert!(errors > 30, "{errors}");
}

/// A page of a table by rowid whose children, one more than `cells`, are all the page `child`.
fn page_above(child: u32, cells: u16) -> Vec<u8> {
    let cell_at = 4000;
    let mut page = vec![0; PAGE_BYTES];
    page[0] = 5;
    page[3..5].copy_from_slice(&cells.to_be_bytes());
    page[8..12].copy_from_slice(&child.to_be_bytes());
    for cell in 0..usize::from(cells) {
        page[12 + 2 * cell..][..2].copy_from_slice(&(cell_at as u16).to_be_bytes());
    }
    page[cell_at..cell_at + 4].copy_from_slice(&child.to_be_bytes());
    page
}

/// The rows of a table in a file of `pages_count` pages, of which those are overwritten that `damage` gives: by
/// their numbers, when it is told that of the table's root.
fn read_damaged(
    pages_count: u64,
    damage: impl Fn(u32) -> Vec<(u32, Vec<u8>)>,
) -> Result<Option<Vec<Row>>> {
    let folder = tempfile::tempdir().unwrap();
    let (path, connection) = database(folder.path(), "");
    let root = "select rootpage from sqlite_master where name = 'by_rowid'";
    let root = connection.query_row(root, [], |row| row.get(0)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for (number, page) in damage(root) {
        file.write_all_at(&page, u64::from(number - 1) * PAGE_BYTES as u64).unwrap();
    }
    file.set_len(pages_count * PAGE_BYTES as u64).unwrap();
    read(&pages(&path), &connection, "by_rowid", i64::MIN..=i64::MAX)
}

/// A page of a table by rowid with one row.
fn leaf() -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    page[..10].copy_from_slice(&[13, 0, 0, 0, 1, 0, 0, 0, 0, 100]);
    page[100..107].copy_from_slice(&[5, 1, 5, 8, 8, 8, 12]);
    page
}

#[test]
fn only_an_empty_table_has_a_page_without_cells() {
    let without_cells = || [&[13][..], &[0; PAGE_BYTES - 1]].concat();
    assert_eq!(read_damaged(1000, |root| vec![(root, without_cells())]), Ok(Some(Vec::new())));
    let child =
        read_damaged(1000, |root| vec![(root, page_above(root + 1, 1)), (root + 1, without_cells())]);
    assert_eq!(child, Err(damaged()));
    let above = read_damaged(1000, |root| vec![(root, page_above(root + 1, 0)), (root + 1, leaf())]);
    assert_eq!(above, Err(damaged()));
}

#[test]
fn a_page_of_an_index_is_none_of_a_table() {
    let mut of_index = leaf();
    of_index[0] = 10;
    assert_eq!(read_damaged(1000, |root| vec![(root, of_index.clone())]), Err(damaged()));
}

#[test]
fn a_payload_beyond_all_that_sqlite_reads_is_damaged() {
    let mut large = leaf();
    // 2^34 bytes, which go on in the page itself.
    large[100..107].copy_from_slice(&[0xC0, 0x80, 0x80, 0x80, 0, 1, 5]);
    assert_eq!(read_damaged(1000, |root| vec![(root, large.clone())]), Err(damaged()));
}

/// The stack would not hold as many pages as the file has.
#[test]
fn a_page_that_is_its_own_child_is_damaged() {
    for cells in [0, 3] {
        let read = read_damaged(1 << 18, |root| vec![(root, page_above(root, cells))]);
        assert_eq!(read, Err(damaged()), "{cells} cells");
    }
}

#[test]
fn a_page_behind_the_end_of_the_file_is_damaged() {
    assert_eq!(read_damaged(1000, |root| vec![(root, page_above(1001, 1))]), Err(damaged()));
}

#[test]
fn no_more_pages_are_read_than_the_file_has() {
    let read = |cells| {
        read_damaged(1000, |root| {
            let above = (root..root + 3).map(|page| (page, page_above(page + 1, cells)));
            above.chain([(root + 3, leaf())]).collect()
        })
    };
    assert_eq!(read(2), Ok(Some(vec![(0, 0, 0, Vec::new()); 27])), "27 times the same page");
    assert_eq!(read(19), Err(damaged()), "8000 times the same page");
}

#[test]
fn a_column_ends_with_its_payload_not_with_the_last_page_of_it() {
    let read = |blob_type: [u8; 2]| {
        read_damaged(1000, |root| {
            let page = |bytes: &[u8]| [bytes, &vec![0; PAGE_BYTES - bytes.len()]].concat();
            // One row of 8181 bytes, of which 489 stand here: three zeros, and a blob of the given length.
            let row = [&[0xBF, 0x75, 1, 6, 8, 8, 8][..], &blob_type].concat();
            let mut leaf = page(&[13, 0, 0, 0, 1, 0, 0, 0, 0, 100]);
            leaf[100..][..row.len()].copy_from_slice(&row);
            leaf[103 + local_bytes(8181, ROW_BYTES_MAX)..][..4]
                .copy_from_slice(&(root + 1).to_be_bytes());
            vec![(root, leaf), (root + 1, page(&(root + 2).to_be_bytes())), (root + 2, page(&[]))]
        })
    };
    assert_eq!(read([0xFF, 0x6A]), Ok(Some(vec![(0, 0, 0, vec![0; 8175])])));
    assert_eq!(read([0xFF, 0x6C]), Err(damaged()), "one byte more");
}
