//! What strangers lay out ends nothing but what is theirs.

use crate::{
    reading::{known, read},
    scene::{Home, Judge, NETUID, key, player, rules},
};
use chain::{Call, Chain as _, Genesis, Hyperparameters, MemoryChain, SubnetGenesis};
use dashboard::{
    Judges, Limits, Place,
    duels::{UNPACKED_BYTES_MAX, told},
    index::State,
    limits::COMPETITIONS_MAX,
};
use protocol::{AccountId, Block, BlockHash, Digest, Record, Uid};
use records::{Error, Head, Index, Signed, Source};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Changes a record, and signs it again as its validator.
fn change(judge: &Judge, number: u64, change: impl FnOnce(&mut Record)) -> Signed {
    let mut record = read(judge, number).record;
    change(&mut record);
    let signed = Signed::sign(record, &judge.key);
    fs::write(judge.path(number), signed.to_json()).unwrap();
    signed
}

#[test]
fn attack_a_record_of_unknown_rules_that_is_none_stops_nobody() {
    type Change = fn(&mut Record);
    let changes: [(Change, &str); 8] = [
        (|record| record.models[1].model.uid = record.models[0].model.uid, "out of order"),
        (|record| record.models.swap(0, 1), "out of order"),
        (|record| record.champion = Some(Uid(9)), "not among its models"),
        (|record| record.models[0].verdict.weight = 2.0, "a share that is none"),
        (|record| record.models[0].verdict.win_rate = -1e300, "a share that is none"),
        (|record| record.round.engine = "x".repeat(257), "its engine"),
        (|record| record.round.documents[3].id = "x".repeat(1_025), "a document has an id"),
        (
            |record| record.models[1].model.card.as_mut().unwrap().architecture = "x".repeat(257),
            "an architecture has a name",
        ),
    ];
    let good = Judge::of_four_rounds(1);
    for (wrong, why) in changes {
        let mut bad = Judge::new(2);
        bad.judge(&[player(1, 0.0), player(2, 0.1)]);
        change(&bad, 1, |record| {
            record.round.competition_digest = Digest::of(b"rules of a stranger");
            wrong(record);
        });
        let mut home = Home::new();
        home.read(&[&bad, &good]);
        let (n_records, flaw) = known(&home, &bad);
        let (number, said) = flaw.unwrap();
        assert_eq!((n_records, number), (0, 1), "{why}");
        assert!(said.contains(why), "{said} says not: {why}");
        assert_eq!(known(&home, &good), (4, None), "{why}");
    }
}

#[test]
fn attack_what_follows_a_record_of_unknown_rules_is_not_derived() {
    let mut judge = Judge::new(1);
    let old = player(1, 0.0);
    judge.judge(&[old]);
    judge.judge(&[old, player(2, 0.1)]);
    let other = |record: &mut Record| {
        record.round.competition_digest = Digest::of(b"rules of a stranger");
    };
    let first = change(&judge, 1, other);
    change(&judge, 2, |record| record.round.previous = Some(first.digest()));
    let mut home = Home::new();
    home.read(&[&judge]);
    assert_eq!(known(&home, &judge), (2, None));
    let index = home.index();
    for number in [1, 2] {
        let row = index.record(judge.series(), number).unwrap().unwrap();
        assert!(!row.is_derived, "record {number}");
    }
    let progress = index.progress(judge.series()).unwrap();
    assert_eq!(progress.reign, None, "nothing is followed that is not verified");
    assert!(home.page("/c/tiny/round/2").contains("not derived"));
}

