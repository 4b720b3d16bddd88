//! The rules of the house, checked by reading the sources.
//!
//! Comments and unit tests are left out of what is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the bottom up, and those that each may know. Nobody may know a room above.
const DOORS: &str = "
    unwind:
    wire:
    universe:   unwind
    exit:       unwind
    backoff:
    throttle:
    endpoint:
    mailbox:    universe
    text:
    protocol:   wire
    task:       unwind universe exit endpoint
    network:    universe
    transport:  endpoint task exit network
    link:       wire endpoint transport task
    outbox:     wire task link
    reply:      wire endpoint universe task outbox
    supervisor: endpoint universe exit backoff task
    server:     wire endpoint universe exit protocol task transport link mailbox outbox reply
    client:     wire endpoint universe exit protocol task transport link mailbox outbox reply backoff text throttle
    daemon:     wire endpoint universe exit protocol task transport link server supervisor throttle
    recipes:    universe task protocol supervisor server client
";

fn doors() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = DOORS.lines().filter_map(|line| line.trim().split_once(':'));
    lines
        .map(|(room, known)| (room, known.split_whitespace().collect()))
        .collect()
}

#[test]
fn only_task_spawns_sleeps_reads_the_clock_and_draws_lots() {
    let words = [
        "async_io",
        "SystemTime::now",
        "smol::spawn",
        "thread::spawn",
        "unblock(",
    ];
    // A test that hangs has to fail, in real time and from another thread.
    let check = "src/universe/check";
    // A clock that stands still for a moment of real time.
    let sim = "src/universe/sim";
    nobody_else_says(&words, &["src/task", check, sim]);
    // What is run by a universe has a task wait for its turn.
    nobody_else_says(&[".spawn("], &["src/task", "src/universe/run", check, sim]);
    // A universe that does not come to its end by its own clock is measured by another.
    nobody_else_says(
        &["smol::Timer"],
        &["src/task", "src/universe/run", check, sim],
    );
    // A simulation begins now, and its seed has to be sown. A race is decided by lot.
    let words = ["Instant::now", "fastrand", ".race(", "::race(", "select!"];
    nobody_else_says(&words, &["src/task", sim, check]);
}

#[test]
fn only_unwind_catches_panics_whose_payload_it_can_drop() {
    nobody_else_says(&["catch_unwind"], &["src/unwind"]);
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
    nobody_else_says(&words, &["src/transport"]);
}

#[test]
fn only_tls_names_rustls() {
    nobody_else_says(&["rustls"], &["src/transport/tls"]);
}

#[test]
fn the_wire_is_pure() {
    let words = [
        "async ",
        ".await",
        "std::net",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::thread",
    ];
    for file in sources().iter().filter(|file| file.room() == "wire") {
        file.says_none_of(&words);
    }
}

#[test]
fn every_room_names_only_rooms_it_may_know() {
    let sources = sources();
    let names = reexports(&sources);
    let doors = BTreeMap::from_iter(doors());
    for file in sources.iter().filter(|file| file.path != "src/lib.rs") {
        let room = file.room();
        let may_know = doors.get(room);
        let may_know = may_know.unwrap_or_else(|| panic!("{room} is no room in DOORS"));
        for name in file.crate_names() {
            let known = doors.contains_key(name.as_str()).then_some(&name);
            let owner = known.or_else(|| names.get(&name));
            let owner = owner.unwrap_or_else(|| panic!("{}: whose is crate::{name}?", file.path));
            let fine = owner == room || may_know.contains(&owner.as_str());
            assert!(
                fine,
                "{}: {room} may not know {owner}, whose is {name}",
                file.path
            );
        }
    }
}

#[test]
fn no_room_may_know_one_above_it() {
    let mut below = BTreeSet::new();
    for (room, may_know) in doors() {
        for known in may_know {
            assert!(below.contains(known), "{known} is not below {room}");
        }
        below.insert(room);
    }
}

