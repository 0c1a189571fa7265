//! One epoch of Yuma Consensus at the size of a full subnet: 64 validators, 256 slots, dense.

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::{
    Seed,
    yuma::{self, Input},
};
use rand_core::RngCore;
use std::hint::black_box;

const N_UIDS: u16 = 256;
const N_VALIDATORS: u16 = 64;

/// A subnet in which every validator weighs everybody else and holds bonds on everybody.
fn full_subnet(yuma3: bool) -> Input {
    let n = usize::from(N_UIDS);
    let mut random = Seed::of_number(1).stream();
    let mut rows = || {
        let mut row = |uid: u16| -> Vec<(u16, u16)> {
            if uid >= N_VALIDATORS {
                return Vec::new();
            }
            (0..N_UIDS).map(|j| (j, 1 + (random.next_u32() >> 17) as u16)).collect()
        };
        (0..N_UIDS).map(&mut row).collect()
    };
    Input {
        n,
        block: 10_000,
        tempo: 360,
        activity_cutoff: 5_000,
        kappa: 32_767,
        bonds_moving_average: 900_000,
        max_allowed_validators: N_VALIDATORS,
        weights_u16: rows(),
        bonds_before_u16: rows(),
        stake_rao: (0..u64::from(N_UIDS)).map(|uid| 1_000_000_000 * (1_000 - uid)).collect(),
        validator_permit_before: (0..N_UIDS).map(|uid| uid < N_VALIDATORS).collect(),
        last_update: vec![9_900; n],
        block_at_registration: vec![100; n],
        bonds_penalty: u16::MAX,
        yuma3,
        ..Input::default()
    }
}

fn epochs(criterion: &mut Criterion) {
    for (name, yuma3) in [("yuma2", false), ("yuma3", true)] {
        let input = full_subnet(yuma3);
        criterion.bench_function(&format!("epoch of 64 x 256, {name}"), |bencher| {
            bencher.iter(|| yuma::epoch(black_box(&input)));
        });
    }
}

criterion_group!(benches, epochs);
criterion_main!(benches);
