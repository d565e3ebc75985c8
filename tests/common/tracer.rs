//! Watches a program's system calls by ptrace(2), and kills it at one of them or makes one fail: faults
//! without any code for them in the program.
#![allow(dead_code, reason = "not every test uses everything")]

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A system call that a thread of the program is about to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// As in `<sys/syscall.h>`.
    pub number: i64,
    /// The file it names by a path or a descriptor, if any.
    pub file: Option<PathBuf>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is made.
    Made,
    /// The program gets SIGKILL before it is made.
    Killed,
    /// It is not made and returns this error number.
    Fails(i32),
}

/// Calls whose first argument is a path, or whose second one is.
const PATH_FIRST: [i64; 10] = [
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_unlink,
    libc::SYS_readlink,
    libc::SYS_chmod,
    libc::SYS_statfs,
];
const PATH_SECOND: [i64; 7] = [
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_unlinkat,
    libc::SYS_readlinkat,
    libc::SYS_statx,
    libc::SYS_renameat,
    libc::SYS_faccessat2,
];
/// Calls whose first argument is a descriptor.
pub const DESCRIPTOR: [i64; 15] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_getdents64,
    libc::SYS_fallocate,
    libc::SYS_fchown,
];

/// Whether `number` is a call on files.
pub fn is_on_files(number: i64) -> bool {
    [&PATH_FIRST[..], &PATH_SECOND, &DESCRIPTOR].iter().any(|calls| calls.contains(&number))
}

/// Runs `command` to its end; `decide` is asked about each call. `None` if tracing is not allowed here.
pub fn trace(command: &mut Command, mut decide: impl FnMut(&Call) -> Fate) -> Option<Output> {
    let become_traced = || match ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: between fork and exec only one system call is made.
    unsafe { command.pre_exec(become_traced) };
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
    let pid = child.id() as i32;
    wait_for(pid);
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    if ptrace(libc::PTRACE_SETOPTIONS, pid, 0, i64::from(options)) != 0 {
        return None;
    }
    // What each thread that is inside a call gets from it in place of the truth.
    let mut inside: HashMap<i32, Option<i32>> = HashMap::new();
    ptrace(libc::PTRACE_SYSCALL, pid, 0, 0);
    let status = loop {
        let (thread, status) = wait_for(-1);
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            inside.remove(&thread);
            if thread == pid {
                break status;
            }
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        let mut delivered = 0;
        if signal == libc::SIGTRAP | 0x80 {
            match inside.remove(&thread) {
                Some(errno) => errno.into_iter().for_each(|errno| return_error(thread, errno)),
                None => enter(pid, thread, &mut inside, &mut decide),
            }
        } else if ![libc::SIGTRAP, libc::SIGSTOP].contains(&signal) {
            delivered = signal;
        }
        ptrace(libc::PTRACE_SYSCALL, thread, 0, i64::from(delivered));
    };
    // The pipe is closed with the last thread, so all that was said is in it.
    let mut stderr = Vec::new();
    io::Read::read_to_end(&mut child.stderr?, &mut stderr).ok()?;
    let status = std::os::unix::process::ExitStatusExt::from_raw(status);
    Some(Output { status, stdout: Vec::new(), stderr })
}

/// Decides about the call that `thread` is about to make.
fn enter(
    pid: i32,
    thread: i32,
    inside: &mut HashMap<i32, Option<i32>>,
    decide: &mut impl FnMut(&Call) -> Fate,
) {
    let mut registers = registers(thread);
    let call = call(pid, &registers);
    let mut fails_with = None;
    match decide(&call) {
        Fate::Made => {}
        Fate::Killed => {
            // SAFETY: the traced child, which was not waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        Fate::Fails(errno) => {
            // No call has this number: the kernel makes none.
            registers.orig_rax = u64::MAX;
            set_registers(thread, &registers);
            fails_with = Some(errno);
        }
    }
    inside.insert(thread, fails_with);
}

fn call(pid: i32, registers: &libc::user_regs_struct) -> Call {
    let number = registers.orig_rax as i64;
    let file = if PATH_FIRST.contains(&number) {
        path_at(pid, registers.rdi)
    } else if PATH_SECOND.contains(&number) {
        path_at(pid, registers.rsi)
    } else if DESCRIPTOR.contains(&number) {
        std::fs::read_link(format!("/proc/{pid}/fd/{}", registers.rdi as i32)).ok()
    } else {
        None
    };
    Call { number, file }
}

/// The text at `address` in the memory of `pid`.
fn path_at(pid: i32, address: u64) -> Option<PathBuf> {
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = [0; libc::PATH_MAX as usize];
    let read = std::os::unix::fs::FileExt::read_at(&memory, &mut bytes, address).ok()?;
    let length = bytes[..read].iter().position(|byte| *byte == 0)?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes[..length].to_vec())))
}

fn return_error(thread: i32, errno: i32) {
    let mut registers = registers(thread);
    registers.rax = -i64::from(errno) as u64;
    set_registers(thread, &registers);
}

fn ptrace(request: libc::c_uint, thread: i32, address: i64, data: i64) -> i64 {
    // SAFETY: the requests made here take numbers, or pointers to registers that outlive the call.
    unsafe { libc::ptrace(request, thread, address, data) }
}

fn registers(thread: i32) -> libc::user_regs_struct {
    // SAFETY: all zero is a value of these plain numbers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    ptrace(libc::PTRACE_GETREGS, thread, 0, &raw mut registers as i64);
    registers
}

fn set_registers(thread: i32, registers: &libc::user_regs_struct) {
    ptrace(libc::PTRACE_SETREGS, thread, 0, &raw const *registers as i64);
}

/// Waits for a traced thread of this thread's; other tests' children are not seen.
fn wait_for(pid: i32) -> (i32, i32) {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    let thread = unsafe { libc::waitpid(pid, &mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(thread > 0, "a traced thread: {}", io::Error::last_os_error());
    (thread, status)
}
