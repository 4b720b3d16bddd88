//! Unix sockets: their files, peer credentials, and transports.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use erps::{Address, Supervisor, TestCa};

use super::*;

use crate::support::scale::short_or_long;

/// A temporary directory, removed with its contents on drop.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(format!("erps-{process}-{number}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(path: &Path) -> (DaemonBuilder<TestServer>, Watch) {
    let (builder, watch) = test_server::daemon();
    (builder.listen_unix(path), watch)
}

/// Binds a socket and closes it without removing its file.
fn stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

fn bind_error(error: StartDaemonError) -> io::ErrorKind {
    match error {
        StartDaemonError::Bind { source, .. } => source.kind(),
        error => panic!("{error}"),
    }
}

#[test]
fn unix_socket_serves_plaintext_clients_and_its_file_is_removed_at_shutdown() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        let (builder, _watch) = at(&path);
        let daemon = builder.start_link().await.unwrap();
        let endpoint = Endpoint::Unix(Some(path.as_path().into()));
        assert_eq!(daemon.local_addrs(), std::slice::from_ref(&endpoint));
        assert_eq!(daemon.local_addr(), (Ipv4Addr::UNSPECIFIED, 0).into());
        for address in [
            Address::unix(&path),
            Address::from(endpoint.clone()),
            format!("unix:{}", path.display()).parse().unwrap(),
        ] {
            let client = connected(address).await;
            assert_served(&client).await;
            let Status::Connected(peer) = client.status() else {
                panic!("{client:?}");
            };
            assert_eq!(peer.address, endpoint);
        }
        daemon.shutdown().await;
        assert!(!path.exists(), "the file is left behind");
    });
}

#[test]
fn socket_file_has_mode_0600_by_default() {
    run(async {
        for (mode, expected) in [(None, 0o600), (Some(0o666), 0o666), (Some(0o000), 0o000)] {
            let directory = Directory::new();
            let path = directory.socket();
            let (mut builder, _watch) = at(&path);
            if let Some(mode) = mode {
                builder = builder.unix_mode(mode);
            }
            let _daemon = builder.start_link().await.unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected);
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn both_ends_receive_the_peers_credentials() {
    run(async {
        let directory = Directory::new();
        let (builder, _watch, peers) = recording_daemon();
        let path = directory.socket();
        let _daemon = builder.listen_unix(&path).start_link().await.unwrap();
        let client = connected(Address::unix(&path)).await;
        assert_served(&client).await;
        let Status::Connected(server) = client.status() else {
            panic!("{client:?}");
        };
        let [client_with_tls] = &peers.take()[..] else {
            panic!("one client");
        };
        assert_eq!(client_with_tls.address, Endpoint::Unix(None));
        let own = fs::metadata("/proc/self").unwrap();
        for peer in [&server, client_with_tls] {
            let peer = peer.credentials.unwrap();
            assert_eq!(peer.pid, Some(std::process::id()));
            assert_eq!((peer.uid, peer.gid), (own.uid(), own.gid()));
        }
    });
}

#[test]
fn tls_over_a_unix_socket_uses_server_name_localhost() {
    run(async {
        let directory = Directory::new();
        let (path, ca) = (directory.socket(), TestCa::new());
        let (builder, _watch) = at(&path);
        let builder = builder.transport(ca.tls(&["localhost"]));
        let _daemon = builder.start_link().await.unwrap();
        let client = Client::<TestProtocol>::builder(Address::unix(&path));
        let client_with_tls = client.clone().transport(ca.tls(&["guest"]));
        assert_served(&client_with_tls.connect().await.unwrap()).await;
        let elsewhere = ca.tls(&["guest"]).server_name("elsewhere");
        let error = client.transport(elsewhere).connect().await.unwrap_err();
        assert!(error.to_string().contains("elsewhere"), "{error}");
    });
}

#[test]
fn daemon_listens_at_a_path_and_a_port() {
    run(async {
        let directory = Directory::new();
        let (builder, _watch) = at(&directory.socket());
        let daemon = builder.port(0).max_connections_per_address(1);
        let daemon = daemon.start_link().await.unwrap();
        // Peers at a Unix socket have no address to count.
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(connected(Address::unix(directory.socket())).await);
        }
        for client in &clients {
            assert_served(client).await;
        }
        assert_served(&connected(daemon.local_addr()).await).await;
        assert_eq!(daemon.info().rejected.address, 0);
    });
}

#[test]
fn stale_socket_file_is_replaced() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        stale(&path);
        let (builder, _watch) = at(&path);
        let _daemon = builder.start_link().await.unwrap();
        assert_served(&connected(Address::unix(&path)).await).await;
    });
}

