//! What each training miner of a demo builds and how.

use super::{cast::Role, conduct::last_seed, network::N_SET_UP_BLOCKS};
use miner::{Plan, Strategy};
use protocol::Competition;
use trainer::{ModelConfig, Recipe};

/// Model, recipe and plan of a training miner for a run of `rounds` rounds.
///
/// honest-1 is small and quick and spends its budget of steps early; honest-2 is larger, comes
/// later and better, but its budget ends before its schedule does; the rebaser has no model of its
/// own: it goes on from the champion's, with a short schedule, for as long as the run lasts.
pub fn of(role: Role, competition: &Competition, rounds: u64) -> (ModelConfig, Recipe, Plan) {
    let n_blocks = last_seed(competition.evaluation.blocks_per_round, rounds) - N_SET_UP_BLOCKS;
    let small = ModelConfig {
        vocabulary: competition.text.vocabulary(),
        context: competition.text.sequence_length,
        hidden: 64,
        intermediate: 176,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: true,
    };
    let large = ModelConfig { hidden: 128, intermediate: 344, n_layers: 3, ..small };
    let share = |per_block: u64, percent: u64| per_block * n_blocks * percent / 100;
    let rebase = Strategy::Rebase { patience_blocks: 10 };
    let (config, lr, schedule) = match role {
        Role::Honest(1) => (small, 4e-3, share(10, 30)),
        Role::Honest(_) => (large, 3e-3, share(10, 80)),
        _ => (small, 1.5e-3, 150),
    };
    let (strategy, n_steps_unpublished, n_steps) = match role {
        Role::Honest(1) => (Strategy::Pretrain, 0, schedule),
        Role::Honest(_) => (Strategy::Pretrain, share(10, 25), share(10, 45)),
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
        steps_per_block: 10,
        n_steps_unpublished,
        n_steps,
        blocks_per_measure: 4,
        improvement: 0.02,
        improvement_own: 0.05,
    };
    (config, recipe, plan)
}
