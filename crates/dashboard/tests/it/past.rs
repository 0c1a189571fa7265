//! Pages as of a past block: what was known then, and nothing of what came after.

use crate::{
    markup::{Element, elements, inside, named},
    scene::{Home, Judge, Player, addresses, key, player, rules, subnet},
};
use protocol::{AccountId, Block, Uid};

#[test]
fn a_page_of_the_past_is_the_page_that_was_there_then() {
    let [one, two] = [player(1, 0.0), player(2, 0.1)];
    let [three, four] = [player(3, 0.05), player(4, 0.2)];
    let rounds: [&[Player]; 4] =
        [&[one], &[one, two], &[one, two, three], &[one, two, three, four]];
    let (mut judge, mut whole, mut cuts) = (Judge::new(1), Home::new(), Vec::new());
    for players in rounds {
        let record = judge.judge(players);
        let mut cut = Home::new();
        cut.read(&[&judge]);
        cuts.push((record.round.block, cut));
    }
    whole.read(&[&judge]);
    let newest = whole.answer("/c/tiny/rounds");
    let mut n_same = 0;
    for (block, cut) in &cuts {
        let at = block.0 + 5;
        for address in addresses(&judge) {
            let sign = if address.contains('?') { '&' } else { '?' };
            let address = format!("{address}{sign}block={at}");
            let (then, now) = (cut.answer(&address), whole.answer(&address));
            assert_eq!(then.status, now.status, "{address}");
            if now.status == 200 {
                let [then, now] = [then, now].map(|answer| String::from_utf8(answer.body).unwrap());
                assert_eq!(now, then, "{address}");
                n_same += 1;
            }
        }
    }
    assert!(n_same > 40, "{n_same} pages were compared");
    let last = whole.answer("/c/tiny/rounds?block=1045");
    assert_ne!(last, newest, "a page of a past block says so");
}

#[test]
fn a_page_of_the_past_names_no_competition_that_began_later() {
    let mut later = Judge::new(1);
    later.rules.name = "later".to_owned();
    later.begins = 1_100;
    later.judge(&[player(1, 0.0)]);
    let judge = Judge::of_four_rounds(2);
    let mut home = Home::new();
    home.rules = vec![rules(), later.rules.clone()];
    home.read(&[&judge, &later]);
    let now = home.page("/");
    assert!(now.contains("2 competitions, judged by 2 chains of signed records."), "{now}");
    assert!(now.contains("href=\"/c/later\""), "{now}");
    for address in ["/?block=1040", "/c/tiny?block=1040", "/network?block=1040"] {
        let then = home.page(address);
        assert!(!then.contains("later?"), "{address}: {then}");
        assert!(!then.contains("later\""), "{address}: {then}");
    }
    let then = home.page("/?block=1040");
    assert!(then.contains("1 competition, judged by 1 chain of signed records."), "{then}");
    let before = home.page("/?block=1009");
    assert!(before.contains("0 competitions, judged by 0 chains"), "{before}");
    assert!(before.contains("No record is believed, up to this block."), "{before}");
    let validator = format!("/validator/{}", later.key.public());
    assert!(home.page(&validator).contains("It has records of 1 competition."));
    let then = home.page(&format!("{validator}?block=1109"));
    assert!(then.contains("It has records of 0 competitions."), "{then}");
    // By one validator, what it has records of is told, and what another has is not.
    let by = home.page(&format!("/?validator={}", judge.key.public()));
    assert!(by.contains("1 competition, judged by 1 chain") && !by.contains("/c/later"), "{by}");
}

#[test]
fn what_the_chain_said_is_shown_as_it_was_seen_last_by_then() {
    let (hotkey, other) = (key(1).public(), AccountId([2; 32]));
    let mut home = Home::new();
    home.read(&[]);
    home.note(&subnet(100, &[(hotkey, 3_000_000_000, true)]));
    home.note(&subnet(500, &[(hotkey, 9_000_000_000, true), (other, 0, false)]));
    let facts = |address: &str| -> Vec<(String, String)> {
        let all = elements(&home.page(address));
        let texts = |name: &str| -> Vec<String> {
            named(&all, name).into_iter().map(|it| it.text.clone()).collect()
        };
        texts("dt").into_iter().zip(texts("dd")).collect()
    };
    let has = |address: &str, name: &str, said: &str| {
        let facts = facts(address);
        let is_it = |(found, value): &(String, String)| found == name && value == said;
        assert!(facts.iter().any(is_it), "{address}: no {name} {said} in {facts:?}");
    };
    has("/network", "Slots", "2, 1 with a permit to judge");
    has("/network?block=499", "Slots", "1, 1 with a permit to judge");
    has("/network?block=500", "Stake, TAO", "9.000");
    has("/network?block=100", "Stake, TAO", "3.000");
    has("/network?block=100", "Last epoch at block", "99");
    has("/network", "Paid by it, TAO", "5.000");
    let validator = format!("/validator/{hotkey}?block=499");
    has(&validator, "Stake, TAO", "3.000");
    has(&validator, "Slot", "uid 0");
    has(&validator, "Incentive", "50.00 %");
    has(&validator, "Age of its weights", "1 block, 12 s");
    let missing = home.page("/network?block=99");
    assert!(missing.contains("this block was before this dashboard first"), "{missing}");
    let miner = home.page(&format!("/miner/{other}?block=498"));
    assert!(miner.contains("The subnet has no slot with this key."), "{miner}");
    assert!(miner.contains("no epoch that was seen has paid this key"), "{miner}");
    // Each epoch once, with what it paid to either role.
    let csv = home.page("/network.csv?table=epochs");
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(rows, ["499,2500000000,2500000000,2", "99,0,2500000000,1"]);
    let then = home.page("/network.csv?table=epochs&block=498");
    assert_eq!(then.lines().skip(1).collect::<Vec<_>>(), ["99,0,2500000000,1"]);
    let pay = home.page(&format!("/validator/{hotkey}.csv?table=pay"));
    assert_eq!(pay.lines().count(), 3, "{pay}");
    assert!(home.page(&format!("/validator/{hotkey}")).contains("5.000 TAO in 2 epochs"));
}

#[test]
fn the_newest_weights_of_a_validator_are_on_the_map_of_the_network() {
    let hotkey = key(1).public();
    let mut metagraph = subnet(100, &[(hotkey, 1, true), (AccountId([2; 32]), 0, false)]);
    metagraph.neurons[0].weights = vec![(Uid(1), 65_535), (Uid(9), 1)];
    metagraph.neurons[1].weights.clear();
    let mut home = Home::new();
    home.read(&[]);
    home.note(&metagraph);
    let all = elements(&home.page("/network"));
    let is_map = |it: &Element| it.get("class") == Some("heat");
    assert_eq!(all.iter().filter(|it| is_map(it)).count(), 1, "nobody has bonds");
    let map = inside(&all, all.iter().position(is_map).unwrap());
    let rows: Vec<&str> = named(map, "text").iter().map(|it| it.text.as_str()).collect();
    assert_eq!(rows, ["uid 0"], "who has no weights has no row");
    let page = home.page("/network");
    assert!(page.contains("No validator has any that can be read."), "{page}");
    let index = home.index();
    assert_eq!(index.newest_metagraph().unwrap(), Some(Block(100)));
    assert_eq!(index.metagraph(Block(100)).unwrap(), Some(metagraph));
}
