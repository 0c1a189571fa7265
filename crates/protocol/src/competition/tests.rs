//! Competition files: what they hold, and what is refused where.

use super::*;

/// The digest of these rules before there were bounds on work and memory.
const BEFORE: &str = "sha256:1f6379f38227c5c4fe9eb819227379722632893b925f5db0add2ff04818b6cfa";
const TINY: &str = include_str!("../../../../testdata/scoring/competition.toml");

#[test]
fn every_builtin_competition_keeps_its_own_rules() {
    let mut ids = Vec::new();
    for name in Competition::builtin_names() {
        let competition = Competition::builtin(name).unwrap();
        assert_eq!(competition.name, name);
        ids.push(competition.id.0);
    }
    assert_eq!(ids, [100, 101, 1, 2, 0, 3, 4], "numbers stand in commitments and never change");
}

#[test]
fn the_competitions_of_the_paper_share_the_reward_as_on_13_august_2024() {
    let share = |name| Competition::builtin(name).unwrap().reward_share;
    let sum: f64 = ["700m", "3b", "7b", "7b-star"].into_iter().map(share).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    let epsilon = |name| Competition::builtin(name).unwrap().scoring.epsilon;
    assert_eq!(epsilon("7b"), Epsilon::Fixed { value: 0.005 });
    assert_eq!(epsilon("7b-star"), Epsilon::Fixed { value: 0.001 });
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = Competition::builtin("7b-stat").unwrap_err().to_string();
    assert_eq!(
        error,
        "no competition is called `7b-stat`, did you mean `7b-star`?; \
         there are: tiny, 186m, 700m, 3b, 7b, 7b-star, 14b"
    );
    let error = Competition::builtin("elephant").unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
    assert!(Competition::builtin("TINY").unwrap_err().to_string().contains("mean `tiny`"));
    assert!(Competition::builtin(&"x".repeat(1_000_000)).unwrap_err().to_string().len() < 200);
}

#[test]
fn a_competition_survives_its_own_toml() {
    for name in Competition::builtin_names() {
        let competition = Competition::builtin(name).unwrap();
        let text = toml::to_string(&competition).unwrap();
        assert_eq!(Competition::from_toml(&text).unwrap(), competition);
        assert_eq!(Competition::from_toml(&text).unwrap().digest(), competition.digest());
    }
}

#[test]
fn the_digest_ignores_comments_and_notices_every_value() {
    let digest = |text: &str| Competition::from_toml(text).unwrap().digest();
    let text = TINY;
    assert_eq!(digest(text), digest(&format!("{text}\n# a comment\n")));
    for (from, to) in [("0.005", "0.006"), ("world = 1", "world = 2"), ("id = 100", "id = 102")] {
        assert_ne!(digest(text), digest(&text.replace(from, to)), "{to}");
    }
}

