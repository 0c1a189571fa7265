//! Text of a formula, and models whose loss is written in their config.

use chain::Head;
use protocol::{
    Competition, Digest, Loss, Reason, ReasonCode, Seed, SequenceLoss,
    record::{Card, DocumentDigest},
    seed::uniform_below,
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use validator::{Ask, Drawn, Engine, Inspected, Sequence, Text};

/// Text of a formula, as long as its source answers.
#[derive(Default)]
pub(crate) struct Formula {
    pub(crate) is_gone: AtomicBool,
}

impl Text for Formula {
    fn tokenizer(&self) -> Digest {
        Digest::of(b"a tokenizer")
    }
    fn dataset(&self) -> Digest {
        Digest::of(b"a dataset")
    }
    fn draw(&self, competition: &Competition, seed: Head) -> anyhow::Result<Arc<Drawn>> {
        anyhow::ensure!(!self.is_gone.load(Ordering::Relaxed), "the source does not answer");
        let rules = &competition.evaluation;
        let mut random = Seed::of_block(seed.hash, &competition.name, "evaluation").stream();
        let mut sequence = || {
            let tokens: Vec<u32> =
                (0..4).map(|_| uniform_below(&mut random, 1_000) as u32).collect();
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            Sequence { digest: Digest::of(&bytes), tokens }
        };
        let mut batch = || (0..rules.sequences_per_batch).map(|_| sequence()).collect::<Vec<_>>();
        let batches: Vec<Vec<Sequence>> = (0..rules.n_batches).map(|_| batch()).collect();
        let digests: Vec<[u8; 32]> = batches.iter().flatten().map(|s| s.digest.0).collect();
        let documents = batches.iter().flatten().enumerate().map(|(i, sequence)| DocumentDigest {
            id: i.to_string(),
            sha256: sequence.digest,
            n_bytes: 16,
            n_tokens: 4,
        });
        Ok(Arc::new(Drawn {
            documents: documents.collect(),
            digest: Digest::of(&digests.concat()),
            batches,
            guessing: Loss::new(50.0).unwrap(),
            optimum: None,
        }))
    }
}

/// Measures models by what their config says.
#[derive(Default)]
pub(crate) struct Written {
    /// Models (by their name) on which the evaluator itself fails, and how often it still will.
    pub(crate) faults: Mutex<BTreeMap<String, usize>>,
    /// How often each model was inspected.
    pub(crate) n_inspected: Mutex<BTreeMap<String, usize>>,
    /// How often each model was measured.
    pub(crate) n_evaluated: Mutex<BTreeMap<String, usize>>,
    /// Sequences that were measured in all.
    pub(crate) n_sequences: Mutex<usize>,
    /// Sequences after which it says that it was told to end.
    pub(crate) dies_after: Mutex<Option<usize>>,
}

#[derive(serde::Deserialize)]
struct Fake {
    name: String,
    /// `null` is a loss that is not a number.
    loss: Option<f64>,
}

fn read(dir: &Path) -> Fake {
    serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap()
}

/// What every model is.
fn card() -> Card {
    Card {
        architecture: "written".to_owned(),
        n_parameters: 1,
        size_bytes: 100,
        vocabulary: 1_000,
        context: 4,
        n_vanishing: 0,
        n_exploding: 0,
    }
}

impl Engine for Written {
    fn name(&self) -> &str {
        "written"
    }

    fn inspect_ahead(&self, dir: &Path, _: &Competition) -> anyhow::Result<Result<(), Reason>> {
        let hopeless = || Reason::new(ReasonCode::ArchitectureRefused, "hopeless");
        Ok(if read(dir).name.contains("hopeless") { Err(hopeless()) } else { Ok(()) })
    }

    fn inspect(&self, dir: &Path, _: &Competition) -> anyhow::Result<Result<Inspected, Reason>> {
        let model = read(dir);
        *self.n_inspected.lock().unwrap().entry(model.name.clone()).or_default() += 1;
        if model.name.contains("broken") {
            return Ok(Err(Reason::new(ReasonCode::ConfigRefused, "broken")));
        }
        Ok(Ok(Inspected { tensor_root: Digest::of(model.name.as_bytes()), card: card() }))
    }

    fn losses(
        &self,
        dir: &Path,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Result<(), Reason>> {
        let model = read(dir);
        if let Some(left) = self.faults.lock().unwrap().get_mut(&model.name)
            && *left > 0
        {
            *left -= 1;
            anyhow::bail!("out of memory");
        }
        let Some(loss) = model.loss else {
            return Ok(Err(Reason::new(ReasonCode::NonFiniteLoss, "NaN")));
        };
        *self.n_evaluated.lock().unwrap().entry(model.name).or_default() += 1;
        for sequence in ask.sequences {
            // Text differs in difficulty, the same for every model.
            let difficulty = f64::from(sequence.tokens[0]) * 1e-4;
            let cross_entropy = Loss::new(loss + difficulty).unwrap();
            *self.n_sequences.lock().unwrap() += 1;
            learn(&[SequenceLoss { n_tokens: 3, cross_entropy }])?;
            if let Some(left) = &mut *self.dies_after.lock().unwrap() {
                *left = left.saturating_sub(1);
                anyhow::ensure!(*left > 0, "killed");
            }
        }
        Ok(Ok(()))
    }

    fn is_stop(&self, error: &anyhow::Error) -> bool {
        error.to_string() == "killed"
    }
}
