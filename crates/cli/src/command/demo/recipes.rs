//! What each training miner of a demo builds and how.

use super::{calendar::Calendar, cast::Role};
use crate::llama::fitting;
use miner::{Plan, Strategy};
use protocol::Competition;
use trainer::{ModelConfig, Recipe};

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
