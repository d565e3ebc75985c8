//! How long tests took.

use super::database::Database;
use super::{Error, Test};
use std::collections::HashMap;

/// Tells the durations of a recording's tests.
#[derive(Debug)]
pub struct Durations<'database> {
    database: &'database Database,
}

impl Database {
    /// The durations of the tests.
    #[must_use]
    pub fn durations(&self) -> Durations<'_> {
        Durations { database: self }
    }
}

impl Durations<'_> {
    /// How long `test` took with setup and teardown, in nanoseconds: the time of the process that was in it
    /// longest, so that a child, which is in its parent's context, does not count twice. `None` where
    /// nobody took the time, or the test did not end.
    ///
    /// # Errors
    /// If SQLite cannot read.
    pub fn of(&self, test: &Test) -> Result<Option<u64>, Error> {
        if !self.database.has_own_tables {
            return Ok(None);
        }
        let mut by_log: HashMap<String, u64> = HashMap::new();
        let sql = "select log_id, duration_ns from hitlog_context where context_id = ?";
        self.database.asking(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            for context in &test.contexts {
                let mut rows = statement.query([context])?;
                while let Some(row) = rows.next()? {
                    let duration: Option<i64> = row.get(1)?;
                    if let Some(duration) = duration.and_then(|ns| u64::try_from(ns).ok()) {
                        let sum = by_log.entry(row.get(0)?).or_default();
                        *sum = sum.saturating_add(duration);
                    }
                }
            }
            Ok(())
        })?;
        Ok(by_log.into_values().max())
    }

    /// The durations of all tests, by their numbers.
    pub(super) fn all(&self) -> Result<Vec<Option<u64>>, Error> {
        let tests = &self.database.tests;
        let mut longest = vec![None; tests.numbers()];
        if !self.database.has_own_tables {
            return Ok(longest);
        }
        let mut by_log: HashMap<(String, usize), u64> = HashMap::new();
        let sql = "select log_id, context_id, duration_ns from hitlog_context where duration_ns >= 0";
        self.database.asking(|connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let Some(position) = row.get::<_, Option<i64>>(1)?.and_then(|id| tests.position(id))
                else {
                    continue;
                };
                let sum = by_log.entry((row.get(0)?, position)).or_default();
                *sum = sum.saturating_add(row.get::<_, i64>(2)?.unsigned_abs());
            }
            Ok(())
        })?;
        for ((_, position), duration) in by_log {
            longest[position] = longest[position].max(Some(duration));
        }
        Ok(longest)
    }
}
