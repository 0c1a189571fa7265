//! What each training miner of a demo builds and how.

use super::{calendar::Calendar, cast::Role};
use crate::failure::HintExt as _;
use indicatif::HumanCount;
use miner::{Plan, Strategy};
use protocol::Competition;
use trainer::{ModelConfig, Recipe};

/// Hidden sizes that miners may choose.
const HIDDEN: [usize; 13] = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768];

/// Bytes of a file beside its parameters, generously.
const HEADER_BYTES: u64 = 16 << 10;

/// A Llama of this size for a competition.
fn config(competition: &Competition, hidden: usize, n_layers: usize) -> ModelConfig {
    ModelConfig {
        vocabulary: competition.text.vocabulary(),
        context: competition.text.sequence_length,
        hidden,
        // Two thirds of four times the hidden size, as Llamas have it, and a multiple of eight.
        intermediate: (8 * hidden).div_ceil(3).next_multiple_of(8),
        n_layers,
        n_heads: 4,
        n_kv_heads: 2,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: true,
    }
}

/// The Llama of a size that the competition admits which comes nearest to the wanted one.
fn fitting(competition: &Competition, wanted: usize, layers: usize) -> anyhow::Result<ModelConfig> {
    let limits = &competition.model;
    let fits = |config: &ModelConfig| {
        config.n_parameters().is_some_and(|n| {
            (limits.n_parameters_min..=limits.n_parameters_max).contains(&n)
                && 4 * n + HEADER_BYTES <= limits.size_bytes_max
        })
    };
    let configs = HIDDEN.into_iter().map(|hidden| config(competition, hidden, layers));
    let nearest = configs.filter(fits).min_by_key(|config| config.hidden.abs_diff(wanted));
    if let Some(config) = nearest {
        return Ok(config);
    }
    let size = |hidden: usize| {
        HumanCount(config(competition, hidden, layers).n_parameters().unwrap_or(u64::MAX))
    };
    let [least, most] = [HIDDEN[0], HIDDEN[HIDDEN.len() - 1]].map(size);
    Err(anyhow::anyhow!(
        "competition `{}` admits {} to {} parameters in {} bytes; the miners of a demo train \
         Llamas of {least} to {most}, 4 bytes for each",
        competition.name,
        HumanCount(limits.n_parameters_min),
        HumanCount(limits.n_parameters_max),
        HumanCount(limits.size_bytes_max),
    ))
    .hint("widen the limits under [model], or take a smaller vocabulary")
}

/// Model, recipe and plan of a training miner for a run.
///
/// honest-1 is small and quick and spends its budget of steps early; honest-2 is larger, comes
/// later and better, but its budget ends before its schedule does; the rebaser has no model of its
/// own: it goes on from the champion's, with a short schedule, for as long as the run lasts.
pub fn of(
    role: Role,
    competition: &Competition,
    calendar: &Calendar,
) -> anyhow::Result<(ModelConfig, Recipe, Plan)> {
    let (n_blocks, per_block) = (calendar.n_training_blocks(), calendar.steps_per_block());
    let small = fitting(competition, 64, 2)?;
    let share = |percent: u64| per_block * n_blocks * percent / 100;
    let rebase = Strategy::Rebase { patience_blocks: calendar.blocks_per_round };
    let (config, lr, schedule) = match role {
        Role::Honest(1) => (small, 4e-3, share(30)),
        Role::Honest(_) => (fitting(competition, 128, 3)?, 3e-3, share(80)),
        _ => (small, 1.5e-3, 150),
    };
    let (strategy, n_steps_unpublished, n_steps) = match role {
        Role::Honest(1) => (Strategy::Pretrain, 0, schedule),
        Role::Honest(_) => (Strategy::Pretrain, share(25), share(45)),
        _ => (rebase, 0, u64::MAX),
    };
    let recipe = Recipe {
        lr,
        lr_min: lr / 20.0,
        warmup_steps: 20.min(schedule / 2),
        total_steps: schedule,
        sequences_per_batch: 8,
        ..Recipe::default()
    };
    let plan = Plan {
        strategy,
        steps_per_block: per_block,
        n_steps_unpublished,
        n_steps,
        blocks_per_measure: (2 * calendar.blocks_per_round / 5).max(1),
        improvement: 0.02,
        improvement_own: 0.05,
    };
    Ok((config, recipe, plan))
}
