//! Router advertisements (RFC 4861 §4.2) to the peers that are known by their interface. FRR finds the
//! other end of an unnumbered session by these alone, and neither connects nor answers before.
//!
//! They say that we are there and route nothing: the lifetime is zero, so nobody sends us packets for
//! others. What routers advertise is read by the kernel, see [`Neighbours`](crate::netlink::Neighbours).
//!
//! [`driver`] sends them; how often is all there is to decide. Router solicitations are not answered:
//! nobody configures itself by us.
pub mod driver;

/// The type in the first octet of the message.
const ROUTER_ADVERTISEMENT: u8 = 134;

/// A router advertisement; the kernel fills in the checksum.
///
/// ```text
///  0                   1                   2                   3
/// |  type 134     |    code 0     |           checksum            |
/// | hop limit 0   |    flags 0    |       router lifetime 0       |
/// |                       reachable time 0                        |
/// |                        retrans timer 0                        |
/// ```
#[must_use]
pub fn advertisement() -> [u8; 16] {
    let mut octets = [0; 16];
    octets[0] = ROUTER_ADVERTISEMENT;
    octets
}
