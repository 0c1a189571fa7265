//! Checkpoints that other programs write, judged as validators would and entered when they would
//! win.
//!
//! Nothing is signed before every check has passed, and each step is in the journal before the next
//! one is made. Each measurement draws text that no earlier one has seen: of a hundred checkpoints
//! on one text the best is the luckiest, while on a text of its own each has to be good. For the
//! same reason whatever would win is measured once more, and has to win on that text as well; with
//! rule `duel` it has to win a duel, which states the chance of luck itself.

mod deliver;
mod door;
mod judge;
mod measure;
mod report;
mod rivals;
mod scan;
mod state;

use super::{
    ended,
    setup::{self, Place},
};
use crate::{
    args::WatchMinerArgs,
    command::{
        chain::Session,
        check,
        miner::{entrant, place::Hubs},
    },
    competition_file,
    contest::Contest,
    evaluator::ProcessEvaluate,
    failure::{self, HintExt as _, Interrupted},
    hugging_face::{client, explained},
    plug,
    terminal::{shown, stop_service_on_signal},
};
use ::hugging_face::Folder;
use anyhow::Context as _;
use chain::{Chain as _, Keypair};
use door::Door;
use journal::{Journal, Past};
use measure::Measured;
use protocol::{Block, Digest, NetUid, Reason, ReasonCode, Repo};
use report::{Form, Line, Verdict, path_shown};
use rivals::Rivals;
use scan::Checkpoint;
use state::{Budget, Entry, Known, Outgoing, State};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use validator::{Admission, FetchedModels};

/// Folder of the models that ours are compared with, in the home.
const MODELS: &str = "models";
/// Folder of our copy of the checkpoint that is being judged.
const CANDIDATE: &str = "candidate";
/// Beginning of the names of folders of models that are on their way out.
const OUTGOING: &str = "outgoing-";
/// Folder of what nothing is submitted from, in the home.
const DRY_RUN: &str = "dry-run";
/// How often whoever waits looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// What the work is done with.
struct Tools<'a> {
    args: &'a WatchMinerArgs,
    session: Session<'a>,
    hotkey: Keypair,
    netuid: NetUid,
    contest: Contest,
    engine: Arc<ProcessEvaluate>,
    rivals: Rivals,
    /// Folder of all that is ours, where nothing is looked for.
    top: PathBuf,
    /// Folder of the journal and of our copies.
    home: PathBuf,
    /// Where it is asked how it is, from when it is at work.
    door: Option<Door>,
    stop: Arc<AtomicBool>,
}

/// Somebody who watches.
struct Watch<'a> {
    tools: Tools<'a>,
    past: Past<State>,
    /// What the last look found.
    seen: BTreeMap<PathBuf, Digest>,
    /// Checkpoints that would win, and from which block on they may be submitted.
    postponed: BTreeMap<Digest, Block>,
    pace: deliver::Pace,
    /// The trouble that was told last, if it has not ended.
    told: Option<String>,
}

/// Watches until it is told to stop.
pub fn run(args: &WatchMinerArgs) -> anyhow::Result<ExitCode> {
    let stop = stop_service_on_signal()?;
    ended(watch(args, stop))
}

fn watch(args: &WatchMinerArgs, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut watch = Watch::open(args, stop)?;
    let Tools { hotkey, netuid, session, .. } = &watch.tools;
    tracing::info!(
        "watches for {} on subnet {netuid} of {}, {}",
        hotkey.public(),
        session.chain.url(),
        args.competition
    );
    watch.run()
}

impl<'a> Tools<'a> {
    fn open(args: &'a WatchMinerArgs, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let service = &args.service;
        let session = Session::of_service(service, Arc::clone(&stop))?;
        let (hotkey, netuid) = (session.keys.hotkey()?, NetUid(service.netuid));
        let contest = competition_file::contest(&args.competition, service.data.as_deref())?;
        setup::make_home(&service.home)?;
        let top = service.home.canonicalize().context("cannot enter the home")?;
        let home = if args.dry_run { top.join(DRY_RUN) } else { top.clone() };
        setup::make_home(&home)?;
        let engine = Arc::new(ProcessEvaluate::new(setup::threads(service), Arc::clone(&stop))?);
        let hub = Arc::new(client(&service.address)?);
        let judge: Arc<dyn validator::Engine> = engine.clone();
        let rivals = Rivals::new(FetchedModels::new(hub, judge, top.join(MODELS)));
        let tools = Self {
            args,
            session,
            hotkey,
            netuid,
            contest,
            engine,
            rivals,
            top,
            home,
            door: None,
            stop,
        };
        if !args.dry_run {
            tools.check_place()?;
        }
        Ok(tools)
    }

