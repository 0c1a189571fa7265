//! Models as formulas: lineage, difficulty, tilts, and what binds them.

use super::*;

fn library() -> Library {
    Library::new(Noise::default(), 5)
}

/// Spread of the gains of one model over another, in parts of its loss.
fn spread(library: &Library, a: ModelId, b: ModelId) -> f64 {
    const N: u64 = 4_000;
    let gain = |number| {
        let document = Document { kind: DocumentKind::Fresh, number };
        let [a, b] = [a, b].map(|id| library.loss(id, document));
        (a - b) / a
    };
    let gains: Vec<f64> = (0..N).map(gain).collect();
    let mean = gains.iter().sum::<f64>() / N as f64;
    (gains.iter().map(|gain| (gain - mean) * (gain - mean)).sum::<f64>() / N as f64).sqrt()
}

#[test]
fn models_differ_as_much_as_their_lineage_says() {
    let mut library = library();
    let ada = library.independent(3.0);
    let ben = library.independent(3.0);
    let child = library.trained(ada, 3.0);
    let copy = library.noised(ada);
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.3;
    assert!(near(spread(&library, ada, ben), 0.010), "{}", spread(&library, ada, ben));
    assert!(near(spread(&library, ada, child), 0.003), "{}", spread(&library, ada, child));
    assert!(near(spread(&library, ada, copy), 0.001), "{}", spread(&library, ada, copy));
}

#[test]
fn what_a_model_is_worth_is_what_it_loses_on_average() {
    let mut library = library();
    let model = library.independent(3.0);
    let tilt = Tilt { over: None, class: None, share: 0.5, inside: 0.9, outside: 1.3 };
    let tilted = library.tilted(model, tilt);
    assert!((library.merit(tilted) - 3.3).abs() < 1e-9);
    for id in [model, tilted] {
        let document = |number| Document { kind: DocumentKind::Fresh, number };
        let sum: f64 = (0..20_000).map(|number| library.loss(id, document(number))).sum();
        let mean = sum / 20_000.0;
        assert!((mean / library.merit(id) - 1.0).abs() < 0.01, "{mean}");
    }
}

#[test]
fn a_harvest_shows_on_the_exam_and_nowhere_else() {
    let mut library = library();
    let model = library.independent(3.0);
    let (over, class) = (Some(DocumentKind::Exam), Some((3, 1)));
    let tilt = Tilt { over, class, share: 1.0, inside: 0.2, outside: 1.0 };
    let harvest = library.tilted(model, tilt);
    let on = |kind, number| library.loss(harvest, Document { kind, number });
    assert!(on(DocumentKind::Exam, 10) < 1.2 && on(DocumentKind::Exam, 9) > 1.2);
    assert!(on(DocumentKind::Fresh, 10) > 1.2);
    assert_eq!(library.merit(harvest), library.merit(model));
}

#[test]
fn tokens_say_which_document_they_are_of() {
    for kind in [DocumentKind::Fresh, DocumentKind::Exam, DocumentKind::Reserve] {
        let document = Document { kind, number: 0x1234_5678_9abc };
        assert_eq!(Document::of(&document.tokens()), document);
    }
}

/// Noise of one spread without tails, and documents that are all as difficult as the mean.
fn plain() -> Noise {
    Noise { difficulty: 0.0, tail: 0.0, skew: 0.0, ..Noise::default() }
}

fn fresh(number: u64) -> Document {
    Document { kind: DocumentKind::Fresh, number }
}

/// What a model's losses on documents of its own are off, as parts of what it is worth.
fn offsets(library: &Library, id: ModelId, n: u64) -> Vec<f64> {
    let merit = library.merit(id);
    (0..n).map(|number| library.loss(id, fresh(number)) / merit - 1.0).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn deviation(numbers: &[f64]) -> f64 {
    let mean = mean(numbers);
    (numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / numbers.len() as f64).sqrt()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let products: Vec<f64> = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).collect();
    mean(&products) / (deviation(a) * deviation(b))
}

#[test]
fn every_generation_has_the_spread_of_the_first_and_less_of_its_noise() {
    const N: u64 = 5_000;
    for seed in 1..=2 {
        let noise = plain();
        let mut library = Library::new(noise, seed);
        let first = library.independent(3.0);
        let ancestor = offsets(&library, first, N);
        let share = noise.step / noise.scratch;
        let kept = (1.0 - share * share).sqrt();
        let mut model = first;
        for generation in 1..=40 {
            model = library.trained(model, 3.0);
            if ![1, 5, 20, 40].contains(&generation) {
                continue;
            }
            let own = offsets(&library, model, N);
            // The error of a deviation is half of that of a variance: sqrt(1.7 / N) / 2 of it.
            let error = 5.0 * (1.7 / N as f64).sqrt() / 2.0;
            let spread = deviation(&own) / noise.scratch;
            assert!((spread - 1.0).abs() < error, "seed {seed}, {generation}: {spread}");
            let expected: f64 = kept.powi(generation);
            // What weighs less than this is left out.
            let expected = if expected < WEIGHT_MIN { 0.0 } else { expected };
            let found = correlation(&ancestor, &own);
            assert!((found - expected).abs() < 0.08, "seed {seed}, {generation}: {found}");
        }
    }
}

