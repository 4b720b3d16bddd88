//! TLS with certificates from files, and the identity of the peer.
//!
//! Both ends have the same three inputs: the trusted authority, their own certificate, and its key. The server reads the
//! name in its client's certificate from `Context::peer`. A client whose certificate comes from another authority is
//! rejected with an alert, and no server is started. Its `connect` returns an error that is likely permanent.
//!
//! It prints:
//!
//! ```text
//! the server says: you are billing
//! the unknown client fails: the peer rejected this end's certificate: unknown_ca (48): it does not trust the CA that issued it, or an intermediate certificate is missing
//! 1 server was started
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use erps::{BoxError, Client, Context, Daemon, InitError, Protocol, ReplyTo, Server, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

struct WhoAmI;

impl Protocol for WhoAmI {
    type Call = ();
    type Reply = String;
    type Cast = ();
    type Push = ();
}

struct WhoAmIServer {
    client: String,
}

impl Server for WhoAmIServer {
    type Protocol = WhoAmI;
    type Seed = Arc<AtomicU32>;
    type Info = ();

    async fn init(started: Arc<AtomicU32>, cx: &mut Context<Self>) -> Result<Self, InitError> {
        started.fetch_add(1, Relaxed);
        let identity = cx.peer().and_then(|peer| peer.identity.as_ref());
        let name = identity.and_then(|identity| identity.common_name());
        let client = name.ok_or("a certificate without a name")?.to_owned();
        Ok(Self { client })
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<String>,
        _: &mut Context<Self>,
    ) -> Result<(), BoxError> {
        from.reply(format!("you are {}", self.client));
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    let files = Files::new()?;
    let (ca, other_ca) = (authority("ours")?, authority("theirs")?);
    fs::write(files.path("ca.pem"), ca.pem())?;
    files.write("server", &ca, "localhost")?;
    files.write("client", &ca, "billing")?;
    files.write("unknown", &other_ca, "billing")?;

    smol::block_on(async {
        let started = Arc::default();
        let daemon = Daemon::<WhoAmIServer>::builder(Arc::clone(&started))
            .transport(files.tls("server")?)
            .start_link()
            .await?;
        let to_daemon = Client::<WhoAmI>::builder(("localhost", daemon.port()));

        let client = to_daemon.clone().transport(files.tls("client")?);
        let answer = client.connect().await?.call(()).await?;
        assert_eq!(answer, "you are billing");
        println!("the server says: {answer}");

        let unknown = to_daemon.transport(files.tls("unknown")?);
        let error = unknown.connect().await.unwrap_err();
        assert!(error.is_likely_permanent());
        println!("the unknown client fails: {error}");

        assert_eq!(started.load(Relaxed), 1);
        println!("{} server was started", started.load(Relaxed));
        Ok(())
    })
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority, BoxError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A temporary directory for the files, removed on drop.
struct Files(PathBuf);

impl Files {
    fn new() -> Result<Self, BoxError> {
        let directory = std::env::temp_dir().join(format!("erps-example-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Self(directory))
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Issues a certificate and writes it and its key: `{who}.pem` and `{who}.key`.
    fn write(&self, who: &str, ca: &Authority, name: &str) -> Result<(), BoxError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(
            self.path(format!("{who}.pem")),
            params.signed_by(&key, ca)?.pem(),
        )?;
        fs::write(self.path(format!("{who}.key")), key.serialize_pem())?;
        Ok(())
    }

    fn tls(&self, who: &str) -> Result<Tls, BoxError> {
        Ok(Tls::from_files(
            self.path("ca.pem"),
            self.path(format!("{who}.pem")),
            self.path(format!("{who}.key")),
        )?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
