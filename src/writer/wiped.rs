//! Memory that a forked child finds zeroed (`MADV_WIPEONFORK`, Linux 4.14).
//!
//! This is how a recorder notices a fork at no cost: a thread's bounds live here, so in a child the
//! ordinary bounds check fails and the slow path looks closer. It also sees `clone` and `_Fork`, which
//! `pthread_atfork` misses, and needs no `getpid` (110-230 ns) per record.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapMut, MmapOptions};

/// Types whose all-zero bytes are a valid value, and which are changed through shared references only
/// by atomic stores.
///
/// # Safety
/// Both must hold, and the type must have no destructor.
pub(super) unsafe trait Wipeable {}

// SAFETY: zero is a value, and all changes are atomic.
unsafe impl Wipeable for AtomicU32 {}
// SAFETY: as above.
unsafe impl Wipeable for AtomicU64 {}
// SAFETY: an array of such values is one.
unsafe impl<T: Wipeable, const N: usize> Wipeable for [T; N] {}

/// What a forked child finds zeroed of its parent's part of a recorder.
#[repr(C)]
pub(super) struct Own {
    /// 1 in the process that made it.
    pub(super) is_ours: AtomicU32,
    /// Records that could not be written.
    pub(super) lost: AtomicU64,
}

// SAFETY: zero is a value (not ours, nothing lost), and all changes are atomic.
unsafe impl Wipeable for Own {}

/// A `T` in pages of its own: zero at first, and zero again in every forked child.
pub(super) struct Wiped<T: Wipeable> {
    pages: MmapMut,
    marker: std::marker::PhantomData<T>,
}

impl<T: Wipeable> Wiped<T> {
    pub(super) fn new() -> io::Result<Wiped<T>> {
        let pages = MmapOptions::new().len(size_of::<T>()).map_anon()?;
        // SAFETY: the range is exactly the private anonymous mapping just made; the advice changes what
        // forked children see of it, nothing in this process.
        let result = unsafe {
            libc::madvise(pages.as_ptr().cast_mut().cast(), pages.len(), libc::MADV_WIPEONFORK)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Wiped { pages, marker: std::marker::PhantomData })
    }
}

impl<T: Wipeable> Deref for Wiped<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the pages hold at least a `T`, are aligned to 4096 bytes, live as long as `self`, and
        // zero is a valid `T` (Wipeable). The pages are private to this process; a fork leaves the
        // parent's alone.
        unsafe { &*self.pages.as_ptr().cast::<T>() }
    }
}
