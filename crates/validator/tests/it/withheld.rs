//! Bytes that are shown to some validators alone: what two thirds of the stake do not have does not
//! count, for anybody.

use crate::{
    duels::{N_DOCUMENTS, is_crowned},
    moody::{Mood, Moody},
    network::{NETUID, Network, hotkey},
    tapped::TappedHub,
};
use chain::Chain as _;
use hub::Hub;
use protocol::{Block, competition::Published, duel::DuelRules};
use records::Statement;
use std::sync::Arc;
use validator::{Event, OnChain, Validator, on_chain};

const NAMES: [&str; 5] = ["val", "van", "vic", "vox", "vue"];

/// Validators of equal stakes, each of which sees the hub in moods of its own.
struct Scene {
    network: Network,
    moods: Vec<Arc<Moody>>,
    validators: Vec<Validator>,
}

impl Scene {
    fn new(miners: &[&str]) -> Self {
        Self::with_age(miners, 1)
    }

    /// Commitments take part once they are so old.
    fn with_age(miners: &[&str], commitment_age_min: u64) -> Self {
        Self::of(&NAMES, miners, commitment_age_min)
    }

    fn of(names: &[&str], miners: &[&str], commitment_age_min: u64) -> Self {
        let mut network =
            Network::with_validators(names, miners).with_duels(DuelRules::default(), N_DOCUMENTS);
        network.competition.evaluation.published = Published::TwoThirds;
        network.competition.evaluation.commitment_age_min = commitment_age_min;
        let moods: Vec<Arc<Moody>> = names.iter().map(|_| Arc::default()).collect();
        let hub = |tap: &Arc<Moody>| {
            let (inner, tap) = (Arc::clone(&network.hub), Arc::clone(tap));
            Arc::new(TappedHub { inner, tap }) as Arc<dyn Hub>
        };
        let hubs: Vec<Arc<dyn Hub>> = moods.iter().map(hub).collect();
        let validators = network.validators_on(&hubs);
        Self { network, moods, validators }
    }

    /// Sets the mood of a repo for some of the validators, by place.
    fn mood(&self, repo: &str, places: &[usize], mood: Option<Mood>) {
        places.iter().for_each(|place| self.moods[*place].set(repo, mood));
    }

    /// Runs to a block; each validator says on the chain what it has.
    fn run_to(&self, block: u64) -> Vec<Event> {
        let events = std::sync::Mutex::new(Vec::new());
        while self.network.chain.head().unwrap().block.0 < block {
            let head = self.network.chain.produce_block().unwrap();
            let watch = |event| events.lock().unwrap().push(event);
            for validator in &self.validators {
                validator.on_block(head, &watch).unwrap();
                validator.state_on_chain(head, None, &watch).unwrap();
            }
        }
        events.into_inner().unwrap()
    }

    /// By how many validators a miner is crowned.
    fn n_crowned(&self, miner: &str) -> usize {
        self.validators.iter().filter(|validator| is_crowned(validator, miner)).count()
    }

    /// What a validator says on the chain.
    fn said(&self, name: &str) -> Option<Statement> {
        let head = self.network.chain.head().unwrap();
        let all = self.network.chain.commitments(NETUID, head.block).unwrap();
        let own = all.into_iter().find(|stored| stored.hotkey == hotkey(name).public());
        Statement::parse(&own?.data)
    }

    /// What the chain says before the next round.
    fn on_chain(&self) -> OnChain {
        let head = self.network.chain.head().unwrap();
        on_chain(&*self.network.chain, NETUID, &self.network.competition, head).unwrap()
    }

    fn are_alike(&self) -> bool {
        let of = |validator: &Validator| {
            let contest = validator.contest("tiny").unwrap();
            (contest.reign, contest.average)
        };
        let first = of(&self.validators[0]);
        self.validators.iter().all(|validator| of(validator) == first)
    }
}

