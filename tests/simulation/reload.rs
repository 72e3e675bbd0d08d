//! A new configuration touches nothing that did not change.
use vipcast::bfd::driver::Event as BfdEvent;
use vipcast::bfd::packet::Diag;
use vipcast::bfd::session::{Event as BfdSessionEvent, Plane};
use vipcast::bfd::sessions::Generation;
use vipcast::speaker::Input;

use crate::world::{Health, Reread, World};
use crate::{BASE, NOTHING, WEB, millis, secs};

const MAIL: &str = "\n[service.mail]\nvips = [\"203.0.113.6\"]\n[service.mail.check.alive]\n\
                    tcp = \"127.0.0.1:25\"\ninterval = \"1s\"\n";

#[test]
fn the_same_configuration_again_changes_nothing() {
    let mut world = World::new(BASE).boot();
    world.run(secs(60));
    let before = (world.router("tor1").updates, world.requests.len());
    world.reload(BASE);
    world.run(secs(60));
    assert_eq!((world.router("tor1").updates, world.requests.len()), before);
    assert_eq!(world.router("tor1").downs, []);
    assert_eq!(world.status().peers[0].sessions, 1);
}

#[test]
fn a_service_that_is_added_is_announced_and_the_others_are_not_touched() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    let updates = world.router("tor1").updates;
    world.reload(&format!("{BASE}{MAIL}"));
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), ["203.0.113.5/32", "203.0.113.6/32"]);
    assert_eq!(world.router("tor1").updates, updates + 1);
}

#[test]
fn a_service_that_is_removed_is_withdrawn_and_its_vip_taken_off() {
    let mut world = World::new(&format!("{BASE}{MAIL}")).boot();
    world.run(secs(10));
    world.reload(BASE);
    assert_eq!(world.routes("tor1"), WEB);
    world.run(secs(3));
    let ips: Vec<String> = world.addresses.keys().map(|(_, ip)| ip.to_string()).collect();
    assert_eq!(ips, ["203.0.113.5", "10.0.0.21"]);
}

#[test]
fn unchanged_checks_keep_their_verdict_and_changed_ones_begin_anew() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    // Everything but the check changes: it stays up although no probe has run since.
    let text =
        BASE.replace("vips = [\"203.0.113.5\"]", "vips = [\"203.0.113.5\", \"203.0.113.7\"]");
    world.reload(&text);
    world.run(millis(2));
    assert_eq!(world.routes("tor1"), ["203.0.113.5/32", "203.0.113.7/32"]);
    // The check changes and now fails: its first outcome decides.
    world.set_health("web/alive", Health::Broken);
    world.reload(&text.replace("/healthz", "/other"));
    world.run(millis(5));
    assert_eq!(world.routes("tor1"), NOTHING);
}

#[test]
fn a_failed_service_stays_failed_over_a_reload() {
    let mut world = World::new(BASE);
    world.set_health("web/alive", Health::Broken);
    let mut world = world.boot();
    world.run(secs(10));
    world.reload(&format!("{BASE}{MAIL}"));
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), ["203.0.113.6/32"]);
}

#[test]
fn changed_attributes_are_sent_again_on_the_same_session() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.reload(&format!("{BASE}\n[advertisement.all]\ncommunities = [\"65000:7\"]\n"));
    let route = world.router("tor1").routes.values().next().expect("a route").clone();
    assert_eq!(route.communities.len(), 1);
    assert_eq!(world.status().peers[0].sessions, 1);
}

#[test]
fn a_peer_that_is_removed_is_told_so_and_the_other_stays() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    let (before, rest) = BASE.split_once("[peer.tor2]").expect("a peer");
    let (_, after) = rest.split_once("[bfd.tor]").expect("a profile");
    world.reload(&format!("{before}[bfd.tor]{after}"));
    world.run(secs(1));
    let down = world.router("tor2").downs.last().expect("told").to_string();
    assert_eq!(down, "received Cease/Peer De-configured (6/3)");
    assert_eq!(world.routes("tor1"), WEB);
    assert_eq!(world.status().peers.len(), 1);
}

#[test]
fn a_changed_hold_time_restarts_that_session_alone() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.reload(&BASE.replacen(
        "remote-asn = 65000",
        "remote-asn = 65000\nhold-time = \"30s\"",
        1,
    ));
    world.run(secs(1));
    assert_eq!(world.routes("tor1"), WEB);
    let down = world.router("tor1").downs.last().expect("told").to_string();
    assert_eq!(down, "received Cease/Other Configuration Change (6/6)");
    assert_eq!(world.router("tor2").downs, []);
    assert_eq!(world.status().peers[0].hold_time, Some(30));
}

