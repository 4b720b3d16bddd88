//! The numbered examples: each runs to its end and prints what its header says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::examples::example;

#[test]
fn every_numbered_example_prints_what_its_header_says() {
    let examples = numbered();
    assert!(!examples.is_empty(), "no examples/NN_*.rs");
    for source in examples {
        let name = source.file_stem().unwrap().to_str().unwrap();
        let promised = promise(&fs::read_to_string(&source).unwrap());
        let promised = promised.unwrap_or_else(|| panic!("{name}: no `It prints:` and a block"));
        let ran = Command::new(example(name)).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{name}: {}: {said}", ran.status);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), promised, "{name}");
        assert_eq!(said, "", "{name} complains");
    }
}

#[test]
fn the_examples_are_numbered_without_a_gap() {
    let names = numbered();
    let names = names.iter().map(|path| path.file_name().unwrap());
    for (n, name) in (1..).zip(names) {
        let number = format!("{n:02}_");
        let name = name.to_str().unwrap();
        assert!(name.starts_with(&number), "{name}, expected {number}*.rs");
    }
}

#[test]
fn the_readme_shows_the_first_example_and_lists_them_all() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let examples = numbered();
    let first = fs::read_to_string(&examples[0]).unwrap();
    let (_header, code) = first.split_once("\n\n").unwrap();
    assert!(readme.contains(code), "it shows another program than 01");
    for example in examples {
        let name = example.file_stem().unwrap().to_str().unwrap();
        let entry = format!("[{name}](examples/{name}.rs)");
        assert!(readme.contains(&entry), "it does not list {entry}");
    }
}

/// The sources of the numbered examples, in order.
fn numbered() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().as_encoded_bytes()[0].is_ascii_digit());
    paths.sort();
    paths
}

/// The block in the header that follows "It prints:".
fn promise(source: &str) -> Option<String> {
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
