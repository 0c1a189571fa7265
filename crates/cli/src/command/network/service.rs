//! One service of a network over its lives: started, watched, started again.

use super::{
    backoff::Backoff,
    process::{self, Process, Program},
    view::Voice,
};
use std::{sync::Arc, time::Duration};

/// What a service is for; they start in this order, and end in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The chain.
    Node,
    /// The hub.
    Hub,
    /// A validator.
    Validator,
    /// A miner.
    Miner,
    /// Pages for spectators.
    Dashboard,
}

impl Tier {
    /// The last to start first.
    pub const FROM_THE_END: [Self; 5] =
        [Self::Dashboard, Self::Miner, Self::Validator, Self::Hub, Self::Node];
}

/// What a service does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was not started yet, or was ended on purpose.
    Off,
    /// It was started, and has not said that it is up.
    Starting,
    /// It is up.
    Up,
    /// It ended, and is started again later.
    Restarting,
}

impl State {
    /// The state in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Restarting => "restarting",
        }
    }
}

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process was started.
    Started {
        /// Its number.
        pid: u32,
    },
    /// It has said that it is up.
    Up,
    /// It ended, or could not be started.
    Ended {
        /// How.
        how: String,
        /// When it is started again.
        again_in: Duration,
    },
}

enum Phase {
    Off,
    Running { process: Process, since: Duration, was_up: bool },
    Waiting { until: Duration },
}

/// A service; times are those since the start of the supervisor.
pub struct Service {
    /// What is run.
    pub program: Program,
    /// What it is for.
    pub tier: Tier,
    /// Where its lines go.
    pub voice: Arc<Voice>,
    phase: Phase,
    backoff: Backoff,
    n_ends: u64,
    n_ends_before_up: u64,
}

impl Service {
    /// A service that was not started yet.
    pub fn new(program: Program, tier: Tier, voice: Arc<Voice>) -> Self {
        let (phase, backoff) = (Phase::Off, Backoff::default());
        Self { program, tier, voice, phase, backoff, n_ends: 0, n_ends_before_up: 0 }
    }

