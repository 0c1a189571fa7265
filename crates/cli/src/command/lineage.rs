//! `agon lineage`: how far two models are apart. It says who may come from whom, and nothing else.

use crate::{
    args::LineageArgs,
    input,
    terminal::{self, print_json},
};
use anyhow::{anyhow, bail, ensure};
use protocol::{
    Loss,
    lineage::{DOCUMENTS_MIN, Kin, Lineage, lineage},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, process::ExitCode};

/// Longest file of losses.
const LOSSES_BYTES_MAX: u64 = 256 << 20;

/// What is printed.
#[derive(Serialize)]
struct Report {
    /// Norm of the difference of all parameters over that of the first model's; null if the two
    /// have not the same tensors.
    parameter_delta: Option<f64>,
    /// The same of each tensor.
    tensors: BTreeMap<String, f64>,
    /// Of the losses, where they are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<Lineage>,
}

/// What `agon evaluate --json` prints; other fields are ignored.
#[derive(Deserialize)]
struct Measured {
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct Sequence {
    tokens: usize,
    cross_entropy: Loss,
}

/// Compares two models.
pub fn run(args: &LineageArgs) -> anyhow::Result<ExitCode> {
    let losses = match &args.losses[..] {
        [] => None,
        [first, second] => Some(compare_losses(first, second)?),
        _ => bail!("`--losses` is given more than once"),
    };
    for dir in [&args.first, &args.second] {
        if let Err(reason) = engine::inspect(dir, &engine::no_limits())? {
            return Err(anyhow!("model `{}` is refused: {reason}", dir.display()));
        }
    }
    let delta = engine::delta(&args.first, &args.second)?;
    let delta = delta.map_err(|reason| anyhow!("one of the models is refused: {reason}"))?;
    let (parameter_delta, tensors) = match delta {
        Some(delta) => (Some(delta.relative), delta.tensors.into_iter().collect()),
        None => (None, BTreeMap::new()),
    };
    let report = Report { parameter_delta, tensors, losses };
    if args.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn compare_losses(first: &Path, second: &Path) -> anyhow::Result<Lineage> {
    let read = |path: &Path| input::read_json::<Measured>(path, LOSSES_BYTES_MAX, "lineage");
    let (a, b) = (read(first)?.sequences, read(second)?.sequences);
    let is_same = a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.tokens == b.tokens);
    let [first, second] = [first, second].map(input::name);
    ensure!(is_same, "{first} and {second} are of different tokens");
    let losses = |sequences: &[Sequence]| -> Vec<Loss> {
        sequences.iter().map(|sequence| sequence.cross_entropy).collect()
    };
    Ok(lineage(&losses(&a), &losses(&b)))
}

impl Report {
    fn for_people(&self) -> String {
        let mut out = match self.parameter_delta {
            // Models that are not the same must not look so.
            Some(delta) if delta > 0.0 && delta < 0.5e-6 => {
                "parameters  less than 0.0001 % apart\n".to_owned()
            }
            Some(delta) => format!("parameters  {:.4} % apart\n", 100.0 * delta),
            None => "parameters  not comparable: the models have different tensors\n".to_owned(),
        };
        if let Some(Lineage { n_documents, correlation, kin }) = self.losses {
            // Towards zero: only what is one looks like one.
            let down = |correlation: f64| (1e5 * correlation).trunc() / 1e5 + 0.0;
            let correlation =
                correlation.map_or("none".to_owned(), |rho| format!("{:.5}", down(rho)));
            let kin = match kin {
                Kin::Same => "the same model".to_owned(),
                Kin::NearCopy => "a copy made unlike".to_owned(),
                Kin::Related => "trained on from the other, or both from a third".to_owned(),
                Kin::Independent => "trained apart".to_owned(),
                Kin::Unknown if n_documents < DOCUMENTS_MIN => {
                    format!("unknown: {DOCUMENTS_MIN} sequences at least are needed")
                }
                Kin::Unknown => "unknown: all losses of one of them are the same".to_owned(),
            };
            out += &format!("losses      correlation {correlation} over {n_documents}: {kin}\n");
        }
        out
    }
}
