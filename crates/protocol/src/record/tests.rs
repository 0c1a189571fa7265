//! Records: canonical, frozen, and verified by anyone.

use super::*;
use crate::{Loss, Reason, ReasonCode};

fn competition() -> Competition {
    let toml = include_str!("../../../../testdata/scoring/competition.toml");
    let mut competition = Competition::from_toml(toml).unwrap();
    competition.evaluation.n_batches = 2;
    competition
}

fn round(number: u64, previous: Option<&Record>) -> Round {
    Round {
        competition: "tiny".to_owned(),
        competition_digest: competition().digest(),
        number,
        previous: previous.map(Record::digest),
        block: Block(100 + 10 * number),
        block_hash: BlockHash([number as u8; 32]),
        validator: AccountId([9; 32]),
        genesis: BlockHash([8; 32]),
        netuid: NetUid(7),
        engine: "candle 1".to_owned(),
        tokenizer: Digest::of(b"tokenizer"),
        dataset: Digest::of(b"dataset"),
        documents: vec![DocumentDigest {
            id: "generated:1/evaluation/17".to_owned(),
            sha256: Digest::of(b"text"),
            n_bytes: 40,
            n_tokens: 10,
        }]
        .into(),
        optimum: Some(Loss::new(1.9).unwrap()),
        batches: Digest::of(b"batches"),
    }
}

fn card() -> Card {
    Card {
        architecture: "llama".to_owned(),
        n_parameters: 1_000,
        size_bytes: 2_000,
        vocabulary: 100,
        context: 64,
        n_vanishing: 0,
        n_exploding: 1,
    }
}

fn model(uid: u16, commit_block: u64, losses: &[f64]) -> Model {
    Model {
        uid: Uid(uid),
        hotkey: AccountId([uid as u8; 32]),
        coldkey: Some(AccountId([100 + uid as u8; 32])),
        commit_block: Block(commit_block),
        commit_block_hash: BlockHash([commit_block as u8; 32]),
        since: None,
        repo: Some("acme/model".parse().unwrap()),
        revision: Some("0123456789abcdef0123456789abcdef01234567".parse().unwrap()),
        file_root: Some(Digest::of(b"files")),
        tensor_root: Some(Digest::of(&[uid as u8])),
        card: Some(card()),
        finding: Finding::Evaluated(losses.iter().map(|l| Loss::new(*l).unwrap()).collect()),
    }
}

fn disqualified(uid: u16) -> Model {
    Model {
        repo: None,
        revision: None,
        file_root: None,
        tensor_root: None,
        card: None,
        finding: Finding::Disqualified(ReasonCode::HashMismatch),
        ..model(uid, 50, &[])
    }
}

fn models() -> Vec<Model> {
    vec![disqualified(8), model(5, 60, &[2.0, 2.1]), model(3, 50, &[2.2, 2.3])]
}

fn record() -> Record {
    Record::new(round(1, None), &competition(), models(), &mut MovingAverage::default())
}

#[test]
fn a_record_tells_who_won_and_why_the_others_did_not() {
    let record = record();
    assert_eq!(record.champion, Some(Uid(5)));
    let verdicts: Vec<_> =
        record.models.iter().map(|j| (j.verdict.uid.0, j.verdict.wins)).collect();
    assert_eq!(verdicts, [(3, 0), (5, 2), (8, 0)]);
    assert!(!record.models[2].verdict.present);
    assert_eq!(record.averages.len(), 2, "who was disqualified has no average");
    assert_eq!(verify(&record, &competition()), Ok(()));
    assert_eq!(verify_chain(&record, None, &competition()), Ok(()));
}

#[test]
fn equal_inputs_in_any_order_give_equal_bytes() {
    let mut reversed = models();
    reversed.reverse();
    let again =
        Record::new(round(1, None), &competition(), reversed, &mut MovingAverage::default());
    assert_eq!(again.to_json(), record().to_json());
    assert_eq!(again.digest(), Digest::of(&again.to_json()));
}

#[test]
fn the_bytes_of_a_record_are_frozen() {
    let frozen = include_str!("../../../../testdata/scoring/record.json").trim_end();
    assert_eq!(String::from_utf8(record().to_json()).unwrap(), frozen);
    assert_eq!(
        record().digest().hex(),
        "315d614f089e4ae708e7d97cbc8474bb6e530cc06544e146a6655090ea3d01a3"
    );
}

#[test]
fn the_sentence_of_a_reason_enters_no_record() {
    let outcome = |detail: &str| {
        let reason = Reason::new(ReasonCode::NonFiniteLoss, detail);
        Finding::from(&Outcome::Disqualified(reason))
    };
    let with = |finding: Finding| {
        let models = vec![Model { finding, ..model(3, 50, &[]) }];
        Record::new(round(1, None), &competition(), models, &mut MovingAverage::default()).digest()
    };
    assert_eq!(with(outcome("token 1")), with(outcome("token 7")));
}

