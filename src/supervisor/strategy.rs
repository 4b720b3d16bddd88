//! Which children a supervisor restarts, and when it shuts down by itself.

/// Which children are restarted together with one that exits. OTP's supervision strategies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// Restarts only that child. The default, as in OTP.
    #[default]
    OneForOne,
    /// Restarts all children: the others are shut down first, in reverse order.
    OneForAll,
    /// Restarts that child and those after it, which are shut down first, in reverse order.
    RestForOne,
}

/// When a supervisor shuts down because [significant](crate::ChildSpec::significant) children have
/// exited. OTP's `auto_shutdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AutoShutdown {
    /// Never. A significant child is rejected. The default, as in OTP.
    #[default]
    Never,
    /// When any significant child has exited by itself and is not restarted.
    AnySignificant,
    /// When the last significant child has exited by itself and is not restarted.
    AllSignificant,
}
