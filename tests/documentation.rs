//! What is written about the program is what the program does: man pages, examples, README.
#![expect(clippy::disallowed_methods, reason = "this test reads files and runs programs")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use vipcast::config;

/// Kinds of tables, and the subsections of `vipcast.toml(5)` about them.
const SECTIONS: &[(&str, &str)] = &[
    ("bgp", "[bgp]"),
    ("peer.NAME", "[peer.NAME]"),
    ("peer.NAME.tcp-ao", "[peer.NAME.tcp-ao]"),
    ("bfd.NAME", "[bfd.NAME]"),
    ("bfd.NAME.auth", "[bfd.NAME.auth]"),
    ("pool.NAME", "[pool.NAME]"),
    ("advertisement.NAME", "[advertisement.NAME]"),
    ("service.NAME", "[service.NAME]"),
    ("service.NAME.group.NAME", "[service.NAME.group.NAME]"),
    ("service.NAME.degraded", "[service.NAME.degraded]"),
    ("service.NAME.damping", "[service.NAME.damping]"),
    ("service.NAME.check.NAME", "[service.NAME.check.NAME]"),
    ("metrics", "[metrics]"),
    ("log", "[log]"),
];

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).expect("a file of the project")
}

/// The keys that each subsection of `vipcast.toml(5)` describes.
fn documented_keys() -> BTreeSet<(String, String)> {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in read("man/vipcast.toml.5").lines() {
        if let Some(title) = line.strip_prefix(".Ss ") {
            section = title.trim_end_matches("\\&").to_owned();
        }
        if let Some(key) = line.strip_prefix(".It Ic ") {
            let key = key.split(' ').next().expect("a word").to_owned();
            keys.insert((section.clone(), key));
        }
    }
    keys
}

#[test]
fn every_configuration_key_is_documented_in_its_section_and_no_other_is() {
    let mut known = BTreeSet::new();
    for (kind, key) in config::keys() {
        if kind.is_empty() {
            continue; // the sections themselves
        }
        let section = SECTIONS.iter().find(|(name, _)| *name == kind);
        let (_, section) = section.expect("every kind of table has a section");
        known.insert(((*section).to_owned(), key.to_owned()));
    }
    assert_eq!(documented_keys(), known);
}

#[test]
fn every_section_is_documented() {
    let page = read("man/vipcast.toml.5");
    for (kind, key) in config::keys() {
        if kind.is_empty() {
            let titles = [format!(".Ss [{key}]"), format!(".Ss [{key}.NAME]")];
            assert!(titles.iter().any(|title| page.contains(title.as_str())), "[{key}]");
        }
    }
}

/// Words at the beginning of the lines of a section of a help text.
fn listed(help: &str, section: &str) -> BTreeSet<String> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1);
    let lines = lines.take_while(|line| line.starts_with(' '));
    lines
        .filter(|line| !line.starts_with("       "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn every_command_of_vipcast_and_every_option_is_documented() {
    let program = env!("CARGO_BIN_EXE_vipcast");
    let page = read("man/vipcast.1");
    let commands = listed(&help(program, &["--help"]), "Commands:");
    assert!(commands.contains("status"), "{commands:?}");
    for command in &commands {
        assert!(page.contains(&format!(".It Cm {command}")), "{command}");
        let text = help(program, &["help", command.as_str()]);
        for option in text.split_whitespace().filter(|word| word.starts_with("--")) {
            assert_documented(&page, option);
        }
    }
}

#[test]
fn every_option_of_vipcastd_is_documented() {
    let page = read("man/vipcastd.8");
    let text = help(env!("CARGO_BIN_EXE_vipcastd"), &["--help"]);
    let options: Vec<&str> = text.split_whitespace().filter(|w| w.starts_with("--")).collect();
    assert!(options.contains(&"--check"), "{options:?}");
    for option in options {
        assert_documented(&page, option);
    }
}

/// `--json` is `Fl -json` in mdoc.
fn assert_documented(page: &str, option: &str) {
    let name: String =
        option[2..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
    let marked = [format!("Fl -{name}"), format!(", -{name}")];
    assert!(marked.iter().any(|text| page.contains(text.as_str())), "{option}");
}

#[test]
fn the_man_pages_are_flawless() {
    for page in ["man/vipcastd.8", "man/vipcast.1", "man/vipcast.toml.5"] {
        let lint = Command::new("mandoc").args(["-T", "lint", page]).output();
        let lint = lint.expect("mandoc is installed (lab/install does that)");
        let said = String::from_utf8_lossy(&lint.stdout).into_owned();
        // Whether other pages are installed is not ours to say.
        let ours: Vec<&str> =
            said.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(ours.is_empty(), "{}", ours.join("\n"));
    }
}

#[test]
fn the_examples_are_valid() {
    assert_valid("examples/web-host.toml", &read("examples/web-host.toml"));
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let output = output.expect("the routers are installed (lab/install does that)");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}:\n{said}");
    };
    run("bird", &["-p", "-c", "examples/router-bird.conf"]);
    run("vtysh", &["--dryrun", "--inputfile", "examples/router-frr.conf"]);
}

fn readme_configuration() -> String {
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 1);
    blocks.concat()
}