    /// Refuses what would keep every model from being submitted.
    fn check_place(&self) -> anyhow::Result<()> {
        let Self { args, session, netuid, .. } = self;
        let hotkey = self.hotkey.public();
        let slot = session.chain.slot(*netuid, hotkey).context("cannot read the slots")?;
        let missing = || anyhow::anyhow!("{hotkey} has no slot on subnet {netuid}");
        slot.ok_or_else(missing).hint("`agon chain register` buys a slot")?;
        let hubs = Hubs::new(&args.service.address)?;
        if let Some(question) = entrant::oversight(session, &hubs, &args.service.address) {
            return Err(anyhow::anyhow!("{question} A service asks nobody"))
                .hint("--hub names the hub that is meant");
        }
        match self.repo(&Digest([0; 32]))? {
            Some(repo) => {
                entrant::check_length(&self.hotkey, &self.contest.competition, &repo)?;
            }
            None => {
                if let Err(error) = hubs.own.user().map_err(explained) {
                    let error = shown(&failure::causes(&error));
                    tracing::warn!("cannot tell who you are on the hub: {error}");
                }
            }
        }
        Ok(())
    }

    /// Where the files of a root go, if that is not by the user of the hub.
    fn repo(&self, root: &Digest) -> anyhow::Result<Option<Repo>> {
        let Some(repo) = &self.args.repo else { return Ok(None) };
        let digits: String = root.hex().chars().take(8).collect();
        Ok(Some(format!("{repo}-{digits}").parse()?))
    }

    /// Opens the door, and says that the watcher is at work.
    fn open_door(&mut self) -> anyhow::Result<()> {
        let (chain, hotkey) = (Arc::clone(&self.session.chain), self.hotkey.clone());
        let place = Place { chain, hotkey, netuid: self.netuid };
        self.door = Some(Door::open(&place, &self.args.service)?);
        Ok(())
    }

    /// Says at the door that the work goes on.
    fn beat(&self) {
        if let Some(door) = &self.door {
            door.beat();
        }
    }

    /// Waits, unless the process is to end: then it is an error.
    fn rest(&self, time: Duration) -> anyhow::Result<()> {
        let mut left = time;
        loop {
            self.beat();
            if self.stop.load(Ordering::Relaxed) {
                return Err(Interrupted.into());
            }
            if left.is_zero() {
                return Ok(());
            }
            let next = left.min(TICK);
            thread::sleep(next);
            left = left.saturating_sub(next);
        }
    }

    fn say(&self, line: &Line) -> anyhow::Result<()> {
        // First: whoever has read the line finds it counted.
        if let Some(door) = &self.door {
            door.judged(line.verdict());
        }
        line.print(if self.args.service.endpoint.json { Form::Json } else { Form::Text })
    }

    /// Copies a checkpoint to where no trainer writes or deletes; or says why a validator would
    /// refuse it, as far as its headers tell.
    fn take(&self, checkpoint: &Checkpoint) -> anyhow::Result<Result<PathBuf, Reason>> {
        let competition = &self.contest.competition;
        if let Err(reason) = plug::check_ahead(&checkpoint.dir, competition)? {
            return Ok(Err(reason));
        }
        let folder = Folder::of_model(&checkpoint.dir)?;
        let size =
            |path: &String| -> io::Result<u64> { Ok(fs::metadata(folder.path_of(path))?.len()) };
        let size_bytes = folder.paths().iter().map(size).sum::<io::Result<u64>>();
        let size_bytes = size_bytes.context("cannot tell how large it is")?;
        let limit = competition.model.size_bytes_max;
        if size_bytes > limit {
            let detail = format!("{size_bytes} bytes, more than the {limit} allowed");
            return Ok(Err(Reason::new(ReasonCode::TooLarge, detail)));
        }
        let free = disk::free_bytes(&self.home).context("cannot tell how much disk is free")?;
        anyhow::ensure!(
            free >= size_bytes.saturating_add(disk::RESERVE_BYTES),
            "a copy of {size_bytes} bytes would leave too little of the disk"
        );
        let copy = self.home.join(CANDIDATE);
        delete(&copy)?;
        for path in folder.paths() {
            let (from, to) = (folder.path_of(path), copy.join(path));
            let copied = to.parent().map_or(Ok(()), disk::create_folder);
            let copied = copied.and_then(|()| fs::copy(&from, &to)).and_then(|_| disk::sync(&to));
            copied.with_context(|| format!("cannot copy `{}`", path_shown(&from)))?;
        }
        Ok(Ok(copy))
    }
}

