//! Vector arithmetic against its definition, and that its bits are nobody's choice.

use super::*;
use crate::tests::Random;

#[test]
fn the_exponential_is_within_two_units_in_the_last_place() {
    let worst = (-870_000..=880_000)
        .map(|i| {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let unit = f64::from(exact as f32).abs() * f64::from(f32::EPSILON);
            (f64::from(exp(x)) - exact).abs() / unit
        })
        .fold(0.0, f64::max);
    assert!(worst < 2.0, "{worst} units");
    assert!(exp(f32::NAN).is_nan());
    assert!(exp(f32::NEG_INFINITY) < 1e-37);
}

#[test]
fn reductions_agree_with_their_definition_at_every_length() {
    for n in 0..50 {
        let a: Vec<f32> = (0..n).map(|i| ((i * 37) % 11) as f32 - 5.0).collect();
        assert_eq!(sum(&a), a.iter().sum::<f32>());
        assert_eq!(dot(&a, &a), a.iter().map(|x| x * x).sum::<f32>());
        assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    }
}

#[test]
fn sums_of_random_numbers_are_exact_to_the_rounding_of_their_terms() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let n = random.size(0, 1_000);
        let (a, b) = (random.floats(n), random.floats(n));
        let products: Vec<f64> =
            a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).collect();
        let terms: Vec<f64> = a.iter().map(|x| f64::from(*x)).collect();
        for (found, terms) in [(dot(&a, &b), products), (sum(&a), terms)] {
            let size: f64 = terms.iter().map(|x| x.abs()).sum();
            let error = (f64::from(found) - terms.iter().sum::<f64>()).abs();
            // A lane has every sixteenth term; four additions and one join the lanes.
            let allowed = (n / 16 + 16 + 6) as f64 * f64::from(f32::EPSILON) * size;
            assert!(error <= allowed, "seed {seed}: off by {error} of {size}");
        }
    }
}

#[test]
fn neither_vector_instructions_nor_addresses_change_a_bit() {
    let mut random = Random::new(3);
    let (a, b) = (random.floats(80), random.floats(80));
    let reduced = |a: &[f32], b: &[f32]| [dot(a, b), sum(a), max(a)].map(f32::to_bits);
    for n in 0..=80 {
        let plain = reduced(&a[..n], &b[..n]);
        for start in [0, 1, 2, 3, 7, 15] {
            let moved: Vec<f32> =
                std::iter::repeat_n(9.0, start).chain(a[..n].iter().copied()).collect();
            let found = with_vectors(|| {
                [dot(&moved[start..], &b[..n]), sum(&moved[start..]), max(&moved[start..])]
            });
            assert_eq!(found.map(f32::to_bits), plain, "{n} numbers from place {start}");
        }
    }
    let numbers: Vec<f32> = (-2_000..=2_000).map(|i| i as f32 * 0.05).collect();
    let mut found = numbers.clone();
    with_vectors(|| {
        for x in &mut found {
            *x = exp(*x) + sigmoid(*x);
        }
    });
    for (x, found) in numbers.iter().zip(&found) {
        assert_eq!((exp(*x) + sigmoid(*x)).to_bits(), found.to_bits(), "at {x}");
    }
}

#[test]
fn the_logistic_function_is_near_its_definition_and_stays_between_zero_and_one() {
    for i in -8_000..=8_000 {
        let x = i as f32 * 0.01;
        let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
        let error = (f64::from(sigmoid(x)) - exact).abs();
        assert!(error <= 4.0 * f64::from(f32::EPSILON) * exact, "{} at {x}", sigmoid(x));
    }
    for x in [f32::NEG_INFINITY, f32::MIN, -100.0, 100.0, f32::MAX, f32::INFINITY] {
        assert!((0.0..=1.0).contains(&sigmoid(x)), "{} at {x}", sigmoid(x));
    }
    assert_eq!(sigmoid(f32::INFINITY), 1.0);
    assert!(sigmoid(f32::NAN).is_nan());
}
