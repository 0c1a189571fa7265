//! Where a model is measured: exactly on the CPU, or roughly on a GPU.

use crate::args::Device;
use engine::{EvaluateOptions, Inspection, LoadOptions, Model, SequenceLoss};
use protocol::Reason;
use std::path::Path;

/// Sequences computed together on the CPU, where nothing is said.
const CPU_BATCH: usize = 4;

/// A model, loaded to where it is measured.
pub(super) enum Loaded {
    /// In memory, or in its files.
    Cpu(Box<Model>),
    /// In the memory of a GPU.
    #[cfg(feature = "cuda")]
    Cuda(Box<engine::CudaModel>),
}

impl Loaded {
    /// Loads a model; the inner error is why it is refused.
    pub(super) fn load(
        dir: &Path,
        device: Device,
        options: &LoadOptions<'_>,
    ) -> anyhow::Result<Result<Self, Reason>> {
        let limits = engine::no_limits();
        match device {
            Device::Cpu => {
                let model = Model::load_with(dir, &limits, options).map_err(super::own_fault)?;
                Ok(model.map(|model| Self::Cpu(Box::new(model))))
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                let model = engine::CudaModel::load(dir, &limits, ordinal, options);
                Ok(model.map_err(super::own_fault)?.map(|model| Self::Cuda(Box::new(model))))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => {
                use crate::failure::HintExt as _;
                Err(anyhow::anyhow!("this `agon` was built without CUDA"))
                    .hint("build it with `cargo build --release --features cuda`")
            }
        }
    }

    pub(super) fn inspection(&self) -> &Inspection {
        match self {
            Self::Cpu(model) => model.inspection(),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.inspection(),
        }
    }

    pub(super) fn is_streamed(&self) -> bool {
        match self {
            Self::Cpu(model) => model.is_streamed(),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => false,
        }
    }

    /// Name of the GPU, if it is one.
    pub(super) fn gpu(&self) -> Option<&str> {
        match self {
            Self::Cpu(_) => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => Some(model.device_name()),
        }
    }

    /// Sequences computed together, where nothing is said.
    pub(super) fn batch(&self) -> usize {
        match self {
            Self::Cpu(_) => CPU_BATCH,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => 0,
        }
    }

    pub(super) fn evaluate(
        &self,
        sequences: &[Vec<u32>],
        options: &EvaluateOptions<'_>,
    ) -> anyhow::Result<Result<Vec<SequenceLoss>, Reason>> {
        let losses = match self {
            Self::Cpu(model) => model.evaluate(sequences, options),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.evaluate(sequences, options),
        };
        losses.map_err(super::own_fault)
    }
}
