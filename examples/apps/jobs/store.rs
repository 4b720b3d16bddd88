//! The jobs in SQLite.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::protocol::{Counts, Job};

/// A queued job has no worker, a running one has no output. Jobs that ran when the last daemon stopped are queued again.
const OPEN: &str = "
    CREATE TABLE IF NOT EXISTS jobs (
        id INTEGER PRIMARY KEY, text TEXT NOT NULL, worker TEXT, output TEXT
    );
    UPDATE jobs SET worker = NULL WHERE output IS NULL;";
const SUBMIT: &str = "INSERT INTO jobs (text) VALUES (?1) RETURNING id";
const TAKE: &str = "
    UPDATE jobs SET worker = ?1
    WHERE id = (SELECT min(id) FROM jobs WHERE worker IS NULL) RETURNING id, text";
const REQUEUE: &str = "UPDATE jobs SET worker = NULL WHERE id = ?1 AND output IS NULL";
const FINISH: &str = "UPDATE jobs SET output = ?2 WHERE id = ?1";
const COUNT: &str = "
    SELECT count(*) FILTER (WHERE worker IS NULL),
           count(*) FILTER (WHERE worker IS NOT NULL AND output IS NULL),
           count(output) FROM jobs";

/// The database. A handle: clones share the connection.
///
/// SQLite blocks, so every query runs in `erps::unblock`: off the executor's threads, and in the simulated time of a test.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<Connection>>);

impl Store {
    pub(crate) async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let open = move || {
            let connection = Connection::open(path)?;
            connection.execute_batch(OPEN)?;
            Ok(Self(Arc::new(Mutex::new(connection))))
        };
        erps::unblock(open).await
    }

    pub(crate) async fn submit(&self, text: String) -> Result<i64> {
        self.query(move |db| db.query_row(SUBMIT, [text], |row| row.get(0)))
            .await
    }

    /// Marks the oldest queued job as running.
    pub(crate) async fn take(&self, worker: String) -> Result<Option<Job>> {
        self.query(move |db| {
            let job = db.query_row(TAKE, [worker], |row| {
                let (id, text) = (row.get(0)?, row.get(1)?);
                Ok(Job { id, text })
            });
            job.optional()
        })
        .await
    }

    pub(crate) async fn requeue(&self, job: i64) -> Result<()> {
        self.query(move |db| db.execute(REQUEUE, [job]).map(drop))
            .await
    }

    pub(crate) async fn finish(&self, job: i64, output: String) -> Result<()> {
        self.query(move |db| db.execute(FINISH, params![job, output]).map(drop))
            .await
    }

    pub(crate) async fn counts(&self) -> Result<Counts> {
        self.query(|db| {
            db.query_row(COUNT, [], |row| {
                Ok(Counts {
                    queued: row.get(0)?,
                    running: row.get(1)?,
                    done: row.get(2)?,
                })
            })
        })
        .await
    }

    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.0);
        let query = move || query(&connection.lock().unwrap_or_else(PoisonError::into_inner));
        erps::unblock(query).await
    }
}
