//! The glob import of the prelude, beside Rust's own test attribute and `anyhow`.

use erps::prelude::*;

#[test]
fn prelude_leaves_the_test_attribute_of_rust_alone() {
    let address: Address = "localhost:4747".into();
    assert_eq!(address.to_string(), "localhost:4747");
}

fn handler() -> Result<(), BoxError> {
    fails()?;
    Ok(())
}

fn fails() -> anyhow::Result<()> {
    anyhow::bail!("as the test asks")
}

#[test]
fn boxed_error_converts_from_and_to_anyhow() {
    let application = || -> anyhow::Result<()> {
        handler().map_err(anyhow::Error::from_boxed)?;
        Ok(())
    };
    assert_eq!(application().unwrap_err().to_string(), "as the test asks");
}