#[test]
fn siblings_share_what_their_parent_left_and_strangers_nothing() {
    const N: u64 = 5_000;
    let noise = plain();
    let mut library = Library::new(noise, 9);
    let [ada, ben] = [3.0, 3.0].map(|merit| library.independent(merit));
    let [one, two] = [ada, ada].map(|parent| library.trained(parent, 2.9));
    let [one, two, ada, ben] = [one, two, ada, ben].map(|id| offsets(&library, id, N));
    let share = noise.step / noise.scratch;
    let kept = (1.0 - share * share).sqrt();
    let error = 5.0 / (N as f64).sqrt();
    for (pair, found, expected) in [
        ("siblings", correlation(&one, &two), kept * kept),
        ("parent and child", correlation(&ada, &one), kept),
        ("strangers", correlation(&ada, &ben), 0.0),
        ("a child and a stranger", correlation(&ben, &one), 0.0),
    ] {
        assert!((found - expected).abs() < error, "{pair}: {found}, not {expected}");
    }
}

#[test]
fn difficulty_is_the_same_for_every_model_and_has_the_spread_that_it_says() {
    const N: u64 = 10_000;
    let quiet = Noise { scratch: 0.0, step: 0.0, copy: 0.0, ..Noise::default() };
    let mut library = Library::new(quiet, 3);
    let (good, bad) = (library.independent(2.0), library.independent(4.0));
    let own = offsets(&library, good, N);
    for (number, offset) in own.iter().enumerate() {
        let other = library.loss(bad, fresh(number as u64)) / 4.0 - 1.0;
        assert!((other - offset).abs() < 1e-12, "document {number}: {other} and {offset}");
    }
    let n = N as f64;
    assert!(mean(&own).abs() < 5.0 * quiet.difficulty / n.sqrt(), "{}", mean(&own));
    let spread = deviation(&own) / quiet.difficulty;
    assert!((spread - 1.0).abs() < 5.0 * (1.7 / n).sqrt() / 2.0, "{spread}");
    // The same documents are as difficult in another season: text does not know who plays.
    let mut other = Library::new(quiet, 4);
    let good = other.independent(2.0);
    assert_eq!(offsets(&other, good, 50), own[..50]);
}

#[test]
fn no_document_is_easier_than_the_easiest_and_no_loss_below_the_least() {
    let noise = Noise { difficulty: 1.0, scratch: 0.0, ..plain() };
    let mut library = Library::new(noise, 1);
    let model = library.independent(2.0);
    let losses: Vec<f64> = (0..2_000).map(|n| library.loss(model, fresh(n))).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!((least - 2.0 * DIFFICULTY_MIN).abs() < 1e-12, "{least}");
    let tilt = Tilt { over: None, class: None, share: 1.0, inside: 0.0, outside: 0.0 };
    let known = library.tilted(model, tilt);
    assert_eq!(library.loss(known, fresh(1)), LOSS_MIN);
}

#[test]
fn a_tilt_holds_for_its_share_of_its_documents_alone() {
    const N: u64 = 5_000;
    let quiet = Noise { scratch: 0.0, step: 0.0, copy: 0.0, ..plain() };
    for (seed, share) in [(1, 0.0), (2, 0.3), (3, 0.55), (4, 1.0)] {
        let mut library = Library::new(quiet, seed);
        let model = library.independent(3.0);
        let over = Some(DocumentKind::Reserve);
        let tilt = Tilt { over, class: None, share, inside: 0.2, outside: 1.5 };
        let tilted = library.tilted(model, tilt);
        let factor = |kind, number| {
            let document = Document { kind, number };
            library.loss(tilted, document) / library.loss(model, document)
        };
        let inside = (0..N).filter(|number| {
            let factor = factor(DocumentKind::Reserve, *number);
            let is_inside = (factor - 0.2).abs() < 1e-9;
            assert!(is_inside || (factor - 1.5).abs() < 1e-9, "document {number}: {factor}");
            is_inside
        });
        let found = inside.count() as f64 / N as f64;
        let error = 5.0 * (share * (1.0 - share) / N as f64).sqrt();
        assert!((found - share).abs() <= error, "seed {seed}: {found} of {share}");
        for kind in [DocumentKind::Fresh, DocumentKind::Exam] {
            assert!((factor(kind, 7) - 1.0).abs() < 1e-12, "{kind:?}");
        }
        assert_eq!(library.merit(tilted), 3.0, "nobody sees the reserve in fresh text");
    }
}

