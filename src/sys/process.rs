//! What becomes of the programs that we start.
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::sys::signal::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has programs that the calling thread starts, and the threads, begin without the capabilities that
/// systemd gave the daemon (capabilities(7), `AmbientCapabilities=`). Those of the thread itself stay.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn drop_ambient_capabilities() -> io::Result<()> {
    const NOTHING: libc::c_ulong = 0;
    let (option, clear) = (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL);
    let clear = libc::c_ulong::from(clear.cast_unsigned());
    // SAFETY: it takes no pointers, and changes nothing but what execve(2) does.
    super::check(unsafe { libc::prctl(option, clear, NOTHING, NOTHING, NOTHING) })
}

/// What becomes readable when the process of this number ends, which must be a child that nobody has
/// waited for.
///
/// # Errors
///
/// `ENOSYS` before Linux 5.3, else what the kernel says.
pub(crate) fn watch(child: u32) -> io::Result<AsyncFd<OwnedFd>> {
    const NO_FLAGS: libc::c_uint = 0;
    // SAFETY: it takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, child, NO_FLAGS) };
    let Some(fd) = libc::c_int::try_from(result).ok().filter(|fd| *fd >= 0) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: an OwnedFd keeps its descriptor open and the same for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Takes from a child what the unit allows for BFD: real-time priority, and all memory locked.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn lower_limits(child: u32) -> io::Result<()> {
    const MEMORY: libc::rlim_t = 8 << 20; // as systemd and the kernel have it by default
    let child = libc::pid_t::try_from(child).map_err(|_| io::ErrorKind::InvalidInput)?;
    for (resource, most) in [(libc::RLIMIT_RTPRIO, 0), (libc::RLIMIT_MEMLOCK, MEMORY)] {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a live structure, which is what is written.
        super::check(unsafe { libc::prlimit(child, resource, std::ptr::null(), &raw mut limit) })?;
        limit.rlim_max = limit.rlim_max.min(most);
        limit.rlim_cur = limit.rlim_cur.min(limit.rlim_max);
        // SAFETY: the pointer is to a live structure, which is what is read.
        super::check(unsafe {
            libc::prlimit(child, resource, &raw const limit, std::ptr::null_mut())
        })?;
    }
    Ok(())
}

/// A signal as people know it: "SIGKILL".
pub(crate) fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().into(),
        Err(_) => format!("signal {number}"),
    }
}
