//! A tiny HTTP service, for `main` and the tests: `GET /Oslo` returns the temperature in Oslo.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A service that runs as long as the runtime that it was started in.
pub(crate) struct Service {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Service {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how many requests it has read.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

pub(crate) async fn start() -> io::Result<Service> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&counter)));
        }
    });
    Ok(Service { address, requests })
}

async fn serve(stream: TcpStream, requests: Arc<AtomicUsize>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if stream.read_line(&mut request).await? == 0 {
                return Ok(());
            }
        }
        requests.fetch_add(1, Relaxed);
        let (status, body) = match request.split(' ').nth(1) {
            Some("/Lisbon") => ("200 OK", "28.5"),
            Some("/Oslo") => ("200 OK", "17"),
            // It never answers.
            Some("/Limbo") => std::future::pending().await,
            _ => ("404 Not Found", ""),
        };
        let length = body.len();
        let response = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(response.as_bytes()).await?;
    }
}