/// Starts two daemons at one path concurrently, in many rounds. One wins and serves clients.
fn race(rounds: u32, prepare: fn(&Path)) {
    for round in 0..rounds {
        let directory = Directory::new();
        let path = directory.socket();
        prepare(&path);
        let barrier = Barrier::new(2);
        let outcomes = std::thread::scope(|scope| {
            [(); 2]
                .map(|()| scope.spawn(|| start_one(&path, &barrier)))
                .map(|it| it.join().unwrap())
        });
        let won = outcomes.iter().filter(|it| it.is_none()).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        let lost = outcomes.into_iter().flatten().next();
        assert_eq!(lost, Some(io::ErrorKind::AddrInUse));
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
    }
}

/// Returns why the daemon did not start. It has an executor of its own, because the global one has a single
/// thread.
fn start_one(path: &Path, barrier: &Barrier) -> Option<io::ErrorKind> {
    let executor = Arc::new(smol::Executor::new());
    let (builder, _watch) = at(path);
    let builder = builder.executor(Arc::clone(&executor));
    smol::block_on(executor.run(async {
        barrier.wait();
        let daemon = builder.start_link().await;
        // Both have finished their work on the file.
        barrier.wait();
        match daemon {
            Ok(daemon) => {
                assert_served(&connected(Address::unix(path)).await).await;
                daemon.shutdown().await;
                None
            }
            Err(error) => Some(bind_error(error)),
        }
    }))
}

#[test]
fn one_of_two_concurrent_starts_at_a_new_path_succeeds() {
    race(short_or_long(50, 300), |_| ());
}

#[test]
fn one_of_two_concurrent_starts_at_a_stale_socket_succeeds() {
    race(short_or_long(50, 300), stale);
}

#[test]
fn start_fails_with_bind_for_a_path_that_is_too_long() {
    run(async {
        let directory = Directory::new();
        // A path of the maximum length except for its last component.
        let mut deep = directory.0.clone();
        let left = if cfg!(target_os = "linux") { 107 } else { 103 } - deep.as_os_str().len();
        deep.push("d".repeat(left - 3));
        fs::create_dir(&deep).unwrap();
        for name in ["s", "too-long-for-a-socket-path"] {
            let (builder, _watch) = at(&deep.join(name));
            let error = builder.start().await.unwrap_err();
            assert_eq!(bind_error(error), io::ErrorKind::InvalidInput);
        }
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    });
}

#[test]
fn start_fails_with_bind_at_a_socket_in_use() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        let (builder, _watch) = at(&path);
        let first = builder.clone().start_link().await.unwrap();
        let error = builder.start().await.unwrap_err();
        assert_eq!(bind_error(error), io::ErrorKind::AddrInUse);
        assert_served(&connected(Address::unix(&path)).await).await;
        drop(first);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn socket_with_a_full_backlog_is_not_stale() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let full = socket.unwrap();
        full.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        full.listen(0).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        let (builder, _watch) = at(&path);
        let error = builder.start().await.unwrap_err();
        assert_eq!(bind_error(error), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    });
}

