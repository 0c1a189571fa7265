//! The generated corpus: frozen documents, and an entropy that is exact.

use super::*;
use grammar::Telling;
use proptest::prelude::*;
use std::collections::HashMap;
use writer::END;

const TINY: Sizes = Sizes { n_people: 2, n_places: 2, n_animals: 2, n_objects: 2 };

/// What came of one run of choices.
struct Run {
    text: String,
    entropy_nats: f64,
    /// Which of the possible options was taken at each choice.
    taken: Vec<usize>,
    /// How many options were possible at each choice.
    n_possible: Vec<usize>,
}

/// Takes at each choice the option that the next index selects; beyond them, the first.
fn follow(write: &dyn Fn(&mut Writer), indices: &[usize]) -> Run {
    let (mut taken, mut n_possible) = (Vec::new(), Vec::new());
    let mut pick = |_: &str, options: &[Choice]| {
        let possible: Vec<usize> = (0..options.len()).filter(|i| options[*i].0 > 0).collect();
        let index = indices.get(taken.len()).copied().unwrap_or(0) % possible.len();
        taken.push(index);
        n_possible.push(possible.len());
        possible[index]
    };
    let mut writer = Writer::new(&mut pick);
    write(&mut writer);
    let (text, entropy_nats) = (writer.text, writer.entropy_nats);
    Run { text, entropy_nats, taken, n_possible }
}

/// All texts that `write` can give, with the entropy of each way in which they arise.
fn enumerate(write: &dyn Fn(&mut Writer)) -> HashMap<String, Vec<f64>> {
    let mut texts: HashMap<String, Vec<f64>> = HashMap::new();
    let mut indices = Vec::new();
    loop {
        let Run { text, entropy_nats, taken, n_possible } = follow(write, &indices);
        texts.entry(text).or_default().push(entropy_nats);
        let Some(last) = (0..taken.len()).rfind(|i| taken[*i] + 1 < n_possible[*i]) else {
            return texts;
        };
        indices = taken[..=last].to_vec();
        indices[last] += 1;
    }
}

#[test]
fn in_a_tiny_world_each_text_arises_in_one_way_and_all_probabilities_sum_to_one() {
    let world = World::new(7, TINY);
    type Part = fn(&mut Telling);
    let parts: [(&str, Part); 6] = [
        ("facts", |telling| telling.facts()),
        ("talk", |telling| telling.talk()),
        ("market", |telling| telling.market()),
        ("school", |telling| telling.school(2)),
        ("news", |telling| telling.news(2)),
        ("story", |telling| telling.story(2)),
    ];
    for (what, part) in parts {
        let texts = enumerate(&|writer: &mut Writer| {
            part(&mut Telling { world: &world, writer, hero: &world.people[0] });
        });
        assert!(texts.len() > 100, "{what}: only {} texts", texts.len());
        for (text, ways) in &texts {
            assert_eq!(ways.len(), 1, "{what}: {text:?}");
        }
        let total: f64 = texts.values().flatten().map(|nats| (-nats).exp()).sum();
        assert!((total - 1.0).abs() < 1e-9, "{what}: probabilities sum to {total}");
    }
}

/// The entropy of a document, found from its text alone: of each choice, one option must fit.
fn entropy_of(world: &World, text: &str) -> f64 {
    let mut pick = |written: &str, options: &[Choice]| {
        let rest = text.strip_prefix(written).expect("the text must fit what was picked");
        let fits = |i: &usize| {
            let (weight, option) = options[*i];
            weight > 0 && if option == END { rest.is_empty() } else { rest.starts_with(option) }
        };
        let fitting: Vec<usize> = (0..options.len()).filter(fits).collect();
        assert_eq!(fitting.len(), 1, "{options:?} before {rest:?}");
        fitting[0]
    };
    let mut writer = Writer::new(&mut pick);
    grammar::document(world, &mut writer);
    assert_eq!(writer.text, text);
    writer.entropy_nats
}

#[test]
fn the_entropy_of_a_document_follows_from_its_text_alone() {
    let source = GeneratedSource::new(3);
    for index in 0..200 {
        let document = source.document(Split::Train, index).unwrap();
        assert_eq!(Some(entropy_of(&source.world, &document.text)), document.entropy_nats);
    }
}

