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

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::TensorGradient;

    fn report(loss_after: f64, decades: &[f64]) -> ProbeReport {
        let tensor = |(number, decades): (usize, &f64)| TensorGradient {
            name: format!("t{number}"),
            ratio: 0.5,
            decades: *decades,
        };
        let probe = Probe {
            loss_before: 2.0,
            loss_after,
            n_steps: 12,
            gradient_norm: f64::INFINITY,
            tensors: decades.iter().enumerate().map(tensor).collect(),
        };
        ProbeReport::new(&probe, &HealthLimits::default())
    }

    #[test]
    fn a_probe_passes_up_to_its_limits_and_says_which_one_it_breaks() {
        for (loss_after, decades, is_passed) in [
            (1.9, &[0.0, 2.0, -2.0][..], true),
            (2.09, &[][..], true),
            (2.2, &[0.0][..], false),
            (f64::INFINITY, &[0.0][..], false),
            (f64::NAN, &[0.0][..], false),
            (1.9, &[0.0, -2.1, 1.0][..], false),
            (1.9, &[0.0, f64::NAN][..], false),
        ] {
            let report = report(loss_after, decades);
            assert_eq!(report.is_passed, is_passed, "{loss_after} {decades:?}");
            let told = report.for_people();
            assert!(told.starts_with(if is_passed { "passed: " } else { "failed: " }), "{told}");
            assert_eq!(told.contains("diverged"), !loss_after.is_finite(), "{told}");
            let is_far = decades.contains(&-2.1);
            assert_eq!(told.contains("`t1` is -2.1 decades from"), is_far, "{told}");
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json["loss_after"].is_null(), !loss_after.is_finite());
            assert!(json["gradient_norm"].is_null(), "programs read no infinity");
        }
    }

    #[test]
    fn the_tensors_that_are_farthest_are_shown_whichever_way() {
        let report = report(1.0, &[0.1, -3.0, 2.5, 0.0, -0.2, 1.0, 0.3]);
        let shown: Vec<&str> = report.tensors.iter().map(|row| row.tensor.as_str()).collect();
        assert_eq!(shown, ["t1", "t2", "t5", "t6", "t4"]);
        assert_eq!(shown.len(), N_SHOWN);
    }
}
