//! The program of `examples/01_hello.rs` with tarpc: the README compares their lengths.
//!
//! It has no supervisor, and its client does not reconnect.

use std::{error::Error, sync::Arc};

use futures::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tarpc::{
    client, context, serde_transport,
    server::{BaseChannel, Channel as _},
    tokio_serde::formats::Bincode,
    tokio_util::codec::LengthDelimitedCodec,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        server::WebPkiClientVerifier,
    },
};

type BoxError = Box<dyn Error + Send + Sync>;

#[tarpc::service]
trait Hello {
    async fn hello(name: String) -> String;
}

#[derive(Clone)]
struct HelloServer;

impl Hello for HelloServer {
    async fn hello(self, _: context::Context, name: String) -> String {
        format!("hello, {name}")
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ca = authority()?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone())?;
    let roots = Arc::new(roots);

    let (certificate, key) = identity(&ca, "localhost")?;
    let verifier = WebPkiClientVerifier::builder(roots.clone()).build()?;
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let framed = LengthDelimitedCodec::builder().new_framed(stream);
                    let transport = serde_transport::new(framed, Bincode::default());
                    let channel = BaseChannel::with_defaults(transport);
                    channel
                        .execute(HelloServer.serve())
                        .for_each(|response| async move {
                            tokio::spawn(response);
                        })
                        .await;
                }
            });
        }
    });

    let (certificate, key) = identity(&ca, "client")?;
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificate, key)?;
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let framed = LengthDelimitedCodec::builder().new_framed(stream);
    let transport = serde_transport::new(framed, Bincode::default());
    let client = HelloClient::new(client::Config::default(), transport).spawn();
    let reply = client.hello(context::current(), "world".into()).await?;

    assert_eq!(reply, "hello, world");
    println!("{reply}");
    Ok(())
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, BoxError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate of the authority for `name`, and its key.
fn identity(ca: &Authority, name: &str) -> Result<Identity, BoxError> {
    let key = KeyPair::generate()?;
    let own = CertificateParams::new([name.to_owned()])?.signed_by(&key, ca)?;
    Ok((
        vec![own.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der())?,
    ))
}
