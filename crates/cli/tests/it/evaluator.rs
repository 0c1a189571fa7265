//! The process that measures strangers' models: what it can reach, and when it ends.

use crate::commands::workshop::{Ran, SmallModel, Workshop, agon};
use protocol::{
    Competition, ReasonCode, SequenceLoss,
    loss::of_sequences,
    unigram::{no_better_than_guessing, unigram},
};
use serde_json::{Value, json};
use std::{
    io::{BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[test]
fn attack_an_evaluator_reaches_no_file_network_program_or_memory_of_others() {
    let Ran { code, out, err, .. } = agon(&["evaluator", "--self-test", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    let attempts = report["attempts"].as_array().unwrap();
    assert!(attempts.len() >= 13, "{report}");
    if err.contains("less isolation") {
        // A kernel without landlock or seccomp: it is warned about, and the rest holds.
        eprintln!("this machine cannot isolate: {err}");
        return;
    }
    for attempt in attempts {
        assert_eq!(attempt["refused"], true, "{attempt}");
    }
    assert_eq!((code, &report["isolated"]), (0, &json!(true)));
}

fn sequence(seed: usize) -> Vec<u32> {
    (0..128).map(|i| (i * 7 + seed as u32 * 13) % 512).collect()
}

/// Two times `n` sequences.
fn sequences(n: usize) -> Vec<Vec<u32>> {
    let starts = [0, 1000].into_iter().flat_map(|start| (0..n).map(move |i| i + start));
    starts.map(sequence).collect()
}

/// An evaluator that has been asked to measure a model on two times `n` sequences.
fn asked(
    workshop: &Workshop,
    model: &SmallModel,
    n: usize,
) -> (Child, BufReader<std::process::ChildStdout>) {
    let root = model.tensor_root();
    let model = workshop.model("model", model);
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["evaluator", &model])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let competition = Competition::builtin("tiny").unwrap();
    let request = json!({ "Losses": {
        "competition": competition, "tensor_root": root, "sequences": sequences(n),
        "n_threads": 2, "memory_limit": null,
    } });
    let stdin = child.stdin.as_mut().unwrap();
    writeln!(stdin, "{request}").unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn message(from: &mut impl std::io::BufRead) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"))
}

/// The losses that an evaluator gives of a model on two times two sequences.
fn losses(workshop: &Workshop, model: &SmallModel) -> Vec<SequenceLoss> {
    let (mut child, mut stdout) = asked(workshop, model, 2);
    let missing = message(&mut stdout)["Ready"]["missing"].clone();
    let mut losses = Vec::new();
    loop {
        let message = message(&mut stdout);
        if let Some(end) = message.get("Evaluated") {
            assert_eq!(end, &json!({ "Ok": null }));
            break;
        }
        let piece = message.get("Losses").unwrap_or_else(|| panic!("{message} after {missing}"));
        losses.extend(serde_json::from_value::<Vec<SequenceLoss>>(piece.clone()).unwrap());
    }
    child.wait().unwrap();
    losses
}

#[test]
fn attack_a_model_that_does_no_better_than_guessing_is_disqualified() {
    let workshop = Workshop::new();
    // Always the same: nothing reaches the head. Copies its prompt. Knows nothing.
    let mut same = SmallModel::counting(7);
    same.tensors[0].2.fill(0.0);
    for model in [same, SmallModel::counting(0), SmallModel::new()] {
        let text = sequences(2);
        let guessing = unigram(text.iter().map(Vec::as_slice));
        let reason = no_better_than_guessing(of_sequences(&losses(&workshop, &model)), guessing);
        let reason = reason.unwrap();
        assert_eq!(reason.code, ReasonCode::DegenerateOutput);
        assert!(reason.detail.contains("nats per token; a table of how often"), "{reason}");
    }
}

#[test]
fn an_evaluator_gives_the_losses_that_are_measured_without_one() {
    let workshop = Workshop::new();
    let losses = losses(&workshop, &SmallModel::counting(7));
    assert_eq!(losses.len(), 4);
    for (batch, losses) in [0, 1000].into_iter().zip(losses.chunks(2)) {
        let loss = of_sequences(losses).value();
        let tokens = json!({ "sequences": [sequence(batch), sequence(batch + 1)] });
        let tokens = workshop.json("tokens.json", &tokens);
        let model = workshop.path("model");
        let measured = agon(&["evaluate", "--model", &model, "--tokens", &tokens, "--json"]).json();
        assert_eq!(measured["mean_cross_entropy"], loss, "{measured}");
    }
}

#[test]
fn an_evaluator_ends_with_the_validator_that_started_it() {
    let workshop = Workshop::new();
    // Minutes of work.
    let (mut child, mut stdout) = asked(&workshop, &SmallModel::new(), 20_000);
    message(&mut stdout);
    let started = Instant::now();
    // What the kernel does when the validator is killed.
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("Evaluated"), "{rest}");
}

#[test]
fn a_model_that_takes_more_memory_than_it_may_ends_its_evaluator_alone() {
    let workshop = Workshop::new();
    let root = SmallModel::new().tensor_root();
    let model = workshop.model("model", &SmallModel::new());
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["evaluator", "--memory-limit", "4MiB", &model])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sequences = vec![vec![1; 128]; 20_000];
    let competition = Competition::builtin("tiny").unwrap();
    let request = json!({ "Losses": {
        "competition": competition, "tensor_root": root, "sequences": sequences,
        "n_threads": 1, "memory_limit": null,
    } });
    // It may be gone before it has read everything.
    let _ = writeln!(child.stdin.as_mut().unwrap(), "{request}");
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("memory allocation"), "{err}");
}
