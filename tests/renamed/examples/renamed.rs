//! An example whose test uses the attribute through a renamed dependency.

fn main() {}

#[net::test]
async fn example_uses_the_name_in_cargo_toml() {
    assert!(net::Universe::current().is_some());
}
