//! Miners at work on a chain in memory and a hub on disk, with training that follows a formula.

use chain::{
    Call, Chain, Keypair, MemoryChain,
    ledger::{Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
use hub::{Hub, StoreHub};
use miner::{Check, Event, Miner, Plan, Publisher, StepReport, Strategy, Train, find_champion};
use protocol::{Commitment, Competition, NetUid, Reason, ReasonCode, Seed, Uid, content};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

const NETUID: NetUid = NetUid(1);

/// Training that lowers the loss by a hundredth per step; a model is its loss, written down.
struct Falling {
    loss: f64,
    n_steps: u64,
}

impl Train for Falling {
    fn rebase(&mut self, dir: &Path) -> anyhow::Result<()> {
        self.loss = self.loss_of(dir)?.unwrap();
        Ok(())
    }

    fn step(&mut self) -> anyhow::Result<StepReport> {
        self.n_steps += 1;
        self.loss *= 0.99;
        Ok(StepReport { step: self.n_steps, loss: self.loss })
    }

    fn held_out_loss(&mut self) -> anyhow::Result<f64> {
        Ok(self.loss)
    }

    fn loss_of(&mut self, dir: &Path) -> anyhow::Result<Option<f64>> {
        Ok(fs::read_to_string(dir.join("model.safetensors"))?.parse().ok())
    }

    fn save(&mut self, dir: &Path) -> anyhow::Result<()> {
        fs::create_dir(dir)?;
        fs::write(dir.join("config.json"), "{}")?;
        Ok(fs::write(dir.join("model.safetensors"), self.loss.to_string())?)
    }
}

struct Network {
    chain: Arc<MemoryChain>,
    hub: Arc<dyn Hub>,
    competition: Competition,
    folder: TempDir,
}

fn hotkey(name: &str) -> Keypair {
    Keypair::from_seed(Seed::of_number(2).derive(name))
}

fn coldkey(name: &str) -> Keypair {
    hotkey(&format!("coldkey of {name}"))
}

impl Network {
    /// A validator `val` with all the stake, uid 0, and miners from uid 1 on.
    fn new(miners: &[&str], commitment_rate_limit: u64) -> Self {
        let names: Vec<&str> = std::iter::once("val").chain(miners.iter().copied()).collect();
        let hyperparameters = Hyperparameters {
            tempo: 9,
            max_validators: 1,
            target_registrations: 100,
            max_registrations_per_block: 100,
            weights_rate_limit: 1,
            commitment_rate_limit,
            ..Hyperparameters::default()
        };
        let genesis = Genesis {
            seed: 2,
            accounts: names
                .iter()
                .map(|name| (coldkey(name).public(), 2_000 * RAO_PER_TAO))
                .collect(),
            subnets: vec![SubnetGenesis { owner: coldkey("owner").public(), hyperparameters }],
            ..Genesis::default()
        };
        let chain = Arc::new(MemoryChain::new(&genesis).unwrap());
        for name in names {
            let hotkey = hotkey(name).public();
            chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &coldkey(name)).unwrap();
            if name == "val" {
                let call =
                    Call::AddStake { hotkey, netuid: NETUID, amount_rao: 1_000 * RAO_PER_TAO };
                chain.submit(call, &coldkey(name)).unwrap();
            }
            chain.produce_block().unwrap();
        }
        while chain.head().unwrap().block.0 < 10 {
            chain.produce_block().unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let hub: Arc<dyn Hub> = Arc::new(StoreHub::open(&folder.path().join("hub")).unwrap());
        let competition = Competition::builtin("tiny").unwrap();
        Self { chain, hub, competition, folder }
    }

    fn publisher(&self, name: &str, check: Option<Check>) -> Publisher {
        Publisher {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            hub: Arc::clone(&self.hub),
            keypair: hotkey(name),
            netuid: NETUID,
            competition: self.competition.clone(),
            repo: format!("{name}/model").parse().unwrap(),
            check,
        }
    }

    fn miner(&self, name: &str, strategy: Strategy, check: Option<Check>) -> Miner {
        let plan = Plan {
            strategy,
            steps_per_block: 2,
            n_steps_unpublished: 0,
            n_steps: 200,
            blocks_per_measure: 2,
            improvement: 0.03,
            improvement_own: 0.03,
        };
        let train = Falling { loss: 3.0, n_steps: 0 };
        Miner::new(plan, self.publisher(name, check), Box::new(train), self.home(name))
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `n` blocks, lets the miner act on each, and gives what it told.
    fn run(&self, miner: &mut Miner, n: u64) -> Vec<Event> {
        let events = Mutex::new(Vec::new());
        for _ in 0..n {
            let head = self.chain.produce_block().unwrap();
            miner.on_block(head, &|event| events.lock().unwrap().push(event)).unwrap();
        }
        events.into_inner().unwrap()
    }

    /// Gives all weight to a slot and lets an epoch pass.
    fn crown(&self, uid: u16) {
        let call = Call::SetWeights {
            netuid: NETUID,
            uids: vec![Uid(uid)],
            weights: vec![1],
            version_key: 0,
        };
        self.chain.submit(call, &hotkey("val")).unwrap();
        for _ in 0..20 {
            self.chain.produce_block().unwrap();
        }
    }

    fn commitment(&self, uid: u16) -> Option<Commitment> {
        let at = self.chain.head().unwrap().block;
        let stored = self.chain.commitments(NETUID, at).unwrap();
        let stored = stored.into_iter().find(|stored| stored.uid == Uid(uid))?;
        Some(Commitment::parse(&stored.data).unwrap())
    }
}

fn published(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Published(_))).count()
}

#[test]
fn what_is_committed_is_what_the_hub_has_bound_to_the_hotkey() {
    let network = Network::new(&["ada"], 1);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let events = network.run(&mut miner, 4);
    assert!(published(&events) > 0);
    network.chain.produce_block().unwrap();
    let commitment = network.commitment(1).unwrap();
    let files = network.hub.list(&commitment.repo, &commitment.revision).unwrap().unwrap();
    let root = hub::intake::file_root(&files);
    let hotkey = hotkey("ada").public();
    let bound = content::bound_hash(&root, &hotkey, network.competition.id);
    assert_eq!(commitment.secure_hash, bound);
}

#[test]
fn a_model_goes_out_only_when_it_is_clearly_better() {
    let network = Network::new(&["ada"], 1);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let events = network.run(&mut miner, 40);
    let perplexities: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Published(published) => published.perplexity,
            _ => None,
        })
        .collect();
    assert!(perplexities.len() > 3, "{perplexities:?}");
    assert!(perplexities.windows(2).all(|pair| pair[1] < 0.97 * pair[0]), "{perplexities:?}");
}

