//! The few calls into the system that no safe crate offers, each as small as it can be. The only
//! unsafe code of the crate.
#![expect(unsafe_code, reason = "system calls with plain C structures, and malloc_trim")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{SockAddr, SockAddrStorage};

pub(crate) mod process;
pub(crate) mod signature;

/// Drops every packet of this socket that arrives with a lower TTL or hop limit (RFC 5082).
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn set_minimum_ttl(socket: &impl AsFd, is_ipv4: bool, ttl: u8) -> io::Result<()> {
    let (level, name) = if is_ipv4 {
        (libc::IPPROTO_IP, libc::IP_MINTTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT)
    };
    let value = libc::c_int::from(ttl);
    const SIZE: libc::socklen_t = 4;
    const _: () = assert!(size_of::<libc::c_int>() == 4);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer is to a live int of the size that is passed along.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), SIZE) })
}

/// How many octets of a TCP socket's output the other end has not acknowledged (SIOCOUTQ, tcp(7)).
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn unacknowledged(socket: &impl AsFd) -> io::Result<u64> {
    count_octets(socket, libc::TIOCOUTQ)
}

/// How many octets of a TCP socket's output have not been sent yet (linux/sockios.h).
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn unsent(socket: &impl AsFd) -> io::Result<u64> {
    const SIOCOUTQNSD: libc::Ioctl = 0x894b; // as in libc, in the type that ioctl takes
    count_octets(socket, SIOCOUTQNSD)
}

fn count_octets(socket: &impl AsFd, request: libc::Ioctl) -> io::Result<u64> {
    let mut octets: libc::c_int = 0;
    // SAFETY: the pointer is to a live int, which is what these requests write.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), request, &raw mut octets) })?;
    Ok(u64::try_from(octets).unwrap_or(0))
}

/// Lets the calling thread run before every thread of normal priority; its children do not.
///
/// # Errors
///
/// `PermissionDenied` where neither `RLIMIT_RTPRIO` nor `CAP_SYS_NICE` allows it.
pub(crate) fn set_realtime_priority(priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a live value; 0 stands for the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })
}

/// Keeps in memory what the process has mapped by now, and what grows out of it: its code above all,
/// which is otherwise read from a disk again after memory was short. Pages count once they are used,
/// not before. What is mapped later is not locked; the allocator could not give it back.
///
/// # Errors
///
/// `OutOfMemory` or `PermissionDenied` where neither `RLIMIT_MEMLOCK` nor `CAP_IPC_LOCK` allows it.
pub(crate) fn lock_memory() -> io::Result<()> {
    // SAFETY: it takes no pointers, and changes nothing that the process can see.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_ONFAULT) })
}

/// Has the kernel give the calling thread the part of its stack that it is going to use.
#[inline(never)]
pub(crate) fn touch_stack() {
    const DEPTH: usize = 32 << 10;
    std::hint::black_box([0_u8; DEPTH]);
}

/// Gives back to the kernel what the allocator keeps of memory that was freed; costs about a
/// millisecond.
pub(crate) fn release_free_memory() {
    // SAFETY: it takes no pointers and may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Where packets of a protocol (a number of linux/if_ether.h) come from or go to on a link: all
/// interfaces where `interface` is 0.
pub(crate) fn link_address(protocol: u16, interface: u32, hardware: [u8; 6]) -> SockAddr {
    const AF_PACKET: libc::sa_family_t = 17; // as in libc, in the type that it has here
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is larger than the structure, aligned for every kind of address, and all
    // zero, which is a value that the structure may have.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = AF_PACKET;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface.cast_signed();
    address.sll_halen = 6;
    address.sll_addr.iter_mut().zip(hardware).for_each(|(octet, value)| *octet = value);
    const SIZE: libc::socklen_t = 20;
    const _: () = assert!(size_of::<libc::sockaddr_ll>() == 20);
    // SAFETY: what was written is an address of this family and size.
    unsafe { SockAddr::new(storage, SIZE) }
}

/// An error as people know it: "connection refused", without the number that std puts behind it.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
