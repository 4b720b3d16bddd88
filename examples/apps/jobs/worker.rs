//! The worker: takes jobs, runs a program for each, and reports what the program prints.

use std::{process::Command, time::Duration};

use erps::{BoxError, Client, Status, time};

use crate::protocol::{Job, JobsClient as _, JobsProtocol, Refused};

/// How long a take waits for a job. A worker that does not hear from the daemon for longer takes again.
const TAKE: Duration = Duration::from_secs(60);

/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Takes jobs one after the other, and finishes each with the output of `run`. Returns if the daemon refuses to give this
/// worker jobs, or if `run` fails.
pub(crate) async fn work(
    client: &Client<JobsProtocol>,
    run: impl AsyncFn(&Job) -> Result<String, BoxError>,
) -> Result<(), BoxError> {
    loop {
        let outcome = match client.with(TAKE).take().await {
            Ok(Ok(job)) => {
                let output = run(&job).await?;
                client.done(job.id, output).await
            }
            Ok(Err(refused)) => Ok(Err(refused)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(Refused::NotAWorker)) => return Err(Refused::NotAWorker.into()),
            // `NotYours`: the connection was lost during the job, which another worker has got.
            Ok(Err(Refused::Draining | Refused::NotYours)) => time::sleep(RETRY).await,
            Err(error) => {
                eprintln!("{error}");
                time::sleep(RETRY).await;
                client.until(Status::is_connected).await;
            }
        }
    }
}

/// Runs a program with these arguments and the text of the job. Returns what it prints.
pub(crate) async fn run_program(words: &[String], job: &Job) -> Result<String, BoxError> {
    let (program, arguments) = words.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(arguments).arg(&job.text);
    let output = erps::unblock(move || command.output()).await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
