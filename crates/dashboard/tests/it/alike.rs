//! Records of validators that measured the same: kept once, and each looked at.

use crate::{
    reading::{known, read},
    scene::{Home, Judge, addresses, player, rules_of_succession},
};
use dashboard::{
    index::{self, Index, Row, State},
    reader::{Reader, Rules},
};
use protocol::{Loss, Record, Uid, record::Finding, weights::MovingAverage};
use records::Signed;
use std::{fs, sync::Arc};

/// How many different things were measured in the rounds of an index.
fn n_measured(home: &Home) -> u64 {
    let tables = rusqlite::Connection::open(home.path().join(index::FILE)).unwrap();
    let n: i64 = tables.query_row("SELECT count(*) FROM commons", [], |row| row.get(0)).unwrap();
    n.unsigned_abs()
}

fn row(home: &Home, judge: &Judge, number: u64) -> Row {
    home.index().record(judge.series(), number).unwrap().unwrap()
}

/// A validator of the line of succession that has judged four rounds.
fn of_succession(number: u64) -> Judge {
    let mut judge = Judge::new(number);
    judge.rules = rules_of_succession();
    judge.judge_four();
    judge
}

fn home_of_succession() -> Home {
    let mut home = Home::new();
    home.rules.push(rules_of_succession());
    home
}

#[test]
fn records_that_have_what_was_measured_in_common_are_shown_as_if_each_stood_alone() {
    for judges in [[1, 2].map(Judge::of_four_rounds), [1, 2].map(of_succession)] {
        let (mut shared, mut alone) = (home_of_succession(), home_of_succession());
        let [first, second] = &judges;
        shared.read(&[first, second]);
        // Each reader remembers what it has read itself, and begins with nothing.
        alone.read(&[first]);
        alone.read(&[first, second]);
        assert_eq!((n_measured(&shared), n_measured(&alone)), (4, 8));
        for judge in &judges {
            assert_eq!(known(&shared, judge), (4, None));
            let whose = format!("?validator={}", judge.key.public());
            let of_rounds = (1..=4).map(|number| format!("/c/tiny/round/{number}{whose}"));
            let more = of_rounds.chain([format!("/c/tiny{whose}")]);
            for address in addresses(judge).into_iter().chain(more) {
                assert_eq!(shared.page(&address), alone.page(&address), "{address}");
            }
            for number in 1..=4 {
                let row = row(&shared, judge, number);
                assert!(row.is_derived && row.state == State::Believed);
                let signed = shared.index().signed(row.id).unwrap();
                assert_eq!(signed, fs::read(judge.path(number)).unwrap(), "to the byte");
            }
        }
    }
}

/// Lets the last record of a judge have another last digit in its last loss, and be true of it.
fn dissent(judge: &Judge) {
    let Record { round, mut models, .. } = read(judge, 4).record;
    let Finding::Evaluated(losses) = &mut models.last_mut().unwrap().model.finding else {
        panic!("it was measured");
    };
    let last = losses.last_mut().unwrap();
    *last = Loss::new(last.value() + 1e-4).unwrap();
    let models = models.into_iter().map(|judged| judged.model).collect();
    let mut average: MovingAverage = read(judge, 3).record.averages.try_into().unwrap();
    let record = Record::new(round, &judge.rules, models, &mut average);
    fs::write(judge.path(4), Signed::sign(record, &judge.key).to_json()).unwrap();
}

#[test]
fn a_loss_with_another_last_digit_is_shown_as_it_is_and_disputed() {
    let judges = [1, 2].map(of_succession);
    dissent(&judges[1]);
    let mut home = home_of_succession();
    home.read(&[&judges[0], &judges[1]]);
    assert_eq!(n_measured(&home), 5, "three rounds alike, and one that is not");
    let mut losses = Vec::new();
    for judge in &judges {
        assert_eq!(known(&home, judge), (4, None));
        assert_eq!(row(&home, judge, 3).state, State::Believed);
        let row = row(&home, judge, 4);
        assert_eq!(row.state, State::Disputed);
        let index = home.index();
        assert_eq!(index.signed(row.id).unwrap(), fs::read(judge.path(4)).unwrap());
        losses.push(index.standings(&row).unwrap().pop().unwrap().holder.loss.unwrap());
    }
    let apart = losses[1] - losses[0];
    assert!((apart - 1e-4 / 25.0).abs() < 1e-9, "{apart}");
}

#[test]
fn attack_what_others_measured_makes_no_record_true() {
    type Change = fn(&mut Signed, &Judge);
    let changes: [(Change, &str); 5] = [
        (
            |signed, _| signed.signature = "0".repeat(128).parse().unwrap(),
            "the signature is not one of the validator",
        ),
        (
            |signed, judge| {
                signed.record.champion = Some(Uid(1));
                *signed = Signed::sign(signed.record.clone(), &judge.key);
            },
            "crowns uid `1`",
        ),
        (
            |signed, judge| {
                signed.record.averages.clear();
                *signed = Signed::sign(signed.record.clone(), &judge.key);
            },
            "its average differs",
        ),
        (
            |signed, judge| {
                signed.record.round.previous = None;
                *signed = Signed::sign(signed.record.clone(), &judge.key);
            },
            "another record than the one before",
        ),
        (
            |signed, judge| {
                signed.record.models[0].verdict.weight = 0.5;
                *signed = Signed::sign(signed.record.clone(), &judge.key);
            },
            "its losses give",
        ),
    ];
    for (change, why) in changes {
        let (honest, mut late) = (of_succession(1), Judge::new(2));
        late.rules = rules_of_succession();
        let (old, new) = (player(1, 0.0), player(2, 0.1));
        late.judge(&[old]);
        let home = home_of_succession();
        let known_rules = Arc::new(Rules::new(home.rules.clone()));
        let index = Index::open(home.path()).unwrap();
        let mut reader = Reader::new(index, known_rules, vec![honest.place(), late.place()]);
        reader.read(&|| false, &|_| {}).unwrap();
        assert_eq!((known(&home, &honest).0, known(&home, &late).0), (4, 1));
        for _ in 2..=4 {
            late.judge(&[old, new]);
        }
        let mut signed = read(&late, 3);
        change(&mut signed, &late);
        fs::write(late.path(3), signed.to_json()).unwrap();
        reader.read(&|| false, &|_| {}).unwrap();
        assert_eq!(n_measured(&home), 4, "what record 2 has was known");
        let (n_records, flaw) = known(&home, &late);
        let troubles = reader.troubles().all();
        let said = flaw.map(|(_, said)| said).into_iter();
        let said: Vec<String> = said.chain(troubles.into_iter().map(|(_, what)| what)).collect();
        assert_eq!(n_records, 2, "{why}: {said:?}");
        assert!(said.iter().any(|said| said.contains(why)), "{said:?} says not: {why}");
    }
}
