//! Supervisors: tasks that start other tasks, see them end, and start them again.
//!
//! ```text
//! handles --> queue --> supervisor --> starter    runs one recipe in a task of its own
//!               ^            |            |
//!               |            +--------> child     as the recipe made it
//!               +-- reports of their ends --+
//! ```
//!
//! A supervisor is one task, the only owner of its table of children. It never waits for anything
//! but its queue: it answers and ends whatever its recipes and children do. Where children stand for
//! themselves, neither a recipe that hangs nor a child that is slow to end holds up the others; where
//! they have an order, they are started and ended in it, one after the other. It knows recipes for
//! tasks, not what the tasks do.
//!
//! The queue has no limit of its own: a child has at most one report under way, and a caller has
//! one command, which is taken out at once.

mod child;
mod delay;
mod dynamic;
mod dynamic_builder;
mod dynamic_run;
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
mod tree;

pub use child::{ChildKind, ChildSpec, Restart, Started};
pub use delay::RestartDelay;
pub use dynamic::{DynamicSupervisor, TerminateChildError};
pub use dynamic_builder::DynamicSupervisorBuilder;
pub use info::{ChildInfo, ChildState, Counts, StartChildError, SupervisorGone};
pub(crate) use intensity::Intensity;
pub use ordered::{AutoShutdown, ChildError, StartSupervisorError, Strategy, Supervisor};
pub use ordered_builder::SupervisorBuilder;
pub use tree::{Branch, Exit, Tree, UntilError};
