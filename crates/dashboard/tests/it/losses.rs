//! Losses on pages: those of rounds that measure nobody, and those that a crown was taken by.

use crate::scene::{Home, Judge, player, rules_of_succession};

#[test]
fn a_round_that_measures_nobody_leaves_the_losses_of_the_last_that_did() {
    let mut judge = Judge::of_four_rounds(1);
    let record = judge.judge(&[player(2, 0.1)]);
    let losses = record.models[0].model.finding.losses();
    assert!(losses.is_empty(), "nobody challenges: nothing is measured");
    let mut home = Home::new();
    home.read(&[&judge]);
    let known = home.page("/c/tiny.csv?table=board&block=1040");
    let loss_of = |csv: &str| {
        let line = csv.lines().find(|line| line.starts_with("2,miner2/model,")).unwrap();
        let (fields, n) = (line.split(',').collect::<Vec<_>>(), 6);
        (fields[n].to_owned(), fields[n + 4].to_owned())
    };
    let (loss, measured_in) = loss_of(&known);
    assert_eq!(measured_in, "4", "{known}");
    let now = home.page("/c/tiny.csv?table=board");
    assert_eq!(loss_of(&now), (loss, "4".to_owned()), "{now}");
    assert!(home.page("/c/tiny").contains(", round 4</td>"), "the row says where it is from");
    assert!(home.page("/c/tiny").contains(">1,048 blocks, 3 h<"), "the age of its commitment");
    let shown = home.page("/");
    for said in ["nats per token, from round 4", "ahead of miner3/model by 0."] {
        assert!(shown.contains(said), "no {said} in {shown}");
    }
    let title = "with a perplexity of";
    assert!(!home.page("/c/tiny").contains(&format!("{title} –")));
    assert!(!home.page("/c/tiny/badge.svg").contains('–'));
    let compare = home.page("/c/tiny/compare");
    assert!(compare.contains("<option"), "models that were measured before can be compared");
}

#[test]
fn the_former_champion_of_a_crown_has_its_loss_in_the_record_that_tells_of_it() {
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    let mut judge = Judge::new(1);
    judge.judge(&[old]);
    // Nobody challenges, so that the round before the crown measures nobody.
    judge.judge(&[old]);
    let record = judge.judge(&[old, new]);
    let losses = record.models[0].model.finding.losses();
    let mean = losses.iter().map(|loss| loss.value()).sum::<f64>() / losses.len() as f64;
    let mut home = Home::new();
    home.read(&[&judge]);
    let crown = home.page("/c/tiny/crown/3");
    assert!(crown.contains(&format!("{mean:.4} ±")), "no {mean} in {crown}");
    assert_eq!(crown.matches("on the documents of this round").count(), 2, "{crown}");
    assert!(crown.contains(" to 1 is needed (10^"), "evidence in words: {crown}");
    let crowns = home.page("/c/tiny.csv?table=crowns");
    let line = crowns.lines().nth(1).unwrap();
    assert!(!line.ends_with(','), "its loss of the first round: {crowns}");
}

#[test]
fn a_crown_by_succession_says_what_had_to_be_passed_and_by_which_documents_it_was() {
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    judge.judge(&[old]);
    let record = judge.judge(&[old, new]);
    let mut home = Home::new();
    home.rules = vec![rules_of_succession()];
    home.read(&[&judge]);
    let crown = home.page("/c/tiny/crown/2");
    let means: Vec<f64> = record
        .models
        .iter()
        .map(|judged| {
            let losses = judged.model.finding.losses();
            losses.iter().map(|loss| loss.value()).sum::<f64>() / losses.len() as f64
        })
        .collect();
    let epsilon = judge.rules.scoring.epsilon.at(record.round.block, protocol::Block(1));
    let under = (1.0 - epsilon) * means[0];
    for said in [
        format!("<dt>To get under</dt><dd>{under:.4} nats per token</dd>"),
        format!("<dt>The new champion's loss</dt><dd>{:.4} nats per token</dd>", means[1]),
    ] {
        assert!(crown.contains(&said), "no {said} in {crown}");
    }
    let parts = home.page("/c/tiny/crown/2.csv?table=parts");
    assert_eq!(parts.lines().count(), 26, "{parts}");
    assert!(parts.lines().nth(1).unwrap().starts_with("1,a test 2000,"), "{parts}");
    assert!(parts.contains(&record.round.documents[24].sha256.to_string()));
    let chart = home.page("/c/tiny");
    assert!(chart.contains("class=\"threshold\" d=\"M"), "{chart}");
}

#[test]
fn all_losses_of_a_round_come_as_a_table_and_none_is_no_low_loss() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let record = crate::reading::read(&judge, 2).record;
    let losses = |at: usize| record.models[at].model.finding.losses();
    let csv = home.page("/c/tiny/round/2/losses.csv");
    assert_eq!(csv.lines().count(), 1 + losses(0).len() + losses(1).len());
    let first = format!("1,miner1/model,1,a test 2000,{}", losses(0)[0].value());
    assert_eq!(csv.lines().nth(1), Some(first.as_str()));
    let round = home.page("/c/tiny/round/2");
    for said in ["/c/tiny/round/2/losses.csv", "a dashed frame was not measured"] {
        assert!(round.contains(said), "no {said} in {round}");
    }
}

#[test]
fn charts_tell_their_numbers_where_they_are_pointed_at() {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let competition = home.page("/c/tiny");
    for said in ["<title>champion at block 1040: ", "<title>a model at block 1040: "] {
        assert!(competition.contains(said), "no {said} in {competition}");
    }
    assert!(competition.contains(">dashed: to get under "), "{competition}");
    let crown = home.page("/c/tiny/crown/2");
    assert_eq!(crown.matches("class=\"spot\"").count(), 25, "{crown}");
}
