//! Gives up everything that an evaluation does not need, for the rest of this process.
//!
//! What is left: reading the files of one folder, computing on threads, and the pipes that are
//! open. Limits hold everywhere. On Linux, landlock keeps all other files away, and seccomp lets
//! only those system calls through that the engine makes: no sockets, no programs, no children, no
//! signals, no other process's memory. Where the kernel lacks one of them the rest still holds.

use super::wire::Attempt;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    process::Command,
};

/// Most parts of the isolation that can be missing.
pub const N_MISSING_MAX: usize = 16;

/// Most files that are open at once; a model has 256 at most.
const N_OPEN_FILES_MAX: u64 = 512;

/// Isolates this process for the model in `dir`; gives what could not be had, and why.
///
/// No other thread may have been started before: some of it holds for this one and those that come.
pub fn isolate(dir: &Path, memory_bytes_max: u64) -> Vec<String> {
    let limits = [
        (Resource::Data, memory_bytes_max, "memory is not limited"),
        (Resource::Core, 0, "a crash may leave memory on disk"),
        (Resource::Fsize, 0, "files that are open could grow"),
        (Resource::Nofile, N_OPEN_FILES_MAX, "open files are not limited"),
    ];
    let mut missing = Vec::new();
    for (resource, value, otherwise) in limits {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        if let Err(error) = setrlimit(resource, limit) {
            missing.push(format!("{otherwise}: {error}"));
        }
    }
    missing.extend(kernel::isolate(dir));
    missing
}

/// Tries, in this process, what must be impossible after [`isolate`].
///
/// Refused is what the system does not permit or does not know; any other answer, such as that
/// nobody listens, shows that it was willing.
pub fn attempts(dir: &Path, memory_bytes_max: u64) -> Vec<Attempt> {
    let nobody = (Ipv4Addr::LOCALHOST, 9);
    let parent = rustix::process::getppid();
    let memory_of_parent =
        format!("/proc/{}/mem", parent.map_or(1, |parent| parent.as_raw_nonzero().get()));
    let signal = || parent.map_or(Ok(()), rustix::process::test_kill_process);
    let more = usize::try_from(memory_bytes_max).unwrap_or(usize::MAX);
    let tries: [(&str, io::Result<()>); 12] = [
        ("read a file elsewhere", File::open("/etc/hosts").map(drop)),
        ("list a folder elsewhere", fs::read_dir("/").map(drop)),
        ("write beside the model", File::create(dir.join("written")).map(drop)),
        ("write elsewhere", File::create(std::env::temp_dir().join("agon-written")).map(drop)),
        ("connect over TCP", TcpStream::connect(nobody).map(drop)),
        ("listen on TCP", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
        ("open a UDP socket", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)),
        ("open a Unix socket", UnixDatagram::unbound().map(drop)),
        ("run a program", Command::new("/bin/true").status().map(drop)),
        ("signal the validator", signal().map_err(io::Error::from)),
        ("read the validator's memory", File::open(memory_of_parent).map(drop)),
        (
            "take more memory than allowed",
            Vec::<u8>::new().try_reserve_exact(more).map_err(io::Error::from),
        ),
    ];
    let environment = Attempt {
        what: "find keys in the environment".to_owned(),
        refused: std::env::vars_os().next().is_none(),
        answer: format!("{} variables", std::env::vars_os().count()),
    };
    tries.into_iter().map(|(what, tried)| attempt(what, tried)).chain([environment]).collect()
}

