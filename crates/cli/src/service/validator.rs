//! A validator at work: duties to the chain, measuring and publishing, each on a thread of its own,
//! so that the chain never waits for a measurement.

use super::{
    ended, go_on,
    heads::{Heads, PATIENCE, Told, guarded},
    health::{Health, Turns},
    metrics::{ErrorKind, Metrics},
    publication::Publication,
    rules::Rules,
    serve::Server,
    setup::{self, Place},
    story::{Story, Subject},
};
use crate::{
    args::{RunValidatorArgs, ServiceArgs},
    rules_text::plural,
    terminal::{shown, stop_service_on_signal},
};
use chain::Head;
use protocol::{Block, Digest};
use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use validator::{Duels, Event, RoundSummary, Validator, Worked};

/// Name of the thread that fetches and measures models.
const WORK: &str = "work";
/// Name of the thread that publishes records to a hub.
const RECORDS: &str = "records";
/// Threads that must turn, and how long one turn may take: a hub or a chain may let an answer wait
/// for minutes, and a piece of a measurement takes as long. Files that come turn the thread that
/// waits for them.
const TURNS: [Turns; 4] = [
    Turns { name: "duties", within: Duration::from_secs(600) },
    Turns { name: WORK, within: Duration::from_secs(3_600) },
    Turns { name: "publish", within: Duration::from_secs(3_600) },
    Turns { name: RECORDS, within: Duration::from_secs(3_600) },
];

/// A validator with whoever hears of it.
struct Driver<'a> {
    validator: &'a Validator,
    heads: &'a Heads<'a>,
    story: &'a Story,
    metrics: &'a Metrics,
    health: &'a Health,
    stop: &'a AtomicBool,
    service: &'a ServiceArgs,
    place: &'a Place,
    publication: Option<&'a Publication>,
    rules: &'a Rules,
    /// Digest of the owner's competitions that the validator was opened with.
    opened: Option<Digest>,
    /// Whether the owner of the subnet has other competitions than the validator was opened with.
    has_other_rules: AtomicBool,
    /// Why the process ends by itself.
    failure: Mutex<Option<anyhow::Error>>,
}

/// What one of its threads does.
type Work = fn(&Driver<'_>);

/// Runs a validator until it is told to stop.
pub fn run(args: &RunValidatorArgs) -> anyhow::Result<ExitCode> {
    let stop = stop_service_on_signal()?;
    ended(validate(args, &stop))
}

fn validate(args: &RunValidatorArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let place = Place::open(&args.service)?;
    go_on(stop)?;
    place.check_slot()?;
    setup::make_home(&args.service.home)?;
    let rules = Rules::of(&args.competitions, &args.service)?;
    go_on(stop)?;
    rules.begin(&args.service, &place, stop)?;
    go_on(stop)?;
    let publication = setup::publication(args, &place)?;
    let mut config = setup::config(args, &place)?;
    let mut opened = rules.digest();
    let mut validator = setup::validator(args, config, &rules.names()?, &place, stop)?;
    go_on(stop)?;
    let (watch, story) = (Watch::start(args, &place, &validator)?, Story::default());
    loop {
        watch.tell(&place, &validator);
        let heads = Heads::new(stop);
        let driver = Driver {
            validator: &validator,
            heads: &heads,
            story: &story,
            metrics: &watch.metrics,
            health: &watch.health,
            stop,
            service: &args.service,
            place: &place,
            publication: publication.as_ref(),
            rules: &rules,
            opened,
            has_other_rules: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        driver.drive();
        if let Some(error) = driver.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        // The competitions of the owner have changed. It lets go of the journal before the next one
        // goes on from there.
        config.takes_over = validator.takes_over();
        drop(validator);
        opened = rules.digest();
        validator = setup::validator(args, config, &rules.names()?, &place, stop)?;
    }
}

/// What is watched of a validator, whichever competitions it has.
struct Watch {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// Answers as long as it is there.
    _server: Option<Server>,
}

impl Watch {
    /// Begins to answer, and says that the service is at work.
    fn start(
        args: &RunValidatorArgs,
        place: &Place,
        validator: &Validator,
    ) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::of_validator(&names(validator)));
        let health = Arc::new(Health::new(place.block_time()?, &TURNS));
        health.journal_open();
        if let Some(set) = validator.state().weights.set {
            metrics.weights_set(set);
        }
        let server = place.announce("validator", &args.service, (&metrics, &health))?;
        Ok(Self { metrics, health, _server: server })
    }

    fn tell(&self, place: &Place, validator: &Validator) {
        self.metrics.serve(&names(validator));
        tracing::info!(
            "validator {} on subnet {} of {}, {}",
            place.hotkey.public(),
            place.netuid,
            place.chain.url(),
            names(validator).join(", ")
        );
    }
}