#[test]
fn attack_bytes_that_three_of_five_validators_get_win_nothing_until_all_get_them() {
    for mood in [Mood::Closed, Mood::Refuses, Mood::OtherBytes, Mood::Cut] {
        let scene = Scene::new(&["ada", "eve"]);
        scene.network.enter("ada", "first", 3.0);
        scene.run_to(25);
        assert_eq!(scene.n_crowned("ada"), 5, "where nobody has said anything, all count");
        scene.mood("eve/model", &[1, 3], Some(mood));
        scene.network.enter("eve", "far-better", 2.0);
        for round in 3..8 {
            scene.run_to(round * 10 + 5);
            assert_eq!(scene.n_crowned("ada"), 5, "round {round}, {mood:?}");
            assert!(scene.are_alike(), "round {round}, {mood:?}");
        }
        let eve = scene.network.uid("eve");
        let has = |name: &str| scene.said(name).unwrap().seen.unwrap().slots.contains(eve);
        assert_eq!(NAMES.map(has), [true, false, true, false, true], "{mood:?}");
        assert_eq!(scene.on_chain().unheard, [eve]);
        assert!(scene.network.earned("eve") == 0.0, "{mood:?}");
        scene.mood("eve/model", &[1], None);
        scene.run_to(115);
        assert_eq!(scene.on_chain().unheard, [], "four of five have them, {mood:?}");
        scene.mood("eve/model", &[3], None);
        scene.run_to(135);
        // The last one came to it a round later, by other documents.
        assert_eq!(scene.n_crowned("eve"), 5, "{mood:?}");
    }
}

#[test]
fn a_newcomer_counts_a_round_later_and_is_measured_though_it_is_not_fresh_any_more() {
    let scene = Scene::new(&["ada", "ben"]);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(28);
    scene.network.enter("ben", "better", 2.5);
    let events = scene.run_to(35);
    let ben = scene.network.uid("ben");
    let waits = |event: &&Event| matches!(event, Event::Skipped { uid, error } if *uid == ben && error.contains("two thirds"));
    assert_eq!(events.iter().filter(waits).count(), 5, "each says so once");
    assert_eq!(scene.n_crowned("ada"), 5);
    scene.run_to(45);
    assert_eq!(scene.n_crowned("ben"), 5);
    assert!(scene.are_alike());
}

#[test]
fn attack_a_champion_that_closes_to_two_of_five_falls_for_all_and_the_next_round_is_alike() {
    let scene = Scene::new(&["ada", "eve"]);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(25);
    scene.network.enter("eve", "better", 2.5);
    scene.run_to(55);
    assert_eq!(scene.n_crowned("eve"), 5);
    scene.mood("eve/model", &[1, 3], Some(Mood::Closed));
    scene.run_to(85);
    assert_eq!(scene.n_crowned("ada"), 5);
    assert_eq!(scene.on_chain().unheard, [scene.network.uid("eve")]);
}

