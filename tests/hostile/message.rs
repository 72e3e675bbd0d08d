//! Octets of BGP messages, each field of which can be wrong.

/// Types (RFC 4271 §4.1, RFC 2918 §3).
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
pub(crate) const REFRESH: u8 = 5;

/// Flags of path attributes (RFC 4271 §4.3).
pub(crate) const WELL_KNOWN: u8 = 0x40;
pub(crate) const OPTIONAL: u8 = 0x80;
pub(crate) const TRANSITIVE: u8 = 0xc0;
pub(crate) const EXTENDED: u8 = 0x10;

pub(crate) fn header(length: u16, kind: u8) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    [&[0xff; 16], &[high, low, kind][..]].concat()
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("a message fits its length");
    [header(length, kind), body.to_vec()].concat()
}

pub(crate) fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

/// For everything of IPv4 unicast.
pub(crate) fn refresh() -> Vec<u8> {
    message(REFRESH, &[0, 1, 0, 1])
}

pub(crate) fn notification(code: u8, subcode: u8, data: &[u8]) -> Vec<u8> {
    message(NOTIFICATION, &[&[code, subcode], data].concat())
}

/// An OPEN whose every field can be set.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) version: u8,
    pub(crate) asn: u16,
    pub(crate) hold_time: u16,
    pub(crate) router_id: [u8; 4],
    /// With the length in front
    pub(crate) parameters: Vec<u8>,
}

impl Open {
    /// What the router that is configured would send.
    pub(crate) fn clean() -> Self {
        Self {
            version: 4,
            asn: 65000,
            hold_time: 90,
            router_id: [10, 255, 0, 1],
            parameters: capabilities(&clean_capabilities()),
        }
    }

    /// As the clean one, with these optional parameters, their length in front.
    pub(crate) fn with(parameters: &[u8]) -> Vec<u8> {
        Self { parameters: parameters.to_vec(), ..Self::clean() }.encode()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (asn, hold_time) = (self.asn.to_be_bytes(), self.hold_time.to_be_bytes());
        let fixed = [&[self.version][..], &asn, &hold_time, &self.router_id].concat();
        message(OPEN, &[fixed, self.parameters.clone()].concat())
    }
}

/// IPv4 and IPv6 unicast, route refresh, and AS 65000 in four octets.
pub(crate) fn clean_capabilities() -> Vec<u8> {
    let mut all = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0];
    all.extend(four_octet_asn(65000));
    all
}

pub(crate) fn four_octet_asn(asn: u32) -> Vec<u8> {
    [&[65, 4][..], &asn.to_be_bytes()].concat()
}

/// One optional parameter with these capabilities (RFC 5492 §4), and the length of all parameters.
pub(crate) fn capabilities(all: &[u8]) -> Vec<u8> {
    let length = u8::try_from(all.len()).expect("they fit into one parameter");
    [&[length + 2, 2, length], all].concat()
}

/// An UPDATE with the right lengths.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    update_of_lengths(withdrawn, attributes, nlri, [0, 0])
}

/// An UPDATE whose two lengths are off by this much.
pub(crate) fn update_of_lengths(
    withdrawn: &[u8],
    attributes: &[u8],
    nlri: &[u8],
    excess: [u16; 2],
) -> Vec<u8> {
    let length = |part: &[u8], excess: u16| {
        let length = u16::try_from(part.len()).expect("it fits into a message");
        length.wrapping_add(excess).to_be_bytes()
    };
    let [of_withdrawn, of_attributes] =
        [length(withdrawn, excess[0]), length(attributes, excess[1])];
    let body = [&of_withdrawn, withdrawn, &of_attributes, attributes, nlri].concat();
    message(UPDATE, &body)
}

pub(crate) fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).expect("it fits into a message").to_be_bytes();
    if flags & EXTENDED == 0 {
        assert_eq!(high, 0, "a long attribute has the flag for it");
        [&[flags, code, low], value].concat()
    } else {
        [&[flags, code, high, low], value].concat()
    }
}

/// ORIGIN, AS_PATH and NEXT_HOP as they should be.
pub(crate) fn mandatory() -> Vec<u8> {
    [origin(), as_path(), next_hop()].concat()
}

pub(crate) fn origin() -> Vec<u8> {
    attribute(WELL_KNOWN, 1, &[0])
}

pub(crate) fn as_path() -> Vec<u8> {
    attribute(WELL_KNOWN, 2, &[&[2, 1][..], &65000_u32.to_be_bytes()].concat())
}

pub(crate) fn next_hop() -> Vec<u8> {
    attribute(WELL_KNOWN, 3, &[10, 1, 1, 0])
}

/// 192.0.2.0/24
pub(crate) const PREFIX: &[u8] = &[24, 192, 0, 2];