/// The configuration in the README has as many lines as it says, and loads.
#[test]
fn the_configuration_in_the_readme_is_valid() {
    let text = readme_configuration();
    let lines = text.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(lines, 10, "it is called the ten-line configuration");
    assert_valid("README.md", &text);
}

/// The configuration in the packages is a comment; without its `#` it is that of the README.
#[test]
fn the_configuration_in_the_packages_is_that_of_the_readme() {
    let text = read("packaging/vipcast.toml");
    assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
    let example = text.lines().filter_map(|line| line.strip_prefix('#'));
    let example: Vec<&str> =
        example.filter(|line| !line.is_empty() && !line.starts_with(' ')).collect();
    assert_eq!(example.join("\n") + "\n", readme_configuration());
}

/// The examples of the page are configurations that load.
#[test]
fn the_configurations_in_the_man_page_are_valid() {
    let page = read("man/vipcast.toml.5");
    let displays = page.split(".Bd -literal -offset indent\n").skip(1);
    let texts: Vec<&str> = displays.filter_map(|rest| rest.split("\n.Ed").next()).collect();
    assert_eq!(texts.len(), 2);
    for text in texts {
        assert_valid("man page", text);
    }
}

fn assert_valid(name: &str, text: &str) {
    let source = config::Source { path: name.into(), text: text.into() };
    let wrong = config::parse(vec![source]).err().map(|error| error.to_string());
    assert_eq!(wrong, None, "{name}");
}

#[test]
fn every_dependency_has_a_reason() {
    let contributing = read("CONTRIBUTING.md");
    let rows: String = contributing.split("## Dependencies").skip(1).collect();
    for manifest in ["Cargo.toml", "lab/Cargo.toml", "fuzz/Cargo.toml"] {
        let manifest: toml::Table = read(manifest).parse().expect("TOML");
        let tables = ["dependencies", "dev-dependencies"].into_iter();
        for (name, _) in tables.flat_map(|t| manifest.get(t).and_then(|t| t.as_table())).flatten() {
            let is_named = rows.split(['|', ',', ' ', '(', '\n']).any(|word| word == name);
            let is_ours = ["vipcast", "vipcast-lab"].contains(&name.as_str());
            assert!(is_named || is_ours, "CONTRIBUTING.md says nothing of {name}");
        }
    }
}

#[test]
fn files_that_are_pointed_at_exist() {
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"] {
        for word in read(page).split(['`', '(', ')']) {
            let in_tree =
                ["src/", "tests/", "lab/", "fuzz/", "man/", "examples/", "packaging/", "systemd/"];
            let is_path = in_tree.iter().any(|folder| word.starts_with(folder));
            if is_path && !word.contains(['{', ' ', '*', '<']) {
                assert!(Path::new(word).exists(), "{page} points at {word}, which is not there");
            }
        }
    }
}
