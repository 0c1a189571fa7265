//! What a published model says about itself, and whether it is what it says.

use crate::{
    arch::{Architecture, Head, Parameter, architectures},
    checkpoint::{Checkpoint, Constant, Dtype},
    error::{Error, Stop, judge, refuse},
    limits::{Limits, Need},
};
use protocol::{
    Reason,
    ReasonCode::TensorMismatch,
    competition::{ModelLimits, WORK_MULTIPLE},
};
use std::{collections::HashSet, path::Path};

/// What the header and the config of a model say, before any parameter is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The `model_type` of the config.
    pub architecture: String,
    /// Parameters; tied tensors count once.
    pub n_parameters: u64,
    /// Bytes of the files that the engine reads.
    pub size_bytes: u64,
    /// Tokens that the model knows.
    pub vocabulary: usize,
    /// Longest sequence.
    pub context: usize,
    /// Types of the tensors in alphabetical order of their names in the format.
    pub dtypes: Vec<Dtype>,
    /// Floating-point operations per token in products with parameters.
    pub flops_per_token: u64,
    /// Floating-point operations per token and position that it looks at.
    pub attention_flops_per_key: u64,
    /// Bytes that the parameters take once loaded; work space comes on top.
    pub resident_bytes: u64,
    /// What measuring takes, where the limits are those of a competition.
    pub need: Option<Need>,
}

impl Inspection {
    /// Floating-point operations for one sequence, of which all tokens but the last are run.
    pub fn flops_per_sequence(&self, n_tokens: u64) -> u64 {
        let n_rows = u128::from(n_tokens.saturating_sub(1));
        let n_keys = n_rows * (n_rows + 1) / 2;
        let flops = n_rows * u128::from(self.flops_per_token)
            + n_keys * u128::from(self.attention_flops_per_key);
        u64::try_from(flops).unwrap_or(u64::MAX)
    }
}

/// Limits that admit every model the engine can run, for use outside competitions.
pub fn no_limits() -> ModelLimits {
    ModelLimits {
        n_parameters_min: 0,
        n_parameters_max: u64::MAX,
        size_bytes_max: u64::MAX,
        architectures: architectures().map(ToString::to_string).collect(),
        work_multiple: WORK_MULTIPLE,
        memory_bytes_max: None,
        health: None,
    }
}

/// What a validator says about the model in `dir` before reading its parameters.
///
/// Reads the headers and the config only, in bounded time and memory. Whether the parameters are
/// finite is another matter: [`scan`](crate::scan) or [`Model::load`](crate::Model::load).
///
/// The limits are those of a [`Competition`](protocol::Competition), or [`ModelLimits`] alone,
/// which know no text to measure on.
pub fn inspect<'a>(
    dir: &Path,
    limits: impl Into<Limits<'a>>,
) -> Result<Result<Inspection, Reason>, Error> {
    let limits = limits.into();
    judge(open(dir, limits).map(|(checkpoint, architecture)| Inspection {
        need: limits.need(&checkpoint, &architecture),
        ..describe(&checkpoint, &architecture)
    }))
}

/// Everything that can be judged without parameters.
pub(crate) fn open(dir: &Path, limits: Limits<'_>) -> Result<(Checkpoint, Architecture), Stop> {
    let mut checkpoint = Checkpoint::open(dir, limits.model.size_bytes_max)?;
    let architecture = Architecture::read(&checkpoint.config, &limits.model.architectures)?;
    let table = &architecture.embedding.table;
    // Of the tables one may be missing: its head alone was saved.
    let first = architecture.layers.first().and_then(|layer| layer.attention.inputs.first());
    let example = first.map_or(table, |linear| &linear.weight);
    checkpoint.complete_names((architecture.prefix(), example), &architecture.heads());
    if let Head::Tied { copy, .. } = &architecture.head {
        checkpoint.complete_table(table, copy);
    }
    check_tensors(&checkpoint, &architecture)?;
    check_constants(&checkpoint, &architecture)?;
    limits.check(&checkpoint, &architecture)?;
    Ok((checkpoint, architecture))
}

/// The checkpoint holds exactly the tensors that the config demands.
fn check_tensors(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<(), Stop> {
    let mut demanded = architecture.parameters();
    let is_there = |parameter: &Parameter<'_>| checkpoint.tensors.contains_key(parameter.name);
    demanded.extend(architecture.optional().filter(is_there));
    for parameter in &demanded {
        let name = parameter.name;
        match checkpoint.tensors.get(name) {
            Some(tensor) if tensor.shape == parameter.shape => (),
            Some(tensor) => {
                let (found, expected) = (&tensor.shape, &parameter.shape);
                let detail = format!("`{name}` is {found:?}, the config demands {expected:?}");
                return refuse(TensorMismatch, detail);
            }
            None => return refuse(TensorMismatch, format!("`{name}` is missing")),
        }
    }
    if checkpoint.tensors.len() > demanded.len() {
        let names: HashSet<_> = demanded.iter().map(|p| p.name).collect();
        let extra = checkpoint.tensors.keys().find(|name| !names.contains(name.as_str()));
        let extra = extra.map_or("", String::as_str);
        return refuse(TensorMismatch, format!("the config does not demand `{extra}`"));
    }
    Ok(())
}

/// Constants belong to modules that the model has, and are no larger than it is.
fn check_constants(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<(), Stop> {
    if checkpoint.constants.is_empty() {
        return Ok(());
    }
    let modules: HashSet<_> = architecture.modules().collect();
    let context = architecture.context as u64;
    let sizes = architecture.layers.iter().map(|layer| layer.attention.heads.head_size as u64);
    let head_size = sizes.max().unwrap_or(0);
    for (name, shape) in &checkpoint.constants {
        match Constant::of(name, shape) {
            Some((constant, module)) if modules.contains(module) => {
                if !constant.fits(shape, context, head_size) {
                    let detail = format!("`{name}` is {shape:?}, larger than the model has it");
                    return refuse(TensorMismatch, detail);
                }
            }
            _ => return refuse(TensorMismatch, format!("the config does not demand `{name}`")),
        }
    }
    Ok(())
}

pub(crate) fn describe(checkpoint: &Checkpoint, architecture: &Architecture) -> Inspection {
    let tensors = || checkpoint.tensors.values();
    let mut dtypes: Vec<_> = tensors().map(|tensor| tensor.dtype).collect();
    dtypes.sort_by_key(ToString::to_string);
    dtypes.dedup();
    Inspection {
        architecture: architecture.name.to_owned(),
        n_parameters: architecture.n_parameters(),
        size_bytes: checkpoint.size_bytes,
        vocabulary: architecture.vocabulary,
        context: architecture.context,
        dtypes,
        flops_per_token: architecture.flops_per_token(),
        attention_flops_per_key: architecture.attention_flops(1),
        // F16 is widened at load; F32 and BF16 stay as they are.
        resident_bytes: tensors()
            .map(|tensor| match tensor.dtype {
                Dtype::F16 => 2 * tensor.n_bytes,
                Dtype::F32 | Dtype::Bf16 => tensor.n_bytes,
            })
            .sum(),
        need: None,
    }
}
