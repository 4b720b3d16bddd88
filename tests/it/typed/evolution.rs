//! A protocol that changes: what each end sees of the other's version. The documentation of `erps::protocol` says so.

use erps::{CallError, Client, Context, Daemon, Linked, Protocol, Server};

/// Version 1.2.0.
mod old {
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Options {
        pub(super) path: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Info {
        pub(super) size: u64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub(super) enum OpenError {
        Missing,
        /// One of a later version.
        #[serde(other)]
        Unknown,
    }

    #[erps::protocol(identifier = "files", version = "1.2.0", accepts = "~> 1.2")]
    pub(super) trait Files {
        async fn open(options: Options) -> Result<u64, OpenError>;
        async fn info(file: u64) -> Info;
        async fn size(file: u64) -> u64;
        async fn read(file: u64) -> String;
        #[cast]
        fn watch(path: String);
        #[push]
        fn changed(path: String);
    }

    #[derive(Default)]
    pub(super) struct Store;

    #[erps::server]
    impl Files for Store {
        async fn open(&mut self, options: Options) -> Result<u64, OpenError> {
            match &*options.path {
                "missing" => Err(OpenError::Missing),
                path => Ok(path.len() as u64),
            }
        }

        async fn info(&mut self, file: u64) -> Info {
            Info { size: file }
        }

        async fn size(&mut self, file: u64) -> u64 {
            file
        }

        async fn read(&mut self, file: u64) -> String {
            format!("file {file}")
        }

        async fn watch(&mut self, path: String, cx: &mut erps::Context<Self>) {
            let _ = cx.changed(path).await;
        }
    }
}

/// Version 1.3.0.
mod new {
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Options {
        pub(super) path: String,
        /// Added. An older client does not send it.
        #[serde(default)]
        pub(super) mode: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Info {
        pub(super) size: u64,
        /// Added. An older server does not send it.
        #[serde(default)]
        pub(super) owner: Option<String>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub(super) enum OpenError {
        Missing,
        /// Added.
        Locked,
    }

    #[erps::protocol(identifier = "files", version = "1.3.0", accepts = "~> 1.2")]
    pub(super) trait Files {
        async fn open(options: Options) -> Result<u64, OpenError>;
        async fn info(file: u64) -> Info;

        /// Renamed here and on the wire.
        #[wire(name = "length", alias = "size")]
        async fn length(file: u64) -> u64;

        /// Renamed here only.
        #[wire(name = "read")]
        async fn read_all(file: u64) -> String;

        /// Added.
        async fn remove(file: u64) -> bool;

        #[cast]
        fn watch(path: String);
        /// Added.
        #[cast]
        fn unwatch(path: String);
        #[push]
        fn changed(path: String);
        /// Added.
        #[push]
        fn removed(path: String);
    }

    #[derive(Default)]
    pub(super) struct Store;

    #[erps::server]
    impl Files for Store {
        async fn open(&mut self, options: Options) -> Result<u64, OpenError> {
            match (&*options.path, options.mode.as_deref()) {
                ("locked", _) => Err(OpenError::Locked),
                (path, None) => Ok(path.len() as u64),
                (_, Some(mode)) => Ok(1000 + mode.len() as u64),
            }
        }

        async fn info(&mut self, file: u64) -> Info {
            let owner = Some("root".into());
            Info { size: file, owner }
        }

        async fn length(&mut self, file: u64) -> u64 {
            file
        }

        async fn read_all(&mut self, file: u64) -> String {
            format!("file {file}")
        }

        async fn remove(&mut self, _: u64) -> bool {
            true
        }

        async fn watch(&mut self, path: String, cx: &mut erps::Context<Self>) {
            let _ = cx.removed(path.clone()).await;
            let _ = cx.changed(path).await;
        }

        async fn unwatch(&mut self, _: String) {}
    }
}

async fn pair<S, P>() -> (Linked<Daemon<S>>, Client<P>)
where
    S: Server<Seed = ()>,
    P: Protocol,
{
    let daemon = Daemon::<S>::builder(()).start_link().await.unwrap();
    let client = Client::builder(daemon.local_addr())
        .connect()
        .await
        .unwrap();
    (daemon, client)
}

#[track_caller]
fn is_not_understood<T: std::fmt::Debug>(outcome: Result<T, CallError>, name: &str) {
    let unknown = format!("call not understood: unknown variant `{name}`");
    match outcome {
        Err(CallError::Remote(why)) => assert!(why.starts_with(&unknown), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_incompatible<T: std::fmt::Debug>(outcome: Result<T, CallError>) {
    match outcome {
        Err(CallError::Remote(why)) => assert_eq!(why, "incompatible version"),
        other => panic!("{other:?}"),
    }
}

#[erps::test]
async fn an_old_client_is_served_by_a_new_server() {
    use old::{FilesClient as _, FilesPush};
    let (_daemon, client) = pair::<new::Store, old::FilesProtocol>().await;
    let mut pushes = client.pushes();
    let open = |path: &str| client.open(old::Options { path: path.into() });
    // The field that was added has its default.
    assert_eq!(open("four").await.unwrap(), Ok(4));
    // A field that was added to a reply is ignored.
    assert_eq!(client.info(7).await.unwrap(), old::Info { size: 7 });
    // A call that was renamed is accepted by its alias, and one that kept its name on the wire by that.
    assert_eq!(client.size(7).await.unwrap(), 7);
    assert_eq!(client.read(7).await.unwrap(), "file 7");
    // A variant that was added is the one with `#[serde(other)]`.
    assert_eq!(open("locked").await.unwrap(), Err(old::OpenError::Unknown));
    // A push that was added is dropped, and logged.
    client.watch("a".into()).await.unwrap();
    let push = pushes.next().await.unwrap();
    assert!(
        matches!(&push, FilesPush::Changed(path) if path == "a"),
        "{push:?}"
    );
}

#[erps::test]
async fn a_new_client_is_served_by_an_old_server_except_for_what_it_does_not_have() {
    use new::FilesClient as _;
    let (_daemon, client) = pair::<old::Store, new::FilesProtocol>().await;
    let open = |path: &str, mode: Option<&str>| {
        client.open(new::Options {
            path: path.into(),
            mode: mode.map(Into::into),
        })
    };
    // The server ignores the field that it does not know.
    assert_eq!(open("four", None).await.unwrap(), Ok(4));
    assert_eq!(open("four", Some("w")).await.unwrap(), Ok(4));
    assert_eq!(
        open("missing", None).await.unwrap(),
        Err(new::OpenError::Missing)
    );
    let info = client.info(7).await.unwrap();
    assert_eq!((info.size, info.owner), (7, None));
    assert_eq!(client.read_all(7).await.unwrap(), "file 7");
    // Calls that the server does not have, or not by this name, fail; the connection stays open.
    is_not_understood(client.remove(7).await, "remove");
    is_not_understood(client.length(7).await, "length");
    // So is a cast, of which the client sees nothing.
    client.unwatch("a".into()).await.unwrap();
    assert_eq!(client.read_all(8).await.unwrap(), "file 8");
    assert!(client.last_disconnect().is_none());
}

/// A version that has broken with the others.
#[erps::protocol(identifier = "files", version = "2.0.0", accepts = "~> 2.0")]
trait Files {
    async fn size(file: u64) -> Option<String>;
}

#[derive(Default)]
struct Store;

#[erps::server]
impl Files for Store {
    async fn size(&mut self, file: u64, _: &mut Context<Self>) -> Option<String> {
        Some(file.to_string())
    }
}

#[erps::test]
async fn a_version_that_the_server_does_not_accept_fails_every_call() {
    let (_daemon, client) = pair::<old::Store, FilesProtocol>().await;
    let outcome = client.size(7).await;
    is_incompatible(outcome);

    let (_daemon, client) = pair::<Store, old::FilesProtocol>().await;
    let outcome = old::FilesClient::size(&client, 7).await;
    is_incompatible(outcome);
}

/// As [`Files`] 2.0, with the version of before: a mistake.
#[erps::protocol(identifier = "files", version = "1.2.1", accepts = "~> 1.2")]
trait Mistaken {
    async fn size(file: u64) -> Option<String>;
}

#[erps::test]
async fn a_reply_that_has_changed_is_undecodable_and_the_connection_stays_open() {
    let (_daemon, client) = pair::<old::Store, MistakenProtocol>().await;
    let outcome = client.size(7).await;
    assert!(
        matches!(&outcome, Err(CallError::Undecodable(_))),
        "{outcome:?}"
    );
    assert!(client.status().is_connected());
}
