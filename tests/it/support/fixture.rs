//! Tests that are run by others, in a process of their own.

use std::{
    env,
    process::{Command, Output},
};

/// Runs an ignored test of this binary, alone.
pub(crate) fn run(fixture: &str, variables: &[(&str, &str)]) -> Output {
    let command = Command::new(env::current_exe().unwrap());
    output(command, fixture, variables)
}

fn output(mut command: Command, fixture: &str, variables: &[(&str, &str)]) -> Output {
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
    said(&run(fixture, variables))
}

/// As [`passes`], by a command that runs the program which it is given.
pub(crate) fn passes_in(mut command: Command, fixture: &str) -> String {
    command.arg(env::current_exe().unwrap());
    said(&output(command, fixture, &[]))
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    assert!(text.contains("1 passed"), "{text}");
    text.into_owned()
}