fn attempt(what: &str, tried: io::Result<()>) -> Attempt {
    let refused = tried.as_ref().is_err_and(|error| {
        let refusals = [libc::EPERM, libc::EACCES, libc::ENOSYS].map(Some);
        error.kind() == io::ErrorKind::OutOfMemory || refusals.contains(&error.raw_os_error())
    });
    let answer = tried.map_or_else(|error| error.to_string(), |()| "done".to_owned());
    Attempt { what: what.to_owned(), refused, answer }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::path::Path;

    pub(super) fn isolate(_: &Path) -> Vec<String> {
        vec!["landlock and seccomp are Linux's".to_owned()]
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
    };
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule,
    };
    use std::{collections::BTreeMap, path::Path};

    pub(super) fn isolate(dir: &Path) -> Vec<String> {
        // Where memory ends, this process goes first and not the validator.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
        let files = shut_files(dir).map_err(|error| format!("files are not shut off: {error}"));
        let calls = shut_calls().map_err(|error| format!("the network is not shut off: {error}"));
        [files, calls].into_iter().filter_map(Result::err).collect()
    }

    /// All files but those below `dir`, which can be read; and what else landlock can refuse.
    fn shut_files(dir: &Path) -> anyhow::Result<()> {
        let abi = ABI::V6;
        let readable: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
        let status = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .add_rule(PathBeneath::new(PathFd::new(dir)?, readable))?
            .restrict_self()?;
        // What an older kernel does not know of landlock, seccomp refuses all the same.
        anyhow::ensure!(
            status.ruleset != RulesetStatus::NotEnforced,
            "this kernel has no landlock, or it is turned off"
        );
        Ok(())
    }

    /// All system calls but those that the engine makes.
    fn shut_calls() -> anyhow::Result<()> {
        let architecture = std::env::consts::ARCH.try_into()?;
        // "Not implemented" is what the C library knows how to live with.
        let otherwise = SeccompAction::Errno(libc::ENOSYS as u32);
        let filter = SeccompFilter::new(calls()?, otherwise, SeccompAction::Allow, architecture)?;
        let program: BpfProgram = filter.try_into()?;
        Ok(seccompiler::apply_filter(&program)?)
    }

    fn calls() -> anyhow::Result<BTreeMap<i64, Vec<SeccompRule>>> {
        let mut calls: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.iter().chain(&OLDER).map(|call| (*call, Vec::new())).collect();
        let only = |argument: u8, is: SeccompCmpOp, value: u64| {
            anyhow::Ok(vec![SeccompRule::new(vec![SeccompCondition::new(
                argument, Dword, is, value,
            )?])?])
        };
        let masked = |mask: i32| SeccompCmpOp::MaskedEq(mask as u64);
        // Threads but no children. `clone3` hides its flags, so it is not there at all.
        let thread = libc::CLONE_THREAD;
        calls.insert(libc::SYS_clone, only(0, masked(thread), thread as u64)?);
        // No memory becomes code.
        calls.insert(libc::SYS_mmap, only(2, masked(libc::PROT_EXEC), 0)?);
        calls.insert(libc::SYS_mprotect, only(2, masked(libc::PROT_EXEC), 0)?);
        // Threads may have names; a process that gives up may end itself.
        calls.insert(libc::SYS_prctl, only(0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?);
        let own = u64::from(std::process::id());
        calls.insert(libc::SYS_tgkill, only(0, SeccompCmpOp::Eq, own)?);
        Ok(calls)
    }

    /// Calls that are allowed whatever their arguments.
    const ALLOWED: [i64; 42] = [
        // Memory.
        libc::SYS_brk,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        // Files, which landlock guards, and pipes.
        libc::SYS_close,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_lseek,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_ppoll,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_read,
        libc::SYS_readlinkat,
        libc::SYS_readv,
        libc::SYS_statx,
        libc::SYS_write,
        libc::SYS_writev,
        // Threads and time.
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        // The own signals.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
    ];

    /// Older forms of some of them, which some C libraries still use.
    #[cfg(target_arch = "x86_64")]
    const OLDER: [i64; 6] = [
        libc::SYS_lstat,
        libc::SYS_open,
        libc::SYS_poll,
        libc::SYS_readlink,
        libc::SYS_stat,
        libc::SYS_time,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER: [i64; 0] = [];
}
