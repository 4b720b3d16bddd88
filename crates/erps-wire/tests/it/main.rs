//! Packets, and the identifiers and versions in their headers.

mod identity;
mod packet;