#[test]
fn the_mean_entropy_is_that_of_the_texts_drawn() {
    // The expected value of -ln p over the draws is the entropy of the distribution itself.
    let world = World::new(7, TINY);
    let news = |writer: &mut Writer| {
        Telling { world: &world, writer, hero: &world.people[0] }.news(1);
    };
    let texts = enumerate(&news);
    let entropy: f64 = texts.values().flatten().map(|nats| nats * (-nats).exp()).sum();
    let mut rng = Seed::of_number(5).stream();
    let n = 4_000;
    let mean = (0..n)
        .map(|_| {
            let mut pick = |_: &str, options: &[Choice]| weighted(&mut rng, options);
            let mut writer = Writer::new(&mut pick);
            news(&mut writer);
            writer.entropy_nats / f64::from(n)
        })
        .sum::<f64>();
    assert!((mean - entropy).abs() < 0.02, "{mean} against {entropy}");
}

#[test]
fn documents_are_ascii_of_the_promised_size_with_enough_entropy_not_to_meet_again() {
    let source = GeneratedSource::new(1);
    for split in [Split::Train, Split::Evaluation] {
        for index in 0..500 {
            let document = source.document(split, index).unwrap();
            let n = document.text.len();
            assert!(document.text.is_ascii() && (500..=1_500).contains(&n), "{document:?}");
            assert!(document.entropy_nats.unwrap() > 25.0, "{document:?}");
        }
    }
}

#[test]
fn the_documents_of_a_world_are_frozen() {
    let source = GeneratedSource::new(1);
    assert_eq!(source.digest().hex(), FROZEN_DIGEST);
    let document = source.document(Split::Evaluation, 1 << 39).unwrap();
    assert_eq!(document.id, "generated:1/evaluation/549755813888");
    assert_eq!(document.digest().hex(), FROZEN_DOCUMENT);
    assert_ne!(GeneratedSource::new(2).digest(), source.digest());
}
const FROZEN_DIGEST: &str = "8ca50978d332637bf99019c43c4687866cca923dc59cd2200d1d45de8621109b";
const FROZEN_DOCUMENT: &str = "1c62a872ad050b03575aebbb71b19f3aff6311cdef20742e39dceb2f6c4f8389";

#[test]
fn a_fact_of_the_world_is_the_same_in_every_document() {
    let source = GeneratedSource::new(1);
    let documents = |split, n| (0..n).map(move |i| (split, i));
    let mut homes: HashMap<String, String> = HashMap::new();
    for (split, index) in documents(Split::Train, 300).chain(documents(Split::Evaluation, 300)) {
        let text = source.document(split, index).unwrap().text;
        for sentence in text.split(['.', '\n']) {
            if let Some((who, home)) = sentence.split_once(" went home to ") {
                let who = who.rsplit(' ').next().unwrap();
                let known = homes.entry(who.to_owned()).or_insert_with(|| home.to_owned());
                assert_eq!(known, home, "{who}");
            }
        }
    }
    assert!(homes.len() > 40, "{homes:?}");
}

#[test]
fn a_document_beyond_the_last_is_an_error() {
    let source = GeneratedSource::new(1);
    let error = source.document(Split::Train, GeneratedSource::N_DOCUMENTS).unwrap_err();
    assert!(matches!(error, Error::NoDocument { .. }) && !error.is_transient(), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn different_choices_give_different_documents(
        world in 0..4_u64,
        a in prop::collection::vec(0..64_usize, 0..60),
        b in prop::collection::vec(0..64_usize, 0..60),
        n_equal in 0..60_usize,
    ) {
        let world = World::new(world, Sizes::FULL);
        let write = |writer: &mut Writer| grammar::document(&world, writer);
        // Two runs of choices that part late are the hard case.
        let mut b = b;
        b.splice(..n_equal.min(a.len()).min(b.len()), a.iter().copied().take(n_equal.min(b.len())));
        let (a, b) = (follow(&write, &a), follow(&write, &b));
        prop_assert_eq!(a.taken == b.taken, a.text == b.text);
        prop_assert_eq!(entropy_of(&world, &a.text), a.entropy_nats);
    }

    #[test]
    fn no_name_begins_another(number: u64) {
        let world = World::new(number, Sizes::FULL);
        let people = world.people.iter().map(|person| &person.name);
        let names = people.chain(world.places.iter().map(|place| &place.name));
        let names: Vec<&String> = names.collect();
        let people = &names[..world.people.len()];
        let places = &names[world.people.len()..];
        for kind in [people, places] {
            for (i, a) in kind.iter().enumerate() {
                let is_told_apart = |b: &&String| !a.starts_with(*b) && !b.starts_with(*a);
                prop_assert!(kind[i + 1..].iter().all(is_told_apart));
            }
        }
        prop_assert!((0..64).all(|i| world.people[i].friend != i && world.people[i].friend < 64));
    }
}
