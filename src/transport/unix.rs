//! Unix sockets, and the file of a listening socket: creating, replacing and removing it.

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

use super::RawConnection;
use crate::{Endpoint, PeerCredentials};

/// A Unix listener, and its file if this process has created it.
#[derive(Debug)]
pub(super) struct Listener {
    // Dropped first: while the socket is open, no other file can have its inode number.
    file: Option<SocketFile>,
    listener: UnixListener,
}

impl Listener {
    /// Binds a socket at `path` with these file permissions. Replaces a stale socket, one without a listener.
    ///
    /// The socket is bound under a temporary name, and linked to `path` when it listens. So a socket at `path`
    /// always listens, and a check for stale sockets has no race. `getsockname` returns the temporary name.
    pub(super) fn bind(path: &Path, mode: u32, backlog: i32) -> io::Result<Self> {
        // A file with a longer path could be created, but no client could connect to it.
        SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let temporary = bind_temporary(&socket, path)?;
        // No client can connect before it listens, with any permissions.
        fs::set_permissions(&temporary.path, Permissions::from_mode(mode))?;
        socket.listen(backlog)?;
        link_or_replace(&temporary.path, path)?;
        let file = SocketFile {
            path: path.into(),
            id: temporary.id,
        };
        drop(temporary);
        Ok(Self {
            file: Some(file),
            listener: UnixListener::try_from(OwnedFd::from(socket))?,
        })
    }

    /// Returns an external listener. Its file is not removed.
    pub(super) fn external(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
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

    /// Waits for a connection.
    pub(super) async fn accept(&self) -> io::Result<RawConnection> {
        let (stream, peer) = self.listener.accept().await?;
        Ok(finish(stream, endpoint(&peer)))
    }
}

/// Connects to the socket of this path.
pub(super) async fn connect(path: &Path) -> io::Result<RawConnection> {
    let stream = UnixStream::connect(path).await?;
    Ok(finish(stream, Endpoint::Unix(Some(path.into()))))
}

fn finish(stream: UnixStream, peer: Endpoint) -> RawConnection {
    RawConnection {
        credentials: PeerCredentials::of(&stream),
        stream: Box::new(stream),
        peer,
    }
}

pub(super) fn endpoint(address: &SocketAddr) -> Endpoint {
    Endpoint::Unix(address.as_pathname().map(Arc::from))
}

/// The file of a socket that this process has created. Dropping it removes the file, unless it was replaced.
#[derive(Debug)]
struct SocketFile {
    path: Arc<Path>,
    /// The device and inode numbers.
    id: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            id: id(&fs::symlink_metadata(path)?),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| id(&there) == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(target: "erps", path = %self.path.display(), %error, "cannot remove the file of a Unix socket");
        }
    }
}

fn id(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The number of temporary names in a directory: for sockets being bound, and those left by crashes.
const TEMPORARY_NAMES: u32 = 1000;

/// Binds the socket to a free temporary name in the directory of its path.
fn bind_temporary(socket: &Socket, path: &Path) -> io::Result<SocketFile> {
    for number in 0..TEMPORARY_NAMES {
        let temporary = path.with_file_name(format!(".erps{number}"));
        let address = SockAddr::unix(&temporary).map_err(|error| {
            let what =
                "the path of the socket's directory is too long for the temporary name of a socket";
            io::Error::new(error.kind(), what)
        })?;
        match socket.bind(&address) {
            Ok(()) => return SocketFile::at(&temporary),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    let what = "all temporary socket names in the socket's directory are in use";
    Err(io::Error::new(io::ErrorKind::AddrInUse, what))
}

/// Gives a listening socket its name. Replaces a stale socket; fails if there is a listener, or another file.
fn link_or_replace(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => return linked,
    }
    let in_use = || Err(io::ErrorKind::AddrInUse.into());
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => {
            let what = "the file at the path is not a socket";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
        }
        Err(_) => return in_use(),
    }
    let Some(_lock) = ReplaceLock::acquire(path)? else {
        return in_use();
    };
    if has_listener(path)? {
        return in_use();
    }
    tracing::debug!(target: "erps", path = %path.display(), "replacing a stale Unix socket: it has no listener");
    fs::rename(temporary, path)
}

/// A lock file for replacing the socket at a path. Dropping it releases the lock.
///
/// No system call checks that a socket is stale and replaces it atomically. Without a lock, two daemons could both
/// find a stale socket, and the second would replace the socket of the first. The lock is advisory: programs that
/// do not use it can still replace the file.
#[derive(Debug)]
struct ReplaceLock {
    path: PathBuf,
    /// Locked until it is closed, also by a crash.
    _file: fs::File,
}

impl ReplaceLock {
    /// Returns `None` if another process holds the lock.
    fn acquire(socket: &Path) -> io::Result<Option<Self>> {
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
            // The previous holder may have removed the file after it was opened here.
            if fs::metadata(&path).is_ok_and(|there| id(&there) == locked) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for ReplaceLock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(target: "erps", path = %self.path.display(), %error, "cannot remove the lock file of a Unix socket");
        }
    }
}

/// Tries to lock a file until it is closed. Returns false if it is locked already; does not wait.
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

/// Returns whether a socket has a listener. Every result but "connection refused" counts as yes.
fn has_listener(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full backlog would make it wait.
    probe.set_nonblocking(true)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Ok(!probe.connect(&SockAddr::unix(path)?).is_err_and(refused))
}