#[test]
fn a_record_is_read_back_to_the_bit_and_in_canonical_form_only() {
    let json = record().to_json();
    assert_eq!(Record::from_json(&json).unwrap(), record());
    let text = String::from_utf8(json).unwrap();
    let (first, rest) = text.split_at(1);
    for other in [
        format!("{first} {rest}"),
        text.replacen("\"round\"", "\"extra\":1,\"round\"", 1),
        text.replacen("2.2", "2.20", 1),
        text.replacen("2.2", "-2.2", 1),
        text.replacen("\"number\":1", "\"number\":1e0", 1),
        text.clone() + " ",
        text[..text.len() / 2].to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        let error = Record::from_json(other.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::RecordUnreadable { .. }), "{error}");
    }
    for (format, lacks) in [(3, ",\"engine\":\"candle 1\""), (4, ",\"n_tokens\":10")] {
        let older = text.replacen("\"format\":5", &format!("\"format\":{format}"), 1);
        assert!(older.contains(lacks), "{older}");
        let error = Record::from_json(older.replacen(lacks, "", 1).as_bytes()).unwrap_err();
        let expected = format!("not a record: it has format {format}, not 5");
        assert_eq!(error.to_string(), expected);
    }
    let error = Record::from_json(&vec![b' '; RECORD_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(error, Error::RecordTooLarge { .. }));
}

#[test]
fn whoever_changes_a_verdict_is_found_out() {
    let changed = |change: fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        verify(&record, &competition()).unwrap_err()
    };
    assert!(matches!(changed(|r| r.format = 1), Mismatch::Format(1)));
    assert!(matches!(changed(|r| r.round.competition_digest.0[0] ^= 1), Mismatch::Rules { .. }));
    let renamed = changed(|r| r.round.competition.push('x'));
    assert!(matches!(renamed, Mismatch::Competition { .. }));
    assert!(matches!(changed(|r| r.round.block.0 += 1), Mismatch::Block(_)));
    assert!(matches!(changed(|r| r.models.swap(0, 1)), Mismatch::Order(Uid(3))));
    assert!(matches!(changed(|r| r.models[0].model.commit_block.0 = 110), Mismatch::Age(Uid(3))));
    assert!(matches!(changed(|r| r.models[1].verdict.wins -= 1), Mismatch::Verdict { .. }));
    assert!(matches!(changed(|r| r.models[2].verdict.present = true), Mismatch::Verdict { .. }));
    assert!(matches!(changed(|r| r.models[2].verdict.uid.0 = 9), Mismatch::Verdict { .. }));
    assert!(matches!(changed(|r| r.champion = Some(Uid(3))), Mismatch::Champion { .. }));
    assert!(matches!(changed(|r| r.champion = None), Mismatch::Champion { .. }));
    let copied = changed(|r| r.models[1].model.tensor_root = r.models[0].model.tensor_root);
    assert_eq!(copied, Mismatch::Duplicate(Uid(5)));
    let rootless = changed(|r| {
        let model = &mut r.models[1].model;
        (model.tensor_root, model.card) = (None, None);
    });
    assert_eq!(rootless, Mismatch::Root(Uid(5)));
    assert_eq!(changed(|r| r.models[1].model.tensor_root = None), Mismatch::Card(Uid(5)));
    assert_eq!(changed(|r| r.models[2].model.card = Some(card())), Mismatch::Card(Uid(8)));
    let copied = changed(|r| {
        r.models[0].model.finding = Finding::Disqualified(ReasonCode::Duplicate);
        r.models[1].model.tensor_root = r.models[0].model.tensor_root;
    });
    assert_eq!(copied, Mismatch::Duplicate(Uid(5)), "the senior owns it, measured or not");
    let fewer = changed(|r| r.models[0].model.finding = Finding::Evaluated(Vec::new()));
    assert_eq!(fewer, Mismatch::Batches(Uid(3)));
    let crown = changed(|r| {
        let (uid, hotkey, root) = (Uid(5), AccountId([5; 32]), Digest::of(&[5]));
        let (reference, since) = (Loss::new(2.0).unwrap(), Block(110));
        let (aged_from, rules) = (since, competition().digest());
        let coldkey = hotkey;
        let champion = Champion { uid, hotkey, coldkey, root, reference, since, aged_from, rules };
        r.crown = Some(Crown { champion, predecessor: None, paid: None, settling_blocks: 0 });
    });
    assert_eq!(crown, Mismatch::Crown, "other rules have no such");
    let skipped =
        changed(|r| r.skipped = vec![Skipped { uid: Uid(1), hotkey: AccountId([1; 32]) }]);
    assert_eq!(skipped, Mismatch::Skipped(Uid(1)));
    let attempts = changed(|r| r.models[2].attempts = Some(Attempts { window: 0, n: 1 }));
    assert_eq!(attempts, Mismatch::Attempts(Uid(8)));
    let by_one_bit = changed(|r| {
        let weight = &mut r.models[0].verdict.weight;
        *weight = f64::from_bits(weight.to_bits() + 1);
    });
    assert!(matches!(by_one_bit, Mismatch::Verdict { .. }));
    let better_loss = changed(|r| {
        r.models[0].model.finding = Finding::Evaluated(vec![Loss::new(1.0).unwrap(); 2]);
    });
    assert!(matches!(better_loss, Mismatch::Verdict { .. }));
}

