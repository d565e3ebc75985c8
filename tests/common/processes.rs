//! Real processes that share memory with the test: the oracle lies outside the log.
#![allow(dead_code, reason = "not every test uses everything")]

use std::sync::atomic::AtomicU64;

use memmap2::MmapMut;

/// Forks; the child does `work` and ends by `_exit(0)`. Gives the child's pid.
pub fn fork(work: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child calls only what is sound after a fork of a threaded program with glibc (memory
    // from malloc, system calls, the recorder under test), and never returns into the test harness.
    match unsafe { libc::fork() } {
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends the child without running the harness's exit handlers.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        pid => {
            assert!(pid > 0, "fork failed");
            pid
        }
    }
}

/// Waits for `pid`; gives its raw status.
pub fn wait(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// Sends `signal` to a child.
pub fn kill(pid: libc::pid_t, signal: i32) {
    // SAFETY: the pid is that of a child that was not waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Counters that parent and children share.
pub struct Shared(MmapMut);

impl Shared {
    pub fn new() -> Shared {
        use std::os::fd::FromRawFd;
        // SAFETY: a fresh descriptor of an anonymous file, owned from here on.
        let file = unsafe { std::fs::File::from_raw_fd(libc::memfd_create(c"count".as_ptr(), 0)) };
        file.set_len(4096).unwrap();
        // SAFETY: nobody truncates the anonymous file.
        Shared(unsafe { MmapMut::map_mut(&file) }.unwrap())
    }

    pub fn count(&self, index: usize) -> &AtomicU64 {
        assert!(index < 512);
        // SAFETY: inside the page, aligned, zero at first and changed by atomics only.
        unsafe { &*self.0.as_ptr().cast::<AtomicU64>().add(index) }
    }
}
