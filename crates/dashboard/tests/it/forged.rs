//! Records that are false: each is named as such, and none is in any number.

use crate::{
    reading::{chain_of, known, read},
    scene::{Home, Judge, key, player, subnet},
};
use dashboard::index::State;
use protocol::{
    AccountId, Block, BlockHash, Digest, Loss, NetUid, Record, Uid,
    record::{Finding, Skipped},
};
use records::Signed;
use std::{fs, sync::Arc};

type Change = fn(&mut Record);

/// All that is made of records, but for what tells of those that are false.
fn numbers(home: &Home) -> Vec<String> {
    let mut addresses: Vec<String> = [
        "/overview.json",
        "/c/tiny.json",
        "/c/tiny/rounds.json",
        "/c/tiny/compare.json",
        "/c/tiny/chart.svg",
        "/c/tiny/badge.svg",
        "/crowns.atom",
    ]
    .map(str::to_owned)
    .into();
    for uid in [1, 2] {
        addresses.push(format!("/model/{}.json", player(uid, 0.0).root().hex()));
        addresses.push(format!("/miner/{}.json", AccountId([u8::try_from(uid).unwrap(); 32])));
    }
    addresses.iter().map(|address| home.page(address)).collect()
}

/// A judge of four rounds, and a home that read it when it had two.
fn scene() -> (Judge, Home) {
    let mut judge = Judge::new(1);
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    judge.judge(&[old]);
    judge.judge(&[old, new]);
    let mut cut = Home::new();
    cut.read(&[&judge]);
    let third = player(3, 0.05);
    judge.judge(&[old, new, third]);
    judge.judge(&[old, new, third]);
    (judge, cut)
}

/// Puts a changed record 3 in the place of the true one, signed by the judge.
fn forge(judge: &Judge, change: Change) {
    let mut record = read(judge, 3).record;
    change(&mut record);
    fs::write(judge.path(3), Signed::sign(record, &judge.key).to_json()).unwrap();
}

#[test]
fn attack_what_a_validator_signs_that_is_false_is_named_and_in_no_number() {
    let changes: [(&str, Change); 10] = [
        ("has format 3, not", |record| record.format = 3),
        ("block that is not later", |record| record.round.block = Block(1_020)),
        ("", |record| record.champion = Some(Uid(1))),
        ("", |record| record.champion = None),
        ("", |record| record.crown = None),
        ("", |record| record.models[2].fight = None),
        ("", |record| record.models[1].verdict.wins += 1),
        ("", |record| record.averages[0].weight += 0.25),
        ("", |record| {
            let losses = record.models[2].model.finding.losses();
            let mut losses: Vec<Loss> = losses.to_vec();
            losses[0] = Loss::new(losses[0].value() - 0.5).unwrap();
            record.models[2].model.finding = Finding::Evaluated(losses);
        }),
        ("", |record| {
            record.skipped = vec![Skipped { uid: Uid(2), hotkey: AccountId([2; 32]) }];
        }),
    ];
    let (judge, cut) = scene();
    let (good, wanted) = (fs::read(judge.path(3)).unwrap(), numbers(&cut));
    for (at, (why, change)) in changes.into_iter().enumerate() {
        forge(&judge, change);
        let mut home = Home::new();
        home.read(&[&judge]);
        let (n_records, flaw) = known(&home, &judge);
        let (number, said) = flaw.unwrap_or_else(|| panic!("change {at} is believed"));
        assert_eq!((n_records, number), (2, 3), "change {at}: {said}");
        assert!(said.contains(why), "change {at}: {said}");
        assert_eq!(numbers(&home), wanted, "change {at}: {said}");
        assert_eq!(home.answer("/c/tiny/round/3").status, 404, "change {at}");
        let metrics = home.page("/metrics");
        assert!(metrics.contains("agon_dashboard_flaws{competition=\"tiny\",validator="));
        assert!(metrics.lines().any(|line| line.contains("_flaws{") && line.ends_with("} 1")));
        fs::write(judge.path(3), &good).unwrap();
    }
}

