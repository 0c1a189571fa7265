//! `agon network up`: starts the processes of a network in order, and watches them.

use super::{
    file::{Config, DashboardPart, Network, Participant},
    heads::Heads,
    log::RotatingLog,
    ports,
    process::Program,
    register,
    service::{Change, Service, State, Tier},
    status::{self, ProcessStatus, Status},
    view::{View, Voice},
};
use crate::{
    args::UpNetworkArgs,
    evaluator,
    failure::{HintExt as _, Interrupted},
    terminal::{self, print_json_line},
};
use anyhow::Context as _;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How often processes are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a process has for its end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the status is told and kept.
const STATUS_EVERY: Duration = Duration::from_secs(30);
/// A process that ends so often before it was up keeps the network from starting.
const N_FAILED_STARTS_MAX: u64 = 3;
/// Name of the supervisor in the view.
const OWN_NAME: &str = "network";

/// Runs a network until it is told to stop.
pub fn run(args: &UpNetworkArgs) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    let network = Network::read(&args.config)?;
    let _lock = network.lock()?;
    let configs: Vec<Config> =
        network.participants().map(|one| network.config(one)).collect::<anyhow::Result<_>>()?;
    ports::expect_free(&network, &configs)?;
    let width = network.participants().map(|one| one.name.len()).max().unwrap_or(0);
    let view = View::new(width.max(OWN_NAME.len()));
    let mut supervisor = Supervisor::new(&network, configs, &view, args)?;
    let lived = supervisor.live(&stop);
    let ended = supervisor.end();
    drop(supervisor);
    view.end();
    match lived.and(ended) {
        // Whoever asks it to end has what was asked for.
        Err(error) if error.is::<Interrupted>() => Ok(ExitCode::SUCCESS),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

/// Who watches the processes of a network.
struct Supervisor<'a> {
    args: &'a UpNetworkArgs,
    network: &'a Network,
    /// What the config files of validators say, by the name of the process.
    validators: BTreeMap<String, Config>,
    /// In the order in which they start.
    services: Vec<Service>,
    heads: Option<Heads>,
    voice: Arc<Voice>,
    began: Instant,
    told: Duration,
}

impl<'a> Supervisor<'a> {
    fn new(
        network: &'a Network,
        configs: Vec<Config>,
        view: &View,
        args: &'a UpNetworkArgs,
    ) -> anyhow::Result<Self> {
        let logs = network.path(&network.logs.dir);
        disk::create_folder(&logs)
            .with_context(|| format!("cannot make the folder `{}`", logs.display()))?;
        let voice = |name: &str, number| -> anyhow::Result<Arc<Voice>> {
            let path = logs.join(format!("{name}.log"));
            let log = RotatingLog::open(&path, network.logs.limits())
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            Ok(Arc::new(Voice::new(log, view.speaker(name, number))))
        };
        let mut services = Vec::new();
        let all = programs(network, &configs)?;
        for (number, (program, tier)) in all.into_iter().enumerate() {
            let voice = voice(&program.name, number + 1)?;
            services.push(Service::new(program, tier, voice));
        }
        let names = network.validators.iter().map(|validator| validator.name.clone());
        Ok(Self {
            args,
            network,
            validators: names.zip(configs).collect(),
            services,
            heads: None,
            voice: voice(OWN_NAME, 0)?,
            began: Instant::now(),
            told: Duration::ZERO,
        })
    }

