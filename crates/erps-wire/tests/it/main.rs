//! Packets, and the names and versions in their headers.

mod identity;
mod packet;
