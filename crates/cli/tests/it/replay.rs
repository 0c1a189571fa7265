//! `agon replay` and `agon evidence` on what demos have left: as it is, and changed by strangers.

mod evidence;
mod home;

use crate::{
    commands::workshop::{Ran, agon},
    hub::Hub,
    node::Node,
};
use home::{Home, duels, key, rules_of_duels, succession};
use protocol::{
    Digest, Loss, Record,
    record::{Card, Finding},
};
use records::Signed;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a replay said.
struct Replayed {
    code: i32,
    report: Value,
    err: String,
}

impl Replayed {
    fn of(args: &[&str]) -> Self {
        let Ran { code, out, err, .. } = agon(args);
        let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {err}"));
        Self { code, report, err }
    }

    fn steps(&self, outcome: &str) -> Vec<&Value> {
        let records = self.report["records"].as_array().unwrap().iter();
        let steps = records.flat_map(|record| record["steps"].as_array().unwrap());
        steps.filter(|step| step["outcome"] == outcome).collect()
    }

    /// Parts with this outcome, each once, in order of name.
    fn parts(&self, outcome: &str) -> Vec<&str> {
        let steps = self.steps(outcome).into_iter();
        let mut parts: Vec<&str> = steps.map(|step| step["part"].as_str().unwrap()).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    /// The place of the first difference of a part.
    fn at(&self, part: &str) -> &str {
        let differing = self.steps("differs").into_iter().find(|step| step["part"] == part);
        let step = differing.unwrap_or_else(|| panic!("no `{part}` differs: {}", self.report));
        step["at"].as_str().unwrap()
    }

    fn is_all_equal(&self) {
        let (differing, other) = (self.steps("differs"), self.steps("not-checked"));
        assert!(differing.is_empty() && other.is_empty(), "{differing:#?} {other:#?}");
        assert!(self.parts("equal").contains(&"models"), "which models there were is looked at");
        assert_eq!(self.code, 0, "{}", self.err);
    }
}

#[test]
fn every_record_of_a_demo_replays_to_the_bit_offline() {
    let home = succession();
    let replayed = home.replay(&[]);
    replayed.is_all_equal();
    assert_eq!(replayed.report["records"].as_array().unwrap().len(), 9);
    let parts = ["decision", "link", "losses", "model", "models", "rows", "rules", "seed"];
    let parts = [&parts[..], &["sequences", "signature", "weights"]].concat();
    assert_eq!(replayed.parts("equal"), parts);
    // One of them, for people.
    let record = home.record(2, 1);
    let ran = agon(&["replay", "--home", &home.path(""), record.to_str().unwrap(), "--leaf"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("the leaf is chosen by --seed "), "{}", ran.out);
    assert!(ran.out.contains("1 record: "), "{}", ran.out);
}

#[test]
fn every_record_of_duels_replays_to_the_bit_with_its_evidence() {
    let home = duels();
    let replayed = home.replay(&[]);
    replayed.is_all_equal();
    let equal = replayed.parts("equal");
    assert!(equal.contains(&"evidence") && equal.contains(&"paid"), "{equal:?}");
    // A record says nothing of the documents of those before it.
    let record = home.record(1, 3);
    let alone = home.replay(&[record.to_str().unwrap(), "--models", "champion"]);
    assert_eq!(alone.code, 3, "{}", alone.report);
    let parts = alone.parts("not-checked");
    assert_eq!(parts, ["decision", "evidence", "link", "models", "weights"]);
    // Those before it need not be measured again to say it.
    home.replay(&["--latest", "1", "--leaf", "--seed", "7"]).is_all_equal();
}

#[test]
fn records_replay_by_what_a_hub_gives_and_say_what_is_missing() {
    let home = succession();
    let hub = Hub::start(Path::new(&home.path("hub")));
    let (records, rules) = (home.path("validator-1/records"), home.path("competition.toml"));
    let url = format!("http://{}", hub.address);
    let args = ["replay", "--json", &records, "--competition", &rules];
    let replayed = Replayed::of(&[&args[..], &["--hub", &url]].concat());
    assert_eq!(replayed.code, 3, "{}", replayed.report);
    assert_eq!(replayed.parts("not-checked"), ["models", "seed"]);
    assert!(replayed.steps("differs").is_empty());
    assert!(replayed.parts("equal").contains(&"losses"));
    let why = replayed.steps("not-checked")[0]["why"].as_str().unwrap();
    assert!(why.contains("--chain"), "{why}");

    let replayed = Replayed::of(&args);
    assert_eq!(replayed.code, 3);
    assert_eq!(replayed.parts("not-checked"), ["losses", "model", "models", "seed"]);
    let replayed = Replayed::of(&["replay", "--json", &records]);
    assert!(replayed.parts("not-checked").contains(&"rules"), "{}", replayed.report);
    assert_eq!(replayed.parts("equal"), ["link", "signature"]);

    // With a chain that runs as well, nothing is missing.
    let chain = PathBuf::from(home.path("node"));
    fs::create_dir(&chain).unwrap();
    fs::rename(home.path("chain.db"), chain.join("chain.db")).unwrap();
    let node = Node::start(&chain, "12s", &["--listen", "127.0.0.1:0", "--archive"]);
    let replayed = Replayed::of(&[&args[..], &["--hub", &url, "--chain", &node.url]].concat());
    replayed.is_all_equal();
    drop((node, hub));
    // The folder of a network has its chain there, too.
    home.replay(&[&records, "--leaf"]).is_all_equal();
}

/// One digit less or more at the end.
fn last_digit(loss: Loss) -> Loss {
    Loss::new(f64::from_bits(loss.value().to_bits() ^ 1)).unwrap()
}

/// Changes the first loss of the champion in the last digit.
fn change_loss(signed: &mut Signed) {
    let champion = signed.record.champion;
    let mut models = signed.record.models.iter_mut();
    let model = models.find(|judged| Some(judged.model.uid) == champion).unwrap();
    let Finding::Evaluated(losses) = &mut model.model.finding else { panic!("no champion") };
    losses[0] = last_digit(losses[0]);
}

#[test]
fn attack_whatever_is_changed_in_a_record_is_caught_and_named() {
    type Change = fn(&mut Signed);
    let cases: [(&str, &str, Change); 7] = [
        ("losses", "finding.evaluated[0]", change_loss),
        ("rows", "round.documents[0]", |signed| signed.record.round.documents.swap(0, 1)),
        ("sequences", "round.batches", |signed| signed.record.round.batches.0[0] ^= 1),
        ("seed", "round.block_hash", |signed| signed.record.round.block_hash.0[31] ^= 1),
        ("decision", "champion", |signed| signed.record.champion = None),
        ("weights", "averages", |signed| signed.record.averages[0].weight /= 2.0),
        ("link", "round.previous", |signed| signed.record.round.previous = Some(Digest([7; 32]))),
    ];
    let home = succession();
    let kept = fs::read(home.record(1, 3)).unwrap();
    let records = home.path("validator-1/records");
    let latest = [records.as_str(), "--latest", "1"];
    for (part, at, change) in cases {
        // By the validator itself: no signature tells.
        home.sign(3, &key(1), change);
        let replayed = home.replay(&latest);
        assert_eq!(replayed.code, 1, "{part}: {}", replayed.report);
        assert!(replayed.at(part).contains(at), "{part}: {}", replayed.report);
        assert!(replayed.parts("equal").contains(&"signature"), "{part}");
        fs::write(home.record(1, 3), &kept).unwrap();
    }
    // By somebody else.
    home.sign(3, &key(2), |_| {});
    let replayed = home.replay(&latest);
    assert_eq!((replayed.code, replayed.parts("differs")), (1, vec!["signature"]));
    let mut signed = Signed::from_json(&kept).unwrap();
    change_loss(&mut signed);
    fs::write(home.record(1, 3), signed.to_json()).unwrap();
    let replayed = home.replay(&latest);
    assert_eq!(replayed.at("signature"), "signature");
    assert!(replayed.at("losses").contains("finding.evaluated[0]"));
    // A byte that leaves no record.
    let mut bytes = kept.clone();
    bytes[3] ^= 1;
    fs::write(home.record(1, 3), bytes).unwrap();
    let replayed = home.replay(&latest);
    assert_eq!((replayed.code, replayed.parts("differs")), (1, vec!["record"]));
    fs::write(home.record(1, 3), kept).unwrap();
    home.replay(&latest).is_all_equal();
}

/// What a record says that the champion is.
fn card(record: &mut Record) -> &mut Option<Card> {
    let champion = record.champion;
    let mut models = record.models.iter_mut();
    let judged = models.find(|judged| Some(judged.model.uid) == champion).unwrap();
    &mut judged.model.card
}

#[test]
fn attack_what_a_record_tells_people_is_caught_and_named_though_no_verdict_hangs_on_it() {
    type Change = fn(&mut Record);
    let cases: [([&str; 2], Change); 4] = [
        (["].model.card.n_parameters", "round.documents[0].n_bytes"], |record| {
            card(record).as_mut().unwrap().n_parameters -= 1;
            record.round.documents[0].n_bytes += 1;
        }),
        (["].model.card", "round.documents[1].n_tokens"], |record| {
            assert!(card(record).take().is_some(), "there was a card");
            record.round.documents[1].n_tokens += 1;
        }),
        (["].model.card.architecture", "round.optimum"], |record| {
            card(record).as_mut().unwrap().architecture.push('2');
            record.round.optimum = record.round.optimum.map(last_digit);
        }),
        (["].model.card.n_vanishing", "round.optimum"], |record| {
            card(record).as_mut().unwrap().n_vanishing += 1;
            assert!(record.round.optimum.take().is_some(), "there was an optimum");
        }),
    ];
    let home = succession();
    let kept = fs::read(home.record(1, 3)).unwrap();
    let records = home.path("validator-1/records");
    for (places, change) in cases {
        // By the validator itself: neither a signature nor a verdict tells.
        home.sign(3, &key(1), |signed| change(&mut signed.record));
        let replayed = home.replay(&[&records, "--latest", "1", "--models", "champion"]);
        assert_eq!(replayed.code, 1, "{places:?}: {}", replayed.report);
        let differing = replayed.steps("differs");
        for place in places {
            let is_named = |step: &&Value| step["at"].as_str().unwrap().ends_with(place);
            assert!(differing.iter().any(is_named), "{place}: {}", replayed.report);
        }
        let equal = replayed.parts("equal");
        for part in ["signature", "sequences", "losses", "decision", "weights"] {
            assert!(equal.contains(&part), "{places:?}, {part}: {}", replayed.report);
        }
        fs::write(home.record(1, 3), &kept).unwrap();
    }
}

#[test]
fn attack_evidence_that_is_changed_is_caught_and_named() {
    let home = duels();
    let has_fight = |number: u64| {
        let signed = Signed::from_json(&fs::read(home.record(1, number)).unwrap()).unwrap();
        signed.record.models.iter().any(|judged| judged.fight.is_some())
    };
    let number = (1..=3).find(|number| has_fight(*number)).expect("no duel in three rounds");
    home.sign(number, &key(1), |signed| {
        let mut fights = signed.record.models.iter_mut().filter_map(|judged| judged.fight.as_mut());
        let fight = fights.next().unwrap();
        fight.until.0 += 1;
    });
    let replayed = home.replay(&[&home.path("validator-1/records"), "--leaf"]);
    assert_eq!(replayed.code, 1);
    assert!(replayed.at("evidence").ends_with("fight.until"), "{}", replayed.report);
}

#[test]
fn attack_a_lie_that_no_record_before_explains_is_named_where_those_are_missing() {
    type Change = fn(&mut Signed);
    let cases: [(&str, &str, Change); 2] = [
        ("weights", "averages", |signed| signed.record.averages[0].weight /= 2.0),
        ("decision", ".verdict.weight", |signed| {
            signed.record.models[0].verdict.weight += 0.25;
        }),
    ];
    let home = duels();
    let (before, last) = (home.record(1, 2), home.record(1, 3));
    let given = [before.to_str().unwrap(), last.to_str().unwrap(), "--leaf"];
    let kept = fs::read(&last).unwrap();
    for (part, at, change) in cases {
        home.sign(3, &key(1), change);
        let replayed = home.replay(&given);
        assert_eq!(replayed.code, 1, "{part}: {}", replayed.report);
        assert!(replayed.at(part).contains(at), "{part}: {}", replayed.report);
        fs::write(&last, &kept).unwrap();
    }
    assert!(home.replay(&given).steps("differs").is_empty());
}

#[test]
fn attack_a_record_that_is_left_out_and_a_model_that_is_swapped_are_named() {
    let home = succession();
    let records = home.path("validator-1/records");
    // Files of one model under the name of another.
    let models = home.path("validator-1/models/models");
    let mut roots: Vec<PathBuf> =
        fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().path()).collect();
    roots.sort();
    let Signed { record, .. } = Signed::from_json(&fs::read(home.record(1, 3)).unwrap()).unwrap();
    let champion = record.models.iter().find(|judged| Some(judged.model.uid) == record.champion);
    let root = champion.unwrap().model.file_root.unwrap();
    let own = Path::new(&models).join(root.hex());
    let other = roots.iter().find(|path| **path != own).expect("a second model");
    fs::remove_file(own.join("model.safetensors")).unwrap();
    fs::copy(other.join("model.safetensors"), own.join("model.safetensors")).unwrap();
    let replayed = home.replay(&[&records, "--latest", "1", "--models", "champion"]);
    assert_eq!(replayed.code, 1, "{}", replayed.report);
    assert!(replayed.at("model").contains(&root.hex()), "{}", replayed.report);

    fs::remove_file(home.record(1, 2)).unwrap();
    let replayed = home.replay(&[&records, "--leaf"]);
    assert_eq!(replayed.code, 1);
    let steps = replayed.steps("differs");
    let gap = steps.iter().find(|step| step["part"] == "link").unwrap();
    assert_eq!(gap["expected"], "record 2", "{gap}");
}

#[test]
fn two_validators_records_are_compared_loss_by_loss() {
    let home = succession();
    let (a, b) = (home.record(1, 3), home.record(2, 3));
    let [a, b] = [a.to_str().unwrap(), b.to_str().unwrap()];
    let compared = agon(&["replay", "--json", "--compare", a, b]).json();
    assert!(compared["n_compared"].as_u64().unwrap() >= 24, "{compared}");
    assert_eq!(compared["faults"].as_array().unwrap().len(), 0);
    home.sign(3, &key(1), change_loss);
    let Ran { code, out, .. } = agon(&["replay", "--json", "--compare", a, b]);
    let compared: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, compared["faults"].as_array().unwrap().len()), (1, 1), "{compared}");
    for record in compared["records"].as_array().unwrap() {
        assert_eq!(record["is_genuine"], true);
        assert_eq!(record["signature"].as_str().unwrap().len(), 128);
    }
}

