//! Makes a model better: optimizer, schedule, checkpoints.
//!
//! A [`Trainer`] holds a Llama model in training. It takes batches of tokens, makes steps of AdamW
//! and writes what gets published. The numbers of a run depend on its config, recipe, seed and
//! batches alone, so a run can be repeated, and resumed from a checkpoint, bit for bit.
//!
//! ```
//! # fn main() -> trainer::Result<()> {
//! use trainer::{ModelConfig, Recipe, Trainer};
//!
//! let config = ModelConfig {
//!     vocabulary: 16,
//!     hidden: 8,
//!     intermediate: 16,
//!     n_layers: 1,
//!     n_heads: 2,
//!     n_kv_heads: 1,
//!     context: 8,
//!     rope_theta: 10_000.0,
//!     rms_norm_eps: 1e-5,
//!     tied: true,
//! };
//! let recipe = Recipe { sequences_per_batch: 1, ..Recipe::default() };
//! let mut trainer = Trainer::new(config, recipe, protocol::Seed::of_number(1))?;
//! let report = trainer.step(&[vec![1, 2, 3, 1, 2, 3]])?;
//! assert_eq!((report.step, report.n_tokens), (1, 5));
//! # Ok(())
//! # }
//! ```

mod adamw;
mod checkpoint;
mod config;
mod error;
mod kernel;
mod model;
mod order;
mod parameters;
mod probe;
mod recipe;
mod tape;
mod tensor_file;
mod training;

pub use config::ModelConfig;
pub use error::{Error, Result};
pub use order::Order;
pub use probe::{Probe, TensorGradient};
pub use recipe::Recipe;
pub use training::{StepReport, Trainer};

#[cfg(test)]
mod tests;