impl<'a> Watch<'a> {
    fn open(args: &'a WatchMinerArgs, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let tools = Tools::open(args, stop)?;
        let mut past: Past<State> = Past::open(Journal::open(&tools.home)?)?;
        let (hotkey, netuid) = (tools.hotkey.public(), tools.netuid);
        let competition = tools.contest.competition.id;
        let identity = format!("{hotkey} on subnet {netuid} in competition {competition}");
        match &past.state().identity {
            None => past.learn(&Entry::Began { identity }, Block::default())?,
            Some(before) if *before == identity => {}
            Some(before) => {
                return Err(anyhow::anyhow!(
                    "`{}` is that of {before}, and not of {identity}",
                    path_shown(&tools.home)
                ))
                .hint("name another folder with --home");
            }
        }
        let (seen, postponed) = (BTreeMap::new(), BTreeMap::new());
        let mut watch =
            Self { tools, past, seen, postponed, pace: deliver::Pace::default(), told: None };
        watch.tidy()?;
        for dir in args.dirs.iter().filter(|dir| !dir.is_dir()) {
            tracing::warn!("`{}` is no folder yet", path_shown(dir));
        }
        watch.tools.open_door()?;
        Ok(watch)
    }

    /// Deletes copies that led nowhere.
    fn tidy(&self) -> anyhow::Result<()> {
        let home = &self.tools.home;
        let kept = self.past.state().outgoing.as_ref().map(|outgoing| outgoing.folder.as_str());
        let unread = || format!("cannot read `{}`", path_shown(home));
        for entry in fs::read_dir(home).with_context(unread)? {
            let entry = entry.with_context(unread)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_copy = name == CANDIDATE || name.starts_with(OUTGOING);
            if is_copy && kept != Some(name) {
                delete(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Looks, judges and submits until the process is to end, or cannot go on.
    fn run(&mut self) -> anyhow::Result<()> {
        loop {
            match self.pass() {
                Ok(()) => {
                    if self.told.take().is_some() {
                        tracing::info!("goes on");
                    }
                }
                Err(_) if self.tools.stop.load(Ordering::Relaxed) => return Ok(()),
                Err(error) if ends(&error) => return Err(error),
                Err(error) => self.tell(&error),
            }
            if self.tools.rest(self.tools.args.interval).is_err() {
                return Ok(());
            }
        }
    }

    /// Tells of trouble, if it is another than before.
    fn tell(&mut self, error: &anyhow::Error) {
        if let Some(door) = &self.tools.door {
            door.trouble(error);
        }
        let text = shown(&failure::causes(error));
        if self.told.as_ref() != Some(&text) {
            tracing::warn!("{text}; it is tried again");
            self.told = Some(text);
        }
    }

    /// One look, and one judgement or submission at most.
    fn pass(&mut self) -> anyhow::Result<()> {
        if self.past.state().outgoing.is_some() {
            return self.deliver();
        }
        match self.due()? {
            Some(checkpoint) => self.judge(&checkpoint),
            None => Ok(()),
        }
    }

    /// The newest checkpoint that is whole, has not changed since the last look, and was not
    /// judged. It has been trained longest; older ones have their turn when no newer one waits.
    fn due(&mut self) -> anyhow::Result<Option<Checkpoint>> {
        let look = scan::look(&self.tools.args.dirs, &self.tools.top);
        if look.is_cut {
            tracing::debug!("there are more files and folders than are looked at");
        }
        if let Some(door) = &self.tools.door {
            door.looked(&look.checkpoints);
        }
        let found = look.checkpoints.iter();
        let found = found.map(|checkpoint| (checkpoint.dir.clone(), checkpoint.fingerprint));
        let before = std::mem::replace(&mut self.seen, found.collect());
        if !self.postponed.is_empty() {
            let now = self.tools.session.chain.head().context("cannot read the newest block")?;
            self.postponed.retain(|_, block| *block > now.block);
        }
        let is_due = |checkpoint: &Checkpoint| {
            let fingerprint = &checkpoint.fingerprint;
            before.get(&checkpoint.dir) == Some(fingerprint)
                && !self.past.state().knows(fingerprint)
                && !self.postponed.contains_key(fingerprint)
        };
        let mut due = look.checkpoints.into_iter().filter(is_due);
        Ok(due.find(Checkpoint::is_whole))
    }

    /// Judges a checkpoint, and chooses it if it would win.
    fn judge(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let taken = self.tools.take(checkpoint);
        // What was read of it says nothing then.
        if checkpoint.has_changed() {
            tracing::info!("`{}` went or changed meanwhile", path_shown(&checkpoint.dir));
            return Ok(());
        }
        let line = |verdict| Line::new(&checkpoint.dir, verdict);
        let dir = match taken? {
            Ok(dir) => dir,
            Err(reason) => {
                return self.end(checkpoint, None, &line(Verdict::Refused).because(&reason));
            }
        };
        let competition = &self.tools.contest.competition;
        let admission = match check::verdict(&Folder::of_model(&dir)?, &dir, competition)? {
            Ok(admission) => admission,
            Err(reason) => {
                return self.end(checkpoint, None, &line(Verdict::Refused).because(&reason));
            }
        };
        let root = admission.file_root;
        let line = |verdict| line(verdict).of_files(root);
        if self.past.state().knows_files(&root) {
            return self.end(checkpoint, Some(root), &line(Verdict::Known));
        }
        let (comparison, blocks) = match self.measure_twice(&dir, &admission)? {
            Measured::Compared { comparison, blocks } => (comparison, blocks),
            Measured::Refused(reason) => {
                let line = line(Verdict::Refused).because(&reason);
                return self.end(checkpoint, Some(root), &line);
            }
        };
        let line = |verdict| line(verdict).measured(&comparison, &blocks);
        if !comparison.wins {
            return self.end(checkpoint, Some(root), &line(Verdict::Loses));
        }
        if self.tools.args.dry_run {
            return self.end(checkpoint, Some(root), &line(Verdict::WouldWin));
        }
        if let Some(block) = self.free_from()? {
            self.postponed.insert(checkpoint.fingerprint, block);
            self.tools.say(&line(Verdict::Waits).because(&format!("until block {block}")))?;
            return delete(&dir);
        }
        self.choose(checkpoint, admission)?;
        self.tools.say(&line(Verdict::Wins))?;
        self.deliver()
    }

    /// Says what a checkpoint came to, and remembers that it was judged.
    fn end(
        &mut self,
        checkpoint: &Checkpoint,
        root: Option<Digest>,
        line: &Line,
    ) -> anyhow::Result<()> {
        self.tools.say(line)?;
        let known = Known { fingerprint: checkpoint.fingerprint, root };
        let drawn = self.past.state().drawn;
        self.past.learn(&Entry::Judged(known), drawn)?;
        delete(&self.tools.home.join(CANDIDATE))
    }

    /// The block from which on the budget and the chain allow a commitment; `None` if they do now.
    fn free_from(&self) -> anyhow::Result<Option<Block>> {
        let Tools { session, netuid, hotkey, args, .. } = &self.tools;
        let now = session.chain.head().context("cannot read the newest block")?.block;
        let next = session.chain.next_commitment(*netuid, hotkey.public());
        let next = next.context("cannot tell when the hotkey may commit again")?;
        let pace = Some(next).filter(|next| next.since(now) > 1);
        let budget = Budget { n_max: args.submissions_max, window: args.submissions_window };
        Ok(self.past.state().again(budget, now).max(pace))
    }

    /// Puts our copy of a checkpoint on its way.
    fn choose(&mut self, checkpoint: &Checkpoint, admission: Admission) -> anyhow::Result<()> {
        let home = &self.tools.home;
        let digits: String = admission.file_root.hex().chars().take(16).collect();
        let folder = format!("{OUTGOING}{digits}");
        let (from, to) = (home.join(CANDIDATE), home.join(&folder));
        delete(&to)?;
        disk::rename(&from, &to)
            .with_context(|| format!("cannot rename `{}`", path_shown(&from)))?;
        let measured = self.tools.session.chain.head().context("cannot read the newest block")?;
        let root = Some(admission.file_root);
        let outgoing = Outgoing {
            known: Known { fingerprint: checkpoint.fingerprint, root },
            path: path_shown(&checkpoint.dir),
            folder,
            admission,
            measured: measured.block,
            committing: None,
        };
        self.past.learn(&Entry::Chosen(Box::new(outgoing)), measured.block)?;
        Ok(())
    }
}

/// Whether trouble is such that nothing can go on: our journal, or a reader of our output that has
/// gone.
fn ends(error: &anyhow::Error) -> bool {
    failure::is_closed_pipe(error) || error.chain().any(|cause| cause.is::<journal::Error>())
}

/// Deletes a folder if it is there.
fn delete(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete `{}`", path_shown(dir)))
        }
        _ => Ok(()),
    }
}