#[test]
fn the_crown_under_other_rules_is_told_as_far_as_losses_go() {
    let home = succession();
    let (records, own) = (home.path("validator-1/records"), home.path("competition.toml"));
    let crowns = |rules: &str| Replayed::of(&["replay", "--json", "--rules", rules, &records]);
    let rounds = |told: &Replayed| told.report["rounds"].as_array().unwrap().clone();
    let same = crowns(&own);
    assert_eq!((same.code, rounds(&same).len()), (0, 3));
    assert!(rounds(&same).iter().all(|round| round["given"] == round["recorded"]));
    let mean = home.path("mean.toml");
    let rules = fs::read_to_string(&own).unwrap();
    fs::write(&mean, rules.replace("\"succession\"", "\"mean\"")).unwrap();
    let told = crowns(&mean);
    assert_eq!(told.code, 0);
    assert!(rounds(&told).iter().all(|round| round["given"].is_u64()), "{}", told.report);
    // A batch is no document.
    let other = home.path("duels.toml");
    fs::write(&other, rules_of_duels()).unwrap();
    let told = crowns(&other);
    assert_eq!(told.code, 3);
    assert!(rounds(&told)[0]["unknown"].as_str().unwrap().contains("documents"));

    let home = duels();
    let records = home.path("validator-1/records");
    let told =
        Replayed::of(&["replay", "--json", "--rules", &home.path("competition.toml"), &records]);
    assert_eq!(told.code, 0, "{}", told.report);
    assert!(rounds(&told).iter().all(|round| round["given"] == round["recorded"]));
}

