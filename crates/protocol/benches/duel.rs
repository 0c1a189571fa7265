//! A duel of 1,500 documents, looked at every five, and what may be said of it.

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::{
    Digest, Loss, Seed,
    duel::{Document, Duel, DuelRules, Pairing, Report, Terms},
};
use rand_core::RngCore;
use std::hint::black_box;

const N_DOCUMENTS: u32 = 1_500;

/// Gains around epsilon, with a spread of 0.6 %: nothing is decided before the last document.
fn documents() -> Vec<Document> {
    let mut random = Seed::of_number(1).stream();
    let mut uniform = move || random.next_u64() as f64 / u64::MAX as f64;
    let loss = |value| Loss::new(value).unwrap_or(Loss::INFINITE);
    let document = |n: u32| {
        let champion = 2.5 + uniform();
        let gain = 0.005 + 0.02 * (uniform() - 0.5);
        let id = Digest::of(&n.to_le_bytes());
        Document { id, champion: loss(champion), challenger: loss(champion - 3.0 * gain) }
    };
    (0..N_DOCUMENTS).map(document).collect()
}

fn begin() -> Option<Duel> {
    let pairing = Pairing { champion: Digest::of(b"1"), challenger: Digest::of(b"2") };
    let reference = Loss::new(3.0).unwrap_or(Loss::INFINITE);
    let (epsilon, alpha, n_documents_max) = (0.005, 5e-4, N_DOCUMENTS);
    let terms = Terms { pairing, reference, epsilon, alpha, n_documents_max };
    Duel::begin(DuelRules::default(), terms).ok()
}

fn duel(criterion: &mut Criterion) {
    let documents = documents();
    let fight = |documents: &[Document]| {
        let mut duel = begin()?;
        duel.look(documents).ok()?;
        Some(duel)
    };
    criterion.bench_function("a duel of 1,500 documents", |bencher| {
        bencher.iter(|| fight(black_box(&documents)));
    });
    let Some(ended) = fight(&documents) else { return };
    criterion.bench_function("what may be said of it", |bencher| {
        bencher.iter(|| Report::of(black_box(&ended)));
    });
}

criterion_group!(benches, duel);
criterion_main!(benches);
