//! What the dashboard reads: records by a formula, and a chain that stands still.

use crate::{n_models, n_rounds, n_validators};
use chain::{
    Call, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Metagraph, Neuron, Rewards,
    StoredCommitment, Voter,
};
use keys::Keypair;
use protocol::{
    AccountId, Block, BlockHash, Competition, Digest, Loss, NetUid, Record, Seed, Uid,
    competition::{LossKind, Rule},
    record::{Card, DocumentDigest, Finding, Model, Round},
    weights::MovingAverage,
};
use records::{Folder, Signed};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::SystemTime,
};

pub(crate) const NETUID: NetUid = NetUid(1);
const GENESIS: BlockHash = BlockHash([2; 32]);
const N_BATCHES: u64 = 8;
const N_SLOTS: u16 = 256;

pub(crate) fn rules() -> Competition {
    let toml = include_str!("../../../../testdata/scoring/competition.toml");
    let mut competition = Competition::from_toml(toml).unwrap();
    competition.scoring.rule = Rule::Succession;
    competition.scoring.loss = LossKind::CrossEntropy;
    competition.evaluation.n_batches = usize::try_from(N_BATCHES).unwrap();
    competition.check().unwrap();
    competition
}

pub(crate) fn key(validator: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(validator))
}

/// Block that seeds a round.
pub(crate) fn block(number: u64) -> Block {
    Block(1_000 + 10 * number)
}

/// A number from 0 to 1 that follows from two.
fn noise(a: u64, b: u64) -> f64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// A model of round `number`, its losses higher by `lie`: every so often a miner publishes a
/// better one.
pub(crate) fn model(uid: u16, number: u64, lie: f64) -> Model {
    let version = (number + u64::from(uid)) / 200;
    let better = 0.001 * version as f64 * noise(u64::from(uid), version);
    let loss = |batch: u64| {
        let document = number * N_BATCHES + batch;
        let value = 3.0 + 0.2 * noise(1, document) - better + 0.01 * noise(uid.into(), document);
        Loss::new(value + lie).unwrap()
    };
    let named = format!("model {uid} {version}");
    let revision = Digest::of(named.as_bytes()).hex();
    Model {
        uid: Uid(uid),
        hotkey: AccountId(Digest::of(&uid.to_le_bytes()).0),
        coldkey: None,
        commit_block: Block(1 + version),
        commit_block_hash: BlockHash([3; 32]),
        since: None,
        repo: Some(format!("miner{uid}/model").parse().unwrap()),
        revision: Some(revision[..40].parse().unwrap()),
        file_root: None,
        tensor_root: Some(Digest::of(named.as_bytes())),
        card: Some(Card {
            architecture: "llama".to_owned(),
            n_parameters: 1_000_000 + version,
            size_bytes: 2_000_000 + 2 * version,
            vocabulary: 32_000,
            context: 2_048,
            n_vanishing: 0,
            n_exploding: 0,
        }),
        finding: Finding::Evaluated((0..N_BATCHES).map(loss).collect()),
    }
}

/// A validator that publishes one record after the other.
pub(crate) struct Judge {
    key: Keypair,
    folder: Folder,
    rules: Competition,
    average: MovingAverage,
    last: Option<(u64, Digest)>,
    /// By how much the losses are higher that it finds.
    lie: f64,
}

impl Judge {
    /// One that goes on after what it has published; the last of them all finds other losses than
    /// the others.
    pub(crate) fn new(home: &Path, validator: u64) -> Self {
        let (folder, rules) = (Folder::new(path(home, validator)), rules());
        let number = folder.list(&rules.name).unwrap().pop();
        let last = number.map(|number| folder.read(&rules.name, number).unwrap().unwrap());
        let average = last.as_ref().map_or_else(MovingAverage::default, |last| {
            last.record.averages.clone().try_into().unwrap()
        });
        let last = last.map(|last| (last.record.round.number, last.digest()));
        let lie = if validator + 1 == n_validators() { 0.001 } else { 0.0 };
        Self { key: key(validator), folder, rules, average, last, lie }
    }