#[test]
fn an_outage_of_the_hub_takes_back_nothing_that_was_said() {
    let scene = Scene::new(&["ada"]);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(35);
    let ada = scene.network.uid("ada");
    let has = |name: &str| scene.said(name).unwrap().seen.unwrap().slots.contains(ada);
    assert!(NAMES.iter().all(|name| has(name)));
    for moods in &scene.moods[..3] {
        moods.is_out.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    scene.run_to(75);
    assert!(NAMES.iter().all(|name| has(name)));
    assert_eq!(scene.n_crowned("ada"), 5);
}

#[test]
fn what_is_said_is_renewed_before_it_expires_and_seldom_otherwise() {
    let scene = Scene::new(&["ada"]);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(35);
    let as_of = |scene: &Scene| scene.said("val").unwrap().seen.unwrap().as_of;
    let first = as_of(&scene);
    assert!(first < Block(35));
    scene.run_to(300);
    assert_eq!(as_of(&scene), first, "nothing is new");
    scene.run_to(420);
    assert!(as_of(&scene) > first, "two tempos of Bittensor are soon over");
    assert_eq!(scene.on_chain().listed.len(), 1);
}

#[test]
fn a_commitment_that_is_looked_at_while_it_is_young_counts_as_soon_as_it_is_old_enough() {
    let mut scene = Scene::with_age(&["ada", "ben"], 15);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(45);
    assert_eq!(scene.n_crowned("ada"), 5);
    scene.network.enter("ben", "better", 2.5);
    scene.run_to(55);
    let ben = scene.network.uid("ben");
    let has = |name: &str| scene.said(name).unwrap().seen.unwrap().slots.contains(ben);
    assert!(NAMES.iter().all(|name| has(name)), "fifteen blocks are not over");
    assert_eq!(scene.n_crowned("ada"), 5);
    // The round of block 70 is the first that may measure it, as without any statement.
    scene.run_to(75);
    assert_eq!(scene.n_crowned("ben"), 5);
    // It keeps its place until what replaces it is old enough, which nobody has seen.
    scene.mood("ben/other", &[0, 1, 2, 3, 4], Some(Mood::Closed));
    let dir = scene.network.model("best", Some(2.0));
    let commitment = scene.network.publish_in("ben", "ben/other", &dir);
    scene.network.commit("ben", &commitment);
    scene.run_to(95);
    assert_eq!(scene.n_crowned("ben"), 5);
    scene.run_to(105);
    assert_eq!(scene.n_crowned("ada"), 5);
    // One that was not published while it was too young has lost nothing.
    let lapses = scene.validators.remove(0).contest("tiny").unwrap().lapses;
    assert!(lapses.values().all(|lapse| lapse.since.is_none()), "{lapses:?}");
}

#[test]
fn attack_seventy_slots_whose_bytes_are_refused_keep_no_newcomer_out() {
    let names: Vec<String> = (0..70).map(|number| format!("eve{number}")).collect();
    let miners: Vec<&str> = names.iter().map(String::as_str).chain(["ada", "zed"]).collect();
    let scene = Scene::of(&["val"], &miners, 1);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(first_round(&scene) + 5);
    for name in &names {
        scene.mood(&format!("{name}/model"), &[0], Some(Mood::Refuses));
        scene.network.enter(name, name, 2.0);
    }
    let from = scene.network.chain.head().unwrap().block.0;
    scene.run_to(from + 20);
    // It came last of all, and a round tries no more than 64.
    scene.network.enter("zed", "better", 2.5);
    scene.run_to(from + 80);
    assert_eq!(scene.n_crowned("zed"), 1);
    assert_eq!(scene.on_chain().unheard.len(), 70);
}

/// Block of the first round that is yet to come.
fn first_round(scene: &Scene) -> u64 {
    let every = scene.network.competition.evaluation.blocks_per_round;
    scene.network.chain.head().unwrap().block.0.next_multiple_of(every)
}

#[test]
fn rules_that_begin_to_ask_find_what_was_here_before_and_empty_no_throne() {
    let mut scene = Scene::of(&["val"], &["ada", "ben"], 1);
    scene.network.competition.evaluation.published = Published::Own;
    let hub = Arc::clone(&scene.network.hub);
    scene.validators.clear();
    scene.validators = scene.network.validators_on(&[Arc::clone(&hub)]);
    scene.network.enter("ada", "first", 3.0);
    scene.run_to(35);
    assert_eq!((scene.n_crowned("ada"), scene.said("val")), (1, None));
    scene.validators.clear();
    scene.network.competition.evaluation.published = Published::TwoThirds;
    scene.validators = scene.network.validators_on(&[hub]);
    for block in 36..=65 {
        scene.run_to(block);
        assert_eq!(scene.n_crowned("ada"), 1, "block {block}");
    }
    let ada = scene.network.uid("ada");
    assert!(scene.said("val").unwrap().seen.unwrap().slots.contains(ada));
    assert_eq!(scene.on_chain().listed.len(), 1);
}

#[test]
fn attack_a_minority_that_speaks_first_decides_nothing() {
    let scene = Scene::new(&["ada", "eve"]);
    scene.network.enter("ada", "first", 3.0);
    scene.network.enter("eve", "of-a-friend", 3.2);
    // Two of five say before the first round that they have a friend's model alone.
    let head = scene.network.chain.produce_block().unwrap();
    let slots = [scene.network.uid("eve")].into_iter().collect();
    let seen = Some(protocol::publication::Seen { as_of: head.block, slots });
    let data = Statement { records: None, seen }.to_bytes().unwrap();
    for name in ["val", "van"] {
        let data = data.clone();
        let call = chain::Call::SetCommitment { netuid: NETUID, data };
        scene.network.chain.submit(call, &hotkey(name)).unwrap();
    }
    scene.run_to(22);
    assert_eq!(scene.n_crowned("ada"), 5);
}
