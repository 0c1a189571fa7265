//! A published model with its parameters ready to run.

use crate::{
    arch::{Architecture, Positions},
    batch::Strides,
    checkpoint::Checkpoint,
    error::{Error, Stop, judge},
    footprint,
    forward::Forward,
    inspection::{Inspection, describe, no_limits, open},
    kernel::{InstructionSet, rotate::Angles},
    limits::Limits,
    parameters::Parameters,
};
use protocol::{Digest, Reason};
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A model whose parameters are in memory and finite, or read and checked whenever they are used.
pub struct Model {
    architecture: Architecture,
    parameters: Parameters,
    inspection: Inspection,
    memory_limit: Option<u64>,
    /// Bytes that all parameters take in memory.
    kept_bytes: u64,
    /// Angles of the longest sequence so far.
    angles: Mutex<Option<Arc<Angles>>>,
}

/// How to load a model. Nothing here changes a loss.
#[derive(Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// Most bytes that loading and evaluating together should take.
    ///
    /// A model that would fill more than half of it stays in its files, from which layers are read
    /// one after the other whenever they are needed.
    pub memory_limit: Option<u64>,
    /// Whether to leave the parameters in the files even if they would fit.
    pub streamed: bool,
    /// The tensor root that the model was admitted with, if it was.
    ///
    /// Files that hold another one since are our trouble, [`Error::OtherModel`], whatever they
    /// hold. With parameters in memory that shows when they are loaded; else whenever they have
    /// been read for losses, of which there are none then.
    pub expect_root: Option<Digest>,
    /// Told before every layer that is loaded how many have been, and of how many.
    pub progress: Option<&'a dyn Fn(usize, usize)>,
    /// Set from elsewhere to stop: the call ends with [`Error::Cancelled`] at the next layer.
    pub cancelled: Option<&'a AtomicBool>,
}

impl Model {
    /// Checks the files, the config, the tensors' names and shapes and every parameter; loads.
    pub fn load<'a>(
        dir: &Path,
        limits: impl Into<Limits<'a>>,
    ) -> Result<Result<Self, Reason>, Error> {
        Self::load_with(dir, limits, &LoadOptions::default())
    }

    /// The same, within bounds; parameters that stay in the files are checked when they are used.
    pub fn load_with<'a>(
        dir: &Path,
        limits: impl Into<Limits<'a>>,
        options: &LoadOptions<'_>,
    ) -> Result<Result<Self, Reason>, Error> {
        let expected = options.expect_root;
        judge(open_known(dir, limits.into(), expected).and_then(|(checkpoint, architecture)| {
            let inspection = describe(&checkpoint, &architecture);
            let memory_limit = options.memory_limit;
            let kept_bytes = footprint::parameters(&checkpoint, &architecture);
            let is_too_large = memory_limit.is_some_and(|m| kept_bytes > m / 2);
            let parameters = if options.streamed || is_too_large {
                Parameters::stream(checkpoint, &architecture, expected)?
            } else {
                let n_layers = architecture.layers.len();
                Parameters::read((&checkpoint, &architecture), expected, &|n_done| {
                    if let Some(progress) = options.progress {
                        progress(n_done, n_layers);
                    }
                    match options.cancelled {
                        Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
                        _ => Ok(()),
                    }
                })?
            };
            let angles = Mutex::new(None);
            Ok(Self { architecture, parameters, inspection, memory_limit, kept_bytes, angles })
        }))
    }

    /// What the headers and the config said.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// Number of tokens that the model knows.
    pub fn vocabulary(&self) -> usize {
        self.architecture.vocabulary
    }

    /// Longest sequence that the model admits.
    pub fn context(&self) -> usize {
        self.architecture.context
    }

    pub(crate) fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Most bytes that the model and work on it should take.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.memory_limit.unwrap_or(u64::MAX)
    }

    /// Bytes that all parameters take in memory, if they are there.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.kept_bytes
    }

    /// Whether the parameters stay in the files and are read layer by layer.
    pub fn is_streamed(&self) -> bool {
        self.parameters.is_streamed()
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The angles of at least `n_positions`, where positions are rotary.
    pub(crate) fn angles(&self, n_positions: usize) -> Result<Option<Arc<Angles>>, Error> {
        let Positions::Rotary(rope) = &self.architecture.positions else { return Ok(None) };
        let mut kept = self.angles.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(angles) if angles.n_positions >= n_positions => Ok(Some(Arc::clone(angles))),
            _ => {
                let angles = Arc::new(Angles::new(rope, Angles::n_kept(n_positions))?);
                *kept = Some(Arc::clone(&angles));
                Ok(Some(angles))
            }
        }
    }

    pub(crate) fn forward<'a>(
        &'a self,
        angles: Option<&'a Angles>,
        set: InstructionSet,
        is_cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Forward<'a> {
        Forward {
            architecture: &self.architecture,
            angles,
            set,
            is_cancelled,
            strides: Strides::of(&self.architecture),
        }
    }
}

/// Opens a model that may have been admitted before under `expected`.
fn open_known(
    dir: &Path,
    limits: Limits<'_>,
    expected: Option<Digest>,
) -> Result<(Checkpoint, Architecture), Stop> {
    let (refusal, root) = match (open(dir, limits), expected) {
        (Err(Stop::Model(reason)), Some(root)) => (reason, root),
        (opened, _) => return opened,
    };
    // Rules may have changed. If the files have, they may hold no model at all.
    match open(dir, (&no_limits()).into()) {
        Ok((checkpoint, architecture)) => Err(checkpoint.blame(&architecture, refusal, root)),
        Err(Stop::Model(_)) => Err(Error::OtherModel { expected: root, found: None }.into()),
        Err(us) => Err(us),
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("inspection", &self.inspection).finish_non_exhaustive()
    }
}
