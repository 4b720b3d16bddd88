//! A library that calls erps `net`.
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
    async fn a_unit_test_finds_the_library_by_the_name_in_cargo_toml() {
        assert!(net::Universe::current().is_some());
    }
}