/// A chain of 1,035 blocks, on which judge 1 has stake and the permit that comes with it, and
/// judges 2 and 3 have slots.
fn staked_chain() -> Arc<MemoryChain> {
    let owner = key(50);
    let subnet =
        SubnetGenesis { owner: owner.public(), hyperparameters: Hyperparameters::default() };
    let accounts = vec![(owner.public(), 1_000_000_000_000)];
    let genesis = Genesis { seed: 1, accounts, subnets: vec![subnet], ..Genesis::default() };
    let chain = MemoryChain::new(&genesis).unwrap();
    let hotkeys = [1, 2, 3].map(|number| key(number).public());
    for hotkey in hotkeys {
        chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &owner).unwrap();
        chain.produce_block().unwrap();
    }
    let amount_rao = 100_000_000_000;
    let stake = Call::AddStake { hotkey: hotkeys[0], netuid: NETUID, amount_rao };
    chain.submit(stake, &owner).unwrap();
    while chain.head().unwrap().block < Block(1_035) {
        chain.produce_block().unwrap();
    }
    Arc::new(chain)
}

#[test]
fn attack_slots_without_stake_make_nobody_false() {
    let chain = staked_chain();
    let judges = [(1, 0.0), (2, 0.2), (3, 0.2)].map(|(number, quality)| {
        let mut judge = Judge::new(number);
        judge.chain = Some(Arc::clone(&chain));
        judge.judge(&[player(1, quality)]);
        judge
    });
    let [honest, liar, other] = &judges;
    let mut home = Home::new();
    home.read_beside(&chain, &[liar, other, honest]);
    let state =
        |home: &Home, judge: &Judge| home.index().record(judge.series(), 1).unwrap().unwrap().state;
    assert_eq!(state(&home, honest), State::Believed, "stake against two slots without any");
    assert_eq!(state(&home, liar), State::Outvoted);
    assert_eq!(state(&home, other), State::Outvoted);

    let mut home = Home::new();
    home.read_within(Limits::default(), Some(&chain), &[liar, other, honest]);
    assert_eq!(known(&home, honest), (1, None));
    let heads = home.index().heads().unwrap();
    assert_eq!(heads.len(), 1, "whoever has no permit is not read: {heads:?}");
    assert!(home.page("/").contains("no permit to judge"));
}

#[test]
fn attack_a_record_says_of_the_chain_what_the_chain_says_not() {
    let chain = staked_chain();
    let mut judge = Judge::new(1);
    judge.chain = Some(Arc::clone(&chain));
    let old = player(1, 0.0);
    judge.judge(&[old]);
    judge.judge(&[old]);
    let mut home = Home::new();
    home.read_beside(&chain, &[&judge]);
    assert_eq!(known(&home, &judge), (2, None));
    assert!(!home.page("/c/tiny").contains("Whom the chain paid: not checked"));

    change(&judge, 2, |record| record.crown.as_mut().unwrap().paid = Some(Uid(1)));
    let mut home = Home::new();
    home.read_beside(&chain, &[&judge]);
    let (n_records, flaw) = known(&home, &judge);
    let (number, said) = flaw.unwrap();
    assert_eq!((n_records, number), (1, 2));
    assert!(said.contains("the chain: nobody"), "{said}");

    let mut home = Home::new();
    home.read(&[&judge]);
    assert_eq!(known(&home, &judge), (2, None), "without a chain nobody can tell");
    assert!(home.page("/c/tiny").contains("Whom the chain paid: not checked"));
}

#[test]
fn attack_records_laid_out_in_the_name_of_another_are_no_flaw_of_it() {
    let good = Judge::of_four_rounds(1);
    let forged = Judge::of_four_rounds(1);
    let mut signed = read(&forged, 3);
    signed.record.models[0].verdict.weight = 0.5;
    fs::write(forged.path(3), Signed::sign(signed.record, &key(9)).to_json()).unwrap();
    let mut home = Home::new();
    home.read(&[&forged]);
    assert_eq!(known(&home, &forged), (2, None), "nobody knows who wrote it");
    assert!(home.page("/").contains("signature"), "it is told of the place");
    home.read(&[&forged, &good]);
    assert_eq!(known(&home, &good), (4, None));
    let page = home.page(&format!("/validator/{}", good.key.public()));
    assert!(!page.contains("is false"), "{page}");
}

