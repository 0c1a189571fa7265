//! Models as formulas: what they lose on which document.

use crate::noise::{Tailed, mix, normal, unit};
use protocol::Digest;
use serde::Deserialize;

/// Losses are never below this many nats: nothing divides by them.
const LOSS_MIN: f64 = 0.01;
/// Noise of ancestors that weigh less than this is left out.
const WEIGHT_MIN: f64 = 0.05;
/// The easiest document is this much easier than the mean one.
const DIFFICULTY_MIN: f64 = 0.3;

/// A model of a season, in order of making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelId(pub(crate) u32);

/// How much losses vary; all as fractions of the loss.
///
/// The defaults give pairs of models the spreads of small transformers, projected to sequences of
/// about 4,000 tokens: 0.1 % between a model and a copy with noise in it, 0.3 %
/// between parent and child, 1 % between models that have nothing in common, and for these alone
/// a kurtosis far above that of a normal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Noise {
    /// Spread of the difficulty of documents, which is the same for every model.
    pub difficulty: f64,
    /// Spread of a model that was made from scratch.
    pub scratch: f64,
    /// Spread that a training adds.
    pub step: f64,
    /// Spread that noise in the parameters adds.
    pub copy: f64,
    /// Weight of the tails of models from scratch, from 0.
    pub tail: f64,
    /// How much heavier one tail is, from -1 to 1.
    pub skew: f64,
}

impl Default for Noise {
    fn default() -> Self {
        Self { difficulty: 0.19, scratch: 0.007, step: 0.003, copy: 0.001, tail: 0.9, skew: 0.3 }
    }
}

/// What is known of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Which documents it is one of.
    pub kind: DocumentKind,
    /// Its number among them.
    pub number: u64,
}

/// Where a document comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// Written after everything that any model was trained on.
    Fresh,
    /// Of a pinned dataset.
    Exam,
    /// Of the reserve, which is asked where the dataset does not answer.
    Reserve,
}

impl Document {
    /// The tokens of the sequence that is cut from it: they say which it is.
    pub(crate) fn tokens(self) -> Vec<u32> {
        let kind = match self.kind {
            DocumentKind::Fresh => 0,
            DocumentKind::Exam => 1,
            DocumentKind::Reserve => 2,
        };
        vec![kind, (self.number & 0xffff_ffff) as u32, (self.number >> 32) as u32]
    }

    /// The document of a sequence that [`Self::tokens`] made.
    pub(crate) fn of(tokens: &[u32]) -> Self {
        let at = |place: usize| tokens.get(place).copied().unwrap_or(0);
        let kind = match at(0) {
            1 => DocumentKind::Exam,
            2 => DocumentKind::Reserve,
            _ => DocumentKind::Fresh,
        };
        Self { kind, number: u64::from(at(1)) | (u64::from(at(2)) << 32) }
    }

    fn key(self) -> u64 {
        mix(self.kind as u64 + 1, self.number)
    }
}

/// Documents on which a model differs from what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tilt {
    /// Which documents; without it all.
    pub over: Option<DocumentKind>,
    /// Of these only those whose numbers leave the second number when divided by the first.
    pub class: Option<(u64, u64)>,
    /// Share of them that it knows.
    pub share: f64,
    /// Factor of its loss on those.
    pub inside: f64,
    /// Factor of its loss on the others of the kind.
    pub outside: f64,
}

impl Tilt {
    /// Factor of the loss on a document.
    fn on(&self, key: u64, document: Document) -> f64 {
        let is_other_class = |(step, class): (u64, u64)| document.number % step.max(1) != class;
        if self.over.is_some_and(|kind| kind != document.kind)
            || self.class.is_some_and(is_other_class)
        {
            return 1.0;
        }
        let is_inside = unit(mix(key ^ 0x7117, document.key())) < self.share;
        if is_inside { self.inside } else { self.outside }
    }

    /// Factor of the loss on text that nobody has seen.
    fn on_fresh_text(&self) -> f64 {
        match self.over {
            None | Some(DocumentKind::Fresh) => {
                self.share * self.inside + (1.0 - self.share) * self.outside
            }
            Some(_) => 1.0,
        }
    }
}

/// One model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// What its own noise follows from.
    key: u64,
    /// True mean loss on text that nobody has seen, in nats per token.
    pub(crate) merit: f64,
    /// The loss before the tilt.
    base: f64,
    parent: Option<ModelId>,
    /// Weight of the noise that comes from the parent.
    kept: f64,
    /// Spread of the noise that is its own.
    spread: f64,
    tilt: Option<Tilt>,
    /// Whether others could train it further.
    pub(crate) is_trainable: bool,
}

/// All models of a season.
#[derive(Debug)]
pub(crate) struct Library {
    noise: Noise,
    tailed: Tailed,
    models: Vec<Model>,
    /// Difference between two seasons.
    salt: u64,
    /// True loss of the best model that was trained.
    best: f64,
}