    /// What it does now.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Off => State::Off,
            Phase::Running { was_up: true, .. } => State::Up,
            Phase::Running { .. } => State::Starting,
            Phase::Waiting { .. } => State::Restarting,
        }
    }

    /// Number of its process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        match &self.phase {
            Phase::Running { process, .. } => Some(process.pid()),
            Phase::Off | Phase::Waiting { .. } => None,
        }
    }

    /// How often it ended.
    pub fn n_ends(&self) -> u64 {
        self.n_ends
    }

    /// How often it ended before it was up for the first time.
    pub fn n_ends_before_up(&self) -> u64 {
        self.n_ends_before_up
    }

    /// Starts it; where that fails, it is tried again as after an end.
    pub fn start(&mut self, now: Duration) -> Change {
        match Process::start(&self.program, &self.voice) {
            Ok(process) => {
                let pid = process.pid();
                self.phase = Phase::Running { process, since: now, was_up: false };
                Change::Started { pid }
            }
            Err(error) => self.wait(format!("cannot be started: {error}"), Duration::ZERO, now),
        }
    }

    /// What has happened since it was last looked at; starts it again when it is time.
    pub fn poll(&mut self, now: Duration) -> anyhow::Result<Option<Change>> {
        match &mut self.phase {
            Phase::Off => Ok(None),
            Phase::Waiting { until } if now < *until => Ok(None),
            Phase::Waiting { .. } => Ok(Some(self.start(now))),
            Phase::Running { process, since, was_up } => {
                if let Some(status) = process.ended()? {
                    let (lived, was_up) = (now.saturating_sub(*since), *was_up);
                    self.n_ends_before_up += u64::from(!was_up);
                    return Ok(Some(self.wait(process::how(status), lived, now)));
                }
                if !*was_up && process.is_ready() {
                    *was_up = true;
                    self.n_ends_before_up = 0;
                    return Ok(Some(Change::Up));
                }
                Ok(None)
            }
        }
    }

    fn wait(&mut self, how: String, lived: Duration, now: Duration) -> Change {
        let again_in = self.backoff.after(lived);
        self.phase = Phase::Waiting { until: now.saturating_add(again_in) };
        self.n_ends += 1;
        Change::Ended { how, again_in }
    }

    /// Asks its process to end, and starts none any more.
    pub fn terminate(&mut self) {
        match &self.phase {
            Phase::Running { process, .. } => process.terminate(),
            Phase::Off | Phase::Waiting { .. } => self.phase = Phase::Off,
        }
    }

    /// Whether it has no process any more; after [`Self::terminate`].
    pub fn is_gone(&mut self) -> bool {
        if let Phase::Running { process, .. } = &mut self.phase {
            // What cannot be looked at is not waited for: dropping it kills it.
            if matches!(process.ended(), Ok(None)) {
                return false;
            }
            self.phase = Phase::Off;
        }
        true
    }

    /// Ends its process at once; whether there was one.
    pub fn kill(&mut self) -> bool {
        let was_running = matches!(self.phase, Phase::Running { .. });
        self.phase = Phase::Off;
        was_running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::network::{
        log::{LogLimits, RotatingLog},
        view::View,
    };
    use std::path::Path;

    /// A service that is a script of the shell.
    fn script(folder: &Path, text: &str) -> (Service, View) {
        let args = vec!["-c".into(), text.into()];
        let program = Program { name: "script".to_owned(), file: "/bin/sh".into(), args };
        let limits = LogLimits { size_bytes_max: 1 << 20, n_files_max: 2 };
        let log = RotatingLog::open(&folder.join("script.log"), limits).unwrap();
        let view = View::new(6);
        let voice = Arc::new(Voice::new(log, view.speaker("script", 0)));
        (Service::new(program, Tier::Node, voice), view)
    }

    /// The next thing that happens, with a clock that stands still.
    fn next(service: &mut Service, now: Duration) -> Change {
        for _ in 0..2_000 {
            if let Some(change) = service.poll(now).unwrap() {
                return change;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nothing happened in ten seconds: {:?}", service.state());
    }

    #[test]
    fn a_service_is_up_when_it_says_so_and_is_started_again_when_it_is_time() {
        let folder = tempfile::tempdir().unwrap();
        let text = "echo told >&2; echo '{\"url\": \"secret\"}'; read line; exit 3";
        let (mut service, _view) = script(folder.path(), text);
        assert_eq!(service.state(), State::Off);
        let second = Duration::from_secs(1);
        let Change::Started { pid } = service.start(second) else { panic!("not started") };
        assert_eq!((service.state(), service.pid()), (State::Starting, Some(pid)));
        assert_eq!(next(&mut service, second), Change::Up);
        assert_eq!(service.state(), State::Up);
        let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) else { panic!("no pid") };
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let how = "was killed by signal 9".to_owned();
        assert_eq!(next(&mut service, 3 * second), Change::Ended { how, again_in: second });
        assert_eq!((service.n_ends(), service.n_ends_before_up()), (1, 0));
        let soon = 3 * second + second / 2;
        assert_eq!(service.poll(soon).unwrap(), None);
        assert!(matches!(service.poll(4 * second).unwrap(), Some(Change::Started { .. })));
        assert_eq!(next(&mut service, 4 * second), Change::Up);
        service.terminate();
        while !service.is_gone() {
            std::thread::yield_now();
        }
        assert_eq!(service.state(), State::Off);
        let log = std::fs::read_to_string(folder.path().join("script.log")).unwrap();
        assert_eq!(log, "told\ntold\n", "what says that it is up is not told");
    }

    #[test]
    fn a_service_that_cannot_start_is_counted_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let (mut service, _view) = script(folder.path(), "echo no such thing >&2; exit 2");
        service.start(Duration::ZERO);
        let how = "ended with code 2".to_owned();
        let again_in = Duration::from_secs(1);
        assert_eq!(next(&mut service, Duration::ZERO), Change::Ended { how, again_in });
        assert_eq!(service.n_ends_before_up(), 1);
        assert_eq!(service.voice.last(), "no such thing");
        service.program.file = "/nowhere".into();
        let Change::Ended { how, again_in } = next(&mut service, Duration::from_secs(2)) else {
            panic!("started");
        };
        assert!(how.starts_with("cannot be started"), "{how}");
        assert_eq!(again_in, Duration::from_secs(2));
        assert!(!service.kill());
    }
}
