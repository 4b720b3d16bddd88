//! Universes and the processes of erps: servers, clients, daemons and supervisors.

mod allow;
mod ancestry;
mod durations;
mod leaks;
mod many;