impl Library {
    pub(crate) fn new(noise: Noise, salt: u64) -> Self {
        let tailed = Tailed::new(noise.tail, noise.skew);
        Self { noise, tailed, models: Vec::new(), salt, best: f64::INFINITY }
    }

    /// True loss of the best model that was trained so far; infinite without one.
    pub(crate) fn best(&self) -> f64 {
        self.best
    }

    pub(crate) fn get(&self, id: ModelId) -> Option<&Model> {
        self.models.get(id.0 as usize)
    }

    /// True mean loss of a model in nats per token.
    pub(crate) fn merit(&self, id: ModelId) -> f64 {
        self.get(id).map_or(f64::INFINITY, |model| model.merit)
    }

    fn add(&mut self, model: Model) -> ModelId {
        let id = ModelId(self.models.len().try_into().unwrap_or(u32::MAX));
        self.models.push(model);
        id
    }

    fn next_key(&self) -> u64 {
        mix(self.salt, self.models.len() as u64)
    }

    /// A model that shares nothing with any other.
    pub(crate) fn independent(&mut self, merit: f64) -> ModelId {
        self.best = self.best.min(merit);
        self.add(Model {
            key: self.next_key(),
            merit,
            base: merit,
            parent: None,
            kept: 0.0,
            spread: self.noise.scratch,
            tilt: None,
            is_trainable: true,
        })
    }

    /// A model trained from another, with this loss.
    pub(crate) fn trained(&mut self, parent: ModelId, merit: f64) -> ModelId {
        self.best = self.best.min(merit);
        self.child(parent, merit, self.noise.step)
    }

    /// A copy of a model with noise in its parameters.
    pub(crate) fn noised(&mut self, parent: ModelId) -> ModelId {
        self.child(parent, self.merit(parent), self.noise.copy)
    }

    fn child(&mut self, parent: ModelId, merit: f64, spread: f64) -> ModelId {
        // What is kept and what is new have the spread of the parent together.
        let share = (spread / self.noise.scratch.max(f64::MIN_POSITIVE)).min(1.0);
        let kept = (1.0 - share * share).sqrt();
        // What nobody can train is not mended by a training, nor by noise.
        let is_trainable = self.get(parent).is_none_or(|parent| parent.is_trainable);
        let (key, parent) = (self.next_key(), Some(parent));
        let model =
            Model { key, merit, base: merit, parent, kept, spread, tilt: None, is_trainable };
        self.add(model)
    }

    /// The same model with other losses on some documents.
    pub(crate) fn tilted(&mut self, of: ModelId, tilt: Tilt) -> ModelId {
        let id = self.child(of, self.merit(of), self.noise.copy);
        if let Some(model) = self.models.get_mut(id.0 as usize) {
            model.merit = model.base * tilt.on_fresh_text();
            model.tilt = Some(tilt);
        }
        id
    }

    /// The same function in parameters that nobody can train further.
    pub(crate) fn sabotaged(&mut self, of: ModelId) -> ModelId {
        let id = self.child(of, self.merit(of), 0.0);
        if let Some(model) = self.models.get_mut(id.0 as usize) {
            model.is_trainable = false;
        }
        id
    }

    /// What binds config and tensors of a model.
    pub(crate) fn tensor_root(&self, id: ModelId) -> Digest {
        let key = self.get(id).map_or(0, |model| model.key);
        Digest::of_fields("sim tensors", &[&key.to_le_bytes()])
    }

    /// What a model loses on a document, in nats per token.
    pub(crate) fn loss(&self, id: ModelId, document: Document) -> f64 {
        let Some(model) = self.get(id) else { return f64::MAX };
        let key = document.key();
        let difficulty = 1.0 + self.noise.difficulty * normal(mix(0xd1ff, key));
        let tilt = model.tilt.map_or(1.0, |tilt| tilt.on(model.key, document));
        let noise = 1.0 + self.noise_of(model, key);
        (model.base * difficulty.max(DIFFICULTY_MIN) * tilt * noise).max(LOSS_MIN)
    }

    /// The noise of a model on a document: what its ancestors left, and its own.
    fn noise_of(&self, model: &Model, document: u64) -> f64 {
        let (mut sum, mut weight, mut next) = (0.0, 1.0, Some(model));
        while let Some(model) = next {
            let word = mix(model.key, document);
            let own = match model.parent {
                None => self.tailed.of(word),
                Some(_) => normal(word),
            };
            sum += weight * model.spread * own;
            weight *= model.kept;
            next = model.parent.filter(|_| weight >= WEIGHT_MIN).and_then(|id| self.get(id));
        }
        sum
    }
}

#[cfg(test)]
mod tests;
