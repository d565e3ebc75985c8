//! Peers that keep tables: SQLite and LMDB.

use std::error::Error;
use std::path::Path;

use heed::types::{Bytes, U64};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls, byteorder::BigEndian};
use rusqlite::Connection;

use crate::hits::{Hit, Hits};

/// Inserts in one transaction, where they are gathered.
const BATCH: u32 = 1000;
const INSERT: &str = "INSERT INTO hit VALUES (1, ?1, ?2)";

fn sqlite(directory: &Path, settings: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(directory.join("hits.db"))?;
    connection.execute_batch(settings)?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS hit (context, file, line)")?;
    Ok(connection)
}

fn fill_sqlite(connection: &Connection, hits: Hits) -> Result<(), Box<dyn Error>> {
    let mut insert = connection.prepare(INSERT)?;
    for Hit { file, line, .. } in hits {
        insert.execute((file, line))?;
    }
    Ok(())
}

pub fn fill_autocommit(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    fill_sqlite(&sqlite(directory, "")?, hits)
}

pub fn fill_wal(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    fill_sqlite(&sqlite(directory, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?, hits)
}

pub fn fill_batches(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    let connection = sqlite(directory, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")?;
    let mut insert = connection.prepare(INSERT)?;
    connection.execute_batch("BEGIN")?;
    for Hit { number, file, line } in hits {
        insert.execute((file, line))?;
        if number % BATCH == BATCH - 1 {
            connection.execute_batch("COMMIT; BEGIN")?;
        }
    }
    Ok(connection.execute_batch("COMMIT")?)
}

pub fn count_rows(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let rows: i64 =
        sqlite(directory, "")?.query_row("SELECT count(*) FROM hit", (), |row| row.get(0))?;
    Ok(rows as u64)
}

type Table = Database<U64<BigEndian>, Bytes>;

fn lmdb(directory: &Path) -> Result<Env<WithoutTls>, Box<dyn Error>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(1 << 30);
    // SAFETY: each process opens this environment once. Without syncing it survives what is compared
    // here, the death of the process.
    unsafe { Ok(options.flags(EnvFlags::NO_SYNC).open(directory)?) }
}

fn fill_lmdb(directory: &Path, hits: Hits, batch: u32) -> Result<(), Box<dyn Error>> {
    let env = lmdb(directory)?;
    let mut transaction = env.write_txn()?;
    let table: Table = env.create_database(&mut transaction, None)?;
    for Hit { number, file, line } in hits {
        let value = (u64::from(file) << 32 | u64::from(line)).to_le_bytes();
        table.put(&mut transaction, &u64::from(number), &value)?;
        if number % batch == batch - 1 {
            transaction.commit()?;
            transaction = env.write_txn()?;
        }
    }
    Ok(transaction.commit()?)
}

pub fn fill_lmdb_each(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    fill_lmdb(directory, hits, 1)
}

pub fn fill_lmdb_batches(directory: &Path, hits: Hits) -> Result<(), Box<dyn Error>> {
    fill_lmdb(directory, hits, BATCH)
}

pub fn count_lmdb(directory: &Path) -> Result<u64, Box<dyn Error>> {
    let env = lmdb(directory)?;
    let transaction = env.read_txn()?;
    match env.open_database::<U64<BigEndian>, Bytes>(&transaction, None)? {
        Some(table) => Ok(table.len(&transaction)?),
        None => Ok(0),
    }
}
