//! The programs in `examples`, as cargo builds them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    time::SystemTime,
};

/// Returns the path of an example's executable. `cargo test` builds the examples, except those that contain
/// tests; `cargo test --test it` builds none. An executable that is missing or older than its sources is
/// built here.
pub(crate) fn example(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    // The path is target/PROFILE/deps/it-HASH.
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let binary = profile.join("examples").join(name);
    let binary = binary.with_extension(env::consts::EXE_EXTENSION);
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["Cargo.toml", "src", "examples/peer"].map(|path| package.join(path));
    let source = package.join("examples").join(name).with_extension("rs");
    let newest = sources.iter().chain([&source]);
    let newest = newest.map(|source| written(source).unwrap()).max();
    if written(&binary).ok() >= newest {
        return binary;
    }
    BUILD.call_once(|| build(profile));
    binary
}

/// Returns when a file, or the newest file in a directory, was last written.
fn written(path: &Path) -> io::Result<SystemTime> {
    let mut newest = path.metadata()?.modified()?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(written(&entry?.path())?);
        }
    }
    Ok(newest)
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
    // The variables that cargo sets for the tests of this package would make ring's build script run again.
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
    let stderr = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "cargo build --examples: {stderr}");
}