/// The names of the competitions of a validator, each once.
fn names(validator: &Validator) -> Vec<&str> {
    let names = validator.competitions().map(|rules| rules.name.as_str());
    names.collect::<BTreeSet<&str>>().into_iter().collect()
}

impl Driver<'_> {
    /// Works until the process shall end, or there are other competitions.
    fn drive(&self) {
        thread::scope(|scope| {
            let spawn = |name: &str, work: Work| {
                let thread = thread::Builder::new().name(name.to_owned());
                thread
                    .spawn_scoped(scope, move || guarded(self.stop, || work(self)))
                    // In words alone: else it would count as trouble with the disk.
                    .map_err(|error| anyhow::anyhow!("cannot start a thread: {error}"))
            };
            let threads = [
                spawn("duties", |driver| driver.duties()),
                spawn(WORK, |driver| driver.work()),
                spawn("publish", |driver| driver.publish()),
                spawn(RECORDS, |driver| driver.publish_to_hub()),
                spawn("rules", |driver| driver.follow_owner()),
            ];
            if let Some(error) = threads.into_iter().find_map(Result::err) {
                self.fail(error);
            }
            self.heads.follow(&*self.place.chain, self.told(), &self.service.home);
        });
    }

    /// Who is told of what happens.
    fn told(&self) -> Told<'_> {
        let Self { story, metrics, health, .. } = *self;
        Told { story, metrics, health, worker: WORK }
    }

    /// What the owner of the subnet publishes is looked at, where it counts.
    fn follow_owner(&self) {
        if matches!(self.rules, Rules::Named(_)) {
            return;
        }
        let mut seen = None;
        while !self.heads.is_stopping() {
            let Some(head) = self.heads.after(seen, PATIENCE) else { continue };
            seen = Some(head);
            self.told().of_rules(self.rules.look(self.service, self.place, head));
            // Whatever came of the look: what counts is what holds, and what is worked by.
            if self.rules.digest() != self.opened {
                self.has_other_rules.store(true, Ordering::Relaxed);
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

    fn fail(&self, error: anyhow::Error) {
        self.metrics.failed(&error);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The next block for a thread, which says at each that it turns.
    fn next(&self, thread: &str, seen: Option<Head>) -> Option<Head> {
        loop {
            self.health.beat(thread);
            if let Some(head) = self.heads.after(seen, PATIENCE) {
                return Some(head);
            }
            if self.heads.is_stopping() {
                return None;
            }
        }
    }

    /// Weights are handed over, followed and looked for at every block.
    fn duties(&self) {
        let mut seen = None;
        while let Some(head) = self.next("duties", seen) {
            seen = Some(head);
            let heard = Heard::new(self, head.block);
            if let Err(error) = self.validator.duties(head, &|event| heard.take(&event)) {
                return self.fail(error);
            }
            if let Err(error) = self.state_on_chain(head, &heard) {
                return self.fail(error);
            }
            // Who else has the hotkey is not known where the chain does not tell.
            if !heard.has(Subject::Chain) {
                heard.clear([Subject::Another]);
            }
            heard.clear([Subject::Chain]);
        }
    }

    /// Rounds are measured a step at a time.
    fn work(&self) {
        let mut seen = None;
        while let Some(mut head) = self.next(WORK, seen) {
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
        while let Some(head) = self.next("publish", seen) {
            seen = Some(head);
            let heard = Heard::new(self, head.block);
            self.metrics.records_waiting(self.validator.n_unpublished());
            self.validator.publish(&|event| heard.take(&event));
            self.metrics.records_waiting(self.validator.n_unpublished());
            heard.clear([Subject::Records]);
        }
    }

    /// The root of what is published is committed to now and then, and which models are here.
    fn state_on_chain(&self, head: Head, heard: &Heard<'_>) -> anyhow::Result<()> {
        let root = self.publication.and_then(Publication::root);
        self.validator.state_on_chain(head, root.as_ref(), &|event| heard.take(&event))
    }

    /// Records that are in the home are published to a hub, where the options ask for it.
    fn publish_to_hub(&self) {
        let mut seen = None;
        while let Some(head) = self.next(RECORDS, seen) {
            seen = Some(head);
            let Some(publication) = self.publication else { continue };
            match self.published(publication, head) {
                Ok(()) => self.story.ends(Subject::Repo),
                // Whoever is told to end has no trouble.
                Err(_) if self.heads.is_stopping() => return,
                Err(error) => {
                    let of_records = error.downcast_ref::<records::Error>();
                    if matches!(of_records, Some(records::Error::Missing(_))) {
                        self.validator.look_for_missing_records();
                    }
                    self.metrics.error(ErrorKind::Publish);
                    self.story.trouble(Subject::Repo, &format!("{error:#}"));
                }
            }
        }
    }

    fn published(&self, publication: &Publication, head: Head) -> anyhow::Result<()> {
        let published = self.published_all(publication);
        // The trouble of one competition keeps no root from what is published of the others.
        if publication.is_known() && self.validator.is_root_due(head.block) {
            publication.publish_root()?;
        }
        published
    }

    fn published_all(&self, publication: &Publication) -> anyhow::Result<()> {
        // The home has them first: what is there is signed and stays.
        let lost_before = |competition: &str| self.validator.lost_before(competition);
        while !self.heads.is_stopping() && publication.publish_some(&lost_before)? {
            self.health.beat(RECORDS);
        }
        Ok(())
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

    /// Whether this pass had a trouble.
    fn has(&self, subject: Subject) -> bool {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner).contains(&subject)
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
        let (driver, block) = (self.driver, self.block);
        driver.metrics.on_validator_event(event);
        match event {
            // A round may take hours, in which this is heard of again and again.
            Event::Progress { .. } | Event::Evaluating { .. } => driver.health.beat(WORK),
            Event::RoundStarted { n_models, n_batches } => {
                tracing::debug!("a round begins: {n_models} models, {n_batches} batches each");
            }
            Event::Disqualified { uid, reason } => {
                tracing::debug!("{uid} is disqualified: {}", shown(&reason.to_string()));
            }
            Event::Skipped { uid, error } => tracing::debug!("{uid} is left out: {}", shown(error)),
            Event::RoundEnded(summary) => tracing::info!("{}", round(summary)),
            Event::RoundSuspended(error) => self.trouble(Subject::Round, error),
            Event::RecordDelayed(error) => self.trouble(Subject::Records, error),
            Event::RecordsLost { competition, first, last } => tracing::warn!(
                "records {first} to {last} of {competition} were never published, and the journal \
                 has them no more: publication goes on after them"
            ),
            Event::ChainTrouble(error) => self.trouble(Subject::Chain, error),
            Event::AnotherValidator { block, until } => self.trouble(
                Subject::Another,
                &format!("it set weights at block {block} and counts as alive until {until}"),
            ),
            Event::WeightsSet { block } => {
                tracing::info!("the chain took weights in block {block}");
            }
            Event::WeightsSubmitted(_) => {
                driver.story.ends(Subject::Demands);
                tracing::info!("weights go out at block {block}");
            }
            Event::WeightsUnfit(error) => self.trouble(Subject::Demands, &error.to_string()),
            Event::WeightsRefused(error) => {
                tracing::warn!("the chain refused the weights: {}", shown(&error.to_string()));
            }
            Event::WeightsRevealed { block } => {
                tracing::info!("the chain has opened our weights, seen at block {block}");
            }
            Event::WeightsUnchanged { block } => tracing::info!(
                "the chain has the row that our hidden weights name, as before: nobody can tell \
                 at block {block} whether it has opened them"
            ),
            Event::WeightsNotRevealed { reveal } => tracing::warn!(
                "the chain has not opened our weights of round {} in their epoch: nobody is paid \
                 by them",
                reveal.round
            ),
            Event::WeightsExposed { block, reveal } => tracing::warn!(
                "the chain took our hidden weights late, in block {block}: from round {} on \
                 anybody can read them, before they are opened",
                reveal.round
            ),
            Event::RootSubmitted(_) => {
                tracing::debug!("a commitment to records and models goes out");
            }
            Event::RootSet { block } => {
                driver.story.ends(Subject::Root);
                tracing::info!(
                    "the chain took our commitment to records and models in block {block}"
                );
            }
            Event::RootRefused(error) => self.trouble(Subject::Root, &error.to_string()),
            Event::RootWithheld(text) => {
                self.trouble(Subject::Root, &format!("the hotkey has committed to `{text}`"));
            }
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
    let duels = summary.duels.map_or_else(String::new, |found| duels(summary, found));
    format!(
        "{} round {} of block {}: {champion}; {duels}{n_measured} of {} models measured",
        summary.competition,
        summary.round,
        summary.seed.block,
        summary.rows.len()
    )
}

/// Who challenges, how far that has come and how sure it is; empty where nobody does.
fn duels(summary: &RoundSummary, found: Duels) -> String {
    if found.foremost.is_none() {
        return String::new();
    }
    let told = |(uid, duel)| format!("uid {uid} challenges: {duel}; ");
    let duel = summary.foremost().map_or_else(String::new, told);
    format!("{duel}{} open; ", plural(found.n_open, "duel"))
}
