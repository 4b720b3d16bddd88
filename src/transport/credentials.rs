//! The credentials of a Unix socket's peer.

/// The process at the other end of a Unix socket, as of when it connected or began to listen (`SO_PEERCRED`).
///
/// The kernel reports it, so a peer cannot forge it. On one machine it can authenticate a peer instead of a
/// certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process id. `None` if the process is not visible from this one's container.
    pub pid: Option<u32>,
    /// Its effective user id.
    pub uid: u32,
    /// Its effective group id.
    pub gid: u32,
}

#[cfg(unix)]
impl PeerCredentials {
    /// Returns the credentials of a socket's peer. `None` if the system does not report them.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn of(socket: &impl std::os::fd::AsFd) -> Option<Self> {
        use nix::sys::socket::{getsockopt, sockopt};
        let peer = getsockopt(socket, sockopt::PeerCredentials).ok()?;
        let pid = u32::try_from(peer.pid()).ok();
        Some(Self {
            pid: pid.filter(|&pid| pid != 0),
            uid: peer.uid(),
            gid: peer.gid(),
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn of(_: &impl std::os::fd::AsFd) -> Option<Self> {
        None
    }
}
