//! What each training miner of a demo builds and how.

use super::cast::Role;
use miner::{Plan, Strategy};
use protocol::Competition;
use trainer::{ModelConfig, Recipe};

/// Model, recipe and plan of a training miner for a run of `rounds` rounds.
///
/// honest-1 is small and quick and stops improving early; honest-2 is larger, slower, and better
/// in the end; the rebaser has no architecture of its own: it goes on from the champion's.
pub fn of(role: Role, competition: &Competition, rounds: u64) -> (ModelConfig, Recipe, Plan) {
    let n_blocks = competition.evaluation.blocks_per_round * rounds;
    let steps_per_block = match role {
        Role::Honest(1) => 8,
        Role::Honest(_) => 5,
        _ => 6,
    };
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
    let large = ModelConfig { hidden: 128, intermediate: 344, n_layers: 3, ..small.clone() };
    let total_steps = n_blocks * steps_per_block;
    let (config, lr, total_steps) = match role {
        Role::Honest(1) => (small, 4e-3, total_steps * 6 / 10),
        Role::Honest(_) => (large, 3e-3, total_steps),
        _ => (small, 2e-3, total_steps),
    };
    let recipe = Recipe {
        lr,
        lr_min: lr / 20.0,
        warmup_steps: 20,
        total_steps,
        sequences_per_batch: 8,
        ..Recipe::default()
    };
    let strategy =
        if role == Role::Rebaser { Strategy::Rebase } else { Strategy::Pretrain };
    let plan = Plan { strategy, steps_per_block, blocks_per_measure: 4, improvement: 0.03 };
    (config, recipe, plan)
}