#[test]
fn attack_what_is_none_of_a_validators_is_a_fault_of_the_place_and_in_no_number() {
    let changes: [(&str, Change); 5] = [
        ("is of subnet 2, not of 1", |record| record.round.netuid = NetUid(2)),
        ("is of the chain of genesis", |record| record.round.genesis = BlockHash([7; 32])),
        ("is one of", |record| record.round.validator = key(2).public()),
        ("holds record 7 of `tiny`", |record| record.round.number = 7),
        ("holds record 3 of `other`", |record| record.round.competition = "other".to_owned()),
    ];
    let (judge, cut) = scene();
    let (good, wanted) = (fs::read(judge.path(3)).unwrap(), numbers(&cut));
    for (why, change) in changes {
        forge(&judge, change);
        let mut home = Home::new();
        home.read(&[&judge]);
        assert_eq!(known(&home, &judge), (2, None), "{why}");
        let page = home.page("/");
        let place = judge.place().name;
        assert!(page.contains(&format!("Not up to date: {place}: ")), "{page}");
        assert!(page.contains(why), "no {why} in {page}");
        assert_eq!(numbers(&home), wanted, "{why}");
        fs::write(judge.path(3), &good).unwrap();
    }
    // Nor is it another's record that is true, or one that is not there.
    let other = Judge::of_four_rounds(2);
    fs::copy(other.path(3), judge.path(3)).unwrap();
    let mut home = Home::new();
    home.read(&[&judge]);
    assert_eq!(known(&home, &judge), (2, None));
    let said = format!("record 3 is one of {}", other.key.public());
    assert!(home.page("/").contains(&said), "no {said}");
    fs::remove_file(judge.path(3)).unwrap();
    let mut home = Home::new();
    home.read(&[&judge]);
    assert_eq!(known(&home, &judge), (2, None), "what follows a gap is not believed");
    assert!(home.page("/").contains("records/tiny/000000/000003.json` is missing"));
    assert_eq!(numbers(&home), wanted);
}

#[test]
fn attack_of_two_records_of_one_number_the_first_that_was_read_stays() {
    let (judge, _) = scene();
    // The same key judged otherwise from the third round on, and went on from there.
    let mut other = Judge::new(1);
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    other.judge(&[old]);
    other.judge(&[old, new]);
    other.judge(&[old, new]);
    other.judge(&[old, new]);
    let mut home = Home::new();
    home.read(&[&judge]);
    let wanted = numbers(&home);
    let digest = read(&judge, 3).digest();
    assert_ne!(read(&other, 3).digest(), digest);
    home.read(&[&judge, &other]);
    assert_eq!((known(&home, &judge), numbers(&home)), ((4, None), wanted.clone()));
    other.judge(&[old, new, player(4, 0.3)]);
    home.read(&[&judge, &other]);
    let (n_records, flaw) = known(&home, &judge);
    let (number, said) = flaw.unwrap();
    assert_eq!((n_records, number), (4, 5));
    assert!(said.contains("record 5 names another record than the one before it"), "{said}");
    assert!(said.contains(&other.place().name), "where is said: {said}");
    assert_eq!(numbers(&home), wanted);
    let row = home.index().record(judge.series(), 3).unwrap().unwrap();
    assert_eq!(row.digest, digest);
    let page = home.page(&format!("/validator/{}", judge.key.public()));
    assert!(page.contains("Record 5 is false, and nothing after it is believed"), "{page}");
}

#[test]
fn attack_a_record_of_a_block_that_is_not_there_yet_waits() {
    let chain = chain_of(1_025);
    let mut judge = Judge::new(1);
    judge.chain = Some(Arc::clone(&chain));
    let old = player(1, 0.0);
    judge.judge(&[old]);
    judge.judge(&[old]);
    let mut record = read(&judge, 2).record;
    record.round.block = Block(1_026);
    let future = Signed::sign(record, &judge.key);
    let good = fs::read(judge.path(2)).unwrap();
    fs::write(judge.path(2), future.to_json()).unwrap();
    let mut home = Home::new();
    home.read_beside(&chain, &[&judge]);
    assert_eq!(known(&home, &judge), (1, None), "nobody can tell yet");
    assert!(home.page("/").contains("the chain has no block 1026 yet"));
    assert_eq!(home.answer("/c/tiny/round/2").status, 404);
    fs::write(judge.path(2), good).unwrap();
    home.read_beside(&chain, &[&judge]);
    assert_eq!(known(&home, &judge), (2, None));
    assert!(!home.page("/").contains("Not up to date"));
}

