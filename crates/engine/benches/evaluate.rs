//! Tokens per second of whole models with random parameters.
//!
//! `cargo bench -p engine --bench evaluate`; throughput is in tokens.

#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../tests/it/writer.rs"]
mod writer;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{EvaluateOptions, InstructionSet, Model, no_limits};
use writer::{Random, Recipe};

fn load(recipe: &Recipe) -> Model {
    let dir = tempfile::tempdir().expect("a folder");
    recipe.write(dir.path());
    Model::load(dir.path(), &no_limits()).expect("files").expect("a good model")
}

fn bench(criterion: &mut Criterion, name: &str, recipe: &Recipe, (n, length): (usize, usize)) {
    let model = load(recipe);
    let mut random = Random(7);
    let sequences: Vec<_> = (0..n).map(|_| random.tokens(length, recipe.vocabulary)).collect();
    let mut group = criterion.benchmark_group(format!("{name}, {n} x {length} tokens"));
    group.throughput(Throughput::Elements((n * length) as u64));
    for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
        for threads in [1, 2] {
            // A hundred times slower where it has to emulate: one look is enough.
            if set == InstructionSet::Portable && (threads > 1 || n > 1 || recipe.hidden > 512) {
                continue;
            }
            group.bench_function(format!("{set}, threads {threads}"), |bencher| {
                let options = EvaluateOptions { threads, instructions: set, ..Default::default() };
                bencher.iter(|| model.evaluate(&sequences, &options).expect("no trouble"));
            });
        }
    }
    group.finish();
}

fn models(criterion: &mut Criterion) {
    let tiny = Recipe { n_heads: 4, n_kv_heads: 4, ..Recipe::small(128, 4, 512) };
    bench(criterion, "tiny Llama 128 x 4", &tiny, (32, 128));
    bench(criterion, "tiny Llama 128 x 4", &tiny, (1, 128));
    let smallest = Recipe::small(64, 2, 512);
    bench(criterion, "tiny Llama 64 x 2", &smallest, (64, 64));
    let base = Recipe {
        n_heads: 12,
        n_kv_heads: 12,
        head_dim: 64,
        intermediate: 2048,
        is_tied: true,
        ..Recipe::small(768, 12, 50_257)
    };
    bench(criterion, "Llama 124M", &base, (1, 1024));
    bench(criterion, "Llama 124M BF16", &Recipe { dtype: "BF16", ..base }, (4, 256));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = models
}
criterion_main!(benches);
