//! Forecasts from an HTTP service, remembered in a database: a server that uses libraries built on tokio.
//!
//! It shows
//!
//! - a tokio runtime for the handlers: the builder's `.tokio(handle)`, with the feature `tokio`. hyper's client, with its
//!   pool of connections, tokio's timers and a database client then work in handlers, and in the tasks that they spawn;
//! - a handler that moves `from` into a task of the server, so that a slow service delays one call, not all of its client;
//! - an error that is part of the reply: the service may be unavailable;
//! - tests in simulated time, which replace what uses tokio, and one with the real libraries, in real time.
//!
//! It starts its own HTTP service, daemon and client (`cargo run -p erps-apps --bin forecast`), and prints:
//!
//! ```text
//! Lisbon: 28.5 degrees
//! Oslo: 17 degrees
//! Atlantis: no forecast: the service answers 404 Not Found
//! Lisbon: 28.5 degrees
//! the service was asked 3 times
//! ```

mod service;
mod sources;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use erps::{BoxError, Client, Context, Daemon, InitError, ReplyTo};
use serde::{Deserialize, Serialize};

use sources::{Live, Sources};

#[erps::protocol(identifier = "forecast", version = "1.0.0", accepts = "~> 1.0")]
trait Forecast {
    /// Returns the temperature in a city.
    async fn forecast(city: String) -> Result<f64, Unavailable>;

    /// Returns how many forecasts were asked for on this connection.
    async fn asked() -> u64;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("no forecast: {0}")]
struct Unavailable(String);

struct ForecastServer {
    sources: Arc<dyn Sources>,
    asked: u64,
}

#[erps::server]
impl Forecast for ForecastServer {
    type Seed = Arc<dyn Sources>;

    async fn init(sources: Arc<dyn Sources>) -> Result<Self, InitError> {
        Ok(Self { sources, asked: 0 })
    }

    #[reply_later]
    async fn forecast(
        &mut self,
        city: String,
        from: ReplyTo<Result<f64, Unavailable>>,
        cx: &mut Context<Self>,
    ) {
        self.asked += 1;
        let sources = Arc::clone(&self.sources);
        // The server handles the next call meanwhile. The task inherits the runtime, and the universe of a test. It is
        // cancelled if the client goes.
        cx.spawn(async move {
            let forecast = forecast(&*sources, city).await;
            from.reply(forecast.map_err(|error| Unavailable(error.to_string())));
        });
    }

    async fn asked(&mut self) -> u64 {
        self.asked
    }
}

/// Returns what is remembered, and asks the service otherwise.
async fn forecast(sources: &dyn Sources, city: String) -> Result<f64, BoxError> {
    if let Some(degrees) = sources.remembered(city.clone()).await? {
        return Ok(degrees);
    }
    let degrees = sources.fetch(city.clone()).await?;
    sources.remember(city, degrees).await?;
    Ok(degrees)
}

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let service = runtime.block_on(service::start())?;
    smol::block_on(async {
        let sources = Live::new(service.url(), Duration::from_secs(3)).await?;
        let daemon = Daemon::<ForecastServer>::builder(Arc::new(sources))
            .tokio(runtime.handle().clone())
            .start_link()
            .await?;
        let client = Client::<ForecastProtocol>::builder(daemon.local_addr())
            .connect()
            .await?;
        for city in ["Lisbon", "Oslo", "Atlantis", "Lisbon"] {
            match client.forecast(city.into()).await? {
                Ok(degrees) => println!("{city}: {degrees} degrees"),
                Err(unavailable) => println!("{city}: {unavailable}"),
            }
        }
        println!("the service was asked {} times", service.requests());
        Ok(())
    })
}
