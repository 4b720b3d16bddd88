//! One daemon, one client, and mutual TLS.
//!
//! A trait declares the calls of both ends, a server handles them, and a daemon listens and starts one server per
//! connection under a supervisor. A certificate authority, created in memory, issues the certificates of both ends.
//! Without one a peer is rejected.
//!
//! It prints:
//!
//! ```text
//! hello, world
//! 1 supervised server
//! ```

use erps::{BoxError, Client, Daemon, DynamicSupervisor, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

#[erps::protocol]
trait Hello {
    async fn hello(name: String) -> String;
}

#[derive(Default)]
struct HelloServer;

#[erps::server]
impl Hello for HelloServer {
    async fn hello(&mut self, name: String) -> String {
        format!("hello, {name}")
    }
}

fn main() -> Result<(), BoxError> {
    smol::block_on(async {
        let ca = authority()?;
        let supervisor = DynamicSupervisor::builder().start_link();
        let daemon = Daemon::<HelloServer>::builder(())
            .transport(tls(&ca, "localhost")?)
            .server_supervisor(supervisor.clone())
            .start_link()
            .await?;

        let client = Client::<HelloProtocol>::builder(("localhost", daemon.port()))
            .transport(tls(&ca, "client")?)
            .connect()
            .await?;
        let reply = client.hello("world".into()).await?;

        let servers = supervisor.which_children().await?.len();

        assert_eq!((reply.as_str(), servers), ("hello, world", 1));
        println!("{reply}");
        println!("{servers} supervised server");
        Ok(())
    })
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, BoxError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A transport that trusts the authority and presents a certificate of it for `name`.
fn tls(ca: &Authority, name: &str) -> Result<Tls, BoxError> {
    let key = KeyPair::generate()?;
    let own = CertificateParams::new([name.to_owned()])?.signed_by(&key, ca)?;
    Ok(Tls::from_pem(ca.pem(), own.pem(), key.serialize_pem())?)
}
