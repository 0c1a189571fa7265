//! What `agon check` says of the parameters: section 3.4.3 of the paper.

use engine::{Finding, Scan, TensorHealth};
use serde::Serialize;
use std::fmt::{Error, Write as _};

/// One tensor.
#[derive(Serialize)]
pub struct TensorRow {
    name: String,
    role: String,
    dtype: String,
    shape: Vec<u64>,
    subnormal_share: f64,
    /// Root of the mean square.
    rms: f64,
    /// Greatest absolute value.
    greatest: f64,
    /// Greatest absolute value of a row over the root mean square of that row.
    peak: f64,
    /// Greatest row over the median of the rows, by root mean square.
    row_ratio: f64,
    column_ratio: f64,
    /// Root mean square after the gains of the norm before it.
    rms_with_gains: Option<f64>,
    /// Strongest input over the median, counted with what writes it.
    channel_ratio: Option<f64>,
    /// Decades that an input is scaled against what writes it, at most.
    channel_decades: Option<f64>,
}

impl From<&TensorHealth> for TensorRow {
    fn from(tensor: &TensorHealth) -> Self {
        let n: u64 = tensor.shape.iter().product();
        Self {
            name: tensor.name.clone(),
            role: tensor.role.to_string(),
            dtype: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            subnormal_share: tensor.n_subnormal as f64 / n.max(1) as f64,
            rms: tensor.rms,
            greatest: tensor.greatest,
            peak: tensor.peak,
            row_ratio: tensor.row_ratio,
            column_ratio: tensor.column_ratio,
            rms_with_gains: tensor.rms_with_gains,
            channel_ratio: tensor.channel_ratio,
            channel_decades: tensor.channel_decades,
        }
    }
}

/// A rule that a tensor breaks.
#[derive(Serialize)]
pub struct FindingRow {
    tensor: String,
    sabotage: String,
    rule: &'static str,
    value: f64,
    limit: f64,
    #[serde(skip)]
    text: String,
}

impl From<Finding> for FindingRow {
    fn from(finding: Finding) -> Self {
        let text = finding.to_string();
        let Finding { tensor, sabotage, rule, value, limit } = finding;
        Self { tensor, sabotage: sabotage.to_string(), rule, value, limit, text }
    }
}

/// What a scan saw.
pub fn rows(scan: Scan) -> (Vec<TensorRow>, Vec<FindingRow>) {
    let tensors = scan.tensors.iter().map(TensorRow::from).collect();
    (tensors, scan.findings.into_iter().map(FindingRow::from).collect())
}

/// Every tensor on a line.
pub fn table(text: &mut String, tensors: &[TensorRow]) -> Result<(), Error> {
    let width = tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    writeln!(
        text,
        "\n{:width$}  role    type        rms   greatest    peak     row  column   input  subnormal",
        "tensor"
    )?;
    for tensor in tensors {
        let TensorRow { name, role, dtype, rms, greatest, peak, .. } = tensor;
        let TensorRow { row_ratio, column_ratio, channel_ratio, subnormal_share, .. } = tensor;
        let input = channel_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        writeln!(
            text,
            "{name:width$}  {role:6}  {dtype:4}  {rms:9.3e}  {greatest:9.3e}  {peak:6.2}  \
             {row_ratio:6.2}  {column_ratio:6.2}  {input:>6}  {subnormal_share:9.1e}"
        )?;
    }
    writeln!(
        text,
        "peak: of a row, over its rms; row, column, input: the greatest over the median, an input \
         counted with what writes it\n"
    )
}

/// Findings shown to people.
const N_SHOWN: usize = 5;

/// How many tensors there are and what is wrong with them; nothing where none were read.
pub fn summary(
    text: &mut String,
    tensors: &[TensorRow],
    findings: &[FindingRow],
    is_rule: bool,
) -> Result<(), Error> {
    if tensors.is_empty() {
        return Ok(());
    }
    let n = tensors.len();
    if findings.is_empty() {
        return writeln!(text, "health          {n} tensors, all of a size to train on");
    }
    let kind = if is_rule { "broken rules" } else { "warnings, which refuse nothing here" };
    writeln!(text, "health          {n} tensors, {} {kind}", findings.len())?;
    for finding in findings.iter().take(N_SHOWN) {
        writeln!(text, "                {}", finding.text)?;
    }
    if findings.len() > N_SHOWN {
        writeln!(text, "                and {} more: see --json", findings.len() - N_SHOWN)?;
    }
    Ok(())
}
