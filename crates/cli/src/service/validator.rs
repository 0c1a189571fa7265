//! A validator at work: duties to the chain, measuring and publishing, each on a thread of its own,
//! so that the chain never waits for a measurement.

use super::{
    Ready,
    heads::Heads,
    rules::Rules,
    setup::{self, Place},
    story::{Story, Subject},
};
use crate::{
    args::{RunValidatorArgs, ServiceArgs},
    terminal::{print_json_line, shown, stop_on_signal},
};
use anyhow::Context as _;
use protocol::Block;
use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use validator::{Event, RoundSummary, Validator, Worked};

/// A validator with whoever hears of it.
struct Driver<'a> {
    validator: &'a Validator,
    heads: &'a Heads<'a>,
    story: &'a Story,
    stop: &'a AtomicBool,
    service: &'a ServiceArgs,
    place: &'a Place,
    rules: &'a Rules,
    /// Whether the owner of the subnet has other competitions than the validator was opened with.
    has_other_rules: AtomicBool,
    /// Why the process ends by itself.
    failure: Mutex<Option<anyhow::Error>>,
}

/// What one of its threads does.
type Work = fn(&Driver<'_>);

/// Runs a validator until it is told to stop.
pub fn run(args: &RunValidatorArgs) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    let place = Place::open(&args.service)?;
    place.check_slot()?;
    setup::make_home(&args.service.home)?;
    let rules = Rules::of(&args.competitions, &args.service)?;
    rules.begin(&args.service, &place)?;
    let (story, mut is_ready) = (Story::default(), false);
    // The competitions of an owner change: then a validator is opened with the new ones, and goes on
    // from the journal of the one before.
    while !stop.load(Ordering::Relaxed) {
        let validator = setup::validator(args, &rules.names()?, &place, &stop)?;
        let hotkey = place.hotkey.public();
        tracing::info!(
            "validator {hotkey} on subnet {} of {}, {}",
            place.netuid,
            place.chain.url(),
            validator.competitions().join(", ")
        );
        if args.service.endpoint.json && !is_ready {
            let (netuid, listen) = (place.netuid, args.service.listen);
            print_json_line(&Ready { ready: "validator", hotkey, netuid, listen })?;
        }
        is_ready = true;
        let heads = Heads::new(&stop);
        let driver = Driver {
            validator: &validator,
            heads: &heads,
            story: &story,
            stop: &stop,
            service: &args.service,
            place: &place,
            rules: &rules,
            has_other_rules: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        driver.drive();
        if let Some(error) = driver.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
    }
    tracing::info!("stopped; it goes on from here");
    Ok(ExitCode::SUCCESS)
}

impl Driver<'_> {
    /// Works until the process shall end, or there are other competitions.
    fn drive(&self) {
        thread::scope(|scope| {
            let spawn = |name: &str, work: Work| {
                let thread = thread::Builder::new().name(name.to_owned());
                thread
                    .spawn_scoped(scope, move || self.guarded(work))
                    .context("cannot start a thread")
            };
            let threads = [
                spawn("duties", |driver| driver.duties()),
                spawn("work", |driver| driver.work()),
                spawn("publish", |driver| driver.publish()),
                spawn("rules", |driver| driver.follow_owner()),
            ];
            if let Some(error) = threads.into_iter().find_map(Result::err) {
                self.fail(error);
            }
            self.heads.follow(&*self.place.chain, self.story, &self.service.home);
        });
    }

    /// What the owner of the subnet publishes is looked at, where it counts.
    fn follow_owner(&self) {
        if matches!(self.rules, Rules::Named(_)) {
            return;
        }
        let mut seen = None;
        while let Some(head) = self.heads.after(seen) {
            seen = Some(head);
            match self.rules.look(self.service, self.place, head) {
                Ok(has_other) => {
                    self.story.ends(Subject::Rules);
                    if has_other {
                        self.has_other_rules.store(true, Ordering::Relaxed);
                    }
                }
                Err(error) => self.story.trouble(Subject::Rules, &format!("{error:#}")),
            }
        }
    }

    /// Whether the work ends for other competitions: between two steps, so that nothing is measured
    /// in vain, and duties go on until then.
    fn ends_for_other_rules(&self) -> bool {
        let ends = self.has_other_rules.load(Ordering::Relaxed);
        if ends {
            self.heads.end();
        }
        ends
    }

    /// Does work whose panic ends the process: a service that lives with a dead thread looks well
    /// and does nothing.
    fn guarded(&self, work: Work) {
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
        }
        let _ends = Ends(self.stop);
        work(self);
    }

    fn fail(&self, error: anyhow::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Weights are handed over, followed and looked for at every block.
    fn duties(&self) {
        let mut seen = None;
        while let Some(head) = self.heads.after(seen) {
            seen = Some(head);
            let heard = Heard::new(self, head.block);
            if let Err(error) = self.validator.duties(head, &|event| heard.take(&event)) {
                return self.fail(error);
            }
            heard.clear([Subject::Chain, Subject::Another]);
        }
    }

    /// Rounds are measured a step at a time.
    fn work(&self) {
        let mut seen = None;
        while let Some(mut head) = self.heads.after(seen) {
            seen = Some(head);
            let heard = Heard::new(self, head.block);
            loop {
                match self.validator.work(head, &|event| heard.take(&event)) {
                    Ok(Worked::Something) => {}
                    Ok(Worked::Nothing) => break,
                    Err(error) => return self.fail(error),
                }
                if self.heads.is_stopping() || self.ends_for_other_rules() {
                    return;
                }
                // Each step is of the newest block: a round may take hours.
                head = self.heads.newest().unwrap_or(head);
                seen = Some(head);
            }
            heard.clear([Subject::Round]);
            if self.ends_for_other_rules() {
                return;
            }
        }
    }

    /// Records are published.
    fn publish(&self) {
        let mut seen = None;
        while let Some(head) = self.heads.after(seen) {
            seen = Some(head);
            let heard = Heard::new(self, head.block);
            self.validator.publish(&|event| heard.take(&event));
            heard.clear([Subject::Records]);
        }
    }
}

