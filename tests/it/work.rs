//! What a server begins and that ends with it: tasks, monitors and timers.

mod client;
mod daemon;
mod tasks;
mod timers;
