//! What is believed, what is not, and what a crash or a lost index costs: nothing.

use crate::scene::{Home, Judge, addresses, key, player, rules};
use chain::{Call, Chain as _, Genesis, Hyperparameters, MemoryChain, SubnetGenesis};
use dashboard::{
    Place,
    index::{self, Index, State},
    reader::{News, Reader, Rules},
};
use protocol::{AccountId, Block, NetUid};
use records::{Signed, Source};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Records of a judge that are believed, and the flaw of the next.
pub(crate) fn known(home: &Home, judge: &Judge) -> (u64, Option<(u64, String)>) {
    let heads = home.index().heads().unwrap();
    let head = heads.into_iter().find(|head| head.validator == judge.key.public()).unwrap();
    (head.n_records, head.flaw)
}

pub(crate) fn read(judge: &Judge, number: u64) -> Signed {
    Signed::from_json(&fs::read(judge.path(number)).unwrap()).unwrap()
}

#[test]
fn attack_a_false_record_ends_what_is_believed_and_is_named() {
    type Change = fn(&mut Signed, &Judge);
    let changes: [(Change, &str); 3] = [
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
        (
            |signed, judge| {
                signed.record.averages.clear();
                *signed = Signed::sign(signed.record.clone(), &judge.key);
            },
            "its average differs",
        ),
    ];
    for (change, why) in changes {
        let judge = Judge::of_four_rounds(1);
        let good = fs::read(judge.path(3)).unwrap();
        let mut signed = read(&judge, 3);
        change(&mut signed, &judge);
        fs::write(judge.path(3), signed.to_json()).unwrap();
        let mut home = Home::new();
        home.read(&[&judge]);
        let (n_records, flaw) = known(&home, &judge);
        let (number, said) = flaw.unwrap();
        assert_eq!((n_records, number), (2, 3), "{why}: {said}");
        assert!(said.contains(why), "{said} says not: {why}");
        let page = home.page(&format!("/validator/{}", judge.key.public()));
        assert!(page.contains("Record 3 is false"), "{page}");
        assert_eq!(home.answer("/c/tiny/round/3").status, 404, "it is in no number");

        fs::write(judge.path(3), good).unwrap();
        home.read(&[&judge]);
        assert_eq!(known(&home, &judge), (4, None), "a copy that was bad heals");
    }
}

#[test]
fn attack_losses_that_others_did_not_find_count_nowhere() {
    let judges = [1, 2].map(Judge::of_four_rounds);
    let mut liar = Judge::new(3);
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    liar.judge(&[old]);
    liar.judge(&[player(1, 0.2), new]);
    let mut home = Home::new();
    // Alone it is believed, beside others nobody is: without a chain no stake decides.
    let states = |home: &Home| -> Vec<(u64, State)> {
        let others = home.index().others("tiny", Block(1_020)).unwrap();
        let number = |validator: AccountId| {
            (1..=3).find(|number| key(*number).public() == validator).unwrap()
        };
        let mut states: Vec<_> =
            others.iter().map(|other| (number(other.row.validator), other.row.state)).collect();
        states.sort_unstable();
        states
    };
    home.read(&[&liar]);
    assert_eq!(states(&home), [(3, State::Believed)]);
    home.read(&[&liar, &judges[0]]);
    assert_eq!(states(&home), [(1, State::Disputed), (3, State::Disputed)]);
    assert_eq!(home.page("/c/tiny/rounds?block=1020").matches("disputed: another").count(), 1);
    home.read(&[&liar, &judges[0], &judges[1]]);
    let disputed = [1, 2, 3].map(|number| (number, State::Disputed));
    assert_eq!(states(&home), disputed, "whoever has two keys has not two voices");
    let of_liar = format!("/c/tiny?validator={}", liar.key.public());
    assert!(home.page(&of_liar).contains("From record <a"), "what it said before counts");
    assert!(home.page("/c/tiny/round/2").contains("and no stake decides"));
}

