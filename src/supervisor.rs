//! Supervisors: tasks that start, monitor and restart other tasks.
//!
//! ```text
//! handles --> queue --> supervisor --> starter    runs one start function in a task of its own
//!               ^            |            |
//!               |            +--------> child     the task that the start function returned
//!               +----- exit reports ------+
//! ```
//!
//! A supervisor is one task, the only owner of its table of children. It waits only for its queue, so a
//! start function that hangs or a child that does not exit blocks neither its replies nor its shutdown.
//! With independent children neither delays the other children; with an order, children are started and
//! shut down one after the other. A supervisor knows how to start tasks, not what they do.
//!
//! The queue is unbounded, but limited by its senders: a child has at most one report in it, and a
//! caller one command, which is taken out at once.

mod child;
mod delay;
mod dynamic;
mod dynamic_builder;
mod dynamic_message;
mod dynamic_run;
mod error;
mod event;
mod inbox;
mod info;
mod intensity;
mod ordered;
mod ordered_builder;
mod ordered_child;
mod ordered_message;
mod ordered_run;
mod owned;
mod strategy;
mod tree;
mod view;

pub use child::{ChildKind, ChildSpec, Restart, Started};
pub use delay::RestartDelay;
pub use dynamic::DynamicSupervisor;
pub use dynamic_builder::DynamicSupervisorBuilder;
pub use error::{
    ChildError, StartChildError, StartSupervisorError, SupervisorStopped, TerminateChildError,
};
pub use info::{ChildInfo, ChildState, Counts};
pub(crate) use intensity::Intensity;
pub use ordered::Supervisor;
pub use ordered_builder::SupervisorBuilder;
pub use strategy::{AutoShutdown, Strategy};
pub use tree::{Branch, Exit, Tree};
pub use view::UntilError;
