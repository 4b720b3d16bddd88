//! The server in simulated time, with other sources; and with hyper, the database and tokio, in real time.

use std::{collections::HashMap, future::ready, sync::Mutex};

use erps::{Linked, time};
use smol::future::{Boxed, FutureExt as _};
use tokio::runtime::{Handle, Runtime};

use super::*;

/// Sources in memory. The service takes two seconds, and knows one city.
#[derive(Default)]
struct Fake {
    database: Mutex<HashMap<String, f64>>,
    fetched: Mutex<u32>,
}

const FETCH: Duration = Duration::from_secs(2);

impl Sources for Fake {
    fn fetch(&self, city: String) -> Boxed<Result<f64, BoxError>> {
        *self.fetched.lock().unwrap() += 1;
        async move {
            time::sleep(FETCH).await;
            match &*city {
                "Atlantis" => Err("it has sunk".into()),
                city => Ok(city.len() as f64),
            }
        }
        .boxed()
    }

    fn remembered(&self, city: String) -> Boxed<Result<Option<f64>, BoxError>> {
        ready(Ok(self.database.lock().unwrap().get(&city).copied())).boxed()
    }

    fn remember(&self, city: String, degrees: f64) -> Boxed<Result<(), BoxError>> {
        self.database.lock().unwrap().insert(city, degrees);
        ready(Ok(())).boxed()
    }
}

type Pair = (
    Linked<Daemon<ForecastServer>>,
    Client<ForecastProtocol>,
    Arc<Fake>,
);

async fn pair() -> Result<Pair, BoxError> {
    let fake = Arc::new(Fake::default());
    let daemon = Daemon::builder(fake.clone() as Arc<dyn Sources>);
    let daemon = daemon.port(4747).start_link().await?;
    let client = Client::builder(("localhost", 4747)).connect().await?;
    Ok((daemon, client, fake))
}

#[erps::test(simulated)]
async fn slow_forecasts_of_one_client_run_side_by_side() -> Result<(), BoxError> {
    let (_daemon, client, _) = pair().await?;
    let start = time::now();
    let forecasts = smol::future::try_zip(
        client.forecast("Oslo".into()),
        client.forecast("Lisbon".into()),
    );
    // A call that is not slow does not wait for those before it.
    let both = smol::future::zip(forecasts, async {
        let asked = client.asked().await;
        (asked, time::now() - start)
    });
    let (forecasts, (asked, took)) = both.await;
    assert_eq!(forecasts?, (Ok(4.0), Ok(6.0)));
    assert_eq!((asked?, took), (2, Duration::ZERO));
    assert_eq!(time::now() - start, FETCH);
    Ok(())
}

#[erps::test(simulated)]
async fn forecast_is_fetched_once_and_remembered() -> Result<(), BoxError> {
    let (_daemon, client, fake) = pair().await?;
    for _ in 0..3 {
        assert_eq!(client.forecast("Oslo".into()).await?, Ok(4.0));
    }
    assert_eq!(*fake.fetched.lock().unwrap(), 1);
    Ok(())
}

#[erps::test(simulated)]
async fn failure_of_the_service_is_a_reply_and_the_connection_stays() -> Result<(), BoxError> {
    let (_daemon, client, fake) = pair().await?;
    let sunk = Err(Unavailable("it has sunk".into()));
    assert_eq!(client.forecast("Atlantis".into()).await?, sunk);
    assert_eq!(client.forecast("Oslo".into()).await?, Ok(4.0));
    assert_eq!(client.asked().await?, 2);
    assert_eq!(fake.database.lock().unwrap().len(), 1);
    Ok(())
}

/// Only a bound.
const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Result<Runtime, BoxError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// In no universe, as in production.
#[test]
fn hyper_and_the_database_work_in_the_runtime_of_the_builder() -> Result<(), BoxError> {
    let runtime = runtime()?;
    let service = runtime.block_on(service::start())?;
    smol::block_on(async {
        let sources = Live::new(service.url(), LONG).await?;
        let daemon = Daemon::<ForecastServer>::builder(Arc::new(sources));
        let daemon = daemon.tokio(runtime.handle().clone()).start_link().await?;
        let client = Client::<ForecastProtocol>::builder(daemon.local_addr());
        let client = client.reply_timeout(LONG).connect().await?;
        let lost = client.forecast("Atlantis".into()).await?.unwrap_err();
        assert_eq!(lost.0, "the service answers 404 Not Found");
        for _ in 0..2 {
            assert_eq!(client.forecast("Lisbon".into()).await?, Ok(28.5));
        }
        assert_eq!(service.requests(), 2);
        Ok(())
    })
}

/// The real sources, in simulated time. tokio does not hold the simulated clock, but `erps::unblock` does.
struct Held(Live);

fn held<T: Send + 'static>(future: Boxed<T>) -> Boxed<T> {
    async { erps::unblock(|| Handle::current().block_on(future)).await }.boxed()
}

impl Sources for Held {
    fn fetch(&self, city: String) -> Boxed<Result<f64, BoxError>> {
        held(self.0.fetch(city))
    }

    fn remembered(&self, city: String) -> Boxed<Result<Option<f64>, BoxError>> {
        held(self.0.remembered(city))
    }

    fn remember(&self, city: String, degrees: f64) -> Boxed<Result<(), BoxError>> {
        held(self.0.remember(city, degrees))
    }
}

#[erps::test(simulated)]
async fn service_that_does_not_answer_fails_the_call_in_time() -> Result<(), BoxError> {
    let runtime = runtime()?;
    let handle = runtime.handle().clone();
    let live = async {
        let service = service::start().await?;
        Live::new(service.url(), Duration::from_millis(50)).await
    };
    let live = erps::unblock(move || handle.block_on(live)).await?;
    let daemon = Daemon::<ForecastServer>::builder(Arc::new(Held(live))).port(4747);
    let _daemon = daemon.tokio(runtime.handle().clone()).start_link().await?;
    let client = Client::<ForecastProtocol>::builder(("localhost", 4747));
    let client = client.connect().await?;
    let start = time::now();
    let late = client.forecast("Limbo".into()).await?.unwrap_err();
    assert_eq!(late.0, "the service does not answer");
    assert_eq!(time::now(), start);
    Ok(())
}