#[test]
fn the_crate_root_holds_no_code() {
    let sources = sources();
    let root = sources
        .iter()
        .find(|file| file.path == "src/lib.rs")
        .unwrap();
    root.says_none_of(&["fn ", "impl "]);
}

#[test]
fn a_room_is_a_file_beside_its_folder() {
    for path in files("src") {
        assert!(!path.ends_with("mod.rs"), "{}", path.display());
    }
}

#[test]
fn no_source_is_longer_than_600_lines() {
    for path in files("src") {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nobody_sleeps_for_luck() {
    let word = concat!("thread::", "sleep");
    for path in ["src", "tests", "examples"].into_iter().flat_map(files) {
        let says = fs::read_to_string(&path).unwrap().contains(word);
        assert!(!says, "{} says {word}", path.display());
    }
}

fn nobody_else_says(words: &[&str], but: &[&str]) {
    for file in sources() {
        if !but.iter().any(|room| file.is_in(room)) {
            file.says_none_of(words);
        }
    }
}

/// A file of `src`, and its code: no comments, no unit tests.
struct Source {
    path: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let lines = text.lines().map(|line| match line.trim_start() {
            comment if comment.starts_with("//") => "",
            _ => line.split(" // ").next().unwrap(),
        });
        let code = lines.collect::<Vec<_>>().join("\n");
        let path = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        Source { path, code }
    };
    let sources: Vec<_> = files("src").into_iter().map(read).collect();
    assert!(
        sources.len() > 50,
        "only {} sources are read",
        sources.len()
    );
    sources
}

/// All Rust files in a folder of the package.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
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
    /// `wire`, for `src/wire.rs` and all that is in `src/wire/`.
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap();
        inside.split(['/', '.']).next().unwrap()
    }

    /// Whether it is the file `{room}.rs`, or in the folder of that name.
    fn is_in(&self, room: &str) -> bool {
        self.path
            .strip_prefix(room)
            .is_some_and(|rest| rest.starts_with(['/', '.']))
    }

    fn says_none_of(&self, words: &[&str]) {
        for (number, line) in (1..).zip(self.code.lines()) {
            for word in words {
                assert!(
                    !line.contains(word),
                    "{}:{number} says {word}:{line}",
                    self.path
                );
            }
        }
    }

    /// What it names by a path that begins at the crate's root.
    fn crate_names(&self) -> Vec<String> {
        let depth = self.path.matches('/').count();
        let root = "super::".repeat(depth);
        let mut names = Vec::new();
        for root in ["crate::", &root] {
            for (at, _) in self.code.match_indices(root) {
                // One more `super` is no path, and one before it is a path of another length.
                if !self.code[..at].ends_with([':', '_']) {
                    first_names(&self.code[at + root.len()..], &mut names);
                }
            }
        }
        names
    }
}

/// The names that a path or a list of paths in braces begins with.
fn first_names(paths: &str, names: &mut Vec<String>) {
    let name = |path: &str| -> String {
        let path = path.trim_start();
        path.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = paths.strip_prefix('{') else {
        return names.push(name(paths));
    };
    let (mut depth, mut begins) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&list[begins..at]));
                begins = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
}

/// Which room the names come from that the crate's root makes public.
fn reexports(sources: &[Source]) -> BTreeMap<String, String> {
    let root = sources
        .iter()
        .find(|file| file.path == "src/lib.rs")
        .unwrap();
    let mut rooms = BTreeMap::new();
    for line in root.code.split("pub use ").skip(1) {
        let line = line.split(';').next().unwrap();
        let (room, rest) = line.split_once("::").unwrap();
        let paths = rest.trim_matches(['{', '}']).split(',');
        for path in paths {
            let name = path.rsplit("::").next().unwrap().trim();
            rooms.insert(name.to_owned(), room.to_owned());
        }
    }
    rooms
}
