//! What can be done to an honest model so that its output is worth nothing.

use crate::models::{Checkpoint, fresh, normal, uniform};
use crate::texts::{Failure, VOCABULARY};
use protocol::Seed;
use rand_chacha::ChaCha20Rng;
use serde_json::Value;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const FINAL_GAIN: &str = "model.norm.weight";

/// What a sabotage may use besides the model.
pub(crate) struct Tools<'a> {
    /// Width of the honest model.
    pub(crate) hidden: usize,
    /// Its number; kinds with several strengths go through them by it.
    pub(crate) number: usize,
    /// Sequences of the training split.
    pub(crate) training: &'a [Vec<u32>],
    /// The very sequences that will be measured.
    pub(crate) measured: &'a [Vec<u32>],
    pub(crate) seed: Seed,
}

type Sabotage = fn(Checkpoint, &Tools<'_>) -> Result<Checkpoint, Failure>;

/// All kinds, by the names of the table.
pub(crate) const KINDS: [(&str, Sabotage); 17] = [
    ("always one token: final gains zero", |mut model, _| {
        model.scale(|name| name == FINAL_GAIN, 0.0);
        Ok(model)
    }),
    ("always one token, the most frequent, surely", |model, tools| {
        let counts = counts(tools.training);
        let most = counts.iter().copied().fold(0.0, f64::max);
        let sure = |count: &f64| if *count == most { 20.0 } else { 0.0 };
        model.table(&counts.iter().map(sure).collect::<Vec<_>>())
    }),
    ("table of the frequencies in 256 training sequences", |model, tools| {
        let counts = counts(tools.training);
        model.table(&counts.iter().map(|count| (count + 0.5).ln()).collect::<Vec<_>>())
    }),
    ("table of the frequencies in the very pool", |model, tools| {
        let counts = counts(tools.measured);
        model.table(&counts.iter().map(|count| (count + 1e-6).ln()).collect::<Vec<_>>())
    }),
    ("copies its prompt: layers write zero, final gains x 0.5, 1, 2, 4", |mut model, tools| {
        model.scale(is_writer, 0.0);
        model.scale(|name| name == FINAL_GAIN, [0.5, 1.0, 2.0, 4.0][tools.number % 4]);
        Ok(model)
    }),
    ("copies its prompt: random rows of length one, x 2, 4, 8, 16", |mut model, tools| {
        let scale = [2.0, 4.0, 8.0, 16.0][tools.number % 4];
        model.scale(is_writer, 0.0);
        model.randomize(|name| name == EMBEDDING, &mut tools.seed.stream());
        model.normalize_rows(EMBEDDING)?;
        // The norm makes rows of the root of their width.
        let gain = scale / (tools.hidden as f32).sqrt();
        model.tensor(FINAL_GAIN)?.1.fill(gain);
        Ok(model)
    }),
    ("fresh parameters, as before training", |_, tools| fresh(tools.hidden, tools.seed)),
    ("random parameters, 3, 10, 30, 100 times as wide as fresh ones", |_, tools| {
        let mut model = fresh(tools.hidden, tools.seed)?;
        let factor = [3.0, 10.0, 30.0, 100.0][tools.number % 4];
        model.scale(|name| !name.contains("norm"), factor);
        Ok(model)
    }),
    ("18,000 to 23,000 random parameters, 1 in the embedding, 3 in the head", |_, tools| {
        let mut model = fresh(16, tools.seed)?;
        model.untie()?;
        let mut stream = tools.seed.derive("junk").stream();
        for (name, (_, numbers)) in &mut model.tensors {
            let deviation = match name.as_str() {
                EMBEDDING => 1.0,
                HEAD => 3.0,
                name if name.contains("norm") => continue,
                name if name.contains("o_proj") => 0.005,
                _ => 0.02,
            };
            numbers.iter_mut().for_each(|x| *x = (deviation * normal(&mut stream)) as f32);
        }
        Ok(model)
    }),
    ("all values of each tensor in random order", |mut model, tools| {
        let mut stream = tools.seed.stream();
        for (_, numbers) in model.tensors.values_mut() {
            for index in (1..numbers.len()).rev() {
                numbers.swap(index, (uniform(&mut stream) * (index + 1) as f64) as usize);
            }
        }
        Ok(model)
    }),
    ("head of random numbers as wide as the honest one's", |mut model, tools| {
        model.untie()?;
        model.randomize(|name| name == HEAD, &mut tools.seed.stream());
        Ok(model)
    }),
    ("final gains negated: the least likely first", |mut model, _| {
        model.scale(|name| name == FINAL_GAIN, -1.0);
        Ok(model)
    }),
    ("head for the tokens of another numbering", |mut model, tools| {
        model.untie()?;
        let by = 1 + tools.number % (VOCABULARY - 1);
        let hidden = tools.hidden;
        model.tensor(HEAD)?.1.rotate_right(by * hidden);
        Ok(model)
    }),
    ("all that layers write x 30", |mut model, _| {
        model.scale(is_writer, 30.0);
        Ok(model)
    }),
    ("one layer random, as wide as the honest one", |mut model, tools| {
        let layer = layer(tools);
        model.randomize(|name| is_in(name, layer), &mut tools.seed.stream());
        Ok(model)
    }),
    ("one layer random, ten times as wide", |mut model, tools| {
        let layer = layer(tools);
        model.randomize(|name| is_in(name, layer), &mut tools.seed.stream());
        model.scale(|name| is_in(name, layer), 10.0);
        Ok(model)
    }),
    ("all layers random, as wide as the honest ones", |mut model, tools| {
        model.randomize(|name| name.contains("_proj"), &mut tools.seed.stream());
        Ok(model)
    }),
];

/// The layer that is spoilt: the first or the second.
fn layer(tools: &Tools<'_>) -> usize {
    tools.number % 2
}

fn is_in(name: &str, layer: usize) -> bool {
    name.starts_with(&format!("model.layers.{layer}.")) && name.contains("_proj")
}

fn is_writer(name: &str) -> bool {
    name.contains("o_proj") || name.contains("down_proj")
}

/// How often each token is predicted.
fn counts(sequences: &[Vec<u32>]) -> Vec<f64> {
    let mut counts = vec![0.0; VOCABULARY];
    sequences.iter().flat_map(|tokens| &tokens[1..]).for_each(|token| {
        counts[*token as usize] += 1.0;
    });
    counts
}

impl Checkpoint {
    fn tensor(&mut self, name: &str) -> Result<&mut (Vec<usize>, Vec<f32>), Failure> {
        self.tensors.get_mut(name).ok_or_else(|| format!("no tensor `{name}`").into())
    }

    fn scale(&mut self, is_meant: impl Fn(&str) -> bool, factor: f32) {
        let meant = self.tensors.iter_mut().filter(|(name, _)| is_meant(name));
        meant.flat_map(|(_, (_, numbers))| numbers).for_each(|number| *number *= factor);
    }

    /// Random numbers as wide as those that were there.
    fn randomize(&mut self, is_meant: impl Fn(&str) -> bool, stream: &mut ChaCha20Rng) {
        let meant = self.tensors.iter_mut().filter(|(name, _)| is_meant(name));
        for (_, (_, numbers)) in meant {
            let squares: f64 = numbers.iter().map(|x| f64::from(*x).powi(2)).sum();
            let width = (squares / numbers.len() as f64).sqrt();
            numbers.iter_mut().for_each(|number| *number = (width * normal(stream)) as f32);
        }
    }

    fn normalize_rows(&mut self, name: &str) -> Result<(), Failure> {
        let (shape, numbers) = self.tensor(name)?;
        for row in numbers.chunks_mut(shape[1]) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|number| *number /= length);
        }
        Ok(())
    }

    /// Gives the head parameters of its own, which are those of the embedding.
    fn untie(&mut self) -> Result<(), Failure> {
        let embedding = self.tensor(EMBEDDING)?.clone();
        self.tensors.insert(HEAD.to_owned(), embedding);
        self.config["tie_word_embeddings"] = Value::Bool(false);
        Ok(())
    }

    /// The same logits everywhere: the last state is all ones, the head reads its first number.
    fn table(mut self, logits: &[f64]) -> Result<Self, Failure> {
        self.untie()?;
        self.scale(is_writer, 0.0);
        self.tensor(EMBEDDING)?.1.fill(1.0);
        self.tensor(FINAL_GAIN)?.1.fill(1.0);
        let (shape, numbers) = self.tensor(HEAD)?;
        for (row, logit) in numbers.chunks_mut(shape[1]).zip(logits) {
            row.fill(0.0);
            row[0] = *logit as f32;
        }
        Ok(self)
    }
}
