//! Ignored tests that other tests run in a process of their own.

use std::{
    env,
    process::{Command, Output},
};

/// Runs one ignored test of this binary in a new process.
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

/// Runs a fixture that has to pass and returns its output.
pub(crate) fn passes(fixture: &str, variables: &[(&str, &str)]) -> String {
    output_of_passed(&run(fixture, variables))
}

/// As [`passes`], but prefixed by a command that runs the program it is given.
pub(crate) fn passes_in(mut command: Command, fixture: &str) -> String {
    command.arg(env::current_exe().unwrap());
    output_of_passed(&output(command, fixture, &[]))
}

fn output_of_passed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    assert!(text.contains("1 passed"), "{text}");
    text.into_owned()
}
