//! One season: a cast plays by some rules, block by block, from one seed.

use crate::{
    cabal,
    cast::{Cast, Part},
    measure::{Measure, Moment, N_SAMPLES, most},
    network::{NETUID, Network},
    noise::mix,
    ports::{Formula, SeenHub, Unread},
    scenario::{Rules, Scenario},
    strategy::{Hands, Listed, Purse, Slot, Strategy, View, epsilon_nats},
    text::SimText,
    world::{Shared, World},
};
use anyhow::Context as _;
use chain::{Chain as _, Head};
use journal::Journal;
use protocol::{AccountId, Block, Seed, seed::uniform_below};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};
use validator::{Config, Contest, Event, Ports, Validator, Worked};

/// What came of a season.
#[derive(Clone, Debug, PartialEq)]
pub struct Season {
    /// Share of what miners were paid, by player.
    pub miners: Vec<f64>,
    /// Share of what validators were paid, by validator.
    pub validators: Vec<f64>,
    /// Part of all pay that went to miners.
    pub miners_part: f64,
    /// Share of the blocks in which nobody whose time had come was clearly better than the
    /// champion.
    pub right: f64,
    /// Share of the stake that crowns the same, averaged over blocks.
    pub agreement: f64,
    /// Times that the crown went to another miner.
    pub n_crowns: u64,
    /// Improvement that existed and was not published, as a fraction of the loss.
    pub hoarded: f64,
    /// True loss of the champion over time, at points of equal distance.
    pub quality: Vec<f64>,
    /// Rounds that validators decided, all together.
    pub n_rounds: u64,
    /// Models that those rounds judged, all together.
    pub n_models: u64,
    /// Rounds that could not go on at some block.
    pub n_suspended: u64,
    /// Hash of the last block, which all calls of the season are in.
    pub end: String,
}

/// A player at work.
struct Player {
    strategy: Box<dyn Strategy>,
    slots: Range<usize>,
    purse: Purse,
}

/// What is heard of validators.
struct Heard {
    /// Champions, by validator.
    crowns: Vec<Option<AccountId>>,
    n_rounds: u64,
    n_models: u64,
    n_suspended: u64,
}

/// A season that goes on.
struct Stage<'a> {
    scenario: &'a Scenario,
    rules: &'a Rules,
    cast: &'a Cast,
    network: Network,
    world: Arc<Shared>,
    validators: Vec<Validator>,
    players: Vec<Player>,
    slots: Vec<Slot>,
    /// Slots of the season by the keys in them.
    by_key: BTreeMap<AccountId, usize>,
    heard: Mutex<Heard>,
    measure: Measure,
    n_crowns: u64,
    /// Whoever wore the crown last.
    champion: Option<AccountId>,
    /// True loss of the best model that was trained so far.
    best_trained: f64,
}

/// Plays a season of a cast by rules, from a seed.
///
/// The same arguments give the same season, to the bit. An `Err` is trouble of the machinery:
/// nothing that a strategy does makes one.
pub fn season(
    scenario: &Scenario,
    rules: &Rules,
    cast: &Cast,
    seed: u64,
) -> anyhow::Result<Season> {
    let mut stage = Stage::new(scenario, rules, cast, seed)?;
    let every = (scenario.blocks / N_SAMPLES).max(1);
    let mut head = None;
    for n in 1..=scenario.blocks {
        let new = stage.network.chain.produce_block()?;
        stage.block(new)?;
        if n.is_multiple_of(every) {
            let merit = stage.listed_champion().map_or(scenario.models.start, |c| c.merit);
            stage.measure.quality.push(merit);
        }
        head = Some(new);
    }
    Ok(stage.season(head))
}

