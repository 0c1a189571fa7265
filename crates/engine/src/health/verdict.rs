//! Whether parameters can be trained further: section 3.4.3 of the paper.
//!
//! A model computes the same if the gains of a norm are divided by a number and the matrix behind
//! it is multiplied with it, but it can no longer be trained: the gradient of the one vanishes
//! against its size and that of the other explodes. So what is judged is the size of a matrix
//! against the gains before it, besides the plain sizes.

use super::tensors::{Role, TensorHealth};
use crate::arch::{Architecture, Head, Linear, Norm, Positions};
use protocol::competition::HealthLimits;
use std::{collections::BTreeMap, fmt};

/// Which of the paper's two sabotages a finding points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Gradients too small to change anything.
    Vanishing,
    /// Gradients so large that they destroy the rest.
    Exploding,
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vanishing => "vanishing gradients",
            Self::Exploding => "exploding gradients",
        })
    }
}

/// A rule that a tensor breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The tensor.
    pub tensor: String,
    /// What it points to.
    pub sabotage: Sabotage,
    /// The figure that is out of bounds, in words.
    pub rule: &'static str,
    /// Its value.
    pub value: f64,
    /// The bound.
    pub limit: f64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, sabotage, rule, value, limit } = self;
        write!(f, "`{tensor}` suggests {sabotage}: {rule} is {value:.3e}, the limit {limit}")
    }
}

/// What a tensor is for, and how it stands to the norm before it.
pub(super) struct Part<'a> {
    pub(super) role: Role,
    /// Added to gains as published.
    pub(super) offset: f32,
    /// Whether its rows are inputs, not outputs.
    pub(super) inputs_are_rows: bool,
    n_in: usize,
    /// The gains that its inputs were multiplied with.
    pub(super) gains: Option<&'a str>,
}

/// What every tensor of a model is for.
pub(super) fn parts(architecture: &Architecture) -> BTreeMap<&str, Part<'_>> {
    let mut parts = Parts(BTreeMap::new());
    let table = architecture.embedding.table.as_str();
    parts.table(table, architecture.hidden);
    if let Positions::Learned { table, .. } = &architecture.positions {
        parts.table(table, architecture.hidden);
    }
    for layer in &architecture.layers {
        layer.norms().for_each(|norm| parts.norm(norm));
        let attention = layer.attention_norms.input.as_ref();
        let own = layer.mlp_norms.input.as_ref();
        let mlp = if layer.is_parallel { own.or(attention) } else { own };
        layer.attention.inputs.iter().for_each(|linear| parts.linear(linear, attention));
        layer.mlp.inputs.iter().for_each(|linear| parts.linear(linear, mlp));
        parts.linear(&layer.attention.output, None);
        parts.linear(&layer.mlp.down, None);
    }
    architecture.final_norm.iter().for_each(|norm| parts.norm(norm));
    architecture.embedding.norm.iter().for_each(|norm| parts.norm(norm));
    match &architecture.head {
        Head::Own(linear) => parts.linear(linear, architecture.final_norm.as_ref()),
        Head::Tied { bias, .. } => bias.iter().for_each(|bias| parts.add(bias, Role::Bias)),
    }
    parts.0
}

struct Parts<'a>(BTreeMap<&'a str, Part<'a>>);

impl<'a> Parts<'a> {
    fn add(&mut self, name: &'a str, role: Role) {
        let part = Part { role, offset: 0.0, inputs_are_rows: false, n_in: 1, gains: None };
        self.0.insert(name, part);
    }

    fn table(&mut self, name: &'a str, n_in: usize) {
        self.add(name, Role::Table);
        self.0.entry(name).and_modify(|part| part.n_in = n_in);
    }

    fn norm(&mut self, norm: &'a Norm) {
        self.add(&norm.gain, Role::Gain);
        self.0.entry(&norm.gain).and_modify(|part| part.offset = norm.gain_offset);
        norm.bias.iter().for_each(|bias| self.add(bias, Role::Bias));
    }

    fn linear(&mut self, linear: &'a Linear, norm: Option<&'a Norm>) {
        linear.bias.iter().for_each(|bias| self.add(bias, Role::Bias));
        let part = Part {
            role: Role::Matrix,
            offset: 0.0,
            inputs_are_rows: linear.is_transposed,
            n_in: linear.n_in,
            gains: norm.map(|norm| norm.gain.as_str()),
        };
        self.0.insert(&linear.weight, part);
    }
}

/// The rules that tensors break, in the order of the tensors.
pub(super) fn findings(
    tensors: &[TensorHealth],
    parts: &BTreeMap<&str, Part<'_>>,
    limits: &HealthLimits,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for tensor in tensors {
        let Some(part) = parts.get(tensor.name.as_str()) else { continue };
        judge(tensor, part.n_in, limits, |sabotage, rule, value, limit| {
            let tensor = tensor.name.clone();
            findings.push(Finding { tensor, sabotage, rule, value, limit });
        });
    }
    findings
}

fn judge(
    tensor: &TensorHealth,
    n_in: usize,
    limits: &HealthLimits,
    mut find: impl FnMut(Sabotage, &'static str, f64, f64),
) {
    use Sabotage::{Exploding, Vanishing};
    let n: u64 = tensor.shape.iter().product();
    let share = tensor.n_subnormal as f64 / n.max(1) as f64;
    if share > limits.subnormal_share_max {
        find(Vanishing, "the share of subnormal numbers", share, limits.subnormal_share_max);
    }
    if tensor.role == Role::Gain {
        let rule = "the root mean square of gains";
        if tensor.rms < limits.gain_min {
            find(Vanishing, rule, tensor.rms, limits.gain_min);
        } else if tensor.rms > limits.gain_max {
            find(Exploding, rule, tensor.rms, limits.gain_max);
        }
    }
    if !matches!(tensor.role, Role::Matrix | Role::Table) {
        return;
    }
    // What fresh and trained models have: outputs about as large as inputs.
    let decades = (tensor.rms * (n_in as f64).sqrt()).log10();
    let rule = "decades from the usual size";
    if decades < -limits.decades_max {
        find(Vanishing, rule, decades, -limits.decades_max);
    } else if decades > limits.decades_max {
        find(Exploding, rule, decades, limits.decades_max);
    }
    if let Some(with_gains) = tensor.rms_with_gains {
        // Gradients of the matrix grow with the gains before it.
        let decades = (with_gains / tensor.rms).log10() - decades;
        let rule = "decades of the gains before a matrix over its size";
        if decades < -limits.decades_max {
            find(Vanishing, rule, decades, -limits.decades_max);
        } else if decades > limits.decades_max {
            find(Exploding, rule, decades, limits.decades_max);
        }
    }
    if tensor.row_ratio > limits.row_ratio_max {
        find(Exploding, "the greatest row over the median", tensor.row_ratio, limits.row_ratio_max);
    }
    if tensor.column_ratio > limits.row_ratio_max {
        let (rule, limit) = ("the greatest column over the median", limits.row_ratio_max);
        find(Exploding, rule, tensor.column_ratio, limit);
    }
}
