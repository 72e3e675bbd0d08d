//! Router discovery (RFC 4861 §4.1, §4.2) for the peers that are known by their interface. FRR finds the
//! other end of an unnumbered session by router advertisements alone, and neither connects nor answers
//! before it has had one.
//!
//! Ours say that we are there and route nothing: the lifetime is zero, so nobody sends us packets for
//! others. A few solicitations go with the first of them, since the kernel of a host that forwards
//! packets does not ask. What routers advertise is read by the kernel, see
//! [`Neighbours`](crate::netlink::Neighbours).
//!
//! [`driver`] sends them; how often is all there is to decide. Solicitations of others are not
//! answered: nobody configures itself by us.
pub mod driver;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;

/// A router solicitation: type, code 0, checksum, four reserved octets. The kernel fills in the
/// checksum.
#[must_use]
pub fn solicitation() -> [u8; 8] {
    [ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]
}

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
    [ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}