impl<'a> Stage<'a> {
    fn new(
        scenario: &'a Scenario,
        rules: &'a Rules,
        cast: &'a Cast,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let ranges = ranges(&cast.players);
        let owners: Vec<usize> =
            ranges.iter().flat_map(|range| range.clone().map(move |_| range.start)).collect();
        let n_all = cast.n_all_validators();
        let network = Network::new(scenario.chain, n_all, &owners, seed)?;
        let world = Arc::new(Shared::new(World::new(scenario.noise, mix(seed, 0x5ea5))));
        let validators = open(scenario, rules, cast, &network, &world)?;
        let keys = network.miners.iter().map(chain::Keypair::public);
        let by_key = keys.enumerate().map(|(slot, key)| (key, slot)).collect();
        let player = |(part, slots): (&Part, Range<usize>)| {
            let name = format!("player of slot {}", slots.start);
            let mut random = Seed::of_number(seed).derive(&name).stream();
            // Machines do not finish all at once.
            let wait = uniform_below(&mut random, scenario.models.training_blocks.max(1));
            let purse = Purse { random, free_from: Block(rules.competition.from_block + wait) };
            Player { strategy: part.kind.player(), slots, purse }
        };
        let players = cast.players.iter().zip(ranges).map(player).collect();
        let heard = Heard {
            crowns: vec![None; cast.n_validators],
            n_rounds: 0,
            n_models: 0,
            n_suspended: 0,
        };
        Ok(Self {
            scenario,
            rules,
            cast,
            validators,
            players,
            slots: vec![Slot::default(); owners.len()],
            by_key,
            network,
            world,
            heard: Mutex::new(heard),
            measure: Measure::default(),
            n_crowns: 0,
            champion: None,
            best_trained: f64::INFINITY,
        })
    }

    /// One block: players, validators, cabals, and what is to be seen afterwards.
    fn block(&mut self, head: Head) -> anyhow::Result<()> {
        self.play(head.block);
        for (place, validator) in self.validators.iter().enumerate() {
            let heard = &self.heard;
            let watch = |event: Event| hear(heard, place, event);
            // As its threads do it, but that nobody publishes records that nobody reads.
            while validator.work(head, &watch)? == Worked::Something {}
            validator.duties(head, &watch)?;
            validator.state_on_chain(head, None, &watch)?;
        }
        cabal::act(&self.network, &self.cast.cabals, self.cast.n_validators)?;
        self.look(head.block);
        Ok(())
    }

    /// Every player acts once, in order of slots.
    fn play(&mut self, now: Block) {
        let champion = self.listed_champion();
        let mut world = self.world.lock();
        world.begin(now);
        let view = View {
            block: now,
            champion,
            competition: &self.rules.competition,
            text: &self.scenario.text,
            models: &self.scenario.models,
            n_validators: self.cast.n_all_validators(),
        };
        for player in &mut self.players {
            let range = player.slots.clone();
            let mut hands = Hands {
                world: &mut world,
                chain: &self.network.chain,
                keys: self.network.miners.get(range.clone()).unwrap_or_default(),
                slots: self.slots.get_mut(range).unwrap_or_default(),
                purse: &mut player.purse,
                first: player.slots.start,
                models: &self.scenario.models,
                competition: self.rules.competition.id,
                commitment_rate_limit: self.scenario.chain.commitment_rate_limit,
            };
            player.strategy.act(&view, &mut hands);
        }
        self.best_trained = self.best_trained.min(world.library.best());
    }