#[test]
fn attack_a_rival_that_is_said_to_be_a_copy_is_found_to_be_none() {
    let home = succession();
    home.sign(3, &key(1), |signed| {
        let record = &mut signed.record;
        let of = |uid: Option<protocol::Uid>| {
            record.models.iter().position(|judged| Some(judged.model.uid) == uid)
        };
        let champion = of(record.champion).unwrap();
        let is_other = |place: &usize| {
            let finding = &record.models[*place].model.finding;
            *place != champion && matches!(finding, Finding::Evaluated(_))
        };
        let rival = (0..record.models.len()).find(is_other).expect("a rival");
        let first = record.models[champion].model.clone();
        let model = &mut record.models[rival].model;
        model.tensor_root = first.tensor_root;
        model.commit_block = protocol::Block(first.commit_block.0 + 1);
        model.finding = Finding::Disqualified(protocol::ReasonCode::Duplicate);
    });
    let records = home.path("validator-1/records");
    let replayed = home.replay(&[&records, "--latest", "1"]);
    assert_eq!(replayed.code, 1, "{}", replayed.report);
    assert!(replayed.at("model").ends_with("tensor_root"), "{}", replayed.report);
}

#[test]
fn a_replay_that_cannot_be_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (args, named) in [
        (&["replay"][..], "no record is named"),
        (&["replay", empty], "no record is there"),
        (&["replay", "missing.json"], "missing.json"),
        (&["replay", "--home", "missing"], "missing"),
        (&["replay", "--compare", "a.json", "b.json"], "a.json"),
        (&["replay", empty, "--models", "best"], "best"),
        (&["evidence", empty], "no record is there"),
    ] {
        let ran = agon(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains(named), "{args:?}: {}", ran.err);
    }
    let help = agon(&["replay", "--help"]).out;
    assert!(help.contains("--latest 3 --models champion") && help.contains("exit code"), "{help}");
}