#[test]
fn a_value_out_of_range_is_named() {
    for (from, to, field) in [
        (r#"name = "tiny""#, r#"name = "Tiny""#, "name"),
        ("from_block = 0", "from_block = 9\nuntil_block = 9", "until_block"),
        ("reward_share = 1.0", "reward_share = 0.0", "reward_share"),
        ("reward_share = 1.0", "reward_share = nan", "reward_share"),
        ("n_parameters_min = 10_000", "n_parameters_min = 0", "model.n_parameters_min"),
        ("n_parameters_max = 2_000_000", "n_parameters_max = 9", "model.n_parameters_max"),
        ("size_bytes_max = 12_582_912", "size_bytes_max = 0", "model.size_bytes_max"),
        ("architectures =", "work_multiple = 0\narchitectures =", "model.work_multiple"),
        ("architectures =", "work_multiple = 1000001\narchitectures =", "model.work_multiple"),
        ("architectures =", "memory_bytes_max = 0\narchitectures =", "model.memory_bytes_max"),
        (r#"["llama"]"#, "[]", "model.architectures"),
        (r#"["llama"]"#, r#"["llama", "llama"]"#, "model.architectures"),
        (r#"["llama"]"#, r#"["../llama"]"#, "model.architectures"),
        ("sequence_length = 128", "sequence_length = 1", "text.sequence_length"),
        ("vocabulary = 512", "vocabulary = 256", "text.tokenizer.vocabulary"),
        ("blocks_per_round = 10", "blocks_per_round = 0", "evaluation.blocks_per_round"),
        ("commitment_age_min = 1", "commitment_age_min = 0", "evaluation.commitment_age_min"),
        ("n_batches = 24", "n_batches = 1", "evaluation.n_batches"),
        ("n_batches = 24", "n_batches = 10001", "evaluation.n_batches"),
        ("sequences_per_batch = 4", "sequences_per_batch = 0", "evaluation.sequences_per_batch"),
        ("n_models_kept = 5", "n_models_kept = 0", "evaluation.n_models_kept"),
        ("value = 0.005", "value = 1.0", "scoring.epsilon.value"),
        ("value = 0.005", "value = -0.1", "scoring.epsilon.value"),
        ("temperature = 0.01", "temperature = 0.00001", "scoring.temperature"),
        ("temperature = 0.01", "temperature = inf", "scoring.temperature"),
        ("n_models_kept = 5", "n_models_kept = 5\narithmetic = 2", "evaluation.arithmetic"),
        ("alpha = 0.5", "alpha = 1.0", "scoring.alpha"),
    ] {
        let text = TINY.replacen(from, to, 1);
        assert_ne!(text, TINY, "{from}");
        match Competition::from_toml(&text) {
            Err(Error::RuleOutOfRange { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn values_of_the_other_kinds_are_checked_too() {
    let broken = |name: &str, change: fn(&mut Competition)| {
        let mut competition = Competition::builtin(name).unwrap();
        change(&mut competition);
        match competition.check() {
            Err(Error::RuleOutOfRange { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    let linear = |start, end, blocks| Epsilon::Linear { start, end, blocks };
    let mut rules = Competition::from_toml(TINY).unwrap().scoring;
    for (epsilon, field) in [
        (linear(1.0, 0.0, 5), "scoring.epsilon.start"),
        (linear(0.1, 0.2, 5), "scoring.epsilon.end"),
        (linear(0.1, 0.0, 0), "scoring.epsilon.blocks"),
    ] {
        rules.epsilon = epsilon;
        assert!(rules.check().unwrap_err().to_string().contains(field));
    }
    rules.epsilon = linear(0.005, 0.0005, 50_400);
    rules.temperature = 0.3;
    assert_eq!(rules.check(), Ok(()));
    rules.rule = Rule::Succession;
    assert!(rules.check().unwrap_err().to_string().contains("scoring.temperature"));
    let field = broken("7b", |c| match &mut c.text.tokenizer {
        TokenizerRules::Hub { end_of_text, .. } => *end_of_text = 100_277,
        TokenizerRules::Trained { .. } | TokenizerRules::File { .. } => {}
    });
    assert_eq!(field, "text.tokenizer.end_of_text");
    let field = broken("7b", |c| {
        if let DatasetRules::Hub(dataset) = &mut c.dataset {
            dataset.repo = "../etc".to_owned();
        }
    });
    assert_eq!(field, "dataset.repo");
    let field = broken("tiny", |c| {
        c.dataset = DatasetRules::Files { path: String::new(), sha256: None };
    });
    assert_eq!(field, "dataset.path");
}

/// Rules of duels on one document per batch.
const DUELS: &[(&str, &str)] = &[
    ("rule = \"wins\"", "rule = \"duel\""),
    ("loss = \"perplexity\"", "loss = \"cross-entropy\""),
    ("sequence_length = 128", "sequence_length = 128\npacking = \"per-document\""),
    ("sequences_per_batch = 4", "sequences_per_batch = 1"),
    ("n_batches = 24", "n_batches = 65"),
];

fn with(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn a_file_may_ask_for_duels_with_or_without_rules_of_its_own() {
    let text = with(TINY, DUELS);
    let plain = Competition::from_toml(&text).unwrap();
    assert_eq!(plain.scoring.duel_rules(), Some(DuelRules::default()));
    assert_eq!(Competition::from_toml(TINY).unwrap().scoring.duel_rules(), None);
    let own = text + "\n[scoring.duel]\nalpha = 0.01\n";
    let own = Competition::from_toml(&own).unwrap();
    let expected = DuelRules { alpha: 0.01, ..DuelRules::default() };
    assert_eq!(own.scoring.duel_rules(), Some(expected));
    assert_ne!(own.digest(), plain.digest());
    for competition in [plain, own] {
        let text = toml::to_string(&competition).unwrap();
        assert_eq!(Competition::from_toml(&text).unwrap(), competition);
    }
}

#[test]
fn what_duels_cannot_be_judged_by_is_named() {
    let duels = with(TINY, DUELS);
    let table = "alpha = 0.5\n[scoring.duel]\n";
    for (from, to, field) in [
        ("loss = \"cross-entropy\"", "loss = \"perplexity\"", "scoring.loss"),
        ("packing = \"per-document\"", "packing = \"packed\"", "text.packing"),
        ("sequences_per_batch = 1", "sequences_per_batch = 2", "evaluation.sequences_per_batch"),
        ("n_batches = 65", "n_batches = 60", "evaluation.n_batches"),
        ("n_batches = 65", "n_batches = 66", "evaluation.n_batches"),
        ("temperature = 0.01", "temperature = 0.3", "scoring.temperature"),
        ("value = 0.005", "value = 0.026", "scoring.epsilon.value"),
        ("alpha = 0.5", format!("{table}alpha = 0.2").as_str(), "scoring.duel.alpha"),
        ("alpha = 0.5", format!("{table}clip = 0.009").as_str(), "scoring.epsilon.value"),
        ("rule = \"duel\"", "rule = \"succession\"", ""),
    ] {
        let text = with(&duels, &[(from, to)]);
        match (Competition::from_toml(&text), field) {
            (Ok(_), "") => {}
            (Err(Error::RuleOutOfRange { field: named, .. }), _) => assert_eq!(named, field),
            (other, _) => panic!("{to}: {other:?}"),
        }
    }
    let other_rule = with(TINY, &[("alpha = 0.5", format!("{table}beta = 0.02").as_str())]);
    match Competition::from_toml(&other_rule) {
        Err(Error::RuleOutOfRange { field, .. }) => assert_eq!(field, "scoring.duel"),
        other => panic!("{other:?}"),
    }
    let unknown = with(&duels, &[("alpha = 0.5", format!("{table}epsilon = 0.1").as_str())]);
    let error = Competition::from_toml(&unknown).unwrap_err().to_string();
    assert!(error.contains("unknown field `epsilon`"), "{error}");
}

#[test]
fn each_validator_may_draw_text_of_its_own() {
    let (hash, own, other) = (BlockHash([1; 32]), AccountId([2; 32]), AccountId([3; 32]));
    assert_eq!(Seeds::Shared.hash(hash, own), hash);
    let drawn = [own, other].map(|validator| Seeds::Own.hash(hash, validator));
    assert!(drawn[0] != drawn[1] && !drawn.contains(&hash));
    let expected = Digest::of_fields("agon own seed", &[&hash.0, &own.0]);
    assert_eq!(drawn[0], BlockHash(expected.0));
    assert_ne!(Seeds::Own.hash(BlockHash([9; 32]), own), drawn[0]);
    let seeds = |value: &str| {
        let line = format!("n_models_kept = 5\nseeds = \"{value}\"");
        Competition::from_toml(&with(TINY, &[("n_models_kept = 5", line.as_str())])).unwrap()
    };
    let unnamed = Competition::from_toml(TINY).unwrap();
    assert_eq!(
        (seeds("shared").digest(), unnamed.evaluation.seeds),
        (unnamed.digest(), Seeds::Shared)
    );
    assert_eq!(seeds("own").evaluation.seeds, Seeds::Own);
    assert_ne!(seeds("own").digest(), unnamed.digest());
}

#[test]
fn a_commitment_may_count_once_two_thirds_of_the_stake_have_it() {
    let duels = with(TINY, DUELS);
    let published = |value: &str| {
        let line = format!("n_models_kept = 5\npublished = \"{value}\"");
        Competition::from_toml(&with(&duels, &[("n_models_kept = 5", line.as_str())]))
    };
    let unnamed = Competition::from_toml(&duels).unwrap();
    assert_eq!(published("own").unwrap().digest(), unnamed.digest());
    assert_eq!(unnamed.evaluation.published, Published::Own);
    let two_thirds = published("two-thirds").unwrap();
    assert_eq!(two_thirds.evaluation.published, Published::TwoThirds);
    assert_ne!(two_thirds.digest(), unnamed.digest());
    let mut wins = two_thirds;
    (wins.scoring.rule, wins.scoring.duel) = (Rule::Wins, None);
    let error = wins.check().unwrap_err().to_string();
    assert!(error.contains("evaluation.published") && error.contains("duel"), "{error}");
}

#[test]
fn a_file_without_an_arithmetic_means_the_first() {
    let named = TINY.replacen("n_models_kept = 5", "n_models_kept = 5\narithmetic = 1", 1);
    assert_ne!(named, TINY);
    let digest = |text: &str| Competition::from_toml(text).unwrap().digest();
    assert_eq!(digest(&named), digest(TINY), "and the digest says so, too");
}

#[test]
fn a_file_without_a_bound_on_work_or_memory_has_one_and_keeps_its_digest() {
    let named = |line: &str| {
        let text = TINY.replacen("architectures =", &format!("{line}\narchitectures ="), 1);
        assert_ne!(text, TINY);
        Competition::from_toml(&text).unwrap()
    };
    let unnamed = Competition::from_toml(TINY).unwrap();
    assert_eq!(named("work_multiple = 4"), unnamed);
    assert_eq!(named("work_multiple = 4").digest(), unnamed.digest());
    // What `Competition::digest` gave for this file before there were bounds.
    assert_eq!(unnamed.digest().to_string(), BEFORE);
    assert_eq!(unnamed.work_max(), 4 * 2_000_000 * 127);
    assert_eq!(unnamed.model.memory_max(), 4 * 12_582_912 + (2 << 30));
    for (line, work, memory) in [
        ("work_multiple = 5", 5 * 2_000_000 * 127, unnamed.model.memory_max()),
        ("memory_bytes_max = 1_000_000", unnamed.work_max(), 1_000_000),
    ] {
        let other = named(line);
        assert_ne!(other.digest(), unnamed.digest(), "{line}");
        assert_eq!((other.work_max(), other.model.memory_max()), (work, memory), "{line}");
    }
}

#[test]
fn bounds_beyond_what_numbers_hold_are_the_largest() {
    let mut rules = Competition::from_toml(TINY).unwrap();
    rules.model.n_parameters_max = u64::MAX / 2;
    rules.model.size_bytes_max = u64::MAX / 2;
    assert_eq!((rules.work_max(), rules.model.memory_max()), (u64::MAX, u64::MAX));
}

#[test]
fn no_competition_that_comes_with_the_program_pays_for_numbers_of_models() {
    for name in Competition::builtin_names() {
        let Competition { scoring, evaluation, .. } = Competition::builtin(name).unwrap();
        let rule = if name == "tiny" { Rule::Duel } else { Rule::Succession };
        assert_eq!((scoring.rule, evaluation.arithmetic), (rule, ARITHMETIC), "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_one_line_that_says_where() {
    for (from, to, what) in [
        ("alpha = 0.5", "alpha = ", "line "),
        ("alpha = 0.5", "", "missing field `alpha`"),
        ("alpha = 0.5", "alpha = 0.5\nbeta = 1", "unknown field `beta`"),
        (r#"rule = "wins""#, r#"rule = "luck""#, "unknown variant `luck`"),
        ("id = 100", "id = 70000", "70000"),
        (r#"kind = "generated""#, r#"kind = "magic""#, "unknown variant `magic`"),
    ] {
        let error = Competition::from_toml(&TINY.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains('\n'), "{to}: {error}");
    }
}

/// A competition on two pinned files.
fn pinned() -> Competition {
    let mut competition = Competition::builtin("7b").unwrap();
    let file = |name: &str| PinnedFile {
        path: format!("sample/10BT/{name}.parquet"),
        size_bytes: 2_147_292_183,
        n_rows: 1_050_123,
        rows_per_group: 1_000,
        sha256: Digest::of(name.as_bytes()),
        footer_bytes: 4_000_000,
        footer_sha256: Digest::of(b"footer"),
    };
    let config = |name: &str, weight| DatasetConfig {
        name: name.to_owned(),
        weight,
        files: vec![file(name)],
    };
    if let DatasetRules::Hub(dataset) = &mut competition.dataset {
        dataset.configs = vec![config("a", 1), config("b", 3)];
    }
    competition
}

#[test]
fn pinned_files_survive_their_own_toml_and_enter_the_digest() {
    let competition = pinned();
    let text = toml::to_string(&competition).unwrap();
    assert_eq!(Competition::from_toml(&text).unwrap(), competition);
    assert_ne!(competition.digest(), Competition::builtin("7b").unwrap().digest());
    let DatasetRules::Hub(dataset) = &competition.dataset else { panic!("{competition:?}") };
    let file = &dataset.configs[0].files[0];
    assert_eq!(
        (file.n_groups(), file.rows_of_group(0), file.rows_of_group(1_050)),
        (1_051, 1_000, 123)
    );
    assert_eq!(file.rows_of_group(1_051), 0);
    assert_eq!(file.rows_of_group(u64::MAX), 0);
}

#[test]
fn a_dataset_is_pinned_by_a_revision_and_files_together() {
    let DatasetRules::Hub(files) = pinned().dataset else { panic!("no dataset of a hub") };
    assert_eq!(files.pinned(), None);
    let revision = Some("0123456789".repeat(4).parse().unwrap());
    let dataset = HubDataset { revision: revision.clone(), ..files };
    assert_eq!(dataset.pinned(), revision.as_ref());
    assert_eq!(HubDataset { configs: Vec::new(), ..dataset }.pinned(), None);
}

#[test]
fn parts_may_be_named_before_anything_is_pinned_and_are_pinned_all_together() {
    let named = |lines: &str| {
        let text = Competition::builtin_text("7b").unwrap();
        let column = "text_column = \"text\"\n";
        assert!(text.contains(column));
        Competition::from_toml(&text.replace(column, &format!("{column}{lines}")))
    };
    let parts =
        "[[dataset.configs]]\nname = \"a\"\n[[dataset.configs]]\nname = \"b\"\nweight = 3\n";
    let competition = named(parts).unwrap();
    let text = toml::to_string(&competition).unwrap();
    assert_eq!(Competition::from_toml(&text).unwrap(), competition);
    let DatasetRules::Hub(dataset) = &competition.dataset else { panic!("{competition:?}") };
    assert_eq!((dataset.pinned(), dataset.configs[1].weight), (None, 3));
    let revision = "0123456789".repeat(4);
    let chosen = named(&format!("revision = \"{revision}\"\n{parts}")).unwrap();
    let DatasetRules::Hub(dataset) = &chosen.dataset else { panic!("{chosen:?}") };
    assert!(dataset.revision.is_some() && dataset.pinned().is_none());
    let mut half = pinned();
    if let DatasetRules::Hub(dataset) = &mut half.dataset {
        dataset.revision = revision.parse().ok();
        dataset.configs[1].files.clear();
        assert_eq!(dataset.pinned(), None);
    }
    assert!(half.check().is_err());
}

#[test]
fn a_tokenizer_of_a_hub_may_name_its_revision_and_means_what_it_meant_without() {
    let text = Competition::builtin_text("7b").unwrap();
    let competition = Competition::from_toml(text).unwrap();
    let TokenizerRules::Hub { revision, .. } = &competition.text.tokenizer else {
        panic!("{competition:?}")
    };
    assert_eq!(*revision, None);
    assert!(!serde_json::to_string(&competition).unwrap().contains("\"revision\":\""));
    let repo = "repo = \"Xenova/gpt-4\"";
    let revision = format!("{repo}, revision = \"{}\"", "0123456789".repeat(4));
    let pinned = Competition::from_toml(&text.replace(repo, &revision)).unwrap();
    assert_ne!(pinned.digest(), competition.digest());
    let written = toml::to_string(&pinned).unwrap();
    assert_eq!(Competition::from_toml(&written).unwrap(), pinned);
}

#[test]
fn what_pins_a_file_is_checked_value_by_value() {
    type Change = fn(&mut HubDataset);
    let changes: [(Change, &str); 14] = [
        (|d| d.configs[0].files[0].path = "../a".to_owned(), "path"),
        (|d| d.configs[0].files[0].path = "/etc/a".to_owned(), "path"),
        (|d| d.configs[0].files[0].path = "a//b".to_owned(), "path"),
        (|d| d.configs[0].files[0].path = "a#1".to_owned(), "path"),
        (|d| d.configs[1].files[0].path = d.configs[0].files[0].path.clone(), "path"),
        (|d| d.configs[0].files[0].size_bytes = 3, "size_bytes"),
        (|d| d.configs[0].files[0].n_rows = 0, "n_rows"),
        (|d| d.configs[0].files[0].rows_per_group = 0, "rows_per_group"),
        (|d| d.configs[0].files[0].footer_bytes = 1 << 40, "footer_bytes"),
        (|d| d.configs[0].files.clear(), "files"),
        (|d| d.configs[0].weight = 0, "weight"),
        (|d| d.configs[0].name.clear(), "name"),
        (|d| d.draw.rounds_apart = 0, "rounds_apart"),
        (|d| d.draw.documents_per_group = 0, "documents_per_group"),
    ];
    for (change, field) in changes {
        let mut competition = pinned();
        if let DatasetRules::Hub(dataset) = &mut competition.dataset {
            change(dataset);
        }
        match competition.check() {
            Err(Error::RuleOutOfRange { field: named, .. }) => assert!(named.ends_with(field)),
            other => panic!("{field}: {other:?}"),
        }
    }
}