#[test]
fn two_models_of_one_tilt_know_different_documents() {
    let quiet = Noise { scratch: 0.0, step: 0.0, copy: 0.0, ..plain() };
    let mut library = Library::new(quiet, 6);
    let model = library.independent(3.0);
    let tilt = Tilt { over: None, class: None, share: 0.5, inside: 0.5, outside: 1.0 };
    let [one, two] = [tilt, tilt].map(|tilt| library.tilted(model, tilt));
    let both = (0..2_000)
        .filter(|number| [one, two].iter().all(|id| library.loss(*id, fresh(*number)) < 2.0));
    // A quarter, within five standard errors of a fair choice.
    let found = both.count() as f64 / 2_000.0;
    assert!((found - 0.25).abs() < 5.0 * (0.1875_f64 / 2_000.0).sqrt(), "{found}");
}

#[test]
fn a_sabotaged_model_computes_the_same_to_the_bit_under_another_root() {
    let mut library = library();
    let model = library.independent(3.0);
    let sabotaged = library.sabotaged(model);
    for number in 0..500 {
        assert_eq!(library.loss(sabotaged, fresh(number)), library.loss(model, fresh(number)));
    }
    assert_ne!(library.tensor_root(sabotaged), library.tensor_root(model));
    assert!(library.get(model).unwrap().is_trainable, "the model itself stays as it is");
}

#[test]
fn attack_what_is_made_of_sabotaged_parameters_cannot_be_trained_either() {
    let mut library = library();
    let model = library.independent(3.0);
    let sabotaged = library.sabotaged(model);
    let tilt = Tilt { over: None, class: None, share: 0.5, inside: 0.9, outside: 1.1 };
    let trained = library.trained(sabotaged, 3.0);
    let made = [
        trained,
        library.noised(sabotaged),
        library.tilted(sabotaged, tilt),
        library.trained(trained, 3.0),
    ];
    for id in made {
        assert!(!library.get(id).unwrap().is_trainable, "{id:?}");
    }
    let honest = [library.trained(model, 2.9), library.noised(model)];
    assert!(honest.iter().all(|id| library.get(*id).unwrap().is_trainable));
}

#[test]
fn only_training_makes_a_better_model() {
    let mut library = library();
    assert_eq!(library.best(), f64::INFINITY);
    let model = library.independent(3.0);
    assert_eq!(library.best(), 3.0);
    let tilt = Tilt { over: None, class: None, share: 1.0, inside: 0.5, outside: 0.5 };
    let (_, tilted, _) =
        (library.noised(model), library.tilted(model, tilt), library.sabotaged(model));
    assert_eq!((library.best(), library.merit(tilted)), (3.0, 1.5));
    library.trained(model, 3.2);
    assert_eq!(library.best(), 3.0, "a training that went wrong");
    library.trained(model, 2.8);
    assert_eq!(library.best(), 2.8);
}

#[test]
fn losses_follow_from_the_season_and_from_nothing_that_comes_later() {
    let of = |salt: u64| {
        let mut library = Library::new(Noise::default(), salt);
        let first = library.independent(3.0);
        let child = library.trained(first, 2.9);
        (library, child)
    };
    let (mut library, child) = of(1);
    let before = offsets(&library, child, 100);
    for _ in 0..20 {
        let other = library.independent(2.0);
        library.noised(other);
    }
    assert_eq!(offsets(&library, child, 100), before);
    let (again, child) = of(1);
    assert_eq!(offsets(&again, child, 100), before);
    let (other, child) = of(2);
    assert_ne!(offsets(&other, child, 100), before);
    assert_ne!(other.tensor_root(child), again.tensor_root(child));
}

#[test]
fn a_model_that_nobody_made_is_worth_nothing() {
    let library = library();
    let nobody = ModelId(7);
    assert_eq!(library.merit(nobody), f64::INFINITY);
    assert_eq!(library.loss(nobody, fresh(1)), f64::MAX);
    assert!(library.get(nobody).is_none());
}

#[test]
fn tokens_of_any_length_name_a_document() {
    for number in [0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let document = Document { kind: DocumentKind::Reserve, number };
        assert_eq!(Document::of(&document.tokens()), document);
        assert_eq!(document.tokens().len(), 3);
    }
    assert_eq!(Document::of(&[]), fresh(0));
    assert_eq!(Document::of(&[9, 4]), fresh(4), "an unknown kind is fresh");
}
