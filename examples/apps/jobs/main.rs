//! A job queue over mutual TLS: submitters submit, workers take and finish, SQLite keeps.
//!
//! It shows
//!
//! - blocking work, the database's, in `erps::unblock`;
//! - roles by the names in certificates;
//! - calls that wait: a worker's take is answered when a job arrives, and `try_reply` gives the job back if the worker has
//!   gone. The jobs of a worker whose connection ends are queued again;
//! - a drain by SIGTERM: waiting takes are answered, and workers finish their jobs;
//! - a command line and a configuration file.
//!
//! The certificates, once:
//!
//! ```text
//! openssl req -x509 -newkey rsa:2048 -noenc -days 30 -subj /CN=ca -keyout ca.key -out ca.pem
//! for name in localhost me worker-1; do
//!     openssl req -x509 -CA ca.pem -CAkey ca.key -newkey rsa:2048 -noenc -days 30 -subj /CN=$name \
//!         -addext subjectAltName=DNS:$name -addext basicConstraints=CA:FALSE -keyout $name.key -out $name.pem
//!     printf '%s = "%s"\n' daemon localhost:4747 ca ca.pem certificate $name.pem key $name.key > $name.toml
//! done
//! ```
//!
//! Then, each in a terminal (`cargo build -p erps-apps` builds `target/debug/jobs`):
//!
//! ```text
//! jobs --config localhost.toml serve --worker worker-1
//! jobs --config worker-1.toml work echo it was
//! jobs --config me.toml submit "a nice day"
//! jobs --config me.toml status
//! ```

mod protocol;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use async_signal::{Signal, Signals};
use clap::Parser;
use erps::{Address, BoxError, Client, Daemon, Linked, ServerRef, Tls};
use serde::Deserialize;
use smol::{future::FutureExt as _, stream::StreamExt as _};

use protocol::{JobsClient as _, JobsProtocol};
use server::{Connection, Queue, Seed};
use store::Store;

/// A job queue over mutual TLS.
#[derive(Parser)]
struct Arguments {
    /// The configuration file.
    #[arg(long, default_value = "jobs.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM or SIGINT, and drains it then.
    Serve {
        #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 4747)))]
        listen: SocketAddr,
        #[arg(long, default_value = "jobs.sqlite")]
        database: PathBuf,
        /// The name in the certificate of a worker. May be repeated.
        #[arg(long = "worker")]
        workers: Vec<String>,
        /// How many seconds a drain may take.
        #[arg(long, default_value_t = 30)]
        drain: u64,
    },
    /// Submits a job, and prints its number.
    Submit { text: String },
    /// Takes jobs, and runs a program with the text of each as its last argument.
    Work {
        #[arg(required = true, trailing_var_arg = true)]
        program: Vec<String>,
    },
    /// Prints how many jobs there are.
    Status,
}

/// What all commands need. Paths are relative to the working directory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    daemon: Address,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Config {
    fn read(path: &Path) -> Result<Self, BoxError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(toml::from_str(&text)?)
    }

    fn tls(&self) -> Result<Tls, BoxError> {
        Ok(Tls::from_files(&self.ca, &self.certificate, &self.key)?)
    }

    async fn connect(&self) -> Result<Client<JobsProtocol>, BoxError> {
        let client = Client::builder(self.daemon.clone()).transport(self.tls()?);
        Ok(client.connect().await?)
    }
}

fn main() -> ExitCode {
    let Err(error) = smol::block_on(run(Arguments::parse())) else {
        return ExitCode::SUCCESS;
    };
    eprint!("jobs: {error}");
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.for_each(|cause| eprint!(": {cause}"));
    eprintln!();
    ExitCode::FAILURE
}

async fn run(Arguments { config, command }: Arguments) -> Result<(), BoxError> {
    let config = Config::read(&config)?;
    match command {
        Command::Serve {
            listen,
            database,
            workers,
            drain,
        } => {
            let store = Store::open(database).await?;
            let service = start(store, listen, config.tls()?, workers).await?;
            serve(service, Duration::from_secs(drain)).await?;
        }
        Command::Submit { text } => {
            println!("{}", config.connect().await?.submit(text).await?);
        }
        Command::Work { program } => {
            let run = async |job: &_| worker::run_program(&program, job).await;
            worker::work(&config.connect().await?, run).await?;
        }
        Command::Status => {
            let it = config.connect().await?.counts().await?;
            let (queued, running, done) = (it.queued, it.running, it.done);
            println!("queued {queued}, running {running}, done {done}");
        }
    }
    Ok(())
}

type Service = (Linked<ServerRef<Queue>>, Linked<Daemon<Connection>>);

/// Starts the queue and the daemon.
async fn start(
    store: Store,
    listen: SocketAddr,
    tls: Tls,
    workers: Vec<String>,
) -> Result<Service, BoxError> {
    let queue = ServerRef::<Queue>::builder(store).start_link().await?;
    let seed = Seed {
        queue: queue.clone(),
        workers: workers.into(),
    };
    let daemon = Daemon::builder(seed).listen(listen).transport(tls);
    Ok((queue, daemon.start_link().await?))
}

/// Serves until a signal, and drains the daemon then. Fails if the queue does.
async fn serve((queue, daemon): Service, drain: Duration) -> Result<(), BoxError> {
    let mut signals = Signals::new([Signal::Term, Signal::Int])?;
    println!("listening on {}", daemon.local_addr());
    let signal = async { signals.next().await.transpose().map_err(BoxError::from) };
    let failure = async { Err(format!("the queue: {}", queue.exited().await).into()) };
    signal.or(failure).await?;
    println!("draining");
    let report = daemon.drain(drain).await;
    for cut in report.cut() {
        println!("{}: {}", cut.peer, cut.outcome);
    }
    Ok(())
}
