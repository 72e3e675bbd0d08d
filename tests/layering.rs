//! The architecture as a test: which folder of `src/` may name which, and which files may touch the
//! operating system.
#![expect(clippy::disallowed_methods, reason = "this test reads the sources")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder, and the folders it may name in `crate::…` paths. What is further down may not name
/// what is further up.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("route", &[]),
    ("units", &[]),
    ("bfd", &["route", "sys"]),
    ("bgp", &["route", "sys"]),
    ("process", &["route", "sys"]),
    ("check", &["process", "route", "sys", "units"]),
    ("netlink", &["route", "sys"]),
    ("ndp", &["netlink", "sys"]),
    ("rib", &["route"]),
    ("service", &["check", "process", "route", "units"]),
    ("config", &["bfd", "bgp", "check", "process", "rib", "route", "service", "sys", "units"]),
    (
        "speaker",
        &[
            "bfd", "bgp", "check", "config", "netlink", "process", "rib", "route", "service",
            "units",
        ],
    ),
    ("control", &["bfd", "route", "service", "speaker", "sys", "units"]),
    ("metrics", &["bfd", "control", "service", "speaker", "sys"]),
    (
        "daemon",
        &[
            "bfd", "bgp", "check", "config", "control", "metrics", "ndp", "netlink", "process",
            "route", "service", "speaker", "sys", "units",
        ],
    ),
];

/// Crates that do I/O, and the files beside drivers that may name them without being one.
const IO_CRATES: &[&str] = &["tokio::", "socket2::", "nix::", "rtnetlink::", "zbus::", "hyper"];

#[test]
fn folders_name_only_what_is_below_them() {
    let mut broken = Vec::new();
    for (folder, allowed) in MAY_USE {
        for file in rust_files(&Path::new("src").join(folder)) {
            for (number, line) in code_lines(&file) {
                for used in line.split("crate::").skip(1) {
                    let end = used.find(|c: char| !c.is_alphanumeric() && c != '_');
                    let used = &used[..end.unwrap_or(used.len())];
                    let is_folder = MAY_USE.iter().any(|(name, _)| *name == used);
                    if is_folder && used != *folder && !allowed.contains(&used) {
                        let place = format!("{}:{number}", file.display());
                        broken.push(format!("{place}: {folder} may not use {used}"));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_folder_is_in_the_table() {
    let known: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).chain(["bin"]).collect();
    let folders = fs::read_dir("src").expect("src").map(|entry| entry.expect("entry").path());
    for folder in folders.filter(|path| path.is_dir()) {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(known.contains(name), "src/{name} is not in MAY_USE");
    }
}

#[test]
fn only_drivers_name_crates_that_do_io() {
    let mut broken = Vec::new();
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let is_driver = text.contains("reason = \"driver:")
            || ["driver.rs", "socket.rs", "server.rs", "client.rs"].contains(&name)
            || file.starts_with("src/daemon")
            || file.starts_with("src/bin")
            || file.starts_with("src/sys");
        for (number, line) in code_lines(&file).filter(|_| !is_driver) {
            for used in IO_CRATES.iter().filter(|used| line.contains(*used)) {
                // A channel's sending end carries an answer; it waits for nobody.
                if !line.contains("tokio::sync::oneshot") {
                    broken.push(format!("{}:{number}: names {used}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn files_and_folders_stay_small_enough_to_be_read() {
    const LIMIT: usize = 600;
    let mut sizes = BTreeMap::new();
    for file in rust_files(Path::new("src")) {
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        let lines = fs::read_to_string(&file).expect("UTF-8").lines().count();
        if lines > LIMIT && !is_test {
            sizes.insert(file, lines);
        }
    }
    assert!(sizes.is_empty(), "over {LIMIT} lines, each asks for a new noun: {sizes:#?}");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).expect("a folder of src");
    for path in entries.map(|entry| entry.expect("entry").path()) {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines that are not comments, numbered from 1.
fn code_lines(file: &Path) -> impl Iterator<Item = (usize, String)> + use<> {
    let text = fs::read_to_string(file).expect("UTF-8");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let numbered = lines.into_iter().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}
