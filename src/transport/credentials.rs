//! Who a process at the other end of a Unix socket is, as the system says.

/// The process at the other end of a Unix socket, when it connected or began to listen (`SO_PEERCRED`).
///
/// The system vouches for it: it takes the place of a certificate where both ends are on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The number of the process. `None` if it cannot be seen from this one's container.
    pub pid: Option<u32>,
    /// The user it runs as.
    pub uid: u32,
    /// The group it runs as.
    pub gid: u32,
}

#[cfg(unix)]
impl PeerCredentials {
    /// `None` where the system does not tell.
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
