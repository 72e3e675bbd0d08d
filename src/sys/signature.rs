//! Signatures of TCP segments: MD5 (RFC 2385) and TCP-AO (RFC 5925), as linux/tcp.h has them.
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnet::IpNet;
use socket2::{SockAddr, SockAddrStorage};

/// The longest key of either kind.
pub(crate) const TCP_MAX_KEY: usize = 80;

const TCP_MD5SIG_EXT: libc::c_int = 32;
const TCP_AO_ADD_KEY: libc::c_int = 38;
const TCP_AO_DEL_KEY: libc::c_int = 39;
const TCP_AO_INFO: libc::c_int = 40;

/// `struct tcp_md5sig`
#[repr(C)]
struct TcpMd5Sig {
    address: SockAddrStorage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; TCP_MAX_KEY],
}

/// `struct tcp_ao_add`
#[repr(C, align(8))]
struct TcpAoAdd {
    address: SockAddrStorage,
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    mac_length: u8,
    key_flags: u8,
    key_length: u8,
    key: [u8; TCP_MAX_KEY],
}

/// `struct tcp_ao_del`
#[repr(C, align(8))]
struct TcpAoDel {
    address: SockAddrStorage,
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix_length: u8,
    send_id: u8,
    receive_id: u8,
    current_key: u8,
    rnext_key: u8,
    key_flags: u8,
}

/// `struct tcp_ao_info_opt`
#[repr(C, align(8))]
struct TcpAoInfo {
    flags: u32,
    reserved: u16,
    current_key: u8,
    rnext_key: u8,
    counters: [u64; 5],
}

const _: () = assert!(
    size_of::<TcpMd5Sig>() == 216
        && size_of::<TcpAoAdd>() == 288
        && size_of::<TcpAoDel>() == 144
        && size_of::<TcpAoInfo>() == 48
);

/// The key is the one to sign with.
const SET_CURRENT: u32 = bit(0);
/// The key is the one that the peer is asked to sign with.
const SET_RNEXT: u32 = bit(1);

/// The bit of a C bit-field of 32.
const fn bit(number: u32) -> u32 {
    if cfg!(target_endian = "big") { 1 << (31 - number) } else { 1 << number }
}

/// A key of TCP-AO.
#[derive(Clone, Copy)]
pub(crate) struct TcpAoKey<'a> {
    /// SendID (RFC 5925 §3.1)
    pub(crate) send_id: u8,
    /// RecvID
    pub(crate) receive_id: u8,
    /// As the kernel's crypto API calls it
    pub(crate) algorithm: &'a str,
    /// Octets of a MAC
    pub(crate) mac_length: u8,
    pub(crate) key: &'a [u8],
}

/// Signs every segment to and from these peers (RFC 2385). On a listening socket it must be set
/// before they connect.
///
/// # Errors
///
/// `InvalidInput` for a key longer than [`TCP_MAX_KEY`], else what the kernel says.
pub(crate) fn set_tcp_md5(socket: &impl AsFd, peers: IpNet, key: &[u8]) -> io::Result<()> {
    const PREFIX: u8 = 1; // TCP_MD5SIG_FLAG_PREFIX
    let is_one = peers.prefix_len() == peers.max_prefix_len();
    let signature = TcpMd5Sig {
        address: address(peers),
        flags: if is_one { 0 } else { PREFIX },
        prefix_length: if is_one { 0 } else { peers.prefix_len() },
        key_length: u16::try_from(key.len()).map_err(|_| too_long())?,
        interface: 0,
        key: padded(key)?,
    };
    set_option(socket, if is_one { libc::TCP_MD5SIG } else { TCP_MD5SIG_EXT }, &signature)
}

