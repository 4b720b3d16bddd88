//! A daemon with TLS, and a peer that sends arbitrary bytes instead of a handshake.
//!
//! ```text
//! mode | bytes        mode: into what pieces they are cut, whether the end is a close or a loss
//! ```

use erps::{Daemon, Network, Universe, network::Link};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::server::{ParrotServer, TLS, assert_closed_without_panic};

pub(crate) fn run(data: &[u8]) {
    let Some((&mode, bytes)) = data.split_first() else {
        return;
    };
    Universe::simulated(u64::from(mode)).run(async {
        let network = Network::current().expect("it is simulated");
        if mode & 1 == 1 {
            network.set_default_link(Link::new().pieces(5));
        }
        let daemon = Daemon::<ParrotServer>::builder(()).transport(TLS.0.clone());
        let daemon = daemon.start_link().await.unwrap();
        let mut events = daemon.events();
        let mut stream = network.connect(daemon.local_addr()).await.unwrap();
        let sent = stream.write_all(bytes).await;
        match mode >> 1 & 3 {
            0 => drop(stream),
            1 => stream.abort(),
            // Until the daemon closes the connection.
            2 => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            _ => {
                if sent.is_ok() {
                    let _ = stream.close().await;
                }
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
        assert_closed_without_panic(&mut events).await;
        let info = daemon.info();
        assert_eq!(
            (info.accepted, info.connections, info.handshakes),
            (1, 0, 0)
        );
        assert_eq!((info.servers, info.failed), (0, 1));
    });
}