#[test]
fn start_does_not_replace_files_that_are_not_sockets() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        let target = directory.0.join("target");
        stale(&target);
        let make: [&dyn Fn(); 3] = [
            &|| fs::write(&path, "precious").unwrap(),
            &|| fs::create_dir(&path).unwrap(),
            &|| std::os::unix::fs::symlink(&target, &path).unwrap(),
        ];
        for make in make {
            make();
            let before = fs::symlink_metadata(&path).unwrap();
            let (builder, _watch) = at(&path);
            let error = builder.start().await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("not a socket"), "{text}");
            assert_eq!(bind_error(error), io::ErrorKind::AddrInUse);
            assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before.ino());
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        }
        assert!(target.exists());
    });
}

#[test]
fn shutdown_leaves_a_socket_file_that_was_replaced() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        let (builder, _watch) = at(&path);
        let first = builder.clone().start_link().await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = builder.start_link().await.unwrap();
        first.shutdown().await;
        assert_served(&connected(Address::unix(&path)).await).await;
        second.shutdown().await;
        assert!(!path.exists());
    });
}

#[test]
fn restarted_daemon_listens_at_the_same_path() {
    run(async {
        let directory = Directory::new();
        let path = directory.socket();
        let (builder, _watch) = at(&path);
        let daemons = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&daemons);
        let builder = builder.on_start(move |it| list.lock().unwrap().push(it.clone()));
        let supervisor = Supervisor::builder().child(builder.child_spec("daemon"));
        let supervisor = supervisor.start_link().await.unwrap();
        let client = connected(Address::unix(&path)).await;
        assert_served(&client).await;
        let first: Daemon<TestServer> = daemons.lock().unwrap()[0].clone();
        first.task().kill();
        client.until(|it| !matches!(it, Status::Connected(_))).await;
        client.until(|it| matches!(it, Status::Connected(_))).await;
        assert_served(&client).await;
        assert_eq!(daemons.lock().unwrap().len(), 2);
        supervisor.shutdown().await;
        assert!(!path.exists());
    });
}

#[test]
fn connect_to_a_missing_path_fails_with_not_found() {
    run(async {
        let directory = Directory::new();
        let client = Client::<TestProtocol>::builder(Address::unix(directory.socket()));
        let error = client.connect().await.unwrap_err();
        let erps::ConnectError::Unreachable { address, source } = error else {
            panic!("{error}");
        };
        assert_eq!(address.path(), Some(directory.socket().as_path()));
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
        let nameless = Client::<TestProtocol>::builder(Endpoint::Unix(None));
        nameless.connect().await.unwrap_err();
    });
}

#[erps::test(simulated)]
async fn simulated_network_rejects_unix_sockets() {
    let directory = Directory::new();
    let (builder, _watch) = at(&directory.socket());
    let error = builder.start().await.unwrap_err();
    assert_eq!(bind_error(error), io::ErrorKind::Unsupported);
    assert!(!directory.socket().exists());
    let client = Client::<TestProtocol>::builder(Address::unix(directory.socket()));
    client.connect().await.unwrap_err();
}

#[test]
fn unix_address_is_a_path_unless_it_is_a_port() {
    let host: Address = "unix:4747".parse().unwrap();
    assert_eq!(host, Address::from(("unix", 4747)));
    let path: Address = "unix:./a b".parse().unwrap();
    assert_eq!(path.to_string(), "unix:./a b");
    for path in ["shop.sock", "run/shop.sock", "4747.sock", "shop:4747", "~"] {
        let address = Address::unix(path);
        assert_eq!(address.to_string(), format!("unix:{path}"));
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    let digits = Address::unix("4747").to_string();
    assert_eq!(digits, "unix:./4747");
    assert_eq!(digits.parse(), Ok(Address::unix("./4747")));
    for none in ["unix:", "unix:65536"] {
        none.parse::<Address>().unwrap_err();
    }
}
