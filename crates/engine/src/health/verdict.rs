//! Whether parameters can be trained further: section 3.4.3 of the paper.
//!
//! A model computes the same if the gains of a norm are divided by a number and the matrix behind
//! it is multiplied with it, but it can no longer be trained: the gradient of the one vanishes
//! against its size and that of the other explodes. So what is judged is the size of a matrix
//! against the gains before it, besides the plain sizes.

use super::{
    channels::Before,
    tensors::{Role, TensorHealth, decades},
};
use crate::arch::{Architecture, Head, Layer, Linear, Norm, Positions};
use crate::checkpoint::Dtype;
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
pub(super) struct Part {
    pub(super) role: Role,
    /// Added to gains as published.
    pub(super) offset: f32,
    /// Whether its rows are inputs, not outputs.
    pub(super) inputs_are_rows: bool,
    n_in: usize,
}

/// What every tensor of a model is for, and what writes the inputs of its matrices.
pub(super) struct Parts<'a> {
    pub(super) parts: BTreeMap<&'a str, Part>,
    pub(super) before: BTreeMap<&'a str, Before<'a>>,
}

impl<'a> Parts<'a> {
    /// Of an architecture.
    pub(super) fn of(architecture: &'a Architecture) -> Self {
        let mut parts = Self { parts: BTreeMap::new(), before: BTreeMap::new() };
        let table = architecture.embedding.table.as_str();
        parts.table(table, architecture.hidden);
        if let Positions::Learned { table, .. } = &architecture.positions {
            parts.table(table, architecture.hidden);
        }
        architecture.layers.iter().for_each(|layer| parts.layer(layer));
        architecture.final_norm.iter().for_each(|norm| parts.norm(norm));
        architecture.embedding.norm.iter().for_each(|norm| parts.norm(norm));
        match &architecture.head {
            Head::Own(linear) => parts.behind(linear, architecture.final_norm.as_ref()),
            Head::Tied { bias, .. } => bias.iter().for_each(|bias| parts.add(bias, Role::Bias)),
        }
        parts
    }

    fn layer(&mut self, layer: &'a Layer) {
        layer.norms().for_each(|norm| self.norm(norm));
        let attention = layer.attention_norms.input.as_ref();
        let own = layer.mlp_norms.input.as_ref();
        let mlp = if layer.is_parallel { own.or(attention) } else { own };
        layer.attention.inputs.iter().for_each(|linear| self.behind(linear, attention));
        layer.mlp.inputs.iter().for_each(|linear| self.behind(linear, mlp));
        let values = Before::Values(&layer.attention.inputs, layer.attention.heads);
        self.linear(&layer.attention.output, Some(values));
        let first_up = if layer.mlp.is_gated { layer.mlp.width() } else { 0 };
        self.linear(&layer.mlp.down, Some(Before::Outputs(&layer.mlp.inputs, first_up)));
    }

    fn add(&mut self, name: &'a str, role: Role) {
        let part = Part { role, offset: 0.0, inputs_are_rows: false, n_in: 1 };
        self.parts.insert(name, part);
    }

    fn table(&mut self, name: &'a str, n_in: usize) {
        self.add(name, Role::Table);
        self.parts.entry(name).and_modify(|part| part.n_in = n_in);
    }

    fn norm(&mut self, norm: &'a Norm) {
        self.add(&norm.gain, Role::Gain);
        self.parts.entry(&norm.gain).and_modify(|part| part.offset = norm.gain_offset);
        norm.bias.iter().for_each(|bias| self.add(bias, Role::Bias));
    }

    fn behind(&mut self, linear: &'a Linear, norm: Option<&'a Norm>) {
        self.linear(linear, norm.map(|norm| Before::Gains(&norm.gain)));
    }

    fn linear(&mut self, linear: &'a Linear, before: Option<Before<'a>>) {
        linear.bias.iter().for_each(|bias| self.add(bias, Role::Bias));
        let (inputs_are_rows, n_in) = (linear.is_transposed, linear.n_in);
        let part = Part { role: Role::Matrix, offset: 0.0, inputs_are_rows, n_in };
        self.parts.insert(&linear.weight, part);
        self.before.extend(before.map(|before| (linear.weight.as_str(), before)));
    }
}

/// The rules that tensors break, in the order of the tensors.
pub(super) fn findings(
    tensors: &[TensorHealth],
    parts: &BTreeMap<&str, Part>,
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
    // In half precision what is subnormal begins at 0.00006, a usual size: of honest numbers whose
    // root mean square is 0.02 one in 400 is smaller.
    if tensor.dtype != Dtype::F16 && share > limits.subnormal_share_max {
        find(Vanishing, "the share of subnormal numbers", share, limits.subnormal_share_max);
    }
    if tensor.role == Role::Gain {
        if tensor.rms < limits.gain_min {
            find(Vanishing, "the root mean square of gains", tensor.rms, limits.gain_min);
        }
        if tensor.greatest > limits.gain_max {
            find(Exploding, "the greatest gain", tensor.greatest, limits.gain_max);
        }
    }
    if !matches!(tensor.role, Role::Matrix | Role::Table) {
        return;
    }
    let mut find_decades = |rule, decades: f64| {
        if decades < -limits.decades_max {
            find(Vanishing, rule, decades, -limits.decades_max);
        } else if decades > limits.decades_max {
            find(Exploding, rule, decades, limits.decades_max);
        }
    };
    // What fresh and trained models have: outputs about as large as inputs.
    let size = decades(tensor.rms * (n_in as f64).sqrt());
    find_decades("decades from the usual size", size);
    if let Some(with_gains) = tensor.rms_with_gains.filter(|_| tensor.rms > 0.0) {
        // Gradients of the matrix grow with the gains before it.
        let rule = "decades of the gains before a matrix over its size";
        find_decades(rule, decades(with_gains) - decades(tensor.rms) - size);
    }
    if let Some(apart) = tensor.channel_decades {
        find_decades("decades that an input is scaled against what writes it", apart);
    }
    let channel = tensor.channel_ratio.unwrap_or(1.0);
    for (rule, ratio, limit) in [
        ("the greatest number of a row over its size", tensor.peak, limits.peak_max),
        ("the greatest row over the median", tensor.row_ratio, limits.row_ratio_max),
        ("the greatest column over the median", tensor.column_ratio, limits.row_ratio_max),
        ("the strongest input over the median", channel, limits.row_ratio_max),
    ] {
        if ratio > limit {
            find(Exploding, rule, ratio, limit);
        }
    }
}
