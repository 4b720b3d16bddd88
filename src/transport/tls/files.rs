//! Certificates that are replaced where they lie: read again on request, or watched.

use std::{sync::Arc, time::Duration};

use futures_lite::future;

use super::{Tls, credentials::Credentials, settings::Settings};
use crate::{
    ExitReason, Linked, TaskRef, TlsError,
    task::{self, Spawner},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// More often nobody can want, and zero would be a loop that does nothing else.
const SHORTEST: Duration = Duration::from_millis(10);

impl Tls {
    /// Reads again the files it was made from, and [rotates](Self::rotate) if they have changed.
    /// Tells whether they have.
    ///
    /// What was given as text stays; so do all options. Everything is read and checked first: with
    /// an error nothing changes. It blocks on the files.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; [`TlsError::NoFiles`] if it was made from none. A certificate and its key
    /// that are not replaced at the same moment may for this moment not belong to each other.
    pub fn reload(&self) -> Result<bool, TlsError> {
        loop {
            let old = self.settings();
            let sources = old.credentials.sources.read_again()?;
            if sources == *old.credentials.sources {
                return Ok(false);
            }
            let new = Settings::new(Credentials::new(sources)?, old.options.clone())?;
            // Who has rotated meanwhile may have set options, or come from other files.
            if self.replace(new, |current| Arc::ptr_eq(current, &old)) {
                return Ok(true);
            }
        }
    }

    /// [Reloads](Self::reload) whenever the files have changed, until what is returned is dropped.
    ///
    /// They are read once in `every`, 10 milliseconds at least, by the clock of the universe, in a
    /// task that is spawned where this is called. It does not matter how they are replaced: what is
    /// compared is what they hold. Files that cannot be used are a warning, an event of the target
    /// `erps`, and the old stay in use.
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
        let task = Spawner::new()
            .start(format_args!("a watch over certificates"), |me| async move {
                future::or(me.shutdown_requested(), tls.reload_for_ever(every)).await
            });
        Linked::new(task)
    }

    async fn reload_for_ever(self, every: Duration) -> ExitReason {
        let mut said = None;
        let mut warned = task::now();
        loop {
            task::sleep(every).await;
            let tls = self.clone();
            match task::blocking(move || tls.reload()).await {
                Ok(changed) => {
                    said = None;
                    if changed {
                        warned = task::now();
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        tracing::warn!(target: "erps", %error, "the old certificates stay in use");
                        said = Some(error);
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
