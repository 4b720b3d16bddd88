//! Listeners created by the caller.

use super::*;

#[test]
fn handed_in_listener_accepts_connections() {
    run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.listener(listener).start_link().await.unwrap();
        assert_eq!(daemon.local_addrs(), [Endpoint::from(at)]);
        assert_served(&connected(at).await).await;
        daemon.shutdown().await;
        test_server::until_free(at).await;
    });
}

#[test]
fn drain_closes_a_handed_in_listener_despite_handles() {
    run(async {
        let listener = TcpListener::bind((test_server::unique_loopback(), 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (builder, _watch) = test_server::daemon();
        let daemon = builder.listener(listener).start_link().await.unwrap();
        let handle = Daemon::clone(&daemon);
        assert_served(&connected(at).await).await;
        assert!(daemon.drain(secs(10)).await.is_clean());
        handle.exited().await;
        test_server::until_free(at).await;
        drop(handle);
    });
}

#[test]
fn daemon_started_again_reuses_its_handed_in_listener() {
    run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (builder, _watch) = test_server::daemon();
        let builder = builder.listener(listener);
        let first = builder.clone().start_link().await.unwrap();
        let client = connected(at).await;
        assert_served(&client).await;
        first.shutdown().await;
        // A client that connects meanwhile waits in the backlog for the second daemon.
        let waiting = connected(at).await;
        let second = builder.start_link().await.unwrap();
        assert_served(&waiting).await;
        assert!(second.info().accepted >= 1);
    });
}

#[test]
fn plaintext_beyond_loopback_is_rejected_for_a_handed_in_listener() {
    run(async {
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let error = test_server::daemon().0.listener(listen()).start().await;
        assert!(matches!(error, Err(StartDaemonError::Plaintext(_))));
        let (builder, _watch) = test_server::daemon();
        let builder = builder.listener(listen()).plaintext_anywhere();
        let _daemon = builder.start_link().await.unwrap();
    });
}

#[erps::test(simulated)]
async fn simulated_network_rejects_a_handed_in_listener() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let error = test_server::daemon().0.listener(listener).start().await;
    let Err(StartDaemonError::Bind { source, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::Unsupported);
}

#[cfg(target_os = "linux")]
#[test]
fn handed_in_socket_that_does_not_listen_is_rejected() {
    run(async {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        socket.bind(&any.into()).unwrap();
        let error = test_server::daemon()
            .0
            .listener(TcpListener::from(socket))
            .start()
            .await;
        let Err(StartDaemonError::Bind { source, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn broken_handed_in_listener_is_retried_up_to_max_listener_rebinds() {
    run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ours = socket2::Socket::from(listener.try_clone().unwrap());
        let (builder, _watch) = test_server::daemon();
        let builder = builder.max_listener_rebinds(2, secs(60));
        let daemon = builder.listener(listener).start_link().await.unwrap();
        let mut events = daemon.events();
        let client = connected(daemon.local_addr()).await;
        assert_served(&client).await;
        // Shuts the socket down for every process and handle.
        ours.shutdown(std::net::Shutdown::Both).unwrap();
        let mut failures = 0;
        while let Some(event) = events.next().await {
            failures += u32::from(matches!(event, DaemonEvent::ListenerFailed { .. }));
        }
        assert_eq!(failures, 2);
        assert!(matches!(daemon.exited().await, ExitReason::Error(_)));
    });
}

#[cfg(unix)]
mod unix {
    use std::{
        os::{fd::OwnedFd, unix::net::UnixListener},
        process::{Command, Stdio},
    };

    use erps::Address;

    use super::{super::unix::Directory, *};

    #[test]
    fn handed_in_unix_listener_keeps_its_file() {
        run(async {
            let directory = Directory::new();
            let path = directory.socket();
            let listener = UnixListener::bind(&path).unwrap();
            let (builder, _watch) = test_server::daemon();
            let daemon = builder.listener(listener).start_link().await.unwrap();
            assert_eq!(daemon.local_addrs()[0].path(), Some(path.as_path()));
            assert_served(&connected(Address::unix(&path)).await).await;
            daemon.shutdown().await;
            assert!(path.exists());
        });
    }

    /// Like a service started by systemd: the listeners are the file descriptors from 3 on.
    #[test]
    fn process_takes_listeners_over_by_socket_activation() {
        run(async {
            let directory = Directory::new();
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let unix = UnixListener::bind(directory.socket()).unwrap();
            let at = tcp.local_addr().unwrap();
            // Both clients wait in the backlog until the process accepts.
            let unix_client = connected(Address::unix(directory.socket())).await;
            let clients = [connected(at).await, unix_client];
            let script = "exec 3<&0 4<&1 0</dev/null 1>&2; \
                          LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script, "sh"]);
            command.arg(std::env::current_exe().unwrap());
            command.args([FIXTURE, "--exact", "--ignored", "--nocapture"]);
            command.stdin(Stdio::from(OwnedFd::from(tcp)));
            command.stdout(Stdio::from(OwnedFd::from(unix)));
            command.stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            drop(command);
            for client in &clients {
                // The process needs a moment to start.
                let reply = client.call_within(Call::Ping, secs(30)).await;
                reply.unwrap();
            }
            drop(clients);
            let status = smol::unblock(move || child.wait()).await.unwrap();
            assert!(status.success(), "{status}");
        });
    }

    const FIXTURE: &str = "sockets::handed_in::unix::serves_two_clients_on_activated_sockets";

    #[test]
    #[ignore = "run by another test, in its own process"]
    fn serves_two_clients_on_activated_sockets() {
        run(async {
            let mut handed = listenfd::ListenFd::from_env();
            let (builder, watch) = test_server::daemon();
            let builder = builder.listener(handed.take_tcp_listener(0).unwrap().unwrap());
            let builder = builder.listener(handed.take_unix_listener(1).unwrap().unwrap());
            let _daemon = builder.start_link().await.unwrap();
            let mut ended = 0;
            while ended < 2 {
                let life = watch.lifecycle.recv().await.unwrap();
                ended += u32::from(matches!(life, Lifecycle::Terminated(_)));
            }
        });
    }
}
