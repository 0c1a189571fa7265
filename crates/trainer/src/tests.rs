//! What the tests of the modules share: shapes and numbers of a seed, exact slopes, threads.

use crate::ModelConfig;
use protocol::{Seed, seed::uniform_below};
use rand_chacha::{ChaCha20Rng, rand_core::RngCore};

/// Half the distance between the two points that a slope is taken from.
const STEP: f64 = 1e-6;

/// Shapes and numbers that follow from one seed, which a test names when it fails.
pub(crate) struct Random(ChaCha20Rng);

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Seed::of_number(seed).stream())
    }

    /// A size within bounds, either of which may come.
    pub(crate) fn size(&mut self, min: usize, max: usize) -> usize {
        min + uniform_below(&mut self.0, (max - min + 1) as u64) as usize
    }

    /// One of some values.
    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.size(0, values.len() - 1)]
    }

    /// So many numbers from -1 to 1.
    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (f64::from(self.0.next_u32()) / 2_147_483_648.0 - 1.0) as f32).collect()
    }

    /// So many numbers of any finite bits: huge, subnormal, negative zero.
    pub(crate) fn finite_bits(&mut self, n: usize) -> Vec<f32> {
        let mut any = || f32::from_bits(self.0.next_u32());
        std::iter::repeat_with(&mut any).filter(|x| x.is_finite()).take(n).collect()
    }

    /// A model of at most some hundred parameters.
    pub(crate) fn config(&mut self) -> ModelConfig {
        let n_kv_heads = self.size(1, 2);
        let n_heads = n_kv_heads * self.size(1, 3);
        ModelConfig {
            vocabulary: self.size(2, 9),
            hidden: n_heads * self.pick(&[2, 4]),
            intermediate: self.size(1, 9),
            n_layers: self.size(1, 3),
            n_heads,
            n_kv_heads,
            context: self.size(2, 12),
            rope_theta: self.pick(&[1.0, 100.0, 123_456.789, 500_000.0]),
            rms_norm_eps: self.pick(&[1e-12, 3.25e-7, 1e-5, 0.1]),
            tied: self.size(0, 1) == 1,
        }
    }

    /// Sequences of unequal lengths that a model can be trained on.
    pub(crate) fn batch(&mut self, config: &ModelConfig, n_sequences: usize) -> Vec<Vec<u32>> {
        let mut sequence = || -> Vec<u32> {
            let n_tokens = self.size(2, config.context);
            (0..n_tokens).map(|_| self.size(0, config.vocabulary - 1) as u32).collect()
        };
        (0..n_sequences).map(|_| sequence()).collect()
    }
}

/// The same numbers in double precision.
pub(crate) fn doubles(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}

/// The bits of numbers, for which a zero is not its negative and a NaN is itself.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// The slope of `f` along each of its arguments, by differences in double precision.
pub(crate) fn slopes(at: &[f32], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut moved = doubles(at);
    let mut slopes = Vec::with_capacity(at.len());
    for (i, middle) in doubles(at).into_iter().enumerate() {
        let mut value_at = |x: f64| {
            moved[i] = x;
            f(&moved)
        };
        slopes.push((value_at(middle + STEP) - value_at(middle - STEP)) / (2.0 * STEP));
        moved[i] = middle;
    }
    slopes
}

/// Fails unless each number is within `tolerance` of its exact value.
pub(crate) fn assert_near(found: &[f32], exact: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), exact.len(), "{what}");
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        let error = (f64::from(*found) - exact).abs();
        assert!(error <= tolerance, "{what}: number {i} is {found}, not {exact}");
    }
}

/// What `f` gives in a pool of so many threads.
pub(crate) fn on_threads<R: Send>(n_threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap().install(f)
}