/// A judge with so many records.
fn long(number: u64, n_records: usize) -> Judge {
    let mut judge = Judge::new(number);
    for _ in 0..n_records {
        judge.judge(&[player(1, 0.0)]);
    }
    judge
}

#[test]
fn attack_a_place_without_end_keeps_nobody_waiting() {
    let (endless, short) = (long(2, 140), Judge::of_four_rounds(1));
    let mut home = Home::new();
    let n_asked = AtomicUsize::new(0);
    // One turn of each of the two places.
    home.read_until(&[&endless, &short], &|| n_asked.fetch_add(1, Ordering::Relaxed) > 1);
    assert_eq!((known(&home, &endless).0, known(&home, &short).0), (128, 4));
}

#[test]
fn attack_records_fill_no_more_than_their_share_of_the_disk() {
    let (endless, short) = (long(2, 140), long(1, 3));
    let mut home = Home::new();
    let limits = Limits { judges: Judges::Permitted, bytes_per_validator: 10_000 };
    home.read_within(limits, None, &[&endless, &short]);
    assert_eq!((known(&home, &endless), known(&home, &short).0), ((128, None), 3));
    assert!(home.page("/").contains("bytes of 10000: no more are read"));
}

/// A place with nothing but an index.
struct Bare(Index);

impl Source for Bare {
    fn index(&self) -> Result<Option<Index>, Error> {
        Ok(Some(self.0.clone()))
    }

    fn record(&self, _: &str, _: u64) -> Result<Option<Vec<u8>>, Error> {
        panic!("nothing of such an index is read")
    }
}

#[test]
fn attack_an_index_of_hundreds_of_competitions_is_not_read() {
    let mut index = Index::new(AccountId([7; 32]), BlockHash([2; 32]), NETUID);
    for n in 0..=COMPETITIONS_MAX {
        let head = Head { n_records: u64::MAX, digest: Digest::of(b"a record") };
        index.competitions.insert(format!("c{n}"), head);
    }
    let place = Place { name: "a stranger".to_owned(), source: Box::new(Bare(index)) };
    let mut home = Home::new();
    home.read_places(|reader| reader, vec![place], &|| false);
    assert!(home.page("/").contains("its index names 65 competitions, more than 64"));
}

#[test]
fn attack_a_competition_that_nobody_has_rules_of_is_in_no_navigation() {
    let mut judge = Judge::new(1);
    judge.judge(&[player(1, 0.0)]);
    let mut record = read(&judge, 1).record;
    record.round.competition = "buy-this".to_owned();
    record.round.competition_digest = Digest::of(b"rules of a stranger");
    judge.folder.write(&Signed::sign(record, &judge.key)).unwrap();
    let mut home = Home::new();
    home.read(&[&judge]);
    for address in ["/", "/c/tiny", "/network", "/crowns.atom"] {
        assert!(!home.page(address).contains("buy-this"), "{address}");
    }
    assert!(home.page(&format!("/validator/{}", judge.key.public())).contains("buy-this"));
}

#[test]
fn attack_the_page_of_a_crown_unpacks_no_more_than_its_share() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let index = home.index();
    let row = index.record(judge.series(), 4).unwrap().unwrap();
    let record = index.whole(row.id).unwrap();
    let mut fights = record.models.iter().filter_map(|judged| judged.fight.as_ref());
    let fight = fights.find(|fight| fight.began < row.block).expect("a duel of two records");
    let duel_rules = rules().scoring.duel_rules().unwrap();
    let tell = |n_bytes| told(&index, &row, fight.challenger, duel_rules, n_bytes).unwrap();
    let whole = tell(UNPACKED_BYTES_MAX).unwrap();
    assert!(whole.cut.is_none() && !whole.steps.is_empty());
    let n_bytes = index.signed(row.id).unwrap().len();
    let cut = tell(n_bytes).unwrap();
    assert_eq!((cut.cut, cut.steps.len()), (Some(fight.began), 0));
    assert!(tell(n_bytes - 1).is_none(), "not even the record itself");
}