    /// Publishes the next record; its number, and when it was there.
    pub(crate) fn publish(&mut self) -> (u64, SystemTime) {
        let number = self.last.map_or(1, |(number, _)| number + 1);
        let document = |place: u64| {
            let id = format!("generated {number} {place}");
            let (n_bytes, n_tokens) = (9_000, 2_000);
            DocumentDigest { sha256: Digest::of(id.as_bytes()), id, n_bytes, n_tokens }
        };
        let round = Round {
            competition: self.rules.name.clone(),
            competition_digest: self.rules.digest(),
            number,
            previous: self.last.map(|(_, digest)| digest),
            block: block(number),
            block_hash: BlockHash([1; 32]),
            validator: self.key.public(),
            genesis: GENESIS,
            netuid: NETUID,
            engine: "a benchmark".to_owned(),
            tokenizer: Digest::of(b"tokenizer"),
            dataset: Digest::of(b"dataset"),
            documents: (0..N_BATCHES).map(document).collect(),
            optimum: Loss::new(2.5).ok(),
            batches: Digest::of(&number.to_le_bytes()),
        };
        let models = (0..n_models()).map(|uid| model(uid, number, self.lie)).collect();
        let signed =
            Signed::sign(Record::new(round, &self.rules, models, &mut self.average), &self.key);
        self.last = Some((number, signed.digest()));
        // Whole or not at all, as a validator does it, but not brought to the disk each time.
        let path = self.folder.path(&self.rules.name, number);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("new");
        fs::write(&beside, signed.published()).unwrap();
        fs::rename(beside, path).unwrap();
        (number, SystemTime::now())
    }
}

/// Where a validator publishes.
pub(crate) fn path(home: &Path, validator: u64) -> PathBuf {
    home.join(format!("validator-{validator}"))
}

/// Makes the records of all validators, some at a time.
pub(crate) fn make(home: &Path) {
    let n_cores = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    thread::scope(|scope| {
        for core in 0..n_cores {
            scope.spawn(move || {
                for validator in (core..n_validators()).step_by(n_cores as usize) {
                    let mut judge = Judge::new(home, validator);
                    for _ in 0..n_rounds() {
                        judge.publish();
                    }
                }
            });
        }
    });
}

/// A chain with a full subnet on which nothing happens, long after the last round.
pub(crate) struct Still(Metagraph);

impl Still {
    pub(crate) fn new() -> Self {
        let neurons = (0..N_SLOTS).map(neuron).collect();
        let block = block(n_rounds() + 10_000);
        let last_epoch = Block(block.0 - 10);
        Self(Metagraph {
            netuid: NETUID,
            block,
            tempo: 360,
            weights_rate_limit: 100,
            last_epoch,
            neurons,
        })
    }
}

/// A slot: the first are validators, each with weights and bonds to all others.
fn neuron(uid: u16) -> Neuron {
    let n_validators = u16::try_from(n_validators()).unwrap();
    let is_validator = uid < n_validators;
    let miner = model(uid, 1, 0.0).hotkey;
    let row: Vec<(Uid, u16)> = match is_validator {
        true => (n_validators..N_SLOTS).map(|uid| (Uid(uid), 1 + uid)).collect(),
        false => Vec::new(),
    };
    Neuron {
        uid: Uid(uid),
        hotkey: if is_validator { key(uid.into()).public() } else { miner },
        coldkey: miner,
        stake_rao: if is_validator { 1_000_000_000_000 } else { 0 },
        validator_permit: is_validator,
        active: true,
        last_update: Block(1),
        block_at_registration: Block(1),
        consensus: uid,
        incentive: if is_validator { 0 } else { 250 },
        dividends: if is_validator { 3_000 } else { 0 },
        validator_trust: 0,
        emission_rao: 1_000_000,
        weights: row.clone(),
        bonds: row,
    }
}

/// What a dashboard does not ask for.
fn unasked<T>() -> Result<T, Error> {
    Err(Error::NoSubnet(NETUID))
}

impl Chain for Still {
    fn head(&self) -> Result<Head, Error> {
        Ok(Head { block: self.0.block, hash: BlockHash([4; 32]) })
    }
    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        Ok((block == Block(0)).then_some(GENESIS))
    }
    fn metagraph(&self, _: NetUid) -> Result<Metagraph, Error> {
        Ok(self.0.clone())
    }
    fn commitments(&self, _: NetUid, _: Block) -> Result<Vec<StoredCommitment>, Error> {
        Ok(Vec::new())
    }
    fn rewards(&self, _: NetUid, _: Block) -> Result<Rewards, Error> {
        unasked()
    }
    fn voters(&self, _: NetUid, _: Block) -> Result<Vec<Voter>, Error> {
        unasked()
    }
    fn balance(&self, _: AccountId) -> Result<u64, Error> {
        unasked()
    }
    fn weights(&self, _: NetUid, _: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        unasked()
    }
    fn hiding(&self, _: NetUid) -> Result<Option<HidingRules>, Error> {
        unasked()
    }
    fn demands(&self, _: NetUid) -> Result<Demands, Error> {
        unasked()
    }
    fn sign(&self, _: Call, _: &Keypair, _: Option<Block>) -> Result<chain::Signed, Error> {
        unasked()
    }
    fn send(&self, _: &chain::Signed) -> Result<(), Error> {
        unasked()
    }
    fn resume(&self, _: &chain::Signed) -> Result<(), Error> {
        unasked()
    }
    fn status(&self, _: CallId) -> Result<CallStatus, Error> {
        unasked()
    }
}