    /// Starts everything, then watches it until the time is over.
    fn live(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut is_registered = false;
        for number in 0..self.services.len() {
            let is_server = matches!(self.tier(number), Some(Tier::Node | Tier::Hub));
            if !is_server && !is_registered {
                self.register(stop)?;
                is_registered = true;
            }
            self.bring_up(number, stop)?;
            if self.heads.is_none() {
                self.heads = Some(Heads::watch(self.network.chain_url()));
            }
        }
        let n_processes = self.services.len();
        self.tell(&format!("{n_processes} processes are up; Ctrl-C ends them"));
        let dashboard = self.network.dashboard_url();
        if let Some(url) = &dashboard {
            self.tell(&format!("watch it at {url}"));
        }
        self.event(&json!({
            "event": "running",
            "processes": n_processes,
            "chain": self.network.chain_url(),
            "hub": self.network.hub_url(),
            "dashboard": dashboard,
        }))?;
        self.report()?;
        while !self.is_over() {
            self.tick(stop)?;
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn tier(&self, number: usize) -> Option<Tier> {
        self.services.get(number).map(|service| service.tier)
    }

    /// Starts a service and waits until it is up; one that ends again and again never will be.
    fn bring_up(&mut self, number: usize, stop: &AtomicBool) -> anyhow::Result<()> {
        let now = self.began.elapsed();
        let Some(service) = self.services.get_mut(number) else { return Ok(()) };
        let change = service.start(now);
        self.say(number, &change)?;
        loop {
            self.tick(stop)?;
            let Some(service) = self.services.get(number) else { return Ok(()) };
            if service.state() == State::Up {
                return Ok(());
            }
            if service.n_ends_before_up() >= N_FAILED_STARTS_MAX {
                let (name, last) = (&service.program.name, service.voice.last());
                let log = self.network.path(&self.network.logs.dir).join(format!("{name}.log"));
                return Err(anyhow::anyhow!("`{name}` does not come up: {last}"))
                    .hint(format!("all that it said is in `{}`", log.display()));
            }
            std::thread::sleep(TICK);
        }
    }

    /// Slots and stakes of those who have none yet.
    fn register(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let (network, voice) = (self.network, Arc::clone(&self.voice));
        let mut tell = |line: &str| voice.tell(line.as_bytes());
        register::complete(network, &mut tell, &mut || self.tick(stop))
    }

    /// Looks at every process once.
    fn tick(&mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        if stop.load(Ordering::Relaxed) || self.is_over() {
            return Err(Interrupted.into());
        }
        let now = self.began.elapsed();
        for number in 0..self.services.len() {
            let Some(service) = self.services.get_mut(number) else { break };
            if let Some(change) = service.poll(now)? {
                self.say(number, &change)?;
            }
        }
        if now.saturating_sub(self.told) >= STATUS_EVERY {
            self.report()?;
        }
        Ok(())
    }

    /// Whether the time is over, or the block is there, that were asked for.
    fn is_over(&self) -> bool {
        let is_late = self.args.span.is_some_and(|span| self.began.elapsed() >= span);
        let block = self.block();
        let is_there =
            self.args.until_block.is_some_and(|until| block.is_some_and(|block| block >= until));
        is_late || is_there
    }

    fn block(&self) -> Option<u64> {
        self.heads.as_ref().and_then(Heads::block)
    }

    /// Tells what happened to a service.
    fn say(&self, number: usize, change: &Change) -> anyhow::Result<()> {
        let Some(service) = self.services.get(number) else { return Ok(()) };
        let name = &service.program.name;
        let (line, event) = match change {
            Change::Started { pid } => (
                format!("{name} starts as process {pid}"),
                json!({ "event": "started", "name": name, "pid": pid }),
            ),
            Change::Up => (format!("{name} is up"), json!({ "event": "up", "name": name })),
            Change::Ended { how, again_in } => {
                let seconds = again_in.as_secs();
                (
                    format!("{name} {how}; it is started again in {seconds} s"),
                    json!({ "event": "ended", "name": name, "how": how, "again_in_s": seconds }),
                )
            }
        };
        self.tell(&line);
        self.event(&event)
    }

    fn tell(&self, line: &str) {
        let seconds = self.began.elapsed().as_secs();
        self.voice.tell(format!("+{seconds}s {line}").as_bytes());
    }

    fn event(&self, event: &serde_json::Value) -> anyhow::Result<()> {
        if self.args.json { print_json_line(event) } else { Ok(()) }
    }

    /// Tells how far everything is, and keeps it for `agon network status`.
    fn report(&mut self) -> anyhow::Result<()> {
        self.told = self.began.elapsed();
        let status = self.status();
        self.tell(&status.line());
        // A disk that is full ends nothing.
        if let Err(error) = status.write(self.network) {
            self.tell(&format!("the status cannot be kept: {error:#}"));
        }
        if self.args.json {
            print_json_line(&json!({ "event": "status", "status": status }))?;
        }
        Ok(())
    }

    fn status(&self) -> Status {
        let processes = self.services.iter().map(|service| ProcessStatus {
            name: service.program.name.clone(),
            state: service.state().name().to_owned(),
            pid: service.pid(),
            n_ends: service.n_ends(),
            rounds: self.validators.get(&service.program.name).map(status::rounds),
        });
        Status { block: self.block(), processes: processes.collect() }
    }

    /// Ends everything, what started last first.
    fn end(&mut self) -> anyhow::Result<()> {
        self.tell("all processes end");
        for tier in Tier::FROM_THE_END {
            let mut open: Vec<&mut Service> =
                self.services.iter_mut().rev().filter(|service| service.tier == tier).collect();
            for service in &mut open {
                service.terminate();
            }
            let began = Instant::now();
            while open.iter_mut().any(|service| !service.is_gone()) && began.elapsed() < PATIENCE {
                std::thread::sleep(TICK);
            }
            let killed: Vec<String> = open
                .into_iter()
                .filter_map(|service| service.kill().then(|| service.program.name.clone()))
                .collect();
            if !killed.is_empty() {
                let seconds = PATIENCE.as_secs();
                self.tell(&format!("killed after {seconds} s: {}", killed.join(", ")));
            }
        }
        if let Err(error) = self.status().write(self.network) {
            self.tell(&format!("the status cannot be kept: {error:#}"));
        }
        self.tell("all processes have ended; the next `agon network up` goes on from here");
        self.event(&json!({ "event": "stopped" }))
    }
}

/// What is run, in this order; `configs` are those of validators and miners.
fn programs(network: &Network, configs: &[Config]) -> anyhow::Result<Vec<(Program, Tier)>> {
    let file = evaluator::this_program()?;
    let program = |name: &str, args: Vec<OsString>| Program {
        name: name.to_owned(),
        file: file.clone(),
        args,
    };
    let path = |path: &Path| network.path(path).into_os_string();
    let (chain, hub) = (&network.chain, &network.hub);
    let mut node: Vec<OsString> = vec![
        "node".into(),
        "--json".into(),
        "--home".into(),
        path(&chain.home),
        "--spec".into(),
        path(&chain.spec),
        "--listen".into(),
        chain.listen.to_string().into(),
        "--block-time".into(),
        chain.block_time.clone().into(),
    ];
    node.extend(chain.archive.then(|| OsString::from("--archive")));
    let hub = vec![
        "hub".into(),
        "--json".into(),
        "--dir".into(),
        path(&hub.dir),
        "--listen".into(),
        hub.listen.to_string().into(),
    ];
    let service = |kind: &str, participant: &Participant| {
        let args: [OsString; 4] = [kind.into(), "run".into(), "--json".into(), "--config".into()];
        let config = path(&participant.config);
        program(&participant.name, args.into_iter().chain([config]).collect())
    };
    let mut programs = vec![(program("node", node), Tier::Node), (program("hub", hub), Tier::Hub)];
    programs
        .extend(network.validators.iter().map(|one| (service("validator", one), Tier::Validator)));
    programs.extend(network.miners.iter().map(|one| (service("miner", one), Tier::Miner)));
    if let Some(part) = network.pages() {
        let args = dashboard(network, part, configs);
        programs.push((program("dashboard", args), Tier::Dashboard));
    }
    Ok(programs)
}

/// What the dashboard is told: to read the records in the homes of the validators, by their rules.
fn dashboard(network: &Network, part: &DashboardPart, configs: &[Config]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![
        "dashboard".into(),
        "--json".into(),
        "--network".into(),
        network.chain_url().into(),
        "--hub".into(),
        network.hub_url().into(),
        "--netuid".into(),
        network.netuid.to_string().into(),
        "--listen".into(),
        part.listen.to_string().into(),
        "--home".into(),
        network.path(&part.home).into_os_string(),
    ];
    let mut files = BTreeSet::new();
    for (_, config) in network.validators.iter().zip(configs) {
        let records = network.path(&config.home.join(records::RECORDS_FOLDER));
        args.extend(["--records".into(), records.into_os_string()]);
        files.extend(config.competition_files().into_iter().map(Path::new));
    }
    for file in files {
        args.extend(["--competitions".into(), network.path(file).into_os_string()]);
    }
    args
}
