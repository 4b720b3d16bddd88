//! Checks the structure of the sources: layers, import cycles, file lengths, and forbidden words.
//!
//! Comments and unit tests are skipped.

mod graph;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use graph::Graph;

/// The modules of erps from the bottom up, and the modules each may use.
const LAYERS: &str = "
    wire:
    exit:
    backoff:
    throttle:
    endpoint:
    text:
    encode:
    mailbox:
    macros:
    protocol:   wire
    task:       exit endpoint throttle
    timers:     task exit
    transport:  endpoint task exit
    link:       wire encode endpoint transport task
    send_queue: wire encode task
    reply:      wire exit endpoint protocol task send_queue
    request:    protocol
    supervisor: endpoint exit backoff task
    server:     wire endpoint exit protocol task timers transport link mailbox send_queue reply request
    group:      wire protocol task server
    client:     wire encode endpoint exit protocol task timers transport link mailbox reply request backoff text throttle
    daemon:     wire endpoint exit protocol task transport link server supervisor throttle
    child_spec: task protocol supervisor server client
";

#[test]
fn only_task_and_test_universe_spawn_and_read_the_clock() {
    const UNIVERSE: &str = "crates/test-universe/src/";
    let universe = |files: &[&str]| -> Vec<String> {
        let files = files.iter().map(|file| format!("{UNIVERSE}{file}"));
        ["src/task".to_owned()].into_iter().chain(files).collect()
    };
    // `check` detects a test that hangs, in real time and from another thread.
    let words = [
        "SystemTime::now",
        "smol::spawn",
        "thread::spawn",
        "unblock(",
    ];
    only_these_contain(
        &words,
        &universe(&["check", "sim", "spawn", "timer", "unblock"]),
    );
    only_these_contain(&[".spawn("], &universe(&["check", "run", "sim", "spawn"]));
    only_these_contain(
        &["smol::Timer", "async_io"],
        &universe(&["check", "run", "sim", "timer"]),
    );
    // A simulation starts at the current time with a random seed.
    let words = ["Instant::now", "fastrand", ".race(", "::race(", "select!"];
    only_these_contain(&words, &universe(&["check", "sim", "timer"]));
}

#[test]
fn only_unwind_uses_catch_unwind() {
    let unwind = "crates/test-universe/src/unwind".to_owned();
    only_these_contain(&["catch_unwind"], &[unwind]);
}

#[test]
fn only_transport_opens_sockets() {
    let words = [
        "async_net",
        "smol::net",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "socket2",
    ];
    only_these_contain(&words, &["src/transport".to_owned()]);
}

#[test]
fn only_tls_names_rustls() {
    only_these_contain(&["rustls"], &["src/transport/tls".to_owned()]);
}

#[test]
fn wire_has_no_io_clock_or_async() {
    let words = [
        "async ",
        ".await",
        "std::net",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::thread",
    ];
    let pure = ["crates/serde_etf/", "crates/erps-wire/"];
    for file in sources() {
        if !pure.iter().any(|it| file.path.starts_with(it)) {
            continue;
        }
        file.contains_none_of(&words);
    }
}

#[test]
fn no_two_files_use_each_other() {
    let mut found = String::new();
    for source in crates() {
        let graph = Graph::read(&source);
        let reads_edges = graph.edges.iter().any(|it| !it.is_empty());
        assert!(
            graph.files.len() == 1 || reads_edges,
            "{}",
            source.display()
        );
        for circle in graph.circles() {
            found += &format!("in {}:\n{}", source.display(), graph.describe(&circle));
        }
    }
    assert!(found.is_empty(), "files that use each other\n{found}");
}

#[test]
fn modules_use_only_the_modules_below_them() {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in LAYERS.lines().filter(|line| !line.trim().is_empty()) {
        let (module, below) = line.trim().split_once(':').unwrap();
        let below: BTreeSet<_> = below.split_whitespace().collect();
        for it in &below {
            assert!(allowed.contains_key(it), "{it} is not below {module}");
        }
        allowed.insert(module, below);
    }
    let graph = Graph::read(&root().join("src"));
    let module = |file: usize| graph.files[file].split(['/', '.']).next().unwrap();
    for (file, uses) in graph.edges.iter().enumerate() {
        let from = module(file);
        for (used, name) in uses {
            let to = module(*used);
            let fine = from == to || from == "lib" || allowed[from].contains(to);
            assert!(
                fine,
                "{} uses {name}: {from} may not use {to}",
                graph.files[file]
            );
        }
    }
}

#[test]
fn the_readme_counts_the_lines_of_hello() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for program in ["examples/01_hello.rs", "benches/src/hello_tarpc.rs"] {
        let source = fs::read_to_string(root().join(program)).unwrap();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let cell = format!("[{}]({program})", source.lines().filter(is_code).count());
        assert!(readme.contains(&cell), "{cell}");
    }
}

/// Returns the `src` of each crate of the workspace.
fn crates() -> Vec<PathBuf> {
    let members = fs::read_dir(root().join("crates")).unwrap();
    let members = members.map(|it| it.unwrap().path().join("src"));
    [root().join("src")].into_iter().chain(members).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn crate_root_contains_no_code() {
    let sources = sources();
    let root = sources
        .iter()
        .find(|file| file.path == "src/lib.rs")
        .unwrap();
    root.contains_none_of(&["fn ", "impl "]);
}

#[test]
fn modules_are_files_beside_their_folders() {
    for path in crates().iter().flat_map(|it| files(it)) {
        assert!(!path.ends_with("mod.rs"), "{}", path.display());
    }
}

#[test]
fn no_source_is_longer_than_400_lines() {
    for path in crates().iter().flat_map(|it| files(it)) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn no_thread_sleep_in_sources_and_tests() {
    let word = concat!("thread::", "sleep");
    let folders = ["src", "crates", "tests", "examples"];
    for path in folders.iter().flat_map(|it| files(Path::new(it))) {
        let says = fs::read_to_string(&path).unwrap().contains(word);
        assert!(!says, "{} contains {word}", path.display());
    }
}

fn only_these_contain(words: &[&str], but: &[String]) {
    for file in sources() {
        if !but.iter().any(|module| file.is_in(module)) {
            file.contains_none_of(words);
        }
    }
}

/// A source file without its comments and unit tests.
struct Source {
    path: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let lines = text.lines().map(|line| match line.trim_start() {
            comment if comment.starts_with("//") => "",
            _ => line.split(" // ").next().unwrap(),
        });
        let code = lines.collect::<Vec<_>>().join("\n");
        let path = path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        Source { path, code }
    };
    let files = crates().into_iter().flat_map(|it| files(&it));
    let sources: Vec<_> = files.map(read).collect();
    assert!(
        sources.len() > 50,
        "only {} sources are read",
        sources.len()
    );
    sources
}

/// Returns all Rust files in a folder of the package.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

impl Source {
    /// Whether the file is `{module}.rs` or in the folder of that name.
    fn is_in(&self, module: &str) -> bool {
        self.path
            .strip_prefix(module)
            .is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    fn contains_none_of(&self, words: &[&str]) {
        for (number, line) in (1..).zip(self.code.lines()) {
            for word in words {
                assert!(
                    !line.contains(word),
                    "{}:{number} contains {word}:{line}",
                    self.path
                );
            }
        }
    }
}
