//! Scoring a full subnet: 256 models on 300 batches.

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::{
    AccountId, Block, BlockHash, Entry, Loss, Seed, Seniority, Uid, champion,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    score,
};
use rand_core::RngCore;
use std::hint::black_box;

const N_MODELS: u16 = 256;
const N_BATCHES: usize = 300;
const NOW: Block = Block(100_000);

/// Models of 16 blocks with losses around 2.5 nats that differ by less than epsilon and by more.
fn entries() -> Vec<Entry> {
    let mut random = Seed::of_number(1).stream();
    let mut uniform = move || random.next_u64() as f64 / u64::MAX as f64;
    let entry = |uid| {
        let quality = 2.5 + 0.02 * uniform();
        let losses: Vec<Loss> =
            (0..N_BATCHES).filter_map(|_| Loss::new(quality + 0.1 * uniform()).ok()).collect();
        let block = Block(90_000 + u64::from(uid % 16) * 100);
        let hotkey = AccountId([uid as u8; 32]);
        let seniority = Seniority::new(block, BlockHash([0; 32]), hotkey);
        Entry { uid: Uid(uid), seniority, losses }
    };
    (0..N_MODELS).map(entry).collect()
}

fn scoring(criterion: &mut Criterion) {
    let entries = entries();
    let epsilon = Epsilon::Linear { start: 0.005, end: 0.0005, blocks: 50_400 };
    for (name, rule) in
        [("wins", Rule::Wins), ("mean", Rule::Mean), ("succession", Rule::Succession)]
    {
        let loss = LossKind::Perplexity;
        let rules = ScoringRules { rule, loss, epsilon, temperature: 0.01, alpha: 0.5, duel: None };
        criterion.bench_function(&format!("score 256 models x 300 batches, {name}"), |bencher| {
            bencher.iter(|| score(&rules, NOW, N_BATCHES, black_box(&entries)));
        });
        criterion.bench_function(
            &format!("champion of 256 models x 300 batches, {name}"),
            |bencher| {
                bencher.iter(|| champion(&rules, NOW, N_BATCHES, black_box(&entries)));
            },
        );
    }
}

/// The longest line: every model is better than all before it and takes the crown.
fn crowning(criterion: &mut Criterion) {
    let entry = |uid: u16| {
        let loss = Loss::new(100.0 * 0.9f64.powi(i32::from(uid))).unwrap_or(Loss::INFINITE);
        let block = Block(90_000 + u64::from(uid));
        let seniority = Seniority::new(block, BlockHash([0; 32]), AccountId([uid as u8; 32]));
        Entry { uid: Uid(uid), seniority, losses: vec![loss; N_BATCHES] }
    };
    let entries: Vec<Entry> = (0..N_MODELS).map(entry).collect();
    let (rule, loss) = (Rule::Wins, LossKind::Perplexity);
    let epsilon = Epsilon::Linear { start: 0.005, end: 0.0005, blocks: 50_400 };
    let rules = ScoringRules { rule, loss, epsilon, temperature: 0.01, alpha: 0.5, duel: None };
    criterion.bench_function("champion of 256 models x 300 batches, each crowned", |bencher| {
        bencher.iter(|| champion(&rules, NOW, N_BATCHES, black_box(&entries)));
    });
}

criterion_group!(benches, scoring, crowning);
criterion_main!(benches);
