//! A miner at work: it trains at each block, and enters what is clearly better.

use super::{
    ended, go_on,
    heads::{Heads, PATIENCE, Told, guarded},
    health::{Health, Turns},
    metrics::Metrics,
    rules::Rules,
    setup::{self, Place},
    story::{Story, Subject},
};
use crate::{
    args::{RunMinerArgs, StrategyName},
    competition_file,
    contest::Contest,
    failure::Interrupted,
    hugging_face, llama,
    plug::{self, TrainerTrain},
    terminal::{shown, stop_service_on_signal},
};
use anyhow::Context as _;
use chain::{Chain as _, Head};
use dataset::pack::TrainingStream;
use journal::Journal;
use miner::{Check, Event, Miner, Outbox, Plan, Publisher, Strategy};
use protocol::{Block, Digest, Seed};
use std::{
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use trainer::{Recipe, Trainer};

/// Sequences that are held back from training to measure the model on.
const N_HELD_OUT: usize = 48;
/// Fraction by which perplexity must fall below the champion's before a model is published.
const IMPROVEMENT: f64 = 0.02;
/// The same below the miner's own last model.
const IMPROVEMENT_OWN: f64 = 0.05;

/// Name of the thread that trains.
const TRAIN: &str = "train";
/// How long one turn of it may take: a step, or an upload.
const TURNS: [Turns; 1] = [Turns { name: TRAIN, within: Duration::from_secs(3_600) }];

/// What a competition of the owner is named by, before its name.
const OF_OWNER: &str = "owner:";

/// What a miner works with.
struct Bench<'a> {
    args: &'a RunMinerArgs,
    place: &'a Place,
    rules: &'a Rules,
    told: Told<'a>,
    stop: &'a Arc<AtomicBool>,
}

/// Runs a miner until it is told to stop.
pub fn run(args: &RunMinerArgs) -> anyhow::Result<ExitCode> {
    let stop = stop_service_on_signal()?;
    ended(mine(args, &stop))
}

