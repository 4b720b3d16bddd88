//! Unix sockets: the file of a listener, and who may take its place.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
            net::SocketAddr,
        },
    },
    path::Path,
    sync::Arc,
};

use async_net::unix::{UnixListener, UnixStream};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Socketed;
use crate::{Endpoint, PeerCredentials};

/// A Unix socket that is listened at.
#[derive(Debug)]
pub(super) struct Listener {
    // In this order: as long as the socket is open, no other file can have its number.
    file: Option<File>,
    listener: UnixListener,
}

impl Listener {
    /// Makes the file, with these permissions. One that nobody listens at makes way.
    pub(super) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != io::ErrorKind::AddrInUse || !removed_stale(path)? {
                return Err(error);
            }
            socket.bind(&address)?;
        }
        let file = File::at(path)?;
        // Nobody can connect before it listens, whatever the permissions are.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        Ok(Self {
            file: Some(file),
            listener: UnixListener::try_from(OwnedFd::from(socket))?,
        })
    }

    /// A listener that somebody else has made. So the file is theirs.
    pub(super) fn handed_in(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        Ok(Self {
            file: None,
            listener: UnixListener::try_from(listener)?,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<Endpoint> {
        match &self.file {
            Some(file) => Ok(Endpoint::Unix(Some(Arc::clone(&file.path)))),
            None => Ok(endpoint(&self.listener.local_addr()?)),
        }
    }

    /// As the accept of all listeners.
    pub(super) async fn accept(&self) -> io::Result<Socketed> {
        let (stream, peer) = self.listener.accept().await?;
        Ok(finish(stream, endpoint(&peer)))
    }
}

/// Connects to the socket of this path.
pub(super) async fn connect(path: &Path) -> io::Result<Socketed> {
    let stream = UnixStream::connect(path).await?;
    Ok(finish(stream, Endpoint::Unix(Some(path.into()))))
}

fn finish(stream: UnixStream, peer: Endpoint) -> Socketed {
    Socketed {
        credentials: PeerCredentials::of(&stream),
        stream: Box::new(stream),
        peer,
    }
}

pub(super) fn endpoint(address: &SocketAddr) -> Endpoint {
    Endpoint::Unix(address.as_pathname().map(Arc::from))
}

/// The file of a socket of ours; removed when this is dropped, if it is still the same.
#[derive(Debug)]
struct File {
    path: Arc<Path>,
    /// The device and the number of the file there.
    id: (u64, u64),
}

impl File {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            id: id(&fs::symlink_metadata(path)?),
        })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| id(&there) == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(target: "erps", path = %self.path.display(), %error, "a socket's file is left behind");
        }
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Removes the file of a socket that nobody listens at; tells whether it has.
///
/// Two daemons that start at the same moment, over the same old file, may both find it stale, and one of
/// them may then remove what the other has just made. The time between looking and removing is a few
/// microseconds; the system has no call for both.
fn removed_stale(path: &Path) -> io::Result<bool> {
    let before = fs::symlink_metadata(path)?;
    if !before.file_type().is_socket() || is_listened_at(path)? {
        return Ok(false);
    }
    let now = fs::symlink_metadata(path)?;
    let same = |of: &Metadata| (id(of), of.ctime(), of.ctime_nsec());
    if same(&now) != same(&before) {
        return Ok(false);
    }
    tracing::debug!(target: "erps", path = %path.display(), "nobody listens at an old socket, and it is removed");
    fs::remove_file(path)?;
    Ok(true)
}

/// Whether somebody does, or may do: only a clear no counts as none.
fn is_listened_at(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog would make it wait.
    probe.set_nonblocking(true)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Ok(!probe.connect(&SockAddr::unix(path)?).is_err_and(refused))
}
