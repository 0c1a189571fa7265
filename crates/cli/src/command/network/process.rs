//! One process of a network: how it is started, heard, and ended.

use super::{lines, view::Voice};
use crate::supervised;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use std::{
    ffi::OsString,
    io::{self, BufReader, Read},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How long the last lines of a process that has ended are waited for, in pauses.
const N_PAUSES: usize = 40;
const PAUSE: Duration = Duration::from_millis(25);

/// What variables begin with that would beat the config files of a network.
const OTHERS: [&str; 3] = ["AGON_", "BT_", "HF_"];
/// Those of them that say how much is logged.
const LOG: &str = "AGON_LOG";
/// What is logged where nobody asks for anything else: what services tell.
const USUAL_LOG: &str = "warn,agon=info,validator=info,miner=info";
/// Hosts that are reached without a proxy, however the variable is written.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
const THIS_MACHINE: &str = "127.0.0.1,localhost";

/// What is run, and how it is called.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the process.
    pub name: String,
    /// The file of this program.
    pub file: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// A process that was started; killed, with all that it has started, when this is dropped.
pub struct Process {
    child: Child,
    pid: Pid,
    is_ready: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
    has_ended: bool,
}

impl Process {
    /// Starts a process, whose lines go to `voice`.
    ///
    /// Its standard input is a pipe that closes when this process is gone: see [`supervised`].
    pub fn start(program: &Program, voice: &Arc<Voice>) -> io::Result<Self> {
        let mut command = Command::new(&program.file);
        command
            .arg0("agon")
            .args(&program.args)
            // A group of its own: Ctrl-C is for the supervisor, which ends all in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        set_environment(&mut command);
        let mut child = command.spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let (Some(pid), Some(out), Some(err)) = (pid, child.stdout.take(), child.stderr.take())
        else {
            // The child has no pipe to hold on to, and ends by itself.
            return Err(io::Error::other("a process has no pipes"));
        };
        let is_ready = Arc::new(AtomicBool::new(false));
        let readers = vec![hear_ready(out, voice, &is_ready), hear(err, voice)];
        Ok(Self { child, pid, is_ready, readers, has_ended: false })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has said that it is up.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// How it ended, if it has; what it had started is ended then, too.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        // Only looked at: until we wait for it, nobody else gets its number.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(self.pid), look)?.is_none() {
            return Ok(None);
        }
        self.reap().map(Some)
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        // It may have ended already.
        let _ = kill_process(self.pid, Signal::TERM);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if !self.has_ended {
            // It may have ended already; either way it is waited for.
            let _ = self.reap();
        }
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let status = self.child.wait()?;
        self.has_ended = true;
        // The readers end with the pipes, which nobody holds any more.
        for _ in 0..N_PAUSES {
            if self.readers.iter().all(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Config files say all that there is to say, and no variable of the user's changes it.
fn set_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let is_other = name.to_str().is_some_and(|name| {
            name != LOG && OTHERS.iter().any(|beginning| name.starts_with(beginning))
        });
        if is_other {
            command.env_remove(&name);
        }
    }
    if std::env::var_os(LOG).is_none() {
        command.env(LOG, USUAL_LOG);
    }
    for name in NO_PROXY {
        let hosts = match std::env::var(name) {
            Ok(others) if !others.trim().is_empty() => format!("{others},{THIS_MACHINE}"),
            _ => THIS_MACHINE.to_owned(),
        };
        command.env(name, hosts);
    }
    command.env(supervised::VARIABLE, "1");
}

/// Hears lines until there are no more.
fn hear(from: impl Read + Send + 'static, voice: &Arc<Voice>) -> JoinHandle<()> {
    let voice = Arc::clone(voice);
    std::thread::spawn(move || {
        // A pipe that breaks ends as one that closes.
        let _ = lines::each(BufReader::new(from), |line| voice.tell(line));
    })
}

/// The same; the first line, if it is a JSON object, says that the process is up. It is not told:
/// it may hold a token.
fn hear_ready(
    from: impl Read + Send + 'static,
    voice: &Arc<Voice>,
    is_ready: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (voice, is_ready) = (Arc::clone(voice), Arc::clone(is_ready));
    std::thread::spawn(move || {
        let mut is_first = true;
        let _ = lines::each(BufReader::new(from), |line| {
            if std::mem::take(&mut is_first) && is_object(line) {
                is_ready.store(true, Ordering::Relaxed);
            } else {
                voice.tell(line);
            }
        });
    })
}

fn is_object(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok()
}

/// How a process ended, in words.
pub fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_by_its_code_or_its_signal() {
        for (status, told) in [
            (0, "ended with code 0"),
            (2 << 8, "ended with code 2"),
            (255 << 8, "ended with code 255"),
            (9, "was killed by signal 9"),
            // The bit of a core dump is none of the signal.
            (11 | 0x80, "was killed by signal 11"),
        ] {
            assert_eq!(how(ExitStatus::from_raw(status)), told);
        }
    }

    #[test]
    fn only_a_whole_json_object_says_that_a_process_is_up() {
        for line in [&b"{}"[..], b" {\"url\": \"http://x\"} ", b"{\"a\": [1, null]}\r"] {
            assert!(is_object(line), "{}", String::from_utf8_lossy(line));
        }
        for line in
            [&b""[..], b"{", b"[]", b"null", b"\"ready\"", b"ready", b"{} {}", b"{\"a\": \xff}"]
        {
            assert!(!is_object(line), "{}", String::from_utf8_lossy(line));
        }
    }
}