#[test]
fn an_index_that_was_deleted_is_made_anew_with_the_same_pages() {
    let judge = Judge::of_four_rounds(1);
    let (mut home, mut other) = (Home::new(), Home::new());
    home.read(&[&judge]);
    let pages = |home: &Home| -> Vec<String> {
        addresses(&judge).iter().map(|address| home.page(address)).collect()
    };
    let before = pages(&home);
    fs::remove_file(home.path().join(index::FILE)).unwrap();
    home.read(&[&judge]);
    assert_eq!(pages(&home), before);
    fs::write(home.path().join(index::FILE), "this is no database, though it is long enough")
        .unwrap();
    home.read(&[&judge]);
    assert_eq!(pages(&home), before, "one that is damaged, too");
    other.read(&[&judge]);
    assert_eq!(pages(&other), before, "and anybody else's");
}

#[test]
fn whatever_a_reader_was_killed_at_the_next_goes_on() {
    let mut judge = Judge::new(1);
    let (mut home, mut whole) = (Home::new(), Home::new());
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    // A lot and a part of one, and a reader that ends after each.
    judge.judge(&[old]);
    for _ in 1..140 {
        judge.judge(&[old, new]);
    }
    let mut n_known = vec![0];
    while n_known.last() != Some(&140) {
        let n_asked = AtomicUsize::new(0);
        home.read_until(&[&judge], &|| n_asked.fetch_add(1, Ordering::Relaxed) > 0);
        n_known.push(known(&home, &judge).0);
    }
    assert_eq!(n_known, [0, 128, 140]);
    whole.read(&[&judge]);
    for address in ["/", "/c/tiny", "/c/tiny/rounds", "/c/tiny/crown/2"] {
        assert_eq!(home.page(address), whole.page(address), "{address}");
    }
}

/// Copies an index as a kill leaves it: the file, and what is beside it.
fn copy(from: &Path, to: &Path) {
    for name in [index::FILE.to_owned(), format!("{}-wal", index::FILE)] {
        let _ = fs::copy(from.join(&name), to.join(&name));
    }
}

#[test]
fn an_index_that_was_killed_while_it_was_made_from_nothing_is_made_anew() {
    let judge = Judge::of_four_rounds(1);
    let (home, mut killed, mut whole) = (Home::new(), Home::new(), Home::new());
    let known = Arc::new(Rules::new(vec![rules()]));
    let index = Index::open(home.path()).unwrap();
    let mut reader = Reader::new(index, known, vec![judge.place()]);
    // A round is told of once it is in the index, which is not finished before all are.
    let tell = |news: News| {
        if news.number == 4 {
            copy(home.path(), killed.path());
        }
    };
    reader.read(&|| false, &tell).unwrap();
    assert_eq!(killed.index().heads().unwrap()[0].n_records, 4, "it is all there");
    assert!(Index::open(killed.path()).unwrap().heads().unwrap().is_empty(), "and is not believed");
    killed.read(&[&judge]);
    whole.read(&[&judge]);
    for address in addresses(&judge) {
        assert_eq!(killed.page(&address), whole.page(&address), "{address}");
    }
    // Finished, it goes on.
    let after = Home::new();
    copy(home.path(), after.path());
    assert_eq!(Index::open(after.path()).unwrap().heads().unwrap()[0].n_records, 4);
}

#[test]
fn nothing_is_read_again_of_a_place_that_has_nothing_new() {
    struct Counted(records::Folder, Arc<AtomicUsize>);
    impl Source for Counted {
        fn index(&self) -> Result<Option<records::Index>, records::Error> {
            self.0.index()
        }
        fn record(&self, name: &str, number: u64) -> Result<Option<Vec<u8>>, records::Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.bytes(name, number)
        }
    }
    let mut judge = Judge::of_four_rounds(1);
    let (home, n_read) = (Home::new(), Arc::new(AtomicUsize::new(0)));
    let source = Box::new(Counted(judge.folder.clone(), Arc::clone(&n_read)));
    let place = Place { name: "counted".to_owned(), source };
    let known = Arc::new(Rules::new(vec![rules()]));
    let mut reader = Reader::new(Index::open(home.path()).unwrap(), known, vec![place]);
    let n_changes = reader.n_changes();
    let mut read = || {
        reader.read(&|| false, &|_| {}).unwrap();
        (n_read.load(Ordering::Relaxed), n_changes.load(Ordering::Relaxed))
    };
    let first = read();
    assert_eq!(first.0, 4);
    assert_eq!(read(), first, "nothing is read, and nothing changes");
    judge.judge(&[player(1, 0.0)]);
    let second = read();
    assert_eq!(second.0, 5, "the new one alone");
    assert!(second.1 > first.1);
}

