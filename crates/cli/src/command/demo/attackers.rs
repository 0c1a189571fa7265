//! The two miners of a demo that try to earn without work or break the rules.

use anyhow::Context as _;
use chain::Head;
use miner::{Event, Outbox, Publisher, find_champion};
use protocol::{Block, Commitment, Seed};
use rand_core::RngCore as _;
use safetensors::SafeTensors;
use std::{fs, path::Path};
use trainer::{ModelConfig, Recipe, Trainer};

/// Republishes each champion with 0.1 % noise on its parameters.
pub struct Copycat {
    outbox: Outbox,
    seed: Seed,
}

impl Copycat {
    /// A copycat that publishes through `outbox`.
    pub fn new(outbox: Outbox, seed: Seed) -> Self {
        Self { outbox, seed }
    }

    /// Copies the champion, if it is a new one and somebody else's.
    pub fn on_block(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        self.outbox.advance(head, watch)?;
        if self.outbox.state().is_committing() {
            return Ok(());
        }
        if let Some(name) = self.copy(watch)? {
            self.outbox.offer(&name, head.block)?;
        }
        self.outbox.advance(head, watch)
    }

    /// Makes a copy of the champion that is to be copied, and names its folder.
    fn copy(&self, watch: &dyn Fn(Event)) -> anyhow::Result<Option<String>> {
        let Outbox { publisher, home, .. } = &self.outbox;
        let Publisher { chain, hub, netuid, competition, keypair, .. } = publisher;
        let champion = match find_champion(&**chain, *netuid, competition) {
            Ok(Some(champion)) if champion.hotkey != keypair.public() => champion,
            Ok(_) => return Ok(None),
            Err(error) => {
                watch(Event::ChainTrouble(error.to_string()));
                return Ok(None);
            }
        };
        let name = format!("copy-{}-{}", champion.block, champion.uid);
        let offered = self.outbox.state().offered.as_ref();
        if offered.is_some_and(|offered| offered.folder == name) {
            return Ok(None);
        }
        match champion.fetch(&**hub, competition, &home.join("models"))? {
            Ok(Some(dir)) => {
                let (copy, seed) = (home.join(&name), self.seed.derive(&name));
                copy_with_noise(&dir, &copy, seed).context("cannot copy the champion")?;
                Ok(Some(name))
            }
            Ok(None) => Ok(None),
            Err(trouble) => {
                watch(Event::HubTrouble(trouble));
                Ok(None)
            }
        }
    }
}

/// Copies a model with each F32 parameter of its one file multiplied by a random number from 0.999
/// to 1.001; a model in another form is copied as it is.
fn copy_with_noise(from: &Path, to: &Path, seed: Seed) -> anyhow::Result<()> {
    const FILE: &str = "model.safetensors";
    if to.exists() {
        // What a killed process left of it.
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name() {
            // Bytes alone: what was admitted is read-only, and this is to be changed.
            fs::write(to.join(name), fs::read(&path)?)?;
        }
    }
    if from.join(FILE).exists() {
        let mut bytes = fs::read(from.join(FILE))?;
        add_noise(&mut bytes, seed)?;
        fs::write(to.join(FILE), bytes)?;
    }
    Ok(())
}

/// Changes the F32 parameters of a safetensors file; others stay.
fn add_noise(bytes: &mut [u8], seed: Seed) -> anyhow::Result<()> {
    let (n_header, metadata) = SafeTensors::read_metadata(bytes)?;
    let n_data: usize = metadata.tensors().values().map(|t| t.data_offsets.1).max().unwrap_or(0);
    let mut tensors = metadata.tensors().into_values();
    if !tensors.all(|tensor| tensor.dtype == safetensors::Dtype::F32) {
        return Ok(());
    }
    let mut random = seed.stream();
    let start = 8 + n_header;
    for parameter in bytes[start..start + n_data].as_chunks_mut::<4>().0 {
        let uniform = f64::from(random.next_u32()) / f64::from(u32::MAX);
        let factor = 1.0 + 0.001 * (2.0 * uniform - 1.0);
        let noisy = (f64::from(f32::from_le_bytes(*parameter)) * factor) as f32;
        *parameter = noisy.to_le_bytes();
    }
    Ok(())
}

/// How a model of [`Broken`] breaks the rules, in the order in which they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// A parameter is NaN.
    Poison,
    /// The config tells of wider layers than the tensors have.
    Contradict,
    /// More bytes than the competition allows.
    Overweight,
    /// Code lies beside the model, for whoever might run it.
    Code,
    /// The file goes on after its last tensor.
    HiddenBytes,
    /// The config gives one of its layers another meaning.
    OtherLayers,
    /// The commitment is to other files than those that are published.
    OtherFiles,
    /// The commitment is to a revision that nobody has published.
    Unpublished,
}

