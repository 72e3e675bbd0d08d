//! Configurations that must load, and such that must not, with every word of what is said about
//! them: `tests/config/bad/NAME.toml` beside `NAME.stderr`. Run with `UPDATE_EXPECTED=1` to write
//! the latter anew, and read the difference.
#![expect(clippy::disallowed_methods, reason = "this test reads files and runs the daemon")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vipcast::bgp::connection::RemoteAsn;
use vipcast::config::{self, Config};
use vipcast::route::Asn;

#[test]
fn good_configurations_load() {
    for path in configurations("tests/config/good") {
        if let Err(error) = config::load(&path) {
            panic!("{}:\n{error}", path.display());
        }
    }
}

#[test]
fn bad_configurations_are_refused_with_exactly_these_words() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    for path in configurations("tests/config/bad") {
        let expected_path = match path.file_name().and_then(|name| name.to_str()) {
            Some("vipcast.toml") => path.with_file_name("vipcast.stderr"),
            _ => path.with_extension("stderr"),
        };
        let said = config::load(&path).map(drop).expect_err("must be refused").to_string() + "\n";
        if update {
            fs::write(&expected_path, &said).expect("expected text is written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}:\n{said}\nexpected:\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
}

/// Every line of the contract is understood or refused by name; without those it is in force.
#[test]
fn the_contract_is_kept() {
    let contract = fs::read_to_string("tests/config/contract.toml").expect("the contract");
    let error =
        load_text(&contract).expect_err("a section of a later version is in it").to_string();
    let refused: Vec<&str> = error.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(refused, ["error: `kubernetes` is not yet supported"]);
    let (before_kubernetes, rest) = contract.split_once("[kubernetes]").expect("a section");
    let (_, metrics) = rest.split_once("[metrics]").expect("a section");
    let config = load_text(&format!("{before_kubernetes}[metrics]{metrics}"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let peer = &config.peers[&"tor1".into()];
    assert_eq!(config.bgp.local_asn, Asn(65100));
    assert_eq!(peer.bgp.session.remote_asn, RemoteAsn::Number(Asn(65000)));
    assert_eq!(peer.bgp.session.hold_time, Duration::from_secs(90));
    assert_eq!(peer.bgp.transport.ttl, 1);
    let bfd = peer.bfd.as_ref().expect("BFD").session;
    assert_eq!(bfd.desired_min_tx, Duration::from_millis(300));
    let web = &config.services[&"web".into()];
    assert_eq!(web.vips.len(), 2);
    assert_eq!(web.interface.as_deref(), Some("lo"));
    let check = &web.checks[&"healthz".into()];
    assert_eq!((check.thresholds.rise.get(), check.thresholds.fall.get()), (2, 3));
    assert_eq!(check.check.timeout, Duration::from_millis(500));
    let resolve = &config.services[&"dns".into()].checks[&"resolve".into()].check.probe;
    assert_eq!(resolve.to_string(), "dns 203.0.113.53:53 example.com. A");
    let advertisement = &config.policy.advertisements[&"prod-adv".into()];
    assert_eq!(advertisement.attributes.communities.len(), 2);
    assert_eq!(advertisement.attributes.large_communities.len(), 1);
}

#[test]
fn accept_lets_in_what_its_lengths_say() {
    let config = config::load(Path::new("tests/config/good/everything.toml")).expect("good");
    let accept = |peer: &str| config.peers[&peer.into()].accept.clone().expect("accept");
    let (tor1, tor2) = (accept("tor1"), accept("tor2"));
    assert_eq!((tor1.max_prefixes, tor1.table), (100, 100));
    assert_eq!((tor2.max_prefixes, tor2.table), (1000, 254));
    let lengths: Vec<_> = tor1.prefixes.iter().chain(&tor2.prefixes).map(|p| &p.lengths).collect();
    assert_eq!(lengths, [&(0..=0), &(0..=0), &(16..=24), &(12..=24), &(48..=128)]);
    let config = config::load(Path::new("tests/config/good/ten-lines.toml")).expect("good");
    assert!(config.peers.values().all(|peer| peer.accept.is_none()), "nothing by default");
}

/// RFC 5082 §3: 255 is what is sent, and the hops on the way are what it may have lost.
#[test]
fn ttl_security_takes_what_comes_from_as_far_as_the_peer() {
    let good = fs::read_to_string("tests/config/good/ten-lines.toml").expect("a file");
    for (keys, ttl, minimum) in [
        ("ttl-security = false", 1, None),
        ("ttl-security = true", 255, Some(255)),
        ("ttl-security = true\nmultihop = 1", 255, Some(255)),
        ("ttl-security = true\nmultihop = 3", 255, Some(253)),
        ("ttl-security = true\nmultihop = 254", 255, Some(2)),
        ("multihop = 3", 3, None),
    ] {
        let remote_asn = "remote-asn = 65000";
        let text = good.replacen(remote_asn, &format!("{remote_asn}\n{keys}"), 1);
        let config = load_text(&text).unwrap_or_else(|error| panic!("{error}"));
        let peer = config.peers.values().next().expect("a peer");
        let transport = &peer.bgp.transport;
        assert_eq!((transport.ttl, transport.minimum_ttl), (ttl, minimum), "{keys}");
    }
}

/// `vipcast.toml(5)` and the file with everything in it are about the same keys.
#[test]
fn the_file_with_everything_has_every_key() {
    let text = fs::read_to_string("tests/config/good/everything.toml").expect("a file");
    let written: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim()).collect();
    let tables = [
        "bgp",
        "peer",
        "bfd",
        "pool",
        "advertisement",
        "community",
        "service",
        "check",
        "damping",
        "degraded",
        "metrics",
        "log",
        "headers",
        "auth",
    ];
    for (kind, key) in config::keys() {
        // Those would need files.
        let exempt = tables.contains(&key) || ["ca-file", "certificate-file"].contains(&key);
        assert!(exempt || written.contains(key), "[{kind}] {key} is not in everything.toml");
    }
}

#[test]
fn files_of_conf_d_are_read_in_name_order_and_others_are_not() {
    let config = config::load(Path::new("tests/config/good/with-conf-d/vipcast.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let services: Vec<&str> = config.services.keys().map(AsRef::as_ref).collect();
    assert_eq!(services, ["dns", "web"]);
}

#[test]
fn without_advertisements_every_pool_goes_to_every_peer_as_host_routes() {
    let config = config::load(Path::new("tests/config/good/ten-lines.toml")).expect("good");
    let advertisement = config.policy.advertisements.values().next().expect("one is implied");
    assert_eq!(config.policy.advertisements.len(), 1);
    assert_eq!(advertisement.pools.len(), 1);
    assert_eq!(advertisement.peers.len(), 1);
    assert_eq!(advertisement.aggregation_length_v4, 32);
}

#[test]
fn check_says_valid_or_exits_with_78() {
    let check = |file: &str| {
        let daemon = env!("CARGO_BIN_EXE_vipcastd");
        let output = Command::new(daemon).args(["--check", file]).output().expect("runs");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let good = "tests/config/good/ten-lines.toml";
    let valid = format!("{good}: valid: 1 peer, 1 service\n");
    assert_eq!(check(good), (Some(0), valid, String::new()));
    let (code, stdout, stderr) = check("tests/config/bad/many-at-once.toml");
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    assert!(stderr.contains("many-at-once.toml:3:1"), "{stderr}");
    assert!(stderr.ends_with("6 errors; configuration not loaded\n"), "{stderr}");
    let (code, _, stderr) = check("/nonexistent/vipcast.toml");
    assert_eq!(code, Some(78));
    let last = "\n\n1 error; configuration not loaded\n";
    let expected = "error: cannot read /nonexistent/vipcast.toml: no such file or directory";
    assert_eq!(stderr, expected.to_owned() + last);
    // Whatever is no file could make us wait for ever.
    let (code, _, stderr) = check("/dev/zero");
    assert_eq!(code, Some(78));
    assert_eq!(stderr, format!("error: cannot read /dev/zero: not a regular file{last}"));
}

#[test]
fn of_very_many_problems_the_first_are_shown_and_all_are_counted() {
    let text: String = (0..10_000).map(|number| format!("x{number} = 1\n")).collect();
    let error = load_text(&text).expect_err("unknown keys");
    let said = error.to_string();
    assert_eq!(said.matches("error: unknown table").count(), 100);
    assert!(
        said.ends_with("\n\nand 9900 more\n\n10000 errors; configuration not loaded"),
        "{said}"
    );
}

/// It goes into a log, one line of it.
#[test]
fn the_summary_has_the_place_and_no_control_characters() {
    let error = load_text("[bgp]\nlocal-asn = 65100\n\"a\\u001b\\n\" = 1\n").expect_err("unknown");
    let expected = "vipcast.toml:3:1: unknown key `a\u{fffd}\u{fffd}` in [bgp]";
    assert_eq!(error.summary(), expected);
}

/// All `*.toml`, and the `vipcast.toml` of folders.
fn configurations(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("entry").path());
    let mut found: Vec<PathBuf> = entries
        .map(|path| if path.is_dir() { path.join("vipcast.toml") } else { path })
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} has configurations");
    found
}

fn load_text(text: &str) -> Result<Config, config::Error> {
    config::parse(vec![config::Source { path: "vipcast.toml".into(), text: text.into() }])
}
