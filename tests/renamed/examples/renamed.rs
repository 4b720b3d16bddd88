//! An example whose test uses the attribute by the library's other name.

fn main() {}

#[net::test]
async fn an_example_finds_the_library_by_the_name_in_cargo_toml() {
    assert!(net::Universe::current().is_some());
}
