//! Products per second for the shapes of real models; one iteration is the whole product.
//!
//! `cargo bench -p engine --bench kernels`; throughput is in multiply-adds, half a FLOP count.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{InstructionSet, Matrix};
use std::hint::black_box;

/// Rows, inputs, outputs.
const SHAPES: [(usize, usize, usize); 6] = [
    (512, 64, 192),
    (512, 128, 384),
    (512, 192, 512),
    (768, 768, 768),
    (768, 3072, 768),
    (192, 768, 8192),
];

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("product");
    for (n_rows, n_in, n_out) in SHAPES {
        let number = |i: usize| (i % 251) as f32 / 251.0 - 0.5;
        let parameters: Vec<f32> = (0..n_in * n_out).map(number).collect();
        let rows: Vec<f32> = (0..n_in * n_rows).map(number).collect();
        let matrix = Matrix::pack(&parameters, n_in).expect("memory");
        group.throughput(Throughput::Elements((n_rows * n_in * n_out) as u64));
        let is_small = n_rows * n_in * n_out < 10_000_000;
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            // A hundred times slower where it has to emulate: one look is enough.
            if set == InstructionSet::Portable && !is_small {
                continue;
            }
            group.bench_function(format!("{n_rows}x{n_in}x{n_out} {set}"), |bencher| {
                bencher.iter(|| matrix.multiply(black_box(&rows), set));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = products
}
criterion_main!(benches);
