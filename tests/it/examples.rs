//! The numbered examples: each exits with success and prints the output shown in its header.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::examples::example;

#[test]
fn examples_print_the_output_shown_in_their_headers() {
    let examples = numbered();
    assert!(!examples.is_empty(), "no examples/NN_*.rs");
    let start = |source: &PathBuf| {
        let mut command = Command::new(example(name_of(source)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // All are started before the first is waited for.
    let running: Vec<_> = examples.iter().map(start).collect();
    for (source, child) in examples.iter().zip(running) {
        let name = name_of(source);
        let expected = expected_output(&fs::read_to_string(source).unwrap());
        let expected = expected.unwrap_or_else(|| panic!("{name}: no `It prints:` and a block"));
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{name}: {}: {errors}",
            output.status
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{name}");
        assert_eq!(errors, "", "{name} writes to stderr");
    }
}

#[test]
fn examples_are_numbered_consecutively() {
    let names = numbered();
    let names = names.iter().map(|path| path.file_name().unwrap());
    for (n, name) in (1..).zip(names) {
        let number = format!("{n:02}_");
        let name = name.to_str().unwrap();
        assert!(name.starts_with(&number), "{name}, expected {number}*.rs");
    }
}

#[test]
fn readme_contains_the_first_example_and_links_to_all() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let examples = numbered();
    let first = fs::read_to_string(&examples[0]).unwrap();
    let (_header, code) = first.split_once("\n\n").unwrap();
    assert!(
        readme.contains(code),
        "README.md does not contain the first example"
    );
    for example in examples {
        let name = name_of(&example);
        let entry = format!("[{name}](examples/{name}.rs)");
        assert!(
            readme.contains(&entry),
            "README.md does not contain {entry}"
        );
    }
}

fn name_of(source: &Path) -> &str {
    source.file_stem().unwrap().to_str().unwrap()
}

/// Returns the sources of the numbered examples, in order.
fn numbered() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().as_encoded_bytes()[0].is_ascii_digit());
    paths.sort();
    paths
}

/// Returns the block that follows "It prints:" in the header.
fn expected_output(source: &str) -> Option<String> {
    let mut header = source.lines().map_while(|line| line.strip_prefix("//!"));
    header.find(|line| line.trim() == "It prints:")?;
    header.find(|line| line.trim() == "```text")?;
    let block = header.take_while(|line| line.trim() != "```");
    Some(
        block
            .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n")
            .collect(),
    )
}