/// Adds a key for segments to and from these peers (RFC 5925), on a connected socket for the peer
/// that is among them. `use_at_once`, not for a listening socket: sign with it, and ask the peer to.
///
/// # Errors
///
/// `InvalidInput` for a key longer than [`TCP_MAX_KEY`], else what the kernel says: `ENOPROTOOPT`
/// when it has no TCP-AO, `ENOENT` when it lacks the algorithm.
pub(crate) fn add_tcp_ao_key(
    socket: &impl AsFd,
    peers: IpNet,
    key: TcpAoKey<'_>,
    use_at_once: bool,
) -> io::Result<()> {
    let add = TcpAoAdd {
        address: address(peers),
        algorithm: padded(key.algorithm.as_bytes())?,
        interface: 0,
        flags: if use_at_once { SET_CURRENT | SET_RNEXT } else { 0 },
        reserved: 0,
        prefix_length: peers.prefix_len(),
        send_id: key.send_id,
        receive_id: key.receive_id,
        mac_length: key.mac_length,
        key_flags: 0,
        key_length: u8::try_from(key.key.len()).map_err(|_| too_long())?,
        key: padded(key.key)?,
    };
    set_option(socket, TCP_AO_ADD_KEY, &add)
}

/// Removes a key that was added for the same peers.
///
/// # Errors
///
/// What the kernel says: that a key is in use, for one.
pub(crate) fn remove_tcp_ao_key(
    socket: &impl AsFd,
    peers: IpNet,
    send_id: u8,
    receive_id: u8,
) -> io::Result<()> {
    let del = TcpAoDel {
        address: address(peers),
        interface: 0,
        flags: 0,
        reserved: 0,
        prefix_length: peers.prefix_len(),
        send_id,
        receive_id,
        current_key: 0,
        rnext_key: 0,
        key_flags: 0,
    };
    set_option(socket, TCP_AO_DEL_KEY, &del)
}

/// Which key a connection signs with, by its SendID.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn current_tcp_ao_key(socket: &impl AsFd) -> io::Result<u8> {
    let (flags, reserved, current_key, rnext_key, counters) = (0, 0, 0, 0, [0; 5]);
    let mut info = TcpAoInfo { flags, reserved, current_key, rnext_key, counters };
    let mut size = libc::socklen_t::try_from(size_of::<TcpAoInfo>()).map_err(|_| too_long())?;
    let fd = socket.as_fd().as_raw_fd();
    let value: *mut TcpAoInfo = &raw mut info;
    // SAFETY: the pointers are to live values, and the size is that of the structure.
    super::check(unsafe {
        libc::getsockopt(fd, libc::IPPROTO_TCP, TCP_AO_INFO, value.cast(), &raw mut size)
    })?;
    Ok(info.current_key)
}

/// Asks the peer of a connection to sign with the key that has this RecvID (RFC 5925 §6.1,
/// `RNextKeyID`); it does when it has it, and asks for what it prefers in turn.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn ask_for_tcp_ao_key(socket: &impl AsFd, receive_id: u8) -> io::Result<()> {
    let (reserved, current_key, counters) = (0, 0, [0; 5]);
    let info =
        TcpAoInfo { flags: SET_RNEXT, reserved, current_key, rnext_key: receive_id, counters };
    set_option(socket, TCP_AO_INFO, &info)
}

fn address(peers: IpNet) -> SockAddrStorage {
    SockAddr::from(SocketAddr::new(peers.addr(), 0)).as_storage()
}

fn padded<const N: usize>(octets: &[u8]) -> io::Result<[u8; N]> {
    let mut padded = [0; N];
    padded.get_mut(..octets.len()).ok_or_else(too_long)?.copy_from_slice(octets);
    Ok(padded)
}

fn too_long() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}

/// `T` is a plain C structure, as the option `name` wants it.
fn set_option<T>(socket: &impl AsFd, name: libc::c_int, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| too_long())?;
    let fd = socket.as_fd().as_raw_fd();
    let value: *const T = value;
    // SAFETY: the pointer is to a live value of the size that is passed along.
    super::check(unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, name, value.cast(), size) })
}
