//! The numbered examples: each runs to its end and prints what its header says.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

#[test]
fn every_numbered_example_prints_what_its_header_says() {
    let examples = numbered();
    assert!(!examples.is_empty(), "no examples/NN_*.rs");
    for source in examples {
        let name = source.file_stem().unwrap().to_str().unwrap();
        let promised = promise(&fs::read_to_string(&source).unwrap());
        let promised = promised.unwrap_or_else(|| panic!("{name}: no `It prints:` and a block"));
        let ran = Command::new(binary(&source)).output().unwrap();
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

/// Where cargo has put an example. `cargo test` builds them all; `cargo test --test it` does not, so
/// that one which is missing, or older than its source, is built here.
fn binary(source: &Path) -> PathBuf {
    static BUILD: Once = Once::new();
    // This is target/PROFILE/deps/it-HASH.
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let binary = profile.join("examples").join(source.file_stem().unwrap());
    let binary = binary.with_extension(env::consts::EXE_EXTENSION);
    let written = |path: &Path| path.metadata().and_then(|it| it.modified()).ok();
    if written(&binary) < written(source) {
        BUILD.call_once(|| build(profile));
    }
    binary
}

fn build(profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--examples", "--quiet", "--target-dir"]);
    cargo.arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    if cfg!(not(feature = "ring")) {
        cargo.arg("--no-default-features");
    }
    if cfg!(feature = "aws-lc-rs") {
        cargo.args(["--features", "aws-lc-rs"]);
    }
    // What cargo tells a test of its package would make ring's build script run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let built = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "cargo build --examples: {said}");
}
