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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Seed, seed::uniform_below};
    use serde_json::{Value, json};
    use std::path::PathBuf;

    fn told(parameter_delta: Option<f64>, losses: Option<Lineage>) -> String {
        Report { parameter_delta, tensors: BTreeMap::new(), losses }.for_people()
    }

    /// A file as `agon evaluate --json` prints it, with losses that vary.
    fn file(dir: &Path, name: &str, (n, seed): (usize, u64)) -> (PathBuf, Value) {
        let mut stream = Seed::of_number(seed).stream();
        let mut loss = || 2.0 + uniform_below(&mut stream, 1_000) as f64 / 1e3;
        let sequences: Vec<Value> = (0..n)
            .map(|_| json!({"tokens": 127, "cross_entropy": loss(), "token_nll": [1.0]}))
            .collect();
        let value = json!({"sequences": sequences, "perplexity": 9.0, "threads": 2});
        let path = dir.join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        (path, value)
    }

    #[test]
    fn models_that_differ_never_look_the_same() {
        for (delta, expected) in [
            (0.0, "0.0000 % apart"),
            (f64::MIN_POSITIVE, "less than 0.0001 % apart"),
            (4.9e-7, "less than 0.0001 % apart"),
            (1e-6, "0.0001 % apart"),
            (0.0123456, "1.2346 % apart"),
            (2.5, "250.0000 % apart"),
        ] {
            let text = told(Some(delta), None);
            assert_eq!(text, format!("parameters  {expected}\n"), "{delta}");
        }
        assert!(told(None, None).contains("not comparable"));
    }

    #[test]
    fn a_correlation_is_told_towards_zero_and_only_one_is_one() {
        for (correlation, expected) in [
            (Some(1.0), "correlation 1.00000 over"),
            (Some(1.0 - 1e-12), "correlation 0.99999 over"),
            (Some(0.999999), "correlation 0.99999 over"),
            (Some(-0.999999), "correlation -0.99999 over"),
            (Some(-1e-9), "correlation 0.00000 over"),
            (None, "correlation none over"),
        ] {
            let lineage = Lineage { n_documents: 200, correlation, kin: Kin::NearCopy };
            let text = told(None, Some(lineage));
            assert!(text.contains(expected), "no `{expected}` in {text}");
        }
    }

    #[test]
    fn why_nothing_is_known_is_told_as_it_is() {
        let unknown = |n_documents| {
            told(None, Some(Lineage { n_documents, correlation: None, kin: Kin::Unknown }))
        };
        for few in [0, 1, DOCUMENTS_MIN - 1] {
            assert!(unknown(few).contains("128 sequences at least"), "{}", unknown(few));
        }
        for enough in [DOCUMENTS_MIN, 10_000] {
            let text = unknown(enough);
            assert!(text.contains("losses of one of them are the same"), "{text}");
            assert!(!text.contains("at least are needed"), "{text}");
        }
    }

    #[test]
    fn losses_are_compared_where_both_files_are_of_the_same_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let (first, value) = file(dir.path(), "a.json", (130, 1));
        let same = compare_losses(&first, &first).unwrap();
        assert_eq!((same.kin, same.n_documents), (Kin::Same, 130));
        let (other, _) = file(dir.path(), "b.json", (130, 2));
        assert_eq!(compare_losses(&first, &other).unwrap().kin, Kin::Independent);
        // An infinite loss says nothing of either.
        let mut lacking = value.clone();
        lacking["sequences"][7]["cross_entropy"] = Value::Null;
        std::fs::write(&other, lacking.to_string()).unwrap();
        assert_eq!(compare_losses(&first, &other).unwrap().n_documents, 129);

        type Change = fn(&mut Value);
        let cases: [(&str, Change, &str); 6] = [
            ("one sequence less", |v| drop(v["sequences"].as_array_mut().unwrap().pop()), "tokens"),
            ("a longer one", |v| v["sequences"][3]["tokens"] = json!(128), "different tokens"),
            ("none", |v| *v = json!({}), "missing field `sequences`"),
            ("a negative loss", |v| v["sequences"][0]["cross_entropy"] = json!(-1), "lineage"),
            ("a text", |v| v["sequences"][0]["tokens"] = json!("7"), "agon lineage"),
            ("a list", |v| *v = json!([]), "agon lineage"),
        ];
        for (what, change, part) in cases {
            let mut changed = value.clone();
            change(&mut changed);
            std::fs::write(&other, changed.to_string()).unwrap();
            let error = crate::failure::causes(&compare_losses(&first, &other).unwrap_err());
            assert!(error.contains(part) && error.contains("b.json"), "{what}: {error}");
        }
        let gone = compare_losses(&first, &dir.path().join("gone.json")).unwrap_err();
        assert!(format!("{gone:#}").contains("gone.json"), "{gone:#}");
    }

    #[test]
    fn programs_read_null_where_models_cannot_be_compared() {
        let report = Report { parameter_delta: None, tensors: BTreeMap::new(), losses: None };
        let expected = json!({"parameter_delta": null, "tensors": {}});
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
        let losses = Lineage { n_documents: 3, correlation: None, kin: Kin::Unknown };
        let report = Report { losses: Some(losses), ..report };
        let losses = json!({"n_documents": 3, "correlation": null, "kin": "unknown"});
        assert_eq!(serde_json::to_value(&report).unwrap()["losses"], losses);
    }
}
