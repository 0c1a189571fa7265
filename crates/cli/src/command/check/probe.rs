//! `agon check --probe`: a few steps of training must not raise the loss.

use crate::{
    competition_file::{self, with_own_hint},
    failure::{HintExt as _, Interrupted},
    terminal::{self, PatientBar},
};
use protocol::{Block, BlockHash, Digest, competition::HealthLimits};
use serde::Serialize;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};
use trainer::Probe;

/// What the probe found.
#[derive(Serialize)]
pub struct ProbeReport {
    n_steps: u64,
    lr: f64,
    /// Nats per token on held-out text.
    loss_before: f64,
    /// Nothing if training diverged.
    loss_after: Option<f64>,
    limit: f64,
    pub is_passed: bool,
    /// Most decades that a gradient may be away from those of its kind.
    decades_limit: f64,
    gradient_norm: Option<f64>,
    /// The tensors whose gradients are furthest from those of their kind.
    tensors: Vec<GradientRow>,
}

#[derive(Serialize)]
struct GradientRow {
    tensor: String,
    /// Root mean square of the gradient over that of the parameters.
    ratio: f64,
    /// Decades above the median of its kind.
    decades: f64,
}

/// Most tensors that are shown.
const N_SHOWN: usize = 5;

impl ProbeReport {
    /// Trains on the first half of the text of a round and measures the second.
    ///
    /// The round is that of the model's own root as block hash: nobody chooses the text.
    pub fn run(
        dir: &Path,
        competition: &str,
        limits: &HealthLimits,
        root: Digest,
    ) -> anyhow::Result<Self> {
        let stop = terminal::stop_on_signal()?;
        let contest = competition_file::contest(competition, None)?;
        let round = with_own_hint(contest.draw(Block(0), BlockHash(root.0)))?;
        let sequences: Vec<Vec<u32>> =
            round.batches.into_iter().flat_map(|batch| batch.sequences).collect();
        let (training, held_out) = sequences.split_at(sequences.len() / 2);
        let n_steps = limits.probe_steps as usize;
        let per_batch = (training.len() / n_steps).max(1);
        let batches: Vec<Vec<Vec<u32>>> = training
            .chunks_exact(per_batch)
            .cycle()
            .take(n_steps)
            .map(<[Vec<u32>]>::to_vec)
            .collect();
        let probe = Self::train(dir, (&batches, held_out), limits, &stop)?;
        Ok(Self::new(&probe, limits))
    }

    fn train(
        dir: &Path,
        text: (&[Vec<Vec<u32>>], &[Vec<u32>]),
        limits: &HealthLimits,
        stop: &AtomicBool,
    ) -> anyhow::Result<Probe> {
        let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
        let n_steps = text.0.len();
        let progress = |done: usize| {
            bar.set(done as u64, n_steps as u64, || format!("step {done} of {n_steps}"));
            !stop.load(Ordering::Relaxed)
        };
        let probe = Probe::run(dir, text, limits.probe_lr, &progress);
        bar.finish();
        match probe {
            Err(trainer::Error::Stopped) => Err(Interrupted.into()),
            probe => probe.hint("the probe trains Llamas in one file without scaled positions"),
        }
    }

    fn new(probe: &Probe, limits: &HealthLimits) -> Self {
        let is_passed = probe.is_passed(limits);
        let mut tensors: Vec<_> = probe.tensors.iter().collect();
        tensors.sort_by(|a, b| b.decades.abs().total_cmp(&a.decades.abs()));
        let row = |tensor: &trainer::TensorGradient| GradientRow {
            tensor: tensor.name.clone(),
            ratio: tensor.ratio,
            decades: tensor.decades,
        };
        Self {
            n_steps: probe.n_steps,
            lr: limits.probe_lr,
            loss_before: probe.loss_before,
            loss_after: Some(probe.loss_after).filter(|loss| loss.is_finite()),
            limit: limits.probe_increase_max,
            is_passed,
            decades_limit: limits.probe_decades_max,
            gradient_norm: Some(probe.gradient_norm).filter(|norm| norm.is_finite()),
            tensors: tensors.into_iter().take(N_SHOWN).map(row).collect(),
        }
    }

    /// One line for people, and why the probe fails if it does.
    pub fn for_people(&self) -> String {
        let verdict = if self.is_passed { "passed" } else { "failed" };
        let after = self.loss_after.map_or("diverged".into(), |loss| format!("{loss:.4}"));
        let farthest = self.tensors.first().filter(|row| row.decades.abs() > self.decades_limit);
        let farthest = farthest.map_or_else(String::new, |GradientRow { tensor, decades, .. }| {
            let limit = self.decades_limit;
            format!("; the gradient of `{tensor}` is {decades:+.1} decades from its kind's (at most {limit})")
        });
        format!(
            "{verdict}: {:.4} → {after} nats per token in {} steps at {} (at most {} more){farthest}",
            self.loss_before, self.n_steps, self.lr, self.limit
        )
    }
}
