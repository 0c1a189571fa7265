//! A bench: one chain, one hub, players, and a crown that the test gives.

use crate::{
    hub::{FileId, Shown},
    model::ModelId,
    network::{NETUID, Network},
    scenario::Scenario,
    strategy::{Hands, Kind, Listed, Purse, Slot, Strategy, View, hands::Standing},
    world::World,
};
use chain::Chain as _;
use protocol::{Block, Commitment, Competition, Seed, content::bound_hash};
use std::{ops::Range, rc::Rc};

/// Validators of the bench, which do nothing.
const N_VALIDATORS: usize = 2;

/// What a player has.
struct Seat {
    slots: Range<usize>,
    purse: Purse,
}

/// Players, and all that they act on.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) slots: Vec<Slot>,
    pub(super) network: Network,
    pub(super) scenario: Rc<Scenario>,
    pub(super) competition: Rc<Competition>,
    /// Slot that wears the crown.
    pub(super) crown: Option<usize>,
    seats: Vec<Seat>,
    /// What is played, by seat.
    strategies: Vec<Box<dyn Strategy>>,
}

impl Bench {
    /// Players of these strategies, by rules of their own where `more` has some: it goes on in the
    /// table `models` of a scenario.
    pub(super) fn new(kinds: &[Kind], more: &str, seed: u64) -> Self {
        let text = format!(
            "validators = {N_VALIDATORS}\n[[miners]]\nstrategy = \"idle\"\n[chain]\ntempo = 5\n\
             [models]\ntraining_blocks = 5\nrate = 0.02\n{more}"
        );
        let scenario = Scenario::from_toml(&text).unwrap();
        let competition = scenario.all_rules().unwrap().remove(0).competition;
        let (mut seats, mut owners) = (Vec::new(), Vec::new());
        for kind in kinds {
            let first = owners.len();
            owners.resize(first + kind.slots(), first);
            let random = Seed::of_number(seed).derive(&format!("seat {first}")).stream();
            let purse = Purse { random, free_from: Block(0) };
            seats.push(Seat { slots: first..owners.len(), purse });
        }
        let network = Network::new(scenario.chain, N_VALIDATORS, &owners, seed).unwrap();
        let mut world = World::new(scenario.noise, seed);
        world.begin(network.chain.head().unwrap().block);
        let slots = vec![Slot::default(); owners.len()];
        let strategies = kinds.iter().map(|kind| kind.player()).collect();
        let (scenario, competition) = (Rc::new(scenario), Rc::new(competition));
        Self { world, slots, network, scenario, competition, crown: None, seats, strategies }
    }

    /// A new block, in which every player acts once.
    pub(super) fn block(&mut self) -> Block {
        let head = self.network.chain.produce_block().unwrap();
        self.world.begin(head.block);
        // What everybody sees stays as it is while one after the other acts.
        let (scenario, competition) = (Rc::clone(&self.scenario), Rc::clone(&self.competition));
        let view = View {
            block: head.block,
            champion: self.crown.and_then(|slot| self.listed(slot)),
            competition: &competition,
            text: &scenario.text,
            models: &scenario.models,
            n_validators: N_VALIDATORS,
        };
        let mut strategies = std::mem::take(&mut self.strategies);
        for (seat, strategy) in strategies.iter_mut().enumerate() {
            self.with(seat, |hands| strategy.act(&view, hands));
        }
        self.strategies = strategies;
        head.block
    }

    pub(super) fn blocks(&mut self, n: usize) {
        for _ in 0..n {
            self.block();
        }
    }

