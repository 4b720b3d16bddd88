//! The attribute in a package that depends on erps under the name `net`.

use std::time::Duration;

use net::{BoxError, Universe, time};

#[net::test]
async fn integration_test_uses_the_name_in_cargo_toml() {
    assert!(Universe::current().is_some());
}

#[net::test(simulated, seeds = 3, timeout = 30)]
async fn options_work_under_another_name() -> Result<(), BoxError> {
    time::sleep(Duration::from_secs(3600)).await;
    Ok(())
}

#[net::test(crate = "net")]
async fn crate_option_sets_the_name() {
    assert!(Universe::current().is_some());
}

#[net::test(crate = "::erps_renamed::inner", simulated)]
async fn crate_option_accepts_a_path() {
    assert_eq!(Universe::current().unwrap().seed(), Some(0));
}

#[net::test(panics = "as the test asks")]
async fn panics_are_expected_under_another_name() {
    let task = net::spawn(async { panic!("it panics as the test asks") });
    while !task.is_finished() {
        time::sleep(Duration::from_millis(1)).await;
    }
}
