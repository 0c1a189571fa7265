//! What all kernels promise: the same bits for every number of threads.

use super::{
    attention::{self, Heads, Plan, Rotation},
    head, norm, swiglu,
};
use crate::tests::{Random, bits, on_threads};

#[test]
fn the_number_of_threads_changes_no_bit_of_any_kernel() {
    let mut random = Random::new(8);
    // Rows for several tasks of each kernel, and logits enough to share their product.
    let (n_rows, width, vocabulary) = (300, 24, 111);
    let [rows, gradient] = [(); 2].map(|()| random.floats(n_rows * width));
    let (gain, projection) = (random.floats(width), random.floats(vocabulary * width));
    let targets: Vec<u32> = (0..n_rows).map(|_| random.size(0, vocabulary - 1) as u32).collect();
    let heads = Heads { n_query: 4, n_key: 2, width: width / 4 };
    let rotation = Rotation::new(heads.width, 100.0, 130);
    let plan = Plan { heads, lengths: vec![130, 5, 64, 1, 100], rotation };
    let packed = random.floats(n_rows * heads.packed_width());

    let run = || {
        let normed = norm::forward(&rows, &gain, 1e-5);
        let mut of_rows = gradient.clone();
        let of_gain = norm::backward(&rows, &gain, 1e-5, &mut of_rows);
        let active = swiglu::forward(&rows, width / 2);
        let of_gate_up = swiglu::backward(&rows, width / 2, &gradient[..active.len()]);
        let (loss, of_head) = head::loss_and_gradients(&rows, &projection, &targets, width);
        let attended = attention::forward(&plan, &packed);
        let of_packed = attention::backward(&plan, &packed, &attended, &gradient);
        let of_head = [of_head.rows, of_head.weight].concat();
        let all = [normed, of_rows, of_gain, active, of_gate_up, of_head, attended, of_packed];
        (loss.to_bits(), all.map(|numbers| bits(&numbers)))
    };
    let alone = on_threads(1, run);
    for n_threads in 2..=4 {
        let found = on_threads(n_threads, run);
        assert_eq!(found.0, alone.0, "loss on {n_threads} threads");
        for (i, (found, alone)) in found.1.iter().zip(&alone.1).enumerate() {
            assert!(found == alone, "result {i} on {n_threads} threads");
        }
    }
}