/// A chain of so many blocks, with the hotkey of judge 1 in the first slot.
pub(crate) fn chain_of(n_blocks: u64) -> Arc<MemoryChain> {
    let owner = key(50);
    let subnet =
        SubnetGenesis { owner: owner.public(), hyperparameters: Hyperparameters::default() };
    let accounts = vec![(owner.public(), 1_000_000_000_000)];
    let genesis = Genesis { seed: 1, accounts, subnets: vec![subnet], ..Genesis::default() };
    let chain = MemoryChain::new(&genesis).unwrap();
    let register = Call::BurnedRegister { netuid: NetUid(1), hotkey: key(1).public() };
    chain.submit(register, &owner).unwrap();
    for _ in 0..n_blocks {
        chain.produce_block().unwrap();
    }
    Arc::new(chain)
}

#[test]
fn attack_records_of_another_chain_or_seed_are_false() {
    let chain = chain_of(1_035);
    let mut home = Home::new();
    let elsewhere = Judge::of_four_rounds(1);
    home.read_beside(&chain, &[&elsewhere]);
    assert!(home.index().heads().unwrap().is_empty(), "anybody can lay them out: no fault of it");
    assert!(home.page("/").contains("its records are of another chain"));

    let mut judge = Judge::new(2);
    judge.chain = Some(Arc::clone(&chain));
    let old = player(1, 0.0);
    judge.judge(&[old]);
    judge.judge(&[old]);
    let mut signed = read(&judge, 2);
    signed.record.round.block_hash = protocol::BlockHash([7; 32]);
    fs::write(judge.path(2), Signed::sign(signed.record, &judge.key).to_json()).unwrap();
    home.read_beside(&chain, &[&judge]);
    let (n_records, flaw) = known(&home, &judge);
    let (number, said) = flaw.unwrap();
    assert_eq!((n_records, number), (1, 2));
    assert!(said.contains("another hash at block 1020"), "{said}");

    let network = home.page("/network");
    let slot = key(1).public().to_string();
    assert!(network.contains(&slot), "{network}");
    assert!(network.contains("From the chain, at block 1035"), "{network}");
    assert!(home.page(&format!("/miner/{slot}")).contains("uid 0"));
    assert!(home.page("/").contains("Who gets what"));
}

#[test]
fn what_epochs_pay_is_kept_by_key_and_by_role() {
    let chain = chain_of(5);
    let mut home = Home::new();
    home.read_beside(&chain, &[]);
    let mut index = Index::open(home.path()).unwrap();
    let mut metagraph = chain.metagraph(NetUid(1)).unwrap();
    let hotkey = key(1).public();
    for (epoch, rao) in [(10, 5), (20, 7), (20, 8)] {
        metagraph.block = Block(epoch + 1);
        metagraph.last_epoch = Block(epoch);
        metagraph.neurons[0].emission_rao = rao;
        metagraph.neurons[0].validator_permit = epoch == 10;
        index.note_metagraph(&metagraph).unwrap();
    }
    let pay = index.pay(hotkey, Block(25), 9).unwrap();
    let pay: Vec<(u64, u64)> = pay.iter().map(|pay| (pay.epoch.0, pay.rao)).collect();
    assert_eq!(pay, [(20, 8), (10, 5)], "each epoch once, as it was seen last");
    assert_eq!(index.pay(hotkey, Block(19), 9).unwrap().len(), 1, "as of a past block");
    let epochs = index.epochs(Block(25), 9).unwrap();
    let roles: Vec<(u64, u64)> =
        epochs.iter().map(|epoch| (epoch.miners_rao, epoch.validators_rao)).collect();
    assert_eq!(roles, [(8, 0), (0, 5)]);
    drop(index);
    let page = home.page(&format!("/miner/{hotkey}"));
    assert!(page.contains("0.000 TAO in 2 epochs"), "{page}");
}
