//! Reads a published model and measures it: runs parameters, never code.
//!
//! A model is a folder with `config.json` and safetensors files, written by a stranger. The engine
//! answers in three steps, each of which may refuse it with a [`Reason`](protocol::Reason):
//!
//! - [`inspect`] reads headers and config, in bounded time and memory: is it what it claims, and
//!   what would it cost? Where the limits are those of a competition, cost is judged, too: work and
//!   memory by formulas, the same on every machine.
//! - [`scan`] reads every parameter once, which must be finite, and gives their root hash;
//!   [`Model::load`] reads them to stay.
//! - [`Model::evaluate`] gives the loss of sequences of tokens (equation 1 of the paper).
//!
//! The loss of a sequence is a pure function of parameters and tokens: the same bits for any
//! number of threads, any batch, any order and any instruction set.
//!
//! Functions return `Result<Result<T, Reason>, Error>`: the outer error is our own trouble, the
//! inner one the model's.

mod arch;
mod batch;
mod checkpoint;
mod config;
#[cfg(feature = "cuda")]
mod cuda;
mod delta;
mod description;
pub mod error;
mod evaluate;
mod footprint;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod generate;
mod health;
mod inspection;
mod json;
mod kernel;
mod limits;
mod matrix;
mod model;
mod parameters;
mod plan;
mod pool;
mod shape;
mod work;

pub use arch::architectures;
pub use checkpoint::Dtype;
#[cfg(feature = "cuda")]
pub use cuda::CudaModel;
pub use delta::{Delta, delta};
pub use error::Error;
pub use evaluate::{EvaluateOptions, Progress, SequenceLoss};
pub use footprint::Memory;
pub use health::{Finding, Role, Sabotage, Scan, TensorHealth, scan};
pub use inspection::{Inspection, inspect, no_limits};
pub use kernel::InstructionSet;
pub use limits::{Limits, Need};
pub use matrix::Matrix;
pub use model::{LoadOptions, Model};
pub use pool::n_processors;
pub use shape::Shape;