    /// What everybody sees now.
    pub(super) fn view(&self) -> View<'_> {
        View {
            block: self.world.now,
            champion: self.crown.and_then(|slot| self.listed(slot)),
            competition: &self.competition,
            text: &self.scenario.text,
            models: &self.scenario.models,
            n_validators: N_VALIDATORS,
        }
    }

    /// Acts with the hands of a seat.
    pub(super) fn with<T>(&mut self, seat: usize, act: impl FnOnce(&mut Hands<'_>) -> T) -> T {
        let seat = &mut self.seats[seat];
        let mut hands = Hands {
            world: &mut self.world,
            chain: &self.network.chain,
            keys: &self.network.miners[seat.slots.clone()],
            slots: &mut self.slots[seat.slots.clone()],
            purse: &mut seat.purse,
            first: seat.slots.start,
            models: &self.scenario.models,
            competition: self.competition.id,
            commitment_rate_limit: self.scenario.chain.commitment_rate_limit,
        };
        act(&mut hands)
    }

    /// Has a slot stand for a new model of this loss from now on, whatever its player thinks.
    pub(super) fn enter(&mut self, slot: usize, merit: f64, shown: Shown) -> Standing {
        let model = self.world.library.independent(merit);
        let file = self.world.upload(model, slot, shown, 0).unwrap();
        let standing = Standing { file, model, since: self.world.now };
        self.slots[slot] = Slot { standing: Some(standing), committed: Some(self.world.now) };
        standing
    }

    /// Block at which the machine of a seat is free.
    pub(super) fn free_from(&self, seat: usize) -> Block {
        self.seats[seat].purse.free_from
    }

    /// Has the machine of a seat free at once.
    pub(super) fn free(&mut self, seat: usize) {
        self.seats[seat].purse.free_from = Block(0);
    }

    /// First slot of a seat.
    pub(super) fn first(&self, seat: usize) -> usize {
        self.seats[seat].slots.start
    }

    pub(super) fn listed(&self, slot: usize) -> Option<Listed> {
        let standing = self.slots[slot].standing?;
        let is_public = self.world.file(standing.file)?.is_public(self.world.now);
        let (file, model, since) = (standing.file, standing.model, standing.since);
        let merit = self.world.library.merit(model);
        Some(Listed { slot, file, model, merit, since, is_public })
    }

    /// What a slot stands for; it has to stand for something.
    pub(super) fn standing(&self, slot: usize) -> Standing {
        self.slots[slot].standing.unwrap()
    }

    /// True loss of what a slot stands for.
    pub(super) fn merit(&self, slot: usize) -> f64 {
        self.world.library.merit(self.standing(slot).model)
    }

    /// Who sees a set of files.
    pub(super) fn shown(&self, file: FileId) -> Shown {
        self.world.file(file).unwrap().shown
    }

    /// Who sees each set of files that there is, in the order of uploads.
    pub(super) fn all_shown(&self) -> Vec<Shown> {
        let files = (0..).map(|number| self.world.file(FileId(number)));
        files.map_while(|upload| upload.map(|upload| upload.shown)).collect()
    }

    /// The best model that anybody has trained.
    pub(super) fn best(&self) -> f64 {
        self.world.library.best()
    }

    pub(super) fn is_trainable(&self, model: ModelId) -> bool {
        self.world.library.get(model).unwrap().is_trainable
    }

    /// Fails unless the chain has taken, up to the newest block, what every player thinks that it
    /// has: no commitment came too early, and each is bound to the key that made it.
    pub(super) fn check_chain(&self) {
        let all = self.network.chain.commitments(NETUID, self.world.now).unwrap();
        for (slot, known) in self.slots.iter().enumerate() {
            let hotkey = self.network.miners[slot].public();
            let stored = all.iter().find(|stored| stored.hotkey == hotkey);
            // What was submitted in this block stands in the next.
            if known.committed.is_some_and(|block| block > self.world.now) {
                continue;
            }
            assert_eq!(stored.map(|stored| stored.block), known.committed, "slot {slot}");
            let Some(stored) = stored else { continue };
            let Some(standing) = known.standing else {
                assert_eq!(stored.data, b"gone", "slot {slot}");
                continue;
            };
            let upload = self.world.file(standing.file).unwrap();
            let commitment = Commitment::parse(&stored.data).unwrap();
            assert_eq!(commitment.revision, upload.revision, "slot {slot}");
            let bound = bound_hash(&upload.file_root, &stored.hotkey, self.competition.id);
            assert_eq!(commitment.secure_hash, bound, "slot {slot}");
        }
    }
}
