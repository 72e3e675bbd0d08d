//! Pools and advertisements.
use super::*;
use crate::route::PoolName;

#[test]
fn an_address_lies_in_the_pool_that_contains_it() {
    let policy = policy(&[]);
    let (p, q): (PoolName, PoolName) = ("p".into(), "q".into());
    let table = [
        ("192.0.1.255", None),
        ("192.0.2.0", Some(&p)),
        ("192.0.2.255", Some(&p)),
        ("192.0.3.0", None),
        ("198.51.100.127", Some(&q)),
        ("198.51.100.128", Some(&q)),
        ("2001:db8:1::1", Some(&p)),
        ("2001:db8:2::1", None),
        // An IPv4 address in other clothes is another address.
        ("::ffff:192.0.2.1", None),
    ];
    for (address, expected) in table {
        assert_eq!(policy.pool_of(ip(address)), expected, "{address}");
    }
}

#[test]
fn each_advertisement_of_a_pool_makes_one_prefix_of_a_vip() {
    let aggregate = |v4, v6| Advertisement {
        aggregation_length_v4: v4,
        aggregation_length_v6: v6,
        ..advertisement(&["p"], &["tor1"])
    };
    let policy = policy(&[
        ("hosts", advertisement(&["p", "q"], &["tor1"])),
        ("aggregates", aggregate(24, 64)),
        ("all", aggregate(0, 0)),
    ]);
    let made = |vip| -> Vec<(String, IpNet)> {
        policy.prefixes(ip(vip)).into_iter().map(|(name, net)| (name.into(), net)).collect()
    };
    let expected = |prefixes: &[(&str, &str)]| -> Vec<(String, IpNet)> {
        prefixes.iter().map(|(name, prefix)| ((*name).to_owned(), net(prefix))).collect()
    };
    assert_eq!(
        made("192.0.2.77"),
        expected(&[
            ("aggregates", "192.0.2.0/24"),
            ("all", "0.0.0.0/0"),
            ("hosts", "192.0.2.77/32")
        ])
    );
    assert_eq!(
        made("2001:db8:1::77"),
        expected(&[
            ("aggregates", "2001:db8:1::/64"),
            ("all", "::/0"),
            ("hosts", "2001:db8:1::77/128"),
        ])
    );
    assert_eq!(made("198.51.100.1"), expected(&[("hosts", "198.51.100.1/32")]));
    assert_eq!(made("203.0.113.1"), []);
}

#[test]
fn an_advertisement_is_for_the_peers_it_names() {
    let policy = policy(&[("hosts", advertisement(&["p"], &["tor1"]))]);
    let table = [("hosts", "tor1", true), ("hosts", "tor2", false), ("other", "tor1", false)];
    for (name, peer, expected) in table {
        assert_eq!(policy.selects_peer(&name.into(), &peer.into()), expected, "{name} {peer}");
    }
}
