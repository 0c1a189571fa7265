//! Losses on an NVIDIA GPU, in BF16: an estimate, fast, of what the CPU computes exactly.
//!
//! Its losses differ from those of [`Model`](crate::Model) by what BF16 rounds away, and from one
//! kind of GPU to the next; no verdict rests on them. The libraries of CUDA are found at run time.

mod device;
mod forward;
mod launch;
mod parameters;

use crate::{
    EvaluateOptions, Inspection, LoadOptions, Progress, SequenceLoss,
    arch::{Architecture, Positions},
    error::{Error, Stop, judge},
    evaluate::{TOKENS_MIN, check_sequences, sequence_loss, tokens_run},
    inspection::{describe, open},
    kernel::rotate::Angles,
    limits::Limits,
};
use device::{Device, HEAD_SIZE_MAX, Mark};
use forward::Forward;
use parameters::Parameters;
use protocol::Reason;
use std::{cell::Cell, ops::Range, path::Path, sync::atomic::Ordering};

/// Rows that go through the layers together, unless one sequence alone has more.
const ROWS_PER_GROUP: usize = 16_384;
/// Tokens that a model is tried with once it is loaded.
const WARM_UP_TOKENS: usize = 512;

/// A model on a GPU: matrices in BF16 whatever they were published as.
pub struct CudaModel {
    architecture: Architecture,
    parameters: Parameters,
    inspection: Inspection,
    device: Device,
}

impl CudaModel {
    /// Checks everything that [`Model::load`](crate::Model::load) checks; loads to a GPU.
    ///
    /// An error if there is no such GPU, if a library of CUDA is missing, if the memory does not
    /// suffice, or if heads are larger than 256 numbers or differ in size.
    pub fn load<'a>(
        dir: &Path,
        limits: impl Into<Limits<'a>>,
        ordinal: usize,
        options: &LoadOptions<'_>,
    ) -> Result<Result<Self, Reason>, Error> {
        judge(open(dir, limits.into()).and_then(|(checkpoint, architecture)| {
            let device = Device::open(ordinal, head_size(&architecture)?)?;
            let n_layers = architecture.layers.len();
            let between = |n_done| {
                if let Some(progress) = options.progress {
                    progress(n_done, n_layers);
                }
                match options.cancelled {
                    Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::Cancelled),
                    _ => Ok(()),
                }
            };
            let parameters = Parameters::read((&checkpoint, &architecture), &device, &between)?;
            let inspection = describe(&checkpoint, &architecture);
            let model = Self { architecture, parameters, inspection, device };
            model.warm_up()?;
            Ok(model)
        }))
    }

    /// Lets the libraries load now what they load at their first use, a tenth of a second.
    fn warm_up(&self) -> Result<(), Stop> {
        let tokens = vec![0; self.architecture.context.min(WARM_UP_TOKENS)];
        if tokens.len() >= TOKENS_MIN {
            self.try_evaluate(&[tokens], &EvaluateOptions::default())?;
        }
        Ok(())
    }

    /// What the headers and the config said.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// What the maker of the GPU calls it.
    pub fn device_name(&self) -> &str {
        self.device.name()
    }

    /// The loss of each sequence, as [`Model::evaluate`](crate::Model::evaluate), but for the
    /// rounding; of the options, `threads` and `instructions` mean nothing here.
    pub fn evaluate(
        &self,
        sequences: &[Vec<u32>],
        options: &EvaluateOptions<'_>,
    ) -> Result<Result<Vec<SequenceLoss>, Reason>, Error> {
        judge(self.try_evaluate(sequences, options))
    }

    fn try_evaluate(
        &self,
        sequences: &[Vec<u32>],
        options: &EvaluateOptions<'_>,
    ) -> Result<Vec<SequenceLoss>, Stop> {
        check_sequences(&self.architecture, sequences)?;
        let longest = sequences.iter().map(|tokens| tokens_run(tokens).len()).max();
        let Some(longest) = longest else { return Ok(Vec::new()) };
        let Self { architecture, parameters, device, .. } = self;
        let forward = Forward { architecture, parameters, device };
        let angles = match &architecture.positions {
            Positions::Rotary(rope) => Some(Angles::new(rope, longest)?),
            Positions::Learned { .. } => None,
        };
        let groups = group(sequences, options.sequences_per_batch);
        let n_rows = |group: &Range<usize>| {
            sequences[group.clone()].iter().map(|tokens| tokens_run(tokens).len()).sum()
        };
        let most_rows = groups.iter().map(n_rows).max().unwrap_or(0);
        let most_sequences = groups.iter().map(Range::len).max().unwrap_or(0);
        let mut space = forward.space((most_rows, most_sequences), angles.as_ref())?;
        let mut losses = Vec::with_capacity(sequences.len());
        let done = Cell::new(Progress::start(architecture, sequences));
        let asked = Cell::new(None);
        for group in groups {
            let between = |n_rows: usize| {
                // The GPU works on one layer while the next is asked for.
                if let Some(mark) = asked.replace(Some(device.mark()?)) {
                    Mark::wait(&mark)?;
                }
                let n_steps_done = done.get().n_steps_done + n_rows as u64;
                done.set(Progress { n_steps_done, ..done.get() });
                if let Some(progress) = options.progress {
                    progress(done.get());
                }
                if options.is_cancelled()() { Err(Error::Cancelled) } else { Ok(()) }
            };
            let nats = forward.nats(&sequences[group.clone()], &mut space, &between)?;
            let nats: Vec<f64> = nats.into_iter().map(f64::from).collect();
            let mut rest = &nats[..];
            for index in group.clone() {
                let n = tokens_run(&sequences[index]).len();
                let nats = rest.split_off(..n).unwrap_or_default();
                losses.push(sequence_loss(index, nats, options.per_token)?);
            }
            let Progress { n_sequences_done, n_tokens_done, .. } = done.get();
            done.set(Progress {
                n_sequences_done: n_sequences_done + group.len(),
                n_tokens_done: n_tokens_done + nats.len(),
                ..done.get()
            });
        }
        Ok(losses)
    }
}

impl std::fmt::Debug for CudaModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaModel").field("inspection", &self.inspection).finish_non_exhaustive()
    }
}

/// The size of all heads, for which kernels are compiled.
fn head_size(architecture: &Architecture) -> Result<usize, Error> {
    let mut sizes = architecture.layers.iter().map(|layer| layer.attention.heads.head_size);
    let first = sizes.next().unwrap_or(1);
    if first > HEAD_SIZE_MAX || sizes.any(|size| size != first) {
        return Err(Error::Gpu(format!(
            "heads larger than {HEAD_SIZE_MAX} numbers, or of several sizes, are for the CPU only"
        )));
    }
    Ok(first)
}

/// Which sequences go through the layers together.
fn group(sequences: &[Vec<u32>], sequences_per_batch: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut n_rows = 0;
    for (index, tokens) in sequences.iter().enumerate() {
        let fits = |group: &Range<usize>| match sequences_per_batch {
            0 => n_rows + tokens_run(tokens).len() <= ROWS_PER_GROUP,
            n => group.len() < n,
        };
        match groups.last_mut() {
            Some(group) if fits(group) => {
                group.end = index + 1;
                n_rows += tokens_run(tokens).len();
            }
            _ => {
                groups.push(index..index + 1);
                n_rows = tokens_run(tokens).len();
            }
        }
    }
    groups
}
