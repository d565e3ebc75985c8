//! What the system may say when it does not do what it was asked.

/// Error numbers: full, broken, out of something, interrupted, not allowed.
pub const ERRORS: [i32; 8] = [
    libc::ENOSPC,
    libc::EIO,
    libc::EMFILE,
    libc::EDQUOT,
    libc::EINTR,
    libc::EROFS,
    libc::EACCES,
    libc::ENOMEM,
];
