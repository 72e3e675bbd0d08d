//! The `unit` probe, where nobody has such a unit. With units that come and go it is tried under a
//! real systemd, in `tests/packages/`.
use super::probe;

#[test]
fn a_unit_that_there_is_not_fails_with_systemd_and_without() {
    let failure = probe("unit = \"vipcast-no-such-unit.service\"").expect_err("there is none");
    let with = "there is no unit vipcast-no-such-unit.service";
    let without = "cannot ask systemd about units: ";
    assert!(failure == with || failure.starts_with(without), "{failure}");
}