impl Trick {
    const ALL: [Self; 8] = [
        Self::Poison,
        Self::Contradict,
        Self::Overweight,
        Self::Code,
        Self::HiddenBytes,
        Self::OtherLayers,
        Self::OtherFiles,
        Self::Unpublished,
    ];

    /// Name of the folder of its model.
    fn folder(self) -> String {
        format!("published-{self:?}").to_lowercase()
    }

    /// Spoils an honest model's files.
    fn spoil(self, dir: &Path) -> anyhow::Result<()> {
        let (model, config) = (dir.join("model.safetensors"), dir.join("config.json"));
        match self {
            Self::Poison => {
                let mut bytes = fs::read(&model)?;
                let last = bytes.len() - 4;
                bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
                fs::write(model, bytes)?;
            }
            Self::Contradict => set_in(&config, "intermediate_size", 96.into())?,
            Self::Code => {
                fs::write(dir.join("modeling_llama.py"), "import os; os.system('id')\n")?;
            }
            Self::HiddenBytes => {
                let mut bytes = fs::read(&model)?;
                bytes.extend_from_slice(&[7; 64]);
                fs::write(model, bytes)?;
            }
            Self::OtherLayers => {
                let layers = serde_json::json!({ "0": { "num_attention_heads": 1 } });
                set_in(&config, "per_layer_config", layers)?;
            }
            Self::Overweight | Self::OtherFiles | Self::Unpublished => {}
        }
        Ok(())
    }

    /// Spoils what an honest miner would commit to.
    fn misstate(self, commitment: &mut Commitment) -> anyhow::Result<()> {
        match self {
            Self::OtherFiles => commitment.secure_hash.0[0] ^= 1,
            Self::Unpublished => commitment.revision = "0".repeat(40).parse()?,
            _ => {}
        }
        Ok(())
    }
}

/// Sets one key of a config.
fn set_in(path: &Path, key: &str, value: serde_json::Value) -> anyhow::Result<()> {
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    config[key] = value;
    Ok(fs::write(path, serde_json::to_vec_pretty(&config)?)?)
}

/// Publishes models that break the rules, one [`Trick`] each time the chain has paid.
pub struct Broken {
    outbox: Outbox,
    seed: Seed,
}

/// Largest limit on the size of a model that is worth a file which exceeds it.
const OVERWEIGHT_MAX: u64 = 64 << 20;

impl Broken {
    /// A miner that publishes through `outbox` without checking.
    pub fn new(outbox: Outbox, seed: Seed) -> Self {
        Self { outbox, seed }
    }

    /// Publishes the next broken model when its time has come.
    pub fn on_block(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        self.outbox.advance(head, watch)?;
        if self.outbox.state().is_committing() {
            return Ok(());
        }
        let Some(trick) = self.next(head.block) else { return Ok(()) };
        let offer = self.offer(trick).context("cannot publish a broken model")?;
        match offer {
            Ok(commitment) => self.outbox.commit_to(&trick.folder(), &commitment, head.block)?,
            Err(trouble) => watch(Event::HubTrouble(trouble)),
        }
        self.outbox.advance(head, watch)
    }

    /// The trick whose time has come.
    fn next(&self, now: Block) -> Option<Trick> {
        let competition = &self.outbox.publisher.competition;
        let limit = competition.model.size_bytes_max;
        let is_cheap = |trick: &Trick| *trick != Trick::Overweight || limit <= OVERWEIGHT_MAX;
        let mut tricks = Trick::ALL.into_iter().filter(is_cheap);
        if let Some(last) = &self.outbox.state().offered {
            let every = competition.evaluation.blocks_per_round;
            let next_round = last.block.0 + every - last.block.0 % every;
            if now.0 <= next_round.max(competition.from_block) {
                return None;
            }
            tricks.find(|trick| trick.folder() == last.folder);
        }
        tricks.next()
    }

    /// Publishes a model that breaks one rule; gives what to commit to.
    fn offer(&self, trick: Trick) -> anyhow::Result<Result<Commitment, String>> {
        let dir = self.outbox.home.join(trick.folder());
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        self.build(trick, &dir)?;
        trick.spoil(&dir)?;
        let mut commitment = match self.outbox.publisher.upload(&dir)? {
            Ok(commitment) => commitment,
            Err(trouble) => return Ok(Err(trouble)),
        };
        trick.misstate(&mut commitment)?;
        Ok(Ok(commitment))
    }

