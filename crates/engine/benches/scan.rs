//! Bytes per second of a scan, beside those of the hash alone.
//!
//! `cargo bench -p engine --bench scan`; the files are in the system's cache.

#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../tests/it/writer.rs"]
mod writer;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{no_limits, scan};
use sha2::{Digest as _, Sha256};
use std::{fs, hint::black_box};
use writer::Recipe;

fn bench(criterion: &mut Criterion, name: &str, recipe: &Recipe, scale: f32) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut tensors = recipe.tensors();
    for tensor in &mut tensors {
        tensor.numbers.iter_mut().for_each(|number| *number *= scale);
    }
    writer::write(dir.path(), &recipe.config(), &tensors);
    let path = dir.path().join("model.safetensors");
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(fs::metadata(&path).expect("a file").len()));
    group.bench_function("scan", |bencher| {
        bencher.iter(|| scan(dir.path(), &no_limits()).expect("files").expect("a good model"));
    });
    group.bench_function("SHA-256 alone", |bencher| {
        bencher.iter(|| {
            let bytes = fs::read(&path).expect("a file");
            bytes.chunks(1 << 20).for_each(|bytes| {
                black_box(Sha256::digest(bytes));
            });
        });
    });
    group.finish();
}

fn models(criterion: &mut Criterion) {
    let recipe =
        Recipe { n_heads: 16, n_kv_heads: 16, head_dim: 64, ..Recipe::small(1024, 8, 32_000) };
    for dtype in ["F32", "BF16", "F16"] {
        bench(criterion, dtype, &Recipe { dtype, ..recipe.clone() }, 1.0);
    }
    bench(criterion, "F32, all subnormal", &recipe, 1e-39);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(3));
    targets = models
}
criterion_main!(benches);
