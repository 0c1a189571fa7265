//! Every key of a scenario file: its default, its range, and what is told of a slip.

use protocol::Block;
use sim::{Cabal, Kind, Scenario};

const SMALL: &str = "[[miners]]\nstrategy = \"rebase\"\n";

fn error(text: &str) -> String {
    match Scenario::from_toml(text) {
        Ok(_) => panic!("this is taken:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// The smallest scenario with a value for a key, which may stand in a table.
fn with(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((table, key)) => format!("{SMALL}[{table}]\n{key} = {value}\n"),
        None => format!("{key} = {value}\n{SMALL}"),
    }
}

#[test]
fn what_a_file_leaves_out_is_what_the_document_says() {
    let scenario = Scenario::from_toml(SMALL).unwrap();
    let path = "../../docs/incentives.md";
    let document = std::fs::read_to_string(path).unwrap();
    let (chain, models, noise) = (scenario.chain, scenario.models, scenario.noise);
    for (key, value) in [
        ("tempo", chain.tempo.to_string()),
        ("weights_rate_limit", chain.weights_rate_limit.to_string()),
        ("commitment_rate_limit", chain.commitment_rate_limit.to_string()),
        ("tokens_per_document", scenario.text.tokens_per_document.to_string()),
        ("start", format!("{:?}", models.start)),
        ("floor", format!("{:?}", models.floor)),
        ("training_blocks", models.training_blocks.to_string()),
        ("n_parameters", models.n_parameters.to_string()),
        ("bits_per_parameter", models.bits_per_parameter.to_string()),
        ("bits_per_token", format!("{:?}", models.bits_per_token)),
        ("difficulty", noise.difficulty.to_string()),
        ("scratch", noise.scratch.to_string()),
        ("step", noise.step.to_string()),
        ("copy", noise.copy.to_string()),
        ("tail", noise.tail.to_string()),
        ("skew", noise.skew.to_string()),
    ] {
        let told = format!("`{key}` ({value})");
        assert!(document.contains(&told), "the document does not say {told}");
    }
    for (key, value) in [
        ("blocks", scenario.blocks),
        ("validators", scenario.validators as u64),
        ("deadline_rounds", scenario.deadline_rounds),
    ] {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
        assert!(row.unwrap().ends_with(&format!("({value}) |")), "{key}: {row:?}");
    }
    assert!(scenario.cabals.is_empty());
    assert_eq!((scenario.text.pool, scenario.text.reserve, scenario.text.rounds_apart), (0, 0, 3));
    assert_eq!((scenario.miners[0].count, scenario.miners[0].slots), (1, None));
}

#[test]
fn every_key_is_read_into_its_place() {
    let text = "blocks = 60\nvalidators = 2\ndeadline_rounds = 7\n\
                [[cabals]]\ncabal = \"copy-weights\"\ncount = 3\n\
                [[miners]]\nstrategy = \"snipe\"\ncount = 5\nslots = 6\n\
                [chain]\ntempo = 9\nweights_rate_limit = 8\ncommitment_rate_limit = 11\n\
                [text]\npool = 5000\nrounds_apart = 4\nreserve = 600\nreserve_share = 0.25\n\
                tokens_per_document = 77\n\
                [models]\nstart = 3.5\nfloor = 1.5\nrate = 0.02\ntraining_blocks = 12\n\
                n_parameters = 13\nbits_per_parameter = 1.25\nbits_per_token = 2.5\n\
                [noise]\ndifficulty = 0.1\nscratch = 0.02\nstep = 0.03\ncopy = 0.04\n\
                tail = 0.5\nskew = -0.6\n";
    let found = Scenario::from_toml(text).unwrap();
    assert_eq!((found.blocks, found.validators, found.deadline_rounds), (60, 2, 7));
    assert_eq!((found.cabals[0].cabal, found.cabals[0].count), (Cabal::CopyWeights, 3));
    let miners = found.miners[0];
    assert_eq!((miners.strategy, miners.count, miners.slots), (Kind::Snipe, 5, Some(6)));
    let chain = found.chain;
    let chain = (chain.tempo, chain.weights_rate_limit, chain.commitment_rate_limit);
    assert_eq!(chain, (9, 8, 11));
    let text = found.text;
    assert_eq!((text.pool, text.rounds_apart, text.reserve), (5_000, 4, 600));
    assert_eq!((text.reserve_share, text.tokens_per_document), (0.25, 77));
    let models = found.models;
    assert_eq!((models.start, models.floor, models.rate), (3.5, 1.5, 0.02));
    assert_eq!((models.training_blocks, models.n_parameters), (12, 13));
    assert_eq!((models.bits_per_parameter, models.bits_per_token), (1.25, 2.5));
    let noise = found.noise;
    assert_eq!((noise.difficulty, noise.scratch, noise.step), (0.1, 0.02, 0.03));
    assert_eq!((noise.copy, noise.tail, noise.skew), (0.04, 0.5, -0.6));
}

#[test]
fn values_at_the_ends_of_their_range_are_taken_and_those_beyond_are_named() {
    let ranges: [(&str, &[&str], &[&str]); 17] = [
        ("blocks", &["50", "1000000"], &["49", "1000001"]),
        ("validators", &["1", "64"], &["0", "65"]),
        ("chain.tempo", &["1", "1000"], &["0", "1001"]),
        ("text.rounds_apart", &["1", "1000"], &["0", "1001"]),
        ("text.reserve_share", &["0.0", "1.0"], &["-0.001", "1.001", "nan", "inf"]),
        ("models.floor", &["0.1", "4.0"], &["0.09", "6.1", "nan"]),
        ("models.start", &["2.5", "6.0"], &["2.4", "6.1", "nan"]),
        ("models.rate", &["0.0", "0.5"], &["-0.1", "0.51", "nan"]),
        ("models.training_blocks", &["1"], &["0"]),
        ("models.bits_per_parameter", &["0.0", "64.0"], &["-1.0", "64.1", "nan", "inf"]),
        ("models.bits_per_token", &["0.0", "64.0"], &["-1.0", "64.1", "nan"]),
        ("noise.difficulty", &["0.0", "1.0"], &["-0.1", "1.1", "nan"]),
        ("noise.scratch", &["0.0", "1.0"], &["-0.1", "1.1"]),
        ("noise.step", &["0.0", "1.0"], &["-0.1", "1.1"]),
        ("noise.copy", &["0.0", "1.0"], &["-0.1", "1.1"]),
        ("noise.tail", &["0.0", "1.0"], &["-0.1", "1.1"]),
        ("noise.skew", &["-1.0", "0.0", "1.0"], &["-1.1", "1.1", "nan"]),
    ];
    for (key, good, bad) in ranges {
        for value in good {
            let read = Scenario::from_toml(&with(key, value));
            assert!(read.is_ok(), "{key} = {value}: {}", read.unwrap_err());
        }
        for value in bad {
            let told = error(&with(key, value));
            assert!(told.starts_with(&format!("`{key}` is `")), "{key} = {value}: {told}");
            assert!(told.contains(": expected "), "{key} = {value}: {told}");
        }
    }
}

#[test]
fn unknown_keys_and_values_of_the_wrong_kind_are_refused_at_their_line() {
    for table in ["chain", "text", "models", "noise"] {
        let told = error(&with(&format!("{table}.nonsense"), "1"));
        assert!(told.starts_with("line 4: ") && told.contains("`nonsense`"), "{table}: {told}");
    }
    for (text, line, word) in [
        (format!("nonsense = 1\n{SMALL}"), 1, "`nonsense`"),
        (format!("{SMALL}nonsense = 1\n"), 3, "`nonsense`"),
        (format!("{SMALL}[[cabals]]\ncabal = \"pay-own\"\nsize = 1\n"), 5, "`size`"),
        (format!("blocks = \"many\"\n{SMALL}"), 1, "string"),
        (format!("validators = -1\n{SMALL}"), 1, "-1"),
        (format!("{SMALL}[chain]\ntempo = 70000\n"), 4, "70000"),
        (format!("{SMALL}[[cabals]]\ncabal = \"pay-ownx\"\n"), 4, "did you mean `pay-own`?"),
        (format!("{SMALL}count = 1\ncount = 2\n"), 4, "duplicate"),
        ("blocks = 60\n".to_owned(), 1, "`miners`"),
    ] {
        let told = error(&text);
        assert!(told.starts_with(&format!("line {line}: ")), "{text}: {told}");
        assert!(told.contains(word) && !told.contains('\n'), "{text}: {told}");
    }
}

#[test]
fn validators_and_slots_fit_the_subnet_all_together() {
    let cabals =
        |n: usize| format!("validators = 60\n[[cabals]]\ncabal = \"censor\"\ncount = {n}\n");
    assert!(Scenario::from_toml(&format!("{}{SMALL}", cabals(4))).is_ok());
    assert!(error(&format!("{}{SMALL}", cabals(5))).contains("`validators` is `65`"));
    // Five validators, and four slots for each sybil but where a row says another number.
    let sybils = |count: usize, slots: &str| {
        format!("[[miners]]\nstrategy = \"sybil\"\ncount = {count}\n{slots}")
    };
    assert!(Scenario::from_toml(&sybils(62, "")).is_ok());
    assert!(error(&sybils(63, "")).contains("`miners` is `257`"));
    assert!(Scenario::from_toml(&sybils(251, "slots = 1\n")).is_ok());
    assert!(error(&sybils(252, "slots = 1\n")).contains("`miners` is `257`"));
    for none in ["slots = 0\n".to_owned(), "slots = 0\n[[cabals]]\ncabal = \"censor\"\n".to_owned()]
    {
        assert!(error(&sybils(3, &none)).contains("`miners`"), "nobody mines");
    }
    let most = i64::MAX;
    let huge = format!("[[miners]]\nstrategy = \"copy\"\ncount = {most}\nslots = {most}\n");
    assert!(error(&huge).contains("`miners`"), "no sum runs over");
}

#[test]
fn a_round_that_its_text_cannot_fill_is_refused_with_the_key_of_the_text() {
    // A round draws 24 batches of 4 sequences, and a pool has three shares.
    let pool = |n: u64| with("text.pool", &n.to_string());
    assert!(Scenario::from_toml(&pool(3 * 192)).is_ok());
    let told = error(&pool(3 * 192 - 1));
    assert!(told.contains("`text.pool`") && told.contains("191 documents"), "{told}");
    let reserve = |n: u64| format!("{}reserve_share = 0.5\n", with("text.reserve", &n.to_string()));
    assert!(Scenario::from_toml(&reserve(192)).is_ok());
    assert!(error(&reserve(191)).contains("`text.reserve`"));
    assert!(Scenario::from_toml(&with("text.reserve", "1")).is_ok(), "it is never drawn from");
    let small = "[rules.small.evaluation]\nn_batches = 2\n[rules.usual.scoring]\n";
    let told = error(&format!("{}{small}", pool(300)));
    assert!(told.starts_with("rules `usual`: "), "one set of rules draws too much: {told}");
    let many = "[competition.evaluation]\nn_batches = 1001\nsequences_per_batch = 100\n";
    assert!(error(&format!("{SMALL}{many}")).contains("100100 documents"));
}

#[test]
fn rules_are_written_table_by_table_and_a_kind_takes_its_table_whole() {
    let text = format!(
        "{SMALL}[competition.model]\nn_parameters_max = 3000000\n[competition.model.health]\n\
         [rules.b.scoring]\nepsilon = {{ kind = \"linear\", start = 0.01, end = 0.001, blocks = 9 }}\n\
         [rules.a.model.health]\nprobe_steps = 3\n[rules.c]\nname = \"other\"\n[chain]\ntempo = 7\n"
    );
    let scenario = Scenario::from_toml(&text).unwrap();
    let rules = scenario.all_rules().unwrap();
    let names: Vec<&str> = rules.iter().map(|rules| rules.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let health = rules[0].competition.model.health.unwrap();
    assert_eq!(health.probe_steps, 3);
    assert_eq!(rules[1].competition.model.health.unwrap().probe_steps, 12, "as it was");
    let epsilon = rules[1].competition.scoring.epsilon;
    assert_eq!(epsilon.at(Block(0), Block(0)), 0.01);
    assert_eq!(rules[0].competition.scoring.epsilon.settled(), 0.005);
    assert_eq!(rules[2].competition.name, "other");
    for rules in &rules {
        assert_eq!(rules.competition.model.n_parameters_max, 3_000_000);
        assert_eq!(rules.competition.from_block, 2 * 7 + 5, "when validators have permits");
    }
    let asked = ["c".to_owned(), "a".to_owned()];
    let some = scenario.some_rules(&asked).unwrap();
    assert_eq!(some.iter().map(|rules| rules.name.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(scenario.some_rules(&[]).unwrap().len(), 3);
    let fixed = scenario.with_epsilon(&rules[1], 0.25).unwrap();
    assert_eq!(fixed.competition.scoring.epsilon.settled(), 0.25, "over a linear one");
}

#[test]
fn a_scenario_that_comes_along_is_its_file() {
    for name in Scenario::builtin_names() {
        let path = format!("../../scenarios/{name}.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let read = Scenario::from_toml(&text).unwrap();
        assert_eq!(
            format!("{read:?}"),
            format!("{:?}", Scenario::builtin(name).unwrap()),
            "{name}"
        );
        // Its head tells how it is played.
        let command = text.lines().find(|line| line.starts_with("# agon sim ")).unwrap();
        assert!(command.contains(&format!("scenarios/{name}.toml")), "{command}");
    }
}

#[test]
fn no_text_makes_a_reader_fail_without_words() {
    let whole = std::fs::read_to_string("../../scenarios/softness.toml").unwrap();
    let mut word = 1_u64;
    let mut next = |below: usize| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (word >> 33) as usize % below
    };
    for step in 0..150 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..1 + step % 3 {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = b" \"=[]0-.\n#x"[next(11)],
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.truncate(at.max(8)),
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        if let Err(error) = Scenario::from_toml(&text) {
            let told = error.to_string();
            assert!(told.len() > 8 && !told.contains('\n'), "step {step}: {told}\n{text}");
        }
    }
}