    /// Writes a model that nobody has trained.
    fn build(&self, trick: Trick, dir: &Path) -> anyhow::Result<()> {
        const HIDDEN: usize = 32;
        let competition = &self.outbox.publisher.competition;
        // With so many tokens the embedding alone, of 4 bytes a number, is over the limit.
        let over = usize::try_from(competition.model.size_bytes_max)? / (4 * HIDDEN) + 1;
        let is_over = trick == Trick::Overweight;
        let config = ModelConfig {
            hidden: HIDDEN,
            intermediate: 64,
            n_layers: 1,
            n_heads: 2,
            n_kv_heads: 2,
            vocabulary: if is_over { over } else { competition.text.vocabulary() },
            context: competition.text.sequence_length,
            rope_theta: 10_000.0,
            rms_norm_eps: 1e-5,
            tied: true,
        };
        Ok(Trainer::new(config, Recipe::default(), self.seed)?.save_model(dir)?)
    }
}

#[cfg(test)]
mod tests {
    //! Each trick goes through the door and the engine as a validator has them.

    use super::*;
    use crate::plug;
    use chain::{Genesis, Keypair, MemoryChain};
    use hub::Intake;
    use hugging_face::{
        ClientOptions, DevHub, HubClient,
        dev::{Config, Limits, Role, User},
    };
    use journal::Journal;
    use protocol::{Competition, NetUid, Reason, ReasonCode};
    use std::sync::Arc;

    /// A hub over HTTP with one user, and a miner that publishes there.
    struct Stage {
        folder: tempfile::TempDir,
        server: DevHub,
        broken: Broken,
    }

    impl Stage {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (name, token) = ("broken".to_owned(), hugging_face::dev::new_token().unwrap());
            let user = User { name, token, role: Role::Write, organisations: Vec::new() };
            let server = DevHub::start(&Config {
                listen: ([127, 0, 0, 1], 0).into(),
                folder: folder.path().join("hub"),
                users: vec![user.clone()],
                limits: Limits::default(),
                front: hugging_face::dev::Front::default(),
            })
            .unwrap();
            let options =
                ClientOptions { token: Some(user.token), ..ClientOptions::new(&server.url()) };
            let publisher = Publisher {
                chain: Arc::new(MemoryChain::new(&Genesis::default()).unwrap()),
                hub: Arc::new(HubClient::new(&options).unwrap()),
                keypair: Keypair::from_seed(Seed::of_number(1)),
                netuid: NetUid(1),
                competition: Competition::builtin("tiny").unwrap(),
                repo: "broken/tiny".parse().unwrap(),
                check: None,
            };
            let journal = Journal::memory();
            let outbox = Outbox::open(publisher, folder.path().join("broken"), journal).unwrap();
            let broken = Broken::new(outbox, Seed::of_number(2));
            Self { folder, server, broken }
        }

        /// What a validator says of a commitment.
        fn verdict(&self, commitment: &Commitment) -> Option<Reason> {
            let hub = HubClient::new(&ClientOptions::new(&self.server.url())).unwrap();
            let intake = Intake::open(&self.folder.path().join("models")).unwrap();
            let Publisher { competition, keypair, .. } = &self.broken.outbox.publisher;
            match intake.admit(&hub, competition, keypair.public(), commitment).unwrap() {
                Err(reason) => Some(reason),
                Ok(admitted) => plug::check(&admitted.dir, competition).unwrap().err(),
            }
        }
    }

    #[test]
    fn attack_each_trick_of_the_broken_miner_is_refused_with_its_reason() {
        let stage = Stage::new();
        let expected = [
            ReasonCode::NonFiniteParameters,
            ReasonCode::TensorMismatch,
            ReasonCode::TooLarge,
            ReasonCode::FileRefused,
            ReasonCode::HeaderRefused,
            ReasonCode::ConfigRefused,
            ReasonCode::HashMismatch,
            ReasonCode::NotPublished,
        ];
        for (trick, code) in Trick::ALL.into_iter().zip(expected) {
            let commitment = stage.broken.offer(trick).unwrap().unwrap();
            let reason = stage.verdict(&commitment);
            assert_eq!(
                reason.as_ref().map(|reason| reason.code),
                Some(code),
                "{trick:?}: {reason:?}"
            );
        }
    }

    #[test]
    fn without_a_trick_the_model_would_be_let_in() {
        let stage = Stage::new();
        let dir = stage.folder.path().join("honest");
        stage.broken.build(Trick::Unpublished, &dir).unwrap();
        let commitment = stage.broken.outbox.publisher.upload(&dir).unwrap().unwrap();
        assert_eq!(stage.verdict(&commitment), None);
        let listed = stage.broken.outbox.publisher.hub.list(&commitment.repo, &commitment.revision);
        assert_eq!(listed.unwrap().unwrap().len(), 2);
    }
}
