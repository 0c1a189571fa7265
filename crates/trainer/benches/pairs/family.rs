//! A champion, and the models that challenge it: made from it, or trained beside it.

use crate::{
    corpus::Corpus,
    models::{Checkpoint, config, normal},
    statistics::Moments,
    texts::Failure,
};
use dataset::pack::TrainingStream;
use half::bf16;
use protocol::Seed;
use tempfile::TempDir;
use trainer::{Recipe, Trainer};

/// Width of the models, and learning rates of whoever trains from the beginning and of whoever
/// goes on from the champion: honest-1 and the rebaser of the demo.
const HIDDEN: usize = 64;
const LR: f64 = 4e-3;
const LR_REBASE: f64 = 1.5e-3;

/// What a challenger is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The champion with normal numbers of so many hundredths of each tensor's deviation added.
    Noised(u8),
    /// The champion with its parameters rounded to BF16.
    Rounded,
    /// The champion some steps earlier.
    Earlier,
    /// Trained on from the champion with a fresh optimizer.
    Rebased,
    /// From the same first parameters, with the text in another order.
    Sibling,
    /// From other parameters, with the text in another order.
    Independent,
}

/// What challenges every champion.
pub(crate) const KINDS: [Kind; 7] = [
    Kind::Noised(1),
    Kind::Noised(3),
    Kind::Rounded,
    Kind::Earlier,
    Kind::Rebased,
    Kind::Sibling,
    Kind::Independent,
];

/// A champion, and what its challengers are made from.
pub(crate) struct Family<'a> {
    pub(crate) base: Checkpoint,
    corpus: &'a Corpus,
    seed: Seed,
    steps: u64,
    /// Steps that the earlier model is behind, and that the rebased one is ahead.
    n_apart: u64,
    early: Checkpoint,
    /// The champion's files.
    folder: TempDir,
}

impl<'a> Family<'a> {
    /// Trains a champion for so many steps, at least eight; its number says how far apart its
    /// relatives are.
    pub(crate) fn train(
        corpus: &'a Corpus,
        (steps, number): (u64, usize),
        seed: Seed,
    ) -> Result<Self, Failure> {
        let n_apart = if number.is_multiple_of(2) { steps / 8 } else { steps / 4 };
        let mut trainer = fresh(steps, seed.derive("parameters"))?;
        let mut stream = corpus.stream(seed.derive("order"))?;
        go_on(&mut trainer, &mut stream, steps - n_apart)?;
        let early = Checkpoint::of(&trainer)?;
        go_on(&mut trainer, &mut stream, n_apart)?;
        let base = Checkpoint::of(&trainer)?;
        let folder = tempfile::tempdir()?;
        trainer.save_model(folder.path())?;
        Ok(Self { base, corpus, seed, steps, n_apart, early, folder })
    }

    /// A challenger and what it is called.
    pub(crate) fn challenger(&self, kind: Kind) -> Result<(String, Checkpoint), Failure> {
        let n_apart = self.n_apart;
        Ok(match kind {
            Kind::Noised(percent) => {
                let name = format!("noise of {percent} %");
                let seed = self.seed.derive(&name);
                (name, noised(&self.base, f64::from(percent) / 100.0, seed))
            }
            Kind::Rounded => ("rounded to bf16".to_owned(), rounded(&self.base)),
            Kind::Earlier => (format!("{n_apart} steps earlier"), self.early.clone()),
            Kind::Rebased => (format!("rebased, {n_apart} steps"), self.rebased()?),
            Kind::Sibling => {
                let parameters = self.seed.derive("parameters");
                ("sibling, other order".to_owned(), self.trained(parameters, "sibling")?)
            }
            Kind::Independent => {
                let parameters = self.seed.derive("other parameters");
                ("independent seed".to_owned(), self.trained(parameters, "independent")?)
            }
        })
    }

    /// A model trained as long as the champion, with the text in an order of its own.
    fn trained(&self, parameters: Seed, order: &str) -> Result<Checkpoint, Failure> {
        let mut trainer = fresh(self.steps, parameters)?;
        let mut stream = self.corpus.stream(self.seed.derive(&format!("order of the {order}")))?;
        go_on(&mut trainer, &mut stream, self.steps)?;
        Checkpoint::of(&trainer)
    }

    fn rebased(&self) -> Result<Checkpoint, Failure> {
        let recipe = recipe(LR_REBASE, self.n_apart);
        let mut trainer = Trainer::from_model(self.folder.path(), recipe)?;
        let mut stream = self.corpus.stream(self.seed.derive("order of the rebaser"))?;
        go_on(&mut trainer, &mut stream, self.n_apart)?;
        Checkpoint::of(&trainer)
    }
}

/// The demo's recipe for a schedule of so many steps.
fn recipe(lr: f64, steps: u64) -> Recipe {
    Recipe {
        lr,
        lr_min: lr / 20.0,
        warmup_steps: 20.min(steps / 2),
        total_steps: steps,
        sequences_per_batch: 8,
        ..Recipe::default()
    }
}

fn fresh(steps: u64, parameters: Seed) -> Result<Trainer, Failure> {
    Ok(Trainer::new(config(HIDDEN), recipe(LR, steps), parameters)?)
}

fn go_on(trainer: &mut Trainer, stream: &mut TrainingStream, n: u64) -> Result<(), Failure> {
    for _ in 0..n {
        let batch = stream.next_batch(trainer.recipe().sequences_per_batch)?;
        trainer.step(&batch)?;
    }
    Ok(())
}

fn noised(base: &Checkpoint, share: f64, seed: Seed) -> Checkpoint {
    let mut copy = base.clone();
    let mut stream = seed.stream();
    for (_, numbers) in copy.tensors.values_mut() {
        let wide: Vec<f64> = numbers.iter().map(|number| f64::from(*number)).collect();
        let deviation = share * Moments::of(&wide).spread;
        for (number, wide) in numbers.iter_mut().zip(wide) {
            *number = (wide + deviation * normal(&mut stream)) as f32;
        }
    }
    copy
}

fn rounded(base: &Checkpoint) -> Checkpoint {
    let mut copy = base.clone();
    for (_, numbers) in copy.tensors.values_mut() {
        numbers.iter_mut().for_each(|number| *number = bf16::from_f32(*number).to_f32());
    }
    copy
}
