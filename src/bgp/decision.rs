//! The Decision Process (RFC 4271 §9.1) for routes that a host follows: which of the routes to one
//! prefix are used.
//!
//! Where RFC 4271 breaks a tie by BGP Identifier and address (§9.1.2.2 f, g), all that are left are
//! used together: two routers that announce the same default are one route with two next hops. The
//! rule about the cost inside our AS (e) has nothing to go by on a host.
use super::adj_rib_in::Route;

/// The best routes of `candidates`, each of which can be followed (§9.1.2.1: its next hop is
/// resolvable, and it is no loop).
#[must_use]
pub fn best<'a, K>(candidates: impl IntoIterator<Item = (K, &'a Route)>) -> Vec<K> {
    let mut left: Vec<(K, &Route)> = candidates.into_iter().collect();
    keep_least(&mut left, |route| std::cmp::Reverse(route.local_pref)); // §9.1.1
    keep_least(&mut left, |route| route.path_length); // §9.1.2.2 a
    keep_least(&mut left, |route| route.origin); // b
    keep_least_med(&mut left); // c
    keep_least(&mut left, |route| route.internal); // d
    left.into_iter().map(|(key, _)| key).collect()
}

fn keep_least<K, T: Ord>(left: &mut Vec<(K, &Route)>, measure: impl Fn(&Route) -> T) {
    if let Some(least) = left.iter().map(|(_, route)| measure(route)).min() {
        left.retain(|(_, route)| measure(route) == least);
    }
}

/// MEDs are compared between routes by way of the same AS only.
fn keep_least_med<K>(left: &mut Vec<(K, &Route)>) {
    let meds: Vec<_> = left.iter().map(|(_, route)| (route.neighbour_asn, route.med)).collect();
    left.retain(|(_, route)| {
        let same = meds.iter().filter(|(asn, _)| *asn == route.neighbour_asn);
        same.map(|(_, med)| *med).min() == Some(route.med)
    });
}
