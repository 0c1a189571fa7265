//! `agon check` on parameters that others shall train on: section 3.4.3 of the paper.

use super::workshop::{Ran, SmallModel, Workshop, agon};
use serde_json::{Value, json};

/// Gains a ten-thousandth of what they were, and the matrices behind them as much larger: the same
/// losses, but nobody can train on.
fn obfuscated() -> SmallModel {
    let mut model = SmallModel::new();
    for (name, _, numbers) in &mut model.tensors {
        let is_behind = ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"];
        let factor = if name.contains("layernorm") {
            1e-4
        } else if is_behind.iter().any(|part| name.contains(part)) {
            1e4
        } else {
            1.0
        };
        numbers.iter_mut().for_each(|number| *number *= factor);
    }
    model
}

/// A competition file with rules for parameters.
fn with_rules(workshop: &Workshop, name: &str, rules: &str) -> String {
    workshop.rules(name, "[text]", &format!("[model.health]\n{rules}\n[text]"))
}

fn check(model: &str, competition: &str, rest: &[&str]) -> Ran {
    agon(&[&["check", "--model", model, "--competition", competition], rest].concat())
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn check_tells_of_every_tensor_how_large_its_numbers_are() {
    let workshop = Workshop::new();
    let model = SmallModel::new();
    let dir = workshop.model("model", &model);
    let report = check(&dir, "tiny", &["--json"]).json();
    assert_eq!((&report["findings"], &report["probe"]), (&json!([]), &Value::Null));
    let rows = report["tensors"].as_array().unwrap();
    assert_eq!(rows.len(), model.tensors.len());
    for (row, (name, shape, numbers)) in rows.iter().zip(&model.tensors) {
        assert_eq!((&row["name"], &row["shape"]), (&json!(name), &json!(shape)));
        let sum: f64 = numbers.iter().map(|number| f64::from(*number).powi(2)).sum();
        let rms = (sum / numbers.len() as f64).sqrt();
        assert!((row["rms"].as_f64().unwrap() - rms).abs() < 1e-12, "{row}");
        let n_columns = shape[shape.len() - 1];
        let peaks = numbers.chunks(n_columns).map(|row| {
            let sum: f64 = row.iter().map(|number| f64::from(*number).powi(2)).sum();
            let greatest = row.iter().fold(0.0, |most: f32, number| most.max(number.abs()));
            f64::from(greatest) / (sum / n_columns as f64).sqrt()
        });
        let peak = peaks.fold(0.0, f64::max);
        assert!((row["peak"].as_f64().unwrap() - peak).abs() < 1e-9, "{row}");
        let has_channels = name.contains("_proj") || name.contains("lm_head");
        assert_eq!(row["channel_ratio"].is_number(), has_channels, "{row}");
    }
    let people = check(&dir, "tiny", &["--tensors"]);
    assert!(model.tensors.iter().all(|(name, ..)| people.out.contains(name)), "{}", people.out);
    assert!(people.out.contains("12 tensors, all of a size to train on"), "{}", people.out);
}

#[test]
fn attack_obfuscated_parameters_are_a_warning_or_a_refusal_as_the_competition_says() {
    let workshop = Workshop::new();
    let dir = workshop.model("model", &obfuscated());
    let warned = check(&dir, "tiny", &["--json"]).json();
    assert_eq!((&warned["verdict"], &warned["reasons"]), (&json!("admitted"), &json!([])));
    let findings = warned["findings"].as_array().unwrap();
    for sabotage in ["vanishing gradients", "exploding gradients"] {
        assert!(findings.iter().any(|finding| finding["sabotage"] == sabotage), "{findings:?}");
    }
    let people = check(&dir, "tiny", &[]);
    assert!(people.code == 0 && people.out.contains("warnings"), "{}", people.out);

    let rules = with_rules(&workshop, "strict.toml", "");
    let refused = check(&dir, &rules, &["--json"]);
    assert_eq!((refused.code, refused.err.as_str()), (1, ""));
    let report = document(&refused);
    assert_eq!(report["reasons"][0]["code"], "untrainable-parameters");
    assert_eq!(&report["findings"], &warned["findings"]);
    // The same rules admit the model that was obfuscated.
    let sound = workshop.model("sound", &SmallModel::new());
    assert_eq!(check(&sound, &rules, &["--json"]).json()["verdict"], "admitted");
}

#[test]
fn the_probe_passes_a_sound_model_and_fails_an_obfuscated_one() {
    let workshop = Workshop::new();
    let sound = workshop.model("sound", &SmallModel::new());
    let first = check(&sound, "tiny", &["--probe", "--json"]);
    let probe = &first.json()["probe"];
    assert_eq!((&probe["is_passed"], &probe["n_steps"]), (&json!(true), &json!(12)));
    assert!(probe["loss_after"].as_f64() < probe["loss_before"].as_f64(), "{probe}");
    assert_eq!(check(&sound, "tiny", &["--probe", "--json"]).out, first.out);

    let obfuscated = workshop.model("obfuscated", &obfuscated());
    let warned = check(&obfuscated, "tiny", &["--probe", "--json"]);
    let report = warned.json();
    assert_eq!(
        (&report["probe"]["is_passed"], &report["verdict"]),
        (&json!(false), &json!("admitted"))
    );
    let people = check(&obfuscated, "tiny", &["--probe"]);
    assert!(people.out.contains("probe           failed: "), "{}", people.out);

    // Rules so wide that the probe alone is left.
    let wide = "decades_max = 50.0\ngain_min = 1e-9\nrow_ratio_max = 1e9";
    let refused =
        check(&obfuscated, &with_rules(&workshop, "wide.toml", wide), &["--probe", "--json"]);
    assert_eq!((refused.code, refused.err.as_str()), (1, ""));
    assert_eq!(document(&refused)["reasons"][0]["code"], "untrainable-parameters");
}

#[test]
fn a_probe_that_cannot_be_made_says_so_and_is_no_verdict() {
    let workshop = Workshop::new();
    let rope = json!({"rope_scaling": {"rope_type": "linear", "factor": 2.0}});
    let scaled = workshop.model("scaled", &SmallModel::new().with_config(&rope));
    assert_eq!(check(&scaled, "tiny", &[]).code, 0);
    let refused = check(&scaled, "tiny", &["--probe"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("rope_type") && refused.err.contains("hint: "), "{}", refused.err);
}

#[test]
fn rules_for_parameters_out_of_range_are_named() {
    let workshop = Workshop::new();
    let dir = workshop.model("model", &SmallModel::new());
    for (rule, field) in [
        ("peak_max = 0.0", "model.health.peak_max"),
        ("probe_decades_max = inf", "model.health.probe_decades_max"),
        ("gain_min = 0.0", "model.health.gain_max"),
        ("probe_steps = 0", "model.health.probe_steps"),
    ] {
        let refused = check(&dir, &with_rules(&workshop, "wrong.toml", rule), &[]);
        assert!(refused.code == 2 && refused.err.contains(field), "{rule}: {}", refused.err);
    }
}
