//! Where forecasts come from: the service, by hyper's client, and the database, by tokio-rusqlite.

use std::time::Duration;

use erps::BoxError;
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rusqlite::{OptionalExtension as _, params};
use smol::future::{Boxed, FutureExt as _};
use tokio_rusqlite::Connection;

const CREATE: &str = "CREATE TABLE forecasts (city TEXT PRIMARY KEY, degrees REAL NOT NULL)";
const FIND: &str = "SELECT degrees FROM forecasts WHERE city = ?1";
const STORE: &str = "INSERT OR REPLACE INTO forecasts VALUES (?1, ?2)";

/// What a server needs from elsewhere. Tests replace it, because tokio knows nothing of simulated time.
pub(crate) trait Sources: Send + Sync {
    /// Asks the service.
    fn fetch(&self, city: String) -> Boxed<Result<f64, BoxError>>;
    /// Asks the database.
    fn remembered(&self, city: String) -> Boxed<Result<Option<f64>, BoxError>>;
    fn remember(&self, city: String, degrees: f64) -> Boxed<Result<(), BoxError>>;
}

/// The service and the database.
pub(crate) struct Live {
    service: String,
    timeout: Duration,
    http: Client<HttpConnector, String>,
    database: Connection,
}

impl Live {
    pub(crate) async fn new(service: String, timeout: Duration) -> Result<Self, BoxError> {
        let database = Connection::open_in_memory().await?;
        database.call(|db| db.execute(CREATE, [])).await?;
        Ok(Self {
            service,
            timeout,
            http: Client::builder(TokioExecutor::new()).build_http(),
            database,
        })
    }
}

impl Sources for Live {
    fn fetch(&self, city: String) -> Boxed<Result<f64, BoxError>> {
        let (url, http) = (format!("{}/{city}", self.service), self.http.clone());
        let fetch = async move {
            let response = http.get(url.parse()?).await?;
            if !response.status().is_success() {
                return Err(format!("the service answers {}", response.status()).into());
            }
            let body = response.into_body().collect().await?.to_bytes();
            Ok(std::str::from_utf8(&body)?.parse()?)
        };
        let limit = self.timeout;
        async move {
            let late = |_| "the service does not answer";
            tokio::time::timeout(limit, fetch).await.map_err(late)?
        }
        .boxed()
    }

    fn remembered(&self, city: String) -> Boxed<Result<Option<f64>, BoxError>> {
        let database = self.database.clone();
        async move {
            let find = database.call(|db| db.query_row(FIND, [city], |row| row.get(0)).optional());
            Ok(find.await?)
        }
        .boxed()
    }

    fn remember(&self, city: String, degrees: f64) -> Boxed<Result<(), BoxError>> {
        let database = self.database.clone();
        async move {
            let store = database.call(move |db| db.execute(STORE, params![city, degrees]));
            store.await?;
            Ok(())
        }
        .boxed()
    }
}