fn mine(args: &RunMinerArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let place = Place::open(&args.service)?;
    go_on(stop)?;
    place.check_slot()?;
    setup::make_home(&args.service.home)?;
    let rules = match args.competition.strip_prefix(OF_OWNER) {
        Some(_) => Rules::of_owner(&args.service)?,
        None => Rules::Named(vec![args.competition.clone()]),
    };
    go_on(stop)?;
    rules.begin(&args.service, &place, stop)?;
    go_on(stop)?;
    let (story, metrics) = (Story::default(), Arc::new(Metrics::of_miner()));
    let health = Arc::new(Health::new(place.block_time()?, &TURNS));
    let told = Told { story: &story, metrics: &metrics, health: &health, worker: TRAIN };
    let bench = Bench { args, place: &place, rules: &rules, told, stop };
    let (mut miner, mut digest) = bench.open()?;
    go_on(stop)?;
    health.journal_open();
    let _server = place.announce("miner", &args.service, (&metrics, &health))?;
    loop {
        if let Err(error) = bench.work(&mut miner, digest)
            && !error.chain().any(|cause| cause.is::<Interrupted>())
        {
            return Err(error);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        // The rules have changed. It lets go of the journal before the next one goes on from there.
        drop(miner);
        (miner, digest) = bench.open()?;
    }
}

impl Bench<'_> {
    /// The miner, by the rules of now, and their digest where they can change.
    fn open(&self) -> anyhow::Result<(Miner, Option<Digest>)> {
        let Self { args, place, .. } = *self;
        let block = place.chain.head()?.block;
        let miner = open(args, &self.name(block)?, place, self.stop)?;
        tracing::info!(
            "miner {} on subnet {} of {}, {} to {}",
            place.hotkey.public(),
            place.netuid,
            place.chain.url(),
            args.competition,
            args.repo
        );
        Ok((miner, self.digest(block)))
    }

    /// The name of the competition at a block, for whoever opens it.
    fn name(&self, at: Block) -> anyhow::Result<String> {
        let Some(wanted) = self.args.competition.strip_prefix(OF_OWNER) else {
            return Ok(self.args.competition.clone());
        };
        self.rules.name_of(wanted, at)?.with_context(|| {
            format!("the owner of subnet {} has no competition `{wanted}`", self.place.netuid)
        })
    }

    /// Digest of the rules of the competition at a block, where they can change.
    fn digest(&self, at: Block) -> Option<Digest> {
        self.rules.digest_of(self.args.competition.strip_prefix(OF_OWNER)?, at)
    }

    /// Trains until the process shall end, or the rules have another digest.
    fn work(&self, miner: &mut Miner, digest: Option<Digest>) -> anyhow::Result<()> {
        let heads = &Heads::new(self.stop);
        thread::scope(|scope| {
            let work = move || {
                let outcome = guarded(self.stop, || self.train(miner, heads, digest));
                match &outcome {
                    // The process goes on, by other rules.
                    Ok(()) => heads.end(),
                    // Whatever else ends the training ends the process.
                    Err(_) => self.stop.store(true, Ordering::Relaxed),
                }
                outcome
            };
            let thread = thread::Builder::new().name(TRAIN.to_owned());
            let thread = thread.spawn_scoped(scope, work).context("cannot start a thread")?;
            heads.follow(&*self.place.chain, self.told, &self.args.service.home);
            match thread.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Works at the newest block, one after the other, until the process shall end or there are
    /// other rules.
    fn train(
        &self,
        miner: &mut Miner,
        heads: &Heads<'_>,
        digest: Option<Digest>,
    ) -> anyhow::Result<()> {
        let Told { story, metrics, health, .. } = self.told;
        let mut seen = None;
        while !heads.is_stopping() {
            health.beat(TRAIN);
            let Some(head) = heads.after(seen, PATIENCE) else { continue };
            seen = Some(head);
            if self.has_other_rules(head, digest) {
                tracing::info!("other rules hold from block {} on", head.block);
                return Ok(());
            }
            let troubled = Mutex::new(Vec::new());
            let trouble = |subject: Subject, detail: &str| {
                troubled.lock().unwrap_or_else(PoisonError::into_inner).push(subject);
                story.trouble(subject, detail);
            };
            miner.on_block(head, &|event| {
                // Each step says that the thread turns: those of a block may take long.
                health.beat(TRAIN);
                metrics.on_miner_event(&event);
                take(&event, &trouble);
            })?;
            let troubled = troubled.into_inner().unwrap_or_else(PoisonError::into_inner);
            for subject in [Subject::Hub, Subject::Chain] {
                if !troubled.contains(&subject) {
                    story.ends(subject);
                }
            }
        }
        Ok(())
    }

    /// Whether the competition has rules of another digest.
    fn has_other_rules(&self, head: Head, digest: Option<Digest>) -> bool {
        if matches!(self.rules, Rules::Named(_)) {
            return false;
        }
        self.told.of_rules(self.rules.look(&self.args.service, self.place, head));
        self.digest(head.block) != digest
    }
}

fn open(
    args: &RunMinerArgs,
    name: &str,
    place: &Place,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Miner> {
    let contest = competition_file::contest(name, args.service.data.as_deref())?;
    let seed = Seed::of_number(args.seed).derive(&place.hotkey.public().to_string());
    let length = contest.competition.text.sequence_length;
    let stream = |purpose: &str| {
        let (source, tokenizer) = (Arc::clone(&contest.source), Arc::clone(&contest.tokenizer));
        TrainingStream::new(source, tokenizer, seed.derive(purpose), length)
    };
    let held_out = stream("held out")?.next_batch(N_HELD_OUT)?;
    let recipe = recipe(args);
    let model = llama::fitting(&contest.competition, args.hidden, args.layers)?;
    let trainer = Trainer::new(model, recipe.clone(), seed)?;
    let train = TrainerTrain::new(trainer, recipe, stream("training")?, held_out, Arc::clone(stop));
    let home = args.service.home.clone();
    let journal = Journal::open(&home)?;
    let outbox = Outbox::open(publisher(args, place, &contest)?, home, journal)?;
    Miner::open(plan(args, &contest), outbox, Box::new(train))
}

fn recipe(args: &RunMinerArgs) -> Recipe {
    Recipe {
        lr: args.learning_rate,
        lr_min: args.learning_rate / 20.0,
        warmup_steps: 20.min(args.steps / 2),
        total_steps: args.steps,
        sequences_per_batch: args.batch,
        ..Recipe::default()
    }
}

fn plan(args: &RunMinerArgs, contest: &Contest) -> Plan {
    let patience_blocks = contest.competition.evaluation.blocks_per_round;
    Plan {
        strategy: match args.strategy {
            StrategyName::Pretrain => Strategy::Pretrain,
            StrategyName::Rebase => Strategy::Rebase { patience_blocks },
        },
        steps_per_block: args.steps_per_block,
        n_steps_unpublished: args.steps_unpublished,
        n_steps: args.steps,
        blocks_per_measure: args.blocks_per_measure,
        improvement: IMPROVEMENT,
        improvement_own: IMPROVEMENT_OWN,
    }
}

fn publisher(args: &RunMinerArgs, place: &Place, contest: &Contest) -> anyhow::Result<Publisher> {
    let competition = contest.competition.clone();
    let check: Check = {
        let competition = competition.clone();
        Arc::new(move |dir: &Path| Ok(plug::check(dir, &competition)?.err()))
    };
    Ok(Publisher {
        chain: Arc::clone(&place.chain) as Arc<dyn chain::Chain>,
        hub: Arc::new(hugging_face::client(&args.service.address)?),
        keypair: place.hotkey.clone(),
        netuid: place.netuid,
        repo: args.repo.clone(),
        competition,
        check: Some(check),
    })
}

fn take(event: &Event, trouble: &dyn Fn(Subject, &str)) {
    match event {
        Event::Step(report) => {
            tracing::trace!("step {}: loss {:.4}", report.step, report.loss);
        }
        Event::Measured(loss) => tracing::debug!("held-out perplexity {:.4}", loss.exp()),
        Event::Rebased(champion) => {
            tracing::info!("trains on from the champion, uid {}", champion.uid);
        }
        Event::PassedOver(champion) => {
            tracing::info!("cannot train on from the champion, uid {}", champion.uid);
        }
        Event::Published(published) => {
            tracing::info!("published {}@{}", published.repo, published.revision);
        }
        Event::Withheld(reason) => tracing::warn!(
            "a model is not published, since validators would refuse it: {}",
            shown(&reason.to_string())
        ),
        Event::CommitmentRefused(error) => {
            tracing::warn!("the chain refused the commitment: {}", shown(&error.to_string()));
        }
        Event::HubTrouble(error) => trouble(Subject::Hub, error),
        Event::ChainTrouble(error) => trouble(Subject::Chain, error),
    }
}
