//! Reading the PROXY header of a connection.

use std::sync::Arc;

use futures_lite::{AsyncRead, AsyncReadExt as _};

use super::HandshakeFailure;
use crate::{
    Endpoint, HandshakeError,
    wire::proxy::{self, Addresses, Step},
};

/// Reads the header, and not a byte more. Returns `None` if it announces no address: the connection counts
/// as the proxy's own.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Endpoint>, HandshakeFailure> {
    let failed = |error: HandshakeError| HandshakeFailure::Failed(error);
    let mut header = Vec::new();
    loop {
        match proxy::parse(&header).map_err(HandshakeFailure::Proxy)? {
            Step::More(bytes) => {
                let begin = header.len();
                header.resize(begin + bytes, 0);
                let read = stream.read(&mut header[begin..]).await;
                match read.map_err(|error| failed(error.into()))? {
                    0 => return Err(failed(HandshakeError::Closed)),
                    read => header.truncate(begin + read),
                }
            }
            Step::Done(announced, _) => return Ok(source(announced)),
        }
    }
}

fn source(announced: Addresses) -> Option<Endpoint> {
    match announced {
        Addresses::Inet { source, .. } => Some(source.into()),
        Addresses::Unix { source, .. } => Some(Endpoint::Unix(path(&source))),
        // A connection of the proxy itself, or one of unknown source.
        _ => None,
    }
}

fn path(bytes: &[u8]) -> Option<Arc<std::path::Path>> {
    #[cfg(unix)]
    let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
    #[cfg(not(unix))]
    let path = String::from_utf8_lossy(bytes).into_owned();
    (!bytes.is_empty()).then(|| std::path::PathBuf::from(path).into())
}
