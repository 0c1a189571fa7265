//! Greedy continuation.

use crate::{
    evaluate, folder, load,
    reference::Reference,
    writer::{Random, Recipe},
};
use engine::{Error, EvaluateOptions, InstructionSet, LoadOptions, Model};
use protocol::ReasonCode;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

#[test]
fn generation_takes_the_likeliest_token_of_the_reference() {
    let recipe = Recipe { n_kv_heads: 2, ..Recipe::small(24, 2, 50) };
    let model = load(folder(&recipe).path());
    let reference = Reference::new(&recipe);
    let prompts = [vec![7], Random(5).tokens(21, 50)];
    let continued = prompts.clone().map(|mut tokens| {
        let n_prompt = tokens.len();
        for _ in 0..30 {
            let logits = reference.logits(&tokens).pop().unwrap();
            let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
            tokens.push(best.unwrap() as u32);
        }
        tokens.split_off(n_prompt)
    });
    for prompts in [&[&prompts[0][..]][..], &[&prompts[0], &prompts[1]], &[]] {
        for instructions in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let options = EvaluateOptions { instructions, ..Default::default() };
            let found = model.generate(prompts, 30, &options).unwrap().unwrap();
            assert_eq!(found, continued[..prompts.len()]);
        }
    }
}

#[test]
fn prompts_that_do_not_fit_the_model_refuse_it() {
    let recipe = Recipe { context: 40, ..Recipe::small(16, 1, 20) };
    let model = load(folder(&recipe).path());
    let options = EvaluateOptions::default();
    let code =
        |prompt: &[u32], n| model.generate(&[prompt], n, &options).unwrap().unwrap_err().code;
    assert_eq!(code(&[1, 20], 1), ReasonCode::VocabularyMismatch);
    assert_eq!(code(&[1; 30], 11), ReasonCode::VocabularyMismatch);
    assert_eq!(model.generate(&[&[1; 30]], 10, &options).unwrap().unwrap()[0].len(), 10);
    assert!(matches!(model.generate(&[&[]], 1, &options), Err(Error::SequenceTooShort { .. })));
}

#[test]
fn a_raised_flag_ends_evaluation_and_generation() {
    let recipe = Recipe::small(16, 2, 20);
    let model = load(folder(&recipe).path());
    let stop = AtomicBool::new(true);
    let options = EvaluateOptions { cancelled: Some(&stop), threads: 2, ..Default::default() };
    let sequences = [vec![1, 2, 3], vec![4, 5]];
    assert!(matches!(model.evaluate(&sequences, &options), Err(Error::Cancelled)));
    assert!(matches!(model.generate(&[&[1]], 2, &options), Err(Error::Cancelled)));
    stop.store(false, Ordering::Relaxed);
    assert_eq!(evaluate(&model, &sequences, &options).len(), 2);
}

#[test]
fn progress_reaches_the_whole_and_never_goes_back() {
    let recipe = Recipe::small(16, 1, 20);
    let model = load(folder(&recipe).path());
    let seen = std::sync::Mutex::new(Vec::new());
    let progress = |at: engine::Progress| seen.lock().unwrap().push(at);
    let options = EvaluateOptions {
        threads: 3,
        sequences_per_batch: 2,
        progress: Some(&progress),
        ..Default::default()
    };
    evaluate(&model, &vec![vec![1, 2, 3]; 7], &options);
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted_by_key(|at| (at.n_tokens_done, at.n_steps_done)));
    // Four batches, each of which goes through a layer and the head.
    let last = seen.last().unwrap();
    assert_eq!((seen.len(), last.n_tokens_done, last.n_steps_done), (8, 14, 28));
    assert_eq!((last.n_tokens, last.n_steps, last.n_sequences_done), (14, 28, 7));
}

#[test]
fn an_evaluation_ends_within_two_seconds_of_being_cancelled() {
    // One layer of a batch takes about as long: the flag must be looked at within it.
    let recipe = Recipe { n_heads: 16, n_kv_heads: 16, ..Recipe::small(1024, 2, 4000) };
    let dir = folder(&recipe);
    let sequences: Vec<Vec<u32>> = (0..64).map(|i| (i..i + 512).collect()).collect();
    for streamed in [false, true] {
        let options = LoadOptions { streamed, ..LoadOptions::default() };
        let model = Model::load_with(dir.path(), &engine::no_limits(), &options).unwrap().unwrap();
        let took = || {
            let stop = AtomicBool::new(false);
            let options =
                EvaluateOptions { threads: 2, cancelled: Some(&stop), ..Default::default() };
            let (ended, after) = std::thread::scope(|scope| {
                let evaluation = scope.spawn(|| model.evaluate(&sequences, &options));
                std::thread::sleep(Duration::from_millis(300));
                stop.store(true, Ordering::Relaxed);
                let started = Instant::now();
                (evaluation.join().unwrap(), started.elapsed())
            });
            assert!(matches!(ended, Err(Error::Cancelled)), "it ended before it was cancelled");
            after
        };
        // Others may have the processors for a while, but not each time.
        let times: Vec<Duration> = std::iter::repeat_with(took).take(5).collect();
        assert!(times.iter().min().unwrap() < &Duration::from_secs(2), "{times:?}");
    }
}