#[test]
fn attack_what_is_told_to_people_has_no_weight_in_a_verdict() {
    let changed = |n_tokens: u64, n_bytes: u64, optimum: Option<Loss>, card: Option<Card>| {
        let mut record = record();
        // Two of them, so that a sum may be more than a number holds.
        let document = DocumentDigest { n_bytes, n_tokens, ..record.round.documents[0].clone() };
        record.round.documents = vec![document; 2].into();
        record.round.optimum = optimum;
        for judged in &mut record.models {
            let is_read = judged.model.tensor_root.is_some();
            judged.model.card = card.clone().filter(|_| is_read);
        }
        assert_eq!(verify(&record, &competition()), Ok(()));
        assert_eq!(verify_chain(&record, None, &competition()), Ok(()));
        assert_eq!(Record::from_json(&record.to_json()).unwrap(), record);
        record.round.bits_per_byte(2.0)
    };
    let n = u64::MAX;
    let lie = Card {
        architecture: "x".repeat(10_000),
        n_parameters: n,
        size_bytes: n,
        vocabulary: n,
        context: n,
        n_vanishing: n,
        n_exploding: n,
    };
    let bits = changed(n, n, Some(Loss::new(0.0).unwrap()), Some(lie)).unwrap();
    assert!((bits * std::f64::consts::LN_2 - 2.0).abs() < 1e-12, "{bits}");
    assert_eq!(changed(n, 0, None, None), None, "nobody says how long the text is");
    assert_eq!(changed(0, 1, None, None), Some(0.0));
}

#[test]
fn bits_per_byte_are_those_of_all_tokens_over_all_bytes() {
    let round = round(1, None);
    // Ten tokens of four bits each are a bit for each of forty bytes.
    let bits = round.bits_per_byte(4.0 * std::f64::consts::LN_2).unwrap();
    assert!((bits - 1.0).abs() < 1e-12, "{bits}");
    assert_eq!(Round { documents: Vec::new().into(), ..round }.bits_per_byte(1.0), None);
}

#[test]
fn records_form_a_chain_that_carries_the_averages() {
    let mut average = MovingAverage::default();
    let first = Record::new(round(1, None), &competition(), models(), &mut average);
    let better = vec![model(3, 50, &[2.2, 2.3]), model(4, 105, &[1.0, 1.0])];
    let second = Record::new(round(2, Some(&first)), &competition(), better, &mut average);
    assert_eq!(verify(&second, &competition()), Ok(()));
    assert_eq!(verify_chain(&second, Some(&first), &competition()), Ok(()));
    let weights: Vec<_> = second.averages.iter().map(|a| (a.uid.0, a.weight.round())).collect();
    assert_eq!(weights, [(3, 0.0), (4, 1.0), (5, 1.0)], "halves, rounded up");

    let broken = |change: fn(&mut Record)| {
        let mut record = second.clone();
        change(&mut record);
        verify_chain(&record, Some(&first), &competition()).unwrap_err()
    };
    assert_eq!(broken(|r| r.round.previous = None), Mismatch::Previous("digest"));
    assert_eq!(broken(|r| r.round.number = 3), Mismatch::Previous("number"));
    assert_eq!(broken(|r| r.round.block = Block(110)), Mismatch::Previous("block"));
    assert_eq!(broken(|r| r.round.validator.0[0] = 1), Mismatch::Previous("validator"));
    assert_eq!(broken(|r| r.round.genesis.0[0] = 1), Mismatch::Previous("genesis"));
    assert_eq!(broken(|r| r.round.netuid = NetUid(8)), Mismatch::Previous("netuid"));
    assert_eq!(broken(|r| r.averages[1].weight = 0.6), Mismatch::Previous("average"));
    assert_eq!(broken(|r| r.averages.truncate(2)), Mismatch::Previous("average"));
    assert!(verify_chain(&second, None, &competition()).is_err());
}

#[test]
fn a_record_of_a_line_crowns_whom_the_line_crowns() {
    let mut competition = competition();
    competition.scoring.rule = Rule::Succession;
    let losses = [2.0, 1.5, 1.6, 1.2, 1.9, 1.2];
    for n in 0..=losses.len() {
        let of = |(uid, loss): (usize, &f64)| model(uid as u16, 50 + uid as u64, &[*loss, *loss]);
        let models: Vec<Model> =
            losses[..n].iter().enumerate().map(of).chain([disqualified(9)]).collect();
        let entry = |model: &Model| Entry {
            uid: model.uid,
            seniority: model.seniority(),
            losses: model.finding.losses().to_vec(),
        };
        let entries: Vec<Entry> = models.iter().map(entry).collect();
        let (rules, block) = (&competition.scoring, round(1, None).block);
        let average = &mut MovingAverage::default();
        let record = Record::new(round(1, None), &competition, models, average);
        assert_eq!(record.champion, champion(rules, block, 2, &entries), "of the first {n}");
    }
}
