//! Tests that are run by others, in a process of their own.

use std::{
    env,
    process::{Command, Output},
};

/// Runs an ignored test of this binary, alone.
pub(crate) fn run(fixture: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    for ours in ["SEED", "SEEDS", "REPLICATION", "TIMEOUT"] {
        command.env_remove(format!("ERPS_{ours}"));
    }
    command.env_remove("RUST_BACKTRACE");
    command.envs(variables.iter().copied());
    command.arg(fixture);
    command.args(["--exact", "--ignored", "--show-output"]);
    command.output().unwrap()
}

/// All that it says, if it passes.
pub(crate) fn passes(fixture: &str, variables: &[(&str, &str)]) -> String {
    let output = run(fixture, variables);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    assert!(text.contains("1 passed"), "{text}");
    text.into_owned()
}
