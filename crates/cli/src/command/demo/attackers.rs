//! The two miners of a demo that try to earn without work or break the rules.

use anyhow::Context as _;
use chain::Head;
use miner::{Champion, Event, Publisher, find_champion};
use protocol::Seed;
use rand_core::RngCore as _;
use safetensors::SafeTensors;
use std::{
    fs,
    path::{Path, PathBuf},
};
use trainer::{ModelConfig, Recipe, Trainer};

/// Republishes each champion with 0.1 % noise on its parameters.
pub struct Copycat {
    publisher: Publisher,
    home: PathBuf,
    seed: Seed,
    copied: Option<Champion>,
    n_copies: u64,
}

impl Copycat {
    /// A copycat that keeps its files under `home`.
    pub fn new(publisher: Publisher, home: PathBuf, seed: Seed) -> Self {
        Self { publisher, home, seed, copied: None, n_copies: 0 }
    }

    /// Copies the champion, if it is a new one and somebody else's.
    pub fn on_block(&mut self, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let publisher = &self.publisher;
        let found = find_champion(&*publisher.chain, publisher.netuid, &publisher.competition)?;
        let Some(champion) = found else { return Ok(()) };
        if champion.hotkey == publisher.keypair.public() || self.copied.as_ref() == Some(&champion)
        {
            return Ok(());
        }
        let models = self.home.join("models");
        let Some(dir) = champion.fetch(&*publisher.hub, &publisher.competition, &models)? else {
            return Ok(());
        };
        self.n_copies += 1;
        let copy = self.home.join(format!("copy-{}", self.n_copies));
        let seed = self.seed.derive(&format!("noise {}", self.n_copies));
        add_noise(&dir, &copy, seed).context("cannot copy the champion")?;
        match publisher.publish(&copy)? {
            Ok(published) => watch(Event::Published(published)),
            Err(reason) => watch(Event::Withheld(reason)),
        }
        self.copied = Some(champion);
        Ok(())
    }
}

/// Copies a model of F32 parameters, each multiplied by a random number from 0.999 to 1.001.
fn add_noise(from: &Path, to: &Path, seed: Seed) -> anyhow::Result<()> {
    const FILE: &str = "model.safetensors";
    let mut bytes = fs::read(from.join(FILE))?;
    let (n_header, metadata) = SafeTensors::read_metadata(&bytes)?;
    let n_data: usize = metadata.tensors().values().map(|t| t.data_offsets.1).max().unwrap_or(0);
    anyhow::ensure!(
        metadata.tensors().values().all(|tensor| tensor.dtype == safetensors::Dtype::F32),
        "only F32 parameters can be copied with noise"
    );
    let mut random = seed.stream();
    let start = 8 + n_header;
    for parameter in bytes[start..start + n_data].as_chunks_mut::<4>().0 {
        let uniform = f64::from(random.next_u32()) / f64::from(u32::MAX);
        let factor = 1.0 + 0.001 * (2.0 * uniform - 1.0);
        let noisy = (f64::from(f32::from_le_bytes(*parameter)) * factor) as f32;
        *parameter = noisy.to_le_bytes();
    }
    fs::create_dir_all(to)?;
    fs::copy(from.join("config.json"), to.join("config.json"))?;
    fs::write(to.join(FILE), bytes)?;
    Ok(())
}

/// Publishes a model with NaN parameters, then one whose config does not match its tensors, then
/// one over the size limit: one each time the chain has paid.
pub struct Broken {
    publisher: Publisher,
    home: PathBuf,
    seed: Seed,
    vocabulary: usize,
    n_published: u64,
    next_block: u64,
}

impl Broken {
    /// A miner that publishes without checking and keeps its files under `home`.
    pub fn new(publisher: Publisher, home: PathBuf, seed: Seed) -> Self {
        let vocabulary = publisher.competition.text.vocabulary();
        Self { publisher, home, seed, vocabulary, n_published: 0, next_block: 0 }
    }

    /// Publishes the next broken model when its time has come.
    pub fn on_block(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        if self.n_published == 3 || head.block.0 < self.next_block {
            return Ok(());
        }
        self.n_published += 1;
        let competition = &self.publisher.competition;
        let every = competition.evaluation.blocks_per_round;
        let next_round = head.block.0 + every - head.block.0 % every;
        self.next_block = next_round.max(competition.from_block) + 1;
        let dir = self.home.join(format!("published-{}", self.n_published));
        self.build(self.n_published, &dir).context("cannot build a broken model")?;
        match self.publisher.publish(&dir)? {
            Ok(published) => watch(Event::Published(published)),
            Err(reason) => watch(Event::Withheld(reason)),
        }
        Ok(())
    }

    fn build(&self, number: u64, dir: &Path) -> anyhow::Result<()> {
        const HIDDEN: usize = 32;
        let size_max = self.publisher.competition.model.size_bytes_max;
        // With so many tokens the embedding alone, of 4 bytes a number, is over the limit.
        let over = usize::try_from(size_max)? / (4 * HIDDEN) + 1;
        let config = ModelConfig {
            hidden: HIDDEN,
            intermediate: 64,
            n_layers: 1,
            n_heads: 2,
            n_kv_heads: 2,
            vocabulary: if number == 3 { over } else { self.vocabulary },
            context: self.publisher.competition.text.sequence_length,
            rope_theta: 10_000.0,
            rms_norm_eps: 1e-5,
            tied: true,
        };
        Trainer::new(config, Recipe::default(), self.seed)?.save_model(dir)?;
        match number {
            1 => poison(&dir.join("model.safetensors")),
            2 => contradict(&dir.join("config.json")),
            _ => Ok(()),
        }
    }
}

/// Makes the last parameter of a file NaN.
fn poison(path: &Path) -> anyhow::Result<()> {
    let mut bytes = fs::read(path)?;
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    Ok(fs::write(path, bytes)?)
}

/// Makes a config claim a wider feed-forward layer than its tensors have.
fn contradict(path: &Path) -> anyhow::Result<()> {
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    config["intermediate_size"] = 96.into();
    Ok(fs::write(path, serde_json::to_vec_pretty(&config)?)?)
}
