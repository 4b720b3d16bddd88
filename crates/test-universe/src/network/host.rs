//! The handle to a host.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{hosts, state::Net};
use crate::{InUniverse, Universe, current};

/// A host of a simulated [`Network`](crate::Network). Returned by [`Network::host`](crate::Network::host).
///
/// A task that inherits the universe of code on a host is on that host.
///
/// # Example
///
/// ```
/// use test_universe::{Network, Universe};
///
/// Universe::simulated(1).run(async {
///     let network = Network::current().unwrap();
///     let (alpha, beta) = (network.host("alpha"), network.host("beta"));
///     let listener = alpha.enter(|| network.listen(alpha.address(4747))).unwrap();
///     let stream = beta.scope(network.connect(alpha.address(4747))).await.unwrap();
///     let (_, peer) = listener.accept().await.unwrap();
///     assert_eq!(peer.ip(), beta.ip());
///     drop(stream);
/// });
/// ```
#[derive(Clone)]
pub struct Host {
    net: Arc<Net>,
    name: Arc<str>,
    ip: IpAddr,
}

impl Host {
    pub(super) fn new(net: Arc<Net>, name: Arc<str>, number: usize) -> Self {
        let ip = hosts::v4(number).into();
        Self { net, name, ip }
    }

    /// Returns its name, which can be resolved.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its IPv4 address, beside the loopback addresses. Its IPv6 address is `fd00::` with the same number.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Returns the address of one of its ports.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Wraps a future to run on this host, with all that it spawns.
    ///
    /// # Panics
    ///
    /// If the caller is not in the host's universe.
    ///
    /// # Cancel safety
    ///
    /// The same as the future's own.
    #[track_caller]
    pub fn scope<F: Future>(&self, future: F) -> InUniverse<F> {
        self.assert_here();
        current::within_host(Arc::clone(&self.name), future)
    }

    /// Runs a closure on this host and returns its result.
    ///
    /// # Panics
    ///
    /// If the caller is not in the host's universe.
    #[track_caller]
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        self.assert_here();
        current::enter_host(Arc::clone(&self.name), f)
    }

    #[track_caller]
    fn assert_here(&self) {
        let name = &self.name;
        let is_somewhere = Universe::current().is_some();
        assert!(
            is_somewhere,
            "the host {name:?} is in a universe, and the caller is in none"
        );
        let is_here = Net::current().is_some_and(|net| Arc::ptr_eq(&net, &self.net));
        assert!(is_here, "the host {name:?} is in another universe");
    }
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name).finish()
    }
}
