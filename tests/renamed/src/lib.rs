//! A library that depends on erps under the name `net`.
//!
//! ```test_harness
//! #[net::test]
//! async fn in_a_documentation_test() {
//!     assert!(net::Universe::current().is_some());
//! }
//! ```

pub use net as inner;

#[cfg(test)]
mod tests {
    #[net::test]
    async fn unit_test_uses_the_name_in_cargo_toml() {
        assert!(net::Universe::current().is_some());
    }
}