#[test]
fn changed_bfd_timers_are_negotiated_without_a_flap() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    world.reload(&BASE.replace(
        "[bfd.tor]",
        "[bfd.tor]\ntransmit-interval = \"1s\"\nreceive-interval = \"50ms\"",
    ));
    world.run(secs(60));
    assert_eq!(world.router("tor1").downs, []);
    assert!(world.status().peers[0].bfd.as_ref().expect("BFD").up);
}

#[test]
fn the_failure_of_a_bfd_session_that_was_replaced_says_nothing_about_the_new_one() {
    let mut world = World::new(BASE).boot();
    world.run(secs(10));
    let failed = BfdSessionEvent::Down(Diag::DETECTION_TIME_EXPIRED, Plane::Control);
    world.feed(Input::Bfd(BfdEvent::Session("tor1".into(), Generation(0), failed)));
    world.run(secs(10));
    assert_eq!(world.router("tor1").downs, []);
    assert!(world.status().peers[0].bfd.as_ref().expect("BFD").up);
}

#[test]
fn a_vip_that_moves_between_services_goes_by_its_new_owner() {
    let mut world = World::new(&format!("{BASE}{MAIL}"));
    world.set_health("mail/alive", Health::Broken);
    let mut world = world.boot();
    world.run(secs(10));
    assert_eq!(world.routes("tor1"), WEB);
    let swapped = format!("{BASE}{MAIL}")
        .replace("203.0.113.6", "203.0.113.9")
        .replace("vips = [\"203.0.113.5\"]", "vips = [\"203.0.113.6\"]")
        .replace("203.0.113.9", "203.0.113.5");
    world.reload(&swapped);
    world.run(secs(3));
    assert_eq!(world.routes("tor1"), ["203.0.113.6/32"]);
}

/// With a password for the first router, whose file the configuration only names.
fn signed() -> String {
    BASE.replacen("remote-asn = 65000", "remote-asn = 65000\npassword-file = \"/key\"", 1)
}

#[test]
fn a_password_that_changed_in_its_file_needs_a_new_session() {
    let mut world = World::new(&signed()).boot();
    world.run(secs(60));
    world.reload(&signed());
    world.run(secs(60));
    assert_eq!(world.status().peers[0].sessions, 1, "the same password changes nothing");
    world.password = Reread::Changed;
    world.reload(&signed());
    let reason = world.status().peers[0].last_down.clone().expect("a reason");
    assert_eq!(reason.reason, "configuration changed: another TCP MD5 password or TCP-AO key");
    assert!(world.log_text().contains("peer tor1: session down: configuration changed"));
    world.run_until_true(secs(5), |w| w.routes("tor1") == WEB);
    assert_eq!(world.status().peers[0].sessions, 2);
    assert_eq!(world.status().peers[1].sessions, 1, "the other one has no password");
}

/// With these keys of TCP-AO for the first router.
fn signed_by(keys: &[u8]) -> String {
    let key = |id| format!("{{ key-id = {id}, algorithm = \"hmac-sha1\", key-file = \"/{id}\" }}");
    let keys = keys.iter().map(key).collect::<Vec<_>>().join(", ");
    let lines = format!("remote-asn = 65000\ntcp-ao = [{keys}]");
    BASE.replacen("remote-asn = 65000", &lines, 1)
}

#[test]
fn other_keys_of_tcp_ao_leave_the_session_as_it_is() {
    let mut world = World::new(&signed_by(&[1])).boot();
    world.run(secs(60));
    for keys in [&[1, 2][..], &[2, 1], &[2]] {
        world.password = Reread::Replaced(keys[0]);
        world.reload(&signed_by(keys));
        world.run(secs(60));
    }
    assert_eq!(world.status().peers[0].sessions, 1);
    assert_eq!(world.routes("tor1"), WEB);
    let line = "peer tor1: other TCP-AO keys: it is asked to sign with its key 2";
    assert!(world.log_text().contains(line), "{}", world.log_text());
}

#[test]
fn another_kind_of_signature_needs_a_new_session() {
    let mut world = World::new(&signed()).boot();
    for (changes, text) in [(0, signed()), (1, signed_by(&[1])), (2, BASE.to_owned())] {
        world.reload(&text);
        world.run(secs(30));
        assert_eq!(world.routes("tor1"), WEB);
        assert_eq!(world.router("tor1").downs.len(), changes);
    }
}

#[test]
fn a_password_that_cannot_be_read_again_does_not_end_a_good_session() {
    let mut world = World::new(&signed()).boot();
    world.run(secs(60));
    world.password = Reread::Unreadable;
    world.reload(&signed());
    world.run(secs(60));
    assert_eq!(world.router("tor1").downs, []);
    let line = "peer tor1: the session keeps the keys it has: no such file";
    assert!(world.log_text().contains(line), "{}", world.log_text());
}
