//! Reloading certificates from their files, on request or periodically.

use std::{sync::Arc, time::Duration};

use futures_lite::future;

use super::{Tls, credentials::Credentials, settings::Settings};
use crate::{
    ExitReason, Linked, TaskRef, TlsError,
    task::{self, Spawner},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest interval of a watch: zero would be a busy loop.
const SHORTEST: Duration = Duration::from_millis(10);

impl Tls {
    /// Reloads the files that the certificates came from, and [rotates](Self::rotate) if their contents have
    /// changed. Returns whether they have.
    ///
    /// Inputs given as text, and all options, are kept. On an error nothing changes. Blocks while it reads the files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; [`TlsError::NoFiles`] if no input came from a file. A reload between the replacement of a
    /// certificate and that of its key fails with [`TlsError::KeyMismatch`].
    pub fn reload(&self) -> Result<bool, TlsError> {
        loop {
            let old = self.settings();
            let sources = old.credentials.sources.read_again()?;
            if sources == *old.credentials.sources {
                return Ok(false);
            }
            let new = Settings::new(Credentials::new(sources)?, old.options.clone())?;
            // A concurrent rotation may have set other options or files: read again.
            if self.replace(new, |current| Arc::ptr_eq(current, &old)) {
                return Ok(true);
            }
        }
    }

    /// Spawns a task that [reloads](Self::reload) the certificates when their files have changed. Dropping the
    /// returned owner stops it.
    ///
    /// The task reads the files every `every`, at least 10 milliseconds, by the clock of the universe, and compares
    /// their contents. If they are invalid, it emits a warning (target `erps`), and the present certificates stay
    /// in use.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use erps::Tls;
    /// let tls = Tls::from_files("ca.pem", "server.pem", "server.key")?;
    /// let _watch = tls.watch(Duration::from_secs(60));
    /// # Ok::<(), erps::TlsError>(())
    /// ```
    #[track_caller]
    pub fn watch(&self, every: Duration) -> Linked<TaskRef> {
        let (tls, every) = (self.clone(), every.max(SHORTEST));
        let task =
            Spawner::new().start(format_args!("a watch over certificates"), |me| async move {
                future::or(me.shutdown_requested(), tls.reload_periodically(every)).await
            });
        Linked::new(task)
    }

    async fn reload_periodically(self, every: Duration) -> ExitReason {
        let mut reported = None;
        let mut warned = task::now();
        loop {
            task::sleep(every).await;
            let tls = self.clone();
            match task::blocking(move || tls.reload()).await {
                Ok(changed) => {
                    reported = None;
                    if changed {
                        warned = task::now();
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if reported.as_ref() != Some(&error) {
                        tracing::warn!(target: "erps", %error, "cannot reload certificates; the old ones stay in use");
                        reported = Some(error);
                    }
                }
            }
            if task::now().duration_since(warned) >= DAY {
                self.settings().warn();
                warned = task::now();
            }
        }
    }
}