/// What one pass of a thread came to.
struct Heard<'a> {
    driver: &'a Driver<'a>,
    block: Block,
    troubled: Mutex<BTreeSet<Subject>>,
}

impl<'a> Heard<'a> {
    fn new(driver: &'a Driver<'a>, block: Block) -> Self {
        Self { driver, block, troubled: Mutex::default() }
    }

    /// Ends the troubles that this pass did not have.
    fn clear<const N: usize>(&self, subjects: [Subject; N]) {
        let troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in subjects.into_iter().filter(|subject| !troubled.contains(subject)) {
            self.driver.story.ends(subject);
        }
    }

    fn trouble(&self, subject: Subject, detail: &str) {
        // Whoever is told to end has no trouble.
        if self.driver.heads.is_stopping() {
            return;
        }
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner).insert(subject);
        self.driver.story.trouble(subject, detail);
    }

    fn take(&self, event: &Event) {
        let block = self.block;
        match event {
            Event::RoundStarted { n_models, n_batches } => {
                tracing::debug!("a round begins: {n_models} models, {n_batches} batches each");
            }
            Event::Evaluating { uid, n_batches_done } => {
                tracing::debug!("{uid} is measured: {n_batches_done} batches done");
            }
            Event::Disqualified { uid, reason } => {
                tracing::debug!("{uid} is disqualified: {}", shown(&reason.to_string()));
            }
            Event::Skipped { uid, error } => tracing::debug!("{uid} is left out: {}", shown(error)),
            Event::RoundEnded(summary) => tracing::info!("{}", round(summary)),
            Event::RoundSuspended(error) => self.trouble(Subject::Round, error),
            Event::RecordDelayed(error) => self.trouble(Subject::Records, error),
            Event::ChainTrouble(error) => self.trouble(Subject::Chain, error),
            Event::AnotherValidator { block, until } => self.trouble(
                Subject::Another,
                &format!("it set weights at block {block} and counts as alive until {until}"),
            ),
            Event::WeightsSubmitted(_) => tracing::info!("weights go out at block {block}"),
            Event::WeightsRefused(error) => {
                tracing::warn!("the chain refused the weights: {}", shown(&error.to_string()));
            }
            Event::WeightsRevealed { block } => {
                tracing::info!("the chain has opened our weights, seen at block {block}");
            }
            Event::WeightsNotRevealed { reveal } => tracing::warn!(
                "the chain has not opened our weights by block {}, and never will: nobody is paid \
                 by them",
                reveal.until
            ),
        }
    }
}

/// A round in a line.
fn round(summary: &RoundSummary) -> String {
    let champion = match (&summary.champion, summary.champion_perplexity) {
        (Some(holder), Some(perplexity)) => {
            let took = if summary.crown_moved { "takes" } else { "keeps" };
            let perplexity = perplexity.value();
            format!("uid {} {took} the crown with perplexity {perplexity:.4}", holder.uid)
        }
        (Some(holder), None) => format!("uid {} keeps the crown, not measured", holder.uid),
        (None, _) => "nobody is champion".to_owned(),
    };
    let n_measured = summary.rows.iter().filter(|row| row.perplexity.is_some()).count();
    format!(
        "{} round {} of block {}: {champion}; {n_measured} of {} models measured",
        summary.competition,
        summary.round,
        summary.seed.block,
        summary.rows.len()
    )
}