#[test]
fn attack_losses_that_more_stake_contradicts_are_shown_as_false_and_in_no_number() {
    let honest = Judge::of_four_rounds(1);
    let mut liar = Judge::new(2);
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    liar.judge(&[old]);
    liar.judge(&[player(1, -0.2), new]);
    liar.judge(&[player(1, -0.2), new]);
    let (mut home, mut alone) = (Home::new(), Home::new());
    for home in [&mut home, &mut alone] {
        home.read(&[]);
        let stakes = [(honest.key.public(), 100, true), (liar.key.public(), 99, true)];
        home.note(&subnet(1_050, &stakes));
    }
    alone.read(&[&honest]);
    home.read(&[&honest, &liar]);
    let index = home.index();
    let state =
        |judge: &Judge, number: u64| index.record(judge.series(), number).unwrap().unwrap().state;
    assert_eq!([1, 2].map(|number| state(&honest, number)), [State::Believed; 2]);
    assert_eq!([1, 2].map(|number| state(&liar, number)), [State::Believed, State::Outvoted]);

    for table in ["board", "crowns", "rules"] {
        let address = format!("/c/tiny.csv?table={table}");
        assert_eq!(home.page(&address), alone.page(&address), "{table}");
    }
    for address in ["/c/tiny/chart.svg", "/c/tiny/badge.svg", "/crowns.atom"] {
        assert_eq!(home.page(address), alone.page(address), "{address}");
    }
    for uid in [1, 2] {
        let address = format!("/model/{}.json", player(uid, 0.0).root().hex());
        assert_eq!(home.page(&address), alone.page(&address), "{address}");
    }
    let by_liar = format!("validator={}", liar.key.public());
    let round = home.page(&format!("/c/tiny/round/2?{by_liar}"));
    let said = "<dd class=\"bad\">false: validators with more stake found other losses</dd>";
    assert!(round.contains(said), "{round}");
    let rounds = home.page("/c/tiny/round/2");
    assert_eq!(rounds.matches("false: validators with more stake").count(), 1, "{rounds}");
    let told = home.page(&format!("/c/tiny?block=1020&{by_liar}"));
    assert!(told.contains("miner1/model is champion"), "its last that is believed: {told}");
    let csv = home.page(&format!("/validator/{}.csv?table=agreement", liar.key.public()));
    assert!(csv.lines().any(|line| line == "tiny,2,1020,1,0,1"), "{csv}");
    let overview = home.page("/?block=1020");
    assert!(overview.contains(">1 of 2<"), "who is outvoted agrees with nobody: {overview}");
}

#[test]
fn attack_a_crown_of_a_round_that_is_in_dispute_tells_of_no_reign() {
    let third = player(3, 0.05);
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    let judges = [(1, 0.1), (2, 0.2)].map(|(number, quality)| {
        let mut judge = Judge::new(number);
        judge.judge(&[old]);
        judge.judge(&[old, player(2, quality)]);
        judge.judge(&[old, new, third]);
        judge
    });
    let mut home = Home::new();
    home.read(&[&judges[0], &judges[1]]);
    let own = judges[0].key.public();
    let states = [1, 2, 3]
        .map(|number| home.index().record(judges[0].series(), number).unwrap().unwrap().state);
    assert_eq!(states, [State::Believed, State::Disputed, State::Believed]);
    let page = home.page(&format!("/c/tiny?validator={own}"));
    assert!(page.contains("miner2/model is champion"), "{page}");
    assert!(!page.contains("Since block"), "another took the crown at block 1010: {page}");
    let overview = home.page(&format!("/?validator={own}"));
    assert!(!overview.contains("champion since block"), "{overview}");
    let csv = home.page(&format!("/overview.csv?table=competitions&validator={own}"));
    let row = csv.lines().nth(1).unwrap();
    assert!(row.starts_with("tiny,miner2/model,,"), "{row}");
    let feed = home.page(&format!("/crowns.atom?validator={own}"));
    assert_eq!(feed.matches("<entry>").count(), 1, "the crown in dispute is in no feed: {feed}");
}

#[test]
fn attack_a_first_record_that_is_false_gives_a_competition_no_page() {
    let mut judge = Judge::new(1);
    judge.judge(&[player(1, 0.0)]);
    let mut record = read(&judge, 1).record;
    record.round.previous = Some(Digest::of(b"no record"));
    fs::write(judge.path(1), Signed::sign(record, &judge.key).to_json()).unwrap();
    let mut home = Home::new();
    home.read(&[&judge]);
    let page = home.page("/");
    assert!(page.contains("No record is believed, up to this block."), "{page}");
    assert!(!page.contains("/c/tiny"), "a link to what is not there: {page}");
    assert_eq!(home.answer("/c/tiny").status, 404);
    let validator = home.page(&format!("/validator/{}", judge.key.public()));
    assert!(validator.contains("Record 1 is false"), "{validator}");
    assert!(validator.contains("It has records of 0 competitions."), "{validator}");
}