#[test]
fn a_model_that_a_validator_would_refuse_is_kept_back() {
    let network = Network::new(&["ada"], 1);
    let check: Check = Arc::new(|_| Ok(Some(Reason::new(ReasonCode::NonFiniteParameters, "NaN"))));
    let mut miner = network.miner("ada", Strategy::Pretrain, Some(check));
    let events = network.run(&mut miner, 4);
    assert!(events.iter().any(|event| matches!(event, Event::Withheld(_))));
    assert_eq!(network.commitment(1), None);
}

#[test]
fn a_commitment_that_came_too_soon_is_submitted_again() {
    let network = Network::new(&["ada"], 7);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let mut revisions = Vec::new();
    for _ in 0..40 {
        for event in network.run(&mut miner, 1) {
            assert!(!matches!(event, Event::CommitmentRefused(_)), "{event:?}");
            if let Event::Published(published) = event {
                revisions.push(published.revision);
            }
        }
        let committed = network.commitment(1).map(|commitment| commitment.revision);
        if revisions.len() > 1 && committed.as_ref() == revisions.last() {
            return;
        }
    }
    panic!("the second model of {} never arrived on the chain", revisions.len());
}

#[test]
fn a_rebaser_waits_for_a_champion_and_starts_at_its_loss() {
    let network = Network::new(&["ada", "ray"], 1);
    let mut ray = network.miner("ray", Strategy::Rebase { patience_blocks: 2 }, None);
    assert!(network.run(&mut ray, 4).is_empty(), "nobody to rebase on yet");
    let mut ada = network.miner("ada", Strategy::Pretrain, None);
    network.run(&mut ada, 12);
    network.crown(1);
    let champion = find_champion(&*network.chain, NETUID, &network.competition).unwrap().unwrap();
    assert_eq!(champion.uid, Uid(1));
    let events = network.run(&mut ray, 8);
    assert!(matches!(&events[0], Event::Rebased(base) if *base == champion), "{events:?}");
    let Event::Step(first) = &events[1] else { panic!("{events:?}") };
    assert!(first.loss < 3.0 * 0.99, "training must go on from the champion: {first:?}");
    assert!(published(&events) > 0);
}

#[test]
fn a_rebaser_passes_over_a_champion_that_it_cannot_train_on_from() {
    let network = Network::new(&["gpt", "ray"], 1);
    let publisher = network.publisher("gpt", None);
    let dir = network.home("gpt").join("model");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    fs::write(dir.join("model.safetensors"), "of another architecture").unwrap();
    publisher.publish(&dir).unwrap().unwrap();
    network.crown(1);
    let mut ray = network.miner("ray", Strategy::Rebase { patience_blocks: 2 }, None);
    let events = network.run(&mut ray, 8);
    assert!(
        matches!(&events[..], [Event::PassedOver(champion)] if champion.uid == Uid(1)),
        "{events:?}"
    );
}

#[test]
fn attack_a_champion_whose_bytes_are_not_the_committed_ones_is_not_built_upon() {
    let network = Network::new(&["eve", "ray"], 1);
    let mut eve = network.miner("eve", Strategy::Pretrain, None);
    network.run(&mut eve, 6);
    for _ in 0..2 {
        network.chain.produce_block().unwrap();
    }
    let mut commitment = network.commitment(1).unwrap();
    commitment.secure_hash = content::ContentHash([7; 32]);
    let data = commitment.to_text().unwrap().into_bytes();
    network.chain.submit(Call::SetCommitment { netuid: NETUID, data }, &hotkey("eve")).unwrap();
    network.crown(1);
    let mut ray = network.miner("ray", Strategy::Rebase { patience_blocks: 2 }, None);
    assert!(network.run(&mut ray, 4).is_empty());
}
