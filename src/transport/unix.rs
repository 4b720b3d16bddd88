//! Unix sockets: the file of a listener, and who may take its place.

use std::{
    ffi::OsString,
    fs::{self, Metadata, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
            net::SocketAddr,
        },
    },
    path::{Path, PathBuf},
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
    ///
    /// The socket is bound elsewhere and gets its name when it listens: so there is none at the path that
    /// is deaf, and whoever looks whether one is stale is not misled. The system knows it by the first name.
    pub(super) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<Self> {
        // A longer one could be made, and nobody could connect to it.
        SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let draft = bind_draft(&socket, path)?;
        // Nobody can connect before it listens, whatever the permissions are.
        fs::set_permissions(&draft.path, Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        publish(&draft.path, path)?;
        let file = File {
            path: path.into(),
            id: draft.id,
        };
        drop(draft);
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

/// How many sockets of a directory may be in the making, those included that a crash has left behind.
const DRAFTS: u32 = 1000;

/// Binds the socket next to its path, by a name that is free.
fn bind_draft(socket: &Socket, path: &Path) -> io::Result<File> {
    for number in 0..DRAFTS {
        let draft = path.with_file_name(format!(".erps{number}"));
        let address = SockAddr::unix(&draft).map_err(|error| {
            let what =
                "the path of the socket's directory is too long for the temporary name of a socket";
            io::Error::new(error.kind(), what)
        })?;
        match socket.bind(&address) {
            Ok(()) => return File::at(&draft),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    let what = "all temporary names of sockets in the socket's directory are taken";
    Err(io::Error::new(io::ErrorKind::AddrInUse, what))
}

/// Gives a socket that listens its name.
fn publish(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => return linked,
    }
    let in_use = || Err(io::ErrorKind::AddrInUse.into());
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => {
            let what = "there is something at the path that is no socket";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
        }
        Err(_) => return in_use(),
    }
    let Some(_turn) = Turn::take(path)? else {
        return in_use();
    };
    if is_listened_at(path)? {
        return in_use();
    }
    tracing::debug!(target: "erps", path = %path.display(), "nobody listens at an old socket, and it is replaced");
    fs::rename(draft, path)
}

/// The right to replace the socket at a path, until this is dropped.
///
/// The system has no call that looks whether a socket is stale and replaces it. Of two daemons that have
/// both looked, the second would replace the first. With this the second looks when the first listens. Whoever
/// removes or replaces the file and does not know of the turn is not kept from it.
#[derive(Debug)]
struct Turn {
    path: PathBuf,
    /// Locked until it is closed: also by a crash.
    _file: fs::File,
}

impl Turn {
    /// `None` if somebody else is about to replace it.
    fn take(socket: &Path) -> io::Result<Option<Self>> {
        let mut name = OsString::from(".");
        name.push(socket.file_name().unwrap_or_default());
        name.push(".erps-lock");
        let path = socket.with_file_name(name);
        loop {
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path)?;
            if !lock(&file)? {
                return Ok(None);
            }
            let locked = id(&file.metadata()?);
            // Whoever had it before may have removed the file since it was opened.
            if fs::metadata(&path).is_ok_and(|there| id(&there) == locked) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(target: "erps", path = %self.path.display(), %error, "a lock's file is left behind");
        }
    }
}

/// Locks a file for as long as it is open; tells whether it has, as nobody waits.
fn lock(file: &fs::File) -> io::Result<bool> {
    #[cfg(not(target_os = "solaris"))]
    {
        use rustix::fs::{FlockOperation, flock};
        match flock(file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            locked => locked?,
        }
    }
    let _ = file;
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