    fn crowns(&self) -> Vec<Option<AccountId>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).crowns.clone()
    }

    /// What a slot stands for, as everybody knows it.
    fn listed(&self, world: &World, slot: usize, now: Block) -> Option<Listed> {
        let standing = self.slots.get(slot)?.standing?;
        let upload = world.file(standing.file)?;
        Some(Listed {
            slot,
            file: standing.file,
            model: standing.model,
            merit: world.library.merit(standing.model),
            since: standing.since,
            is_public: upload.is_public(now),
        })
    }

    fn listed_champion(&self) -> Option<Listed> {
        let slot = *self.by_key.get(&most(&self.crowns()).0?)?;
        let world = self.world.lock();
        self.listed(&world, slot, world.now)
    }

    /// Measures what a block left.
    fn look(&mut self, now: Block) {
        let crowns = self.crowns();
        let (crown, _) = most(&crowns);
        if crown.is_some() && crown != self.champion {
            self.n_crowns += 1;
            self.champion = crown;
        }
        let champion = self.listed_champion();
        let rules = &self.rules.competition.evaluation;
        let deadline = self.scenario.deadline_rounds.saturating_mul(rules.blocks_per_round);
        let deadline = deadline.saturating_add(rules.commitment_age_min);
        let (mut best_public, mut best_due): (Option<f64>, Option<f64>) = (None, None);
        let world = self.world.lock();
        for slot in 0..self.slots.len() {
            let Some(entry) = self.listed(&world, slot, now) else { continue };
            if !entry.is_public || self.is_refused(&world, &entry) {
                continue;
            }
            best_public = Some(best_public.unwrap_or(f64::INFINITY).min(entry.merit));
            if now.since(entry.since) >= deadline {
                best_due = Some(best_due.unwrap_or(f64::INFINITY).min(entry.merit));
            }
        }
        drop(world);
        let merit = best_due.unwrap_or(self.scenario.models.start);
        let clearly = 2.0 * epsilon_nats(&self.rules.competition, merit);
        let best_trained = self.best_trained;
        let crowns = crowns.as_slice();
        let moment = Moment { crowns, champion, best_due, best_public, best_trained, clearly };
        self.measure.note(&moment);
    }

    /// Whether the rules keep a model out whatever it loses.
    fn is_refused(&self, world: &World, entry: &Listed) -> bool {
        let has_health = self.rules.competition.model.health.is_some();
        has_health && world.library.get(entry.model).is_none_or(|model| !model.is_trainable)
    }

    /// What came of it all.
    fn season(self, head: Option<Head>) -> Season {
        let mut paid_slots = vec![0_u64; self.slots.len()];
        let mut validators = vec![0_u64; self.network.validators.len()];
        let keys = self.network.validators.iter().enumerate();
        let own: BTreeMap<AccountId, usize> =
            keys.map(|(place, key)| (key.public(), place)).collect();
        for slot in self.network.chain.epochs(NETUID).into_iter().flat_map(|epoch| epoch.slots) {
            if let Some(paid) = self.by_key.get(&slot.hotkey).and_then(|i| paid_slots.get_mut(*i)) {
                *paid += slot.server_rao;
            }
            if let Some(paid) = own.get(&slot.hotkey).and_then(|i| validators.get_mut(*i)) {
                *paid += slot.validator_rao;
            }
        }
        let of = |player: &Player| paid_slots[player.slots.clone()].iter().sum::<u64>();
        let players: Vec<u64> = self.players.iter().map(of).collect();
        let [to_miners, to_validators] =
            [&players, &validators].map(|paid| paid.iter().sum::<u64>());
        let heard = self.heard.into_inner().unwrap_or_else(PoisonError::into_inner);
        Season {
            miners: shares(&players, to_miners),
            validators: shares(&validators, to_validators),
            miners_part: shares(&[to_miners], to_miners + to_validators)[0],
            right: self.measure.right(),
            agreement: self.measure.agreement(),
            n_crowns: self.n_crowns,
            hoarded: self.measure.hoarded(),
            quality: self.measure.quality,
            n_rounds: heard.n_rounds,
            n_models: heard.n_models,
            n_suspended: heard.n_suspended,
            end: head.map_or_else(String::new, |head| head.hash.to_string()),
        }
    }
}

/// Notes what a validator tells.
fn hear(heard: &Mutex<Heard>, validator: usize, event: Event) {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::RoundEnded(summary) => {
            heard.n_rounds += 1;
            heard.n_models += summary.rows.len() as u64;
            if let Some(crown) = heard.crowns.get_mut(validator) {
                *crown = summary.champion.map(|holder| holder.hotkey);
            }
        }
        Event::RoundSuspended(_) => heard.n_suspended += 1,
        _ => {}
    }
}

/// The slots of players, one after the other.
fn ranges(players: &[Part]) -> Vec<Range<usize>> {
    let mut next = 0;
    let range = |part: &Part| {
        let first = next;
        next += part.n_slots;
        first..next
    };
    players.iter().map(range).collect()
}

/// The validators that run the real service.
fn open(
    scenario: &Scenario,
    rules: &Rules,
    cast: &Cast,
    network: &Network,
    world: &Arc<Shared>,
) -> anyhow::Result<Vec<Validator>> {
    let genesis = network.chain.block_hash(Block(0))?.context("the chain has no first block")?;
    let text = Arc::new(SimText::new(scenario.text));
    let formula = Arc::new(Formula::new(Arc::clone(world)));
    let keys = network.validators.iter().take(cast.n_validators).enumerate();
    let validator = |(validator, key): (usize, &chain::Keypair)| {
        let ports = Ports {
            chain: network.chain.clone(),
            models: Arc::new(SeenHub { world: Arc::clone(world), validator }),
            evaluate: formula.clone(),
            publish: Arc::new(Unread),
        };
        let contest = Contest::new(rules.competition.clone(), text.clone());
        let (config, journal) = (Config::new(NETUID, genesis), Journal::memory());
        Validator::open(config, ports, vec![contest], key.clone(), journal)
    };
    keys.map(validator).collect()
}

/// Parts of a sum; of none, zeros.
fn shares(parts: &[u64], sum: u64) -> Vec<f64> {
    let share = |part: &u64| if sum == 0 { 0.0 } else { *part as f64 / sum as f64 };
    parts.iter().map(share).collect()
}
