//! Crowns: what their pages say is what the records have.

use crate::{
    markup::{elements, named},
    scene::{Home, Judge, Player, player, rules_of_succession},
};
use dashboard::figures::{Estimate, decimals, log10, percent};
use protocol::{Loss, Record, competition::Rule};
use serde_json::Value;

fn json(home: &Home, address: &str) -> Value {
    serde_json::from_str(&home.page(address)).unwrap()
}

/// What a page says under a name.
fn fact(home: &Home, address: &str, name: &str) -> Option<String> {
    let all = elements(&home.page(address));
    let at = all.iter().position(|it| it.name == "dt" && it.text == name)?;
    all[at..].iter().find(|it| it.name == "dd").map(|it| it.text.clone())
}

/// Losses of a slot in a record.
fn losses(record: &Record, uid: u16) -> &[Loss] {
    let judged = record.models.iter().find(|judged| judged.model.uid.0 == uid).unwrap();
    judged.model.finding.losses()
}

fn mean(losses: &[Loss]) -> f64 {
    Estimate::of_losses(losses).unwrap().mean
}

#[test]
fn the_page_of_a_crown_has_the_evidence_of_the_records_document_by_document() {
    let mut judge = Judge::new(1);
    // More evidence than the documents of one round can give: the duel goes over two records.
    judge.rules.scoring.duel.as_mut().unwrap().alpha = 1e-7;
    judge.rules.check().unwrap();
    let (old, new) = (player(1, 0.0), player(2, 0.1));
    let mut records = vec![judge.judge(&[old])];
    while records.last().unwrap().champion.unwrap().0 == 1 && records.len() < 9 {
        records.push(judge.judge(&[old, new]));
    }
    let mut home = Home::new();
    home.rules = vec![judge.rules.clone()];
    home.read(&[&judge]);
    let last = records.last().unwrap();
    let number = last.round.number;
    assert!(number >= 3, "a duel of {} rounds", number - 1);
    let challenger = last.models.iter().find(|judged| judged.model.uid.0 == 2).unwrap();
    let fight = challenger.fight.as_ref().unwrap();
    assert_eq!(fight.began, records[1].round.block);

    let address = format!("/c/tiny/crown/{number}");
    let page = json(&home, &format!("{address}.json"));
    let rows = page["tables"]["documents"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), fight.evidence.n_documents() as usize);
    let drawn = records[1..].iter().flat_map(|record| {
        let pairs = losses(record, 1).iter().zip(losses(record, 2));
        record
            .round
            .documents
            .iter()
            .zip(pairs)
            .map(move |(document, pair)| (record, document, pair))
    });
    let mut sum = 0.0;
    for (at, (row, (record, document, (old, new)))) in rows.iter().zip(drawn).enumerate() {
        assert_eq!(row["place"], at as u64 + 1);
        assert_eq!(row["id"], document.id.as_str());
        assert_eq!(row["sha256"], document.sha256.to_string());
        assert_eq!(row["block"], record.round.block.0);
        assert_eq!(row["gain"].as_f64(), Some(old.value() - new.value()), "document {at}");
        sum += row["step"].as_f64().unwrap();
        assert!((sum - row["log10_crown"].as_f64().unwrap()).abs() < 1e-9, "document {at}");
    }
    let evidence = log10(fight.evidence.e_crown());
    assert_eq!(rows.last().unwrap()["log10_crown"].as_f64(), Some(evidence));

    let said = |name: &str| fact(&home, &address, name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(said("Documents"), rows.len().to_string());
    assert!(said("Mean gain").starts_with(&percent(fight.evidence.mean())));
    assert_eq!(said("Epsilon, frozen at the start"), percent(fight.terms.epsilon));
    let margin = percent(fight.evidence.margin().unwrap());
    assert_eq!(said("Margin, by the spread of this pair"), margin);
    let needed = decimals(Some(log10(1.0 / fight.terms.alpha)), 2);
    let shown = decimals(Some(evidence), 2);
    let said = said("Evidence for a new crown");
    assert!(said.ends_with(&format!("(10^{shown} of 10^{needed})")), "{said}");
}

/// Rounds by the rule that the lowest loss takes the crown, each with one more model that does.
fn succession(n_rounds: u16) -> (Judge, Home, Vec<Record>) {
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    let better = |uid: u16| player(uid, 0.03 * f64::from(uid));
    let rounds = (1..=n_rounds).map(|n| (1..=n).map(better).collect::<Vec<Player>>());
    let records = rounds.map(|players| judge.judge(&players)).collect();
    let mut home = Home::new();
    home.rules = vec![rules_of_succession()];
    home.read(&[&judge]);
    (judge, home, records)
}

#[test]
fn as_many_crowns_as_there_are_each_have_a_page_a_row_a_ring_and_an_entry_of_the_feed() {
    let (_judge, home, records) = succession(7);
    let champions: Vec<u16> = records.iter().map(|it| it.champion.unwrap().0).collect();
    assert_eq!(champions, [1, 2, 3, 4, 5, 6, 7], "each took it from the one before");
    let page = json(&home, "/c/tiny.json");
    let rows = page["tables"]["crowns"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    for (row, record) in rows.iter().zip(records.iter().rev()) {
        let (number, uid) = (record.round.number, record.champion.unwrap().0);
        assert_eq!(row["number"], number);
        assert_eq!(row["block"], record.round.block.0);
        assert_eq!(row["to"], format!("miner{uid}/model"));
        assert_eq!(row["loss"].as_f64(), Some(mean(losses(record, uid))));
        if uid == 1 {
            assert_eq!((&row["from"], &row["former_loss"]), (&Value::from("nobody"), &Value::Null));
            continue;
        }
        let before = &records[usize::from(uid) - 2];
        assert_eq!(row["from"], format!("miner{}/model", uid - 1));
        assert_eq!(row["former_loss"].as_f64(), Some(mean(losses(before, uid - 1))));
        // Of both, the loss in the record that tells of the crown.
        let crown = home.page(&format!("/c/tiny/crown/{number}"));
        for of in [uid - 1, uid] {
            let loss = decimals(Some(mean(losses(record, of))), 4);
            assert!(crown.contains(&format!("{loss} nats per token")), "no {loss} in {crown}");
        }
    }
    let competition = home.page("/c/tiny");
    assert_eq!(competition.matches("class=\"crown\"").count(), 7);
    let feed = home.page("/crowns.atom");
    assert_eq!(feed.matches("<entry>").count(), 7);
    for record in &records {
        assert!(feed.contains(&format!("urn:sha256:{}", record.digest().hex())), "{feed}");
    }
    let then = home.page("/crowns.atom?block=1035");
    assert_eq!(then.matches("<entry>").count(), 3, "{then}");
}

#[test]
fn a_champion_that_withdraws_leaves_an_empty_throne_and_its_page_says_so() {
    let (mut judge, mut home, _) = succession(2);
    let record = judge.judge(&[player(1, 0.03)]);
    assert_eq!(record.champion.unwrap().0, 1);
    home.read(&[&judge]);
    let crown = home.page("/c/tiny/crown/3");
    for said in [
        "miner1/model took it from miner2/model at block 1030.",
        "<h2>An empty throne</h2>",
        "The former champion was not measured in this round",
        "in round 2",
    ] {
        assert!(crown.contains(said), "no {said} in {crown}");
    }
    assert!(!crown.contains("What had to be passed"), "{crown}");
    let competition = home.page("/c/tiny");
    assert!(competition.contains("<dt>Since block</dt><dd>1030</dd>"), "{competition}");
}

#[test]
fn a_crown_by_batches_or_by_means_says_what_had_to_be_passed() {
    for rule in [Rule::Wins, Rule::Mean] {
        let mut judge = Judge::new(1);
        judge.rules.scoring.rule = rule;
        judge.rules.scoring.duel = None;
        judge.rules.check().unwrap();
        let (old, new) = (player(1, 0.0), player(2, 0.1));
        judge.judge(&[old]);
        let record = judge.judge(&[old, new]);
        let mut home = Home::new();
        home.rules = vec![judge.rules.clone()];
        home.read(&[&judge]);
        let said = |name: &str| fact(&home, "/c/tiny/crown/2", name);
        let epsilon = judge.rules.scoring.epsilon.at(record.round.block, protocol::Block(1));
        let shown = said("Epsilon at the age of the former champion");
        assert_eq!(shown, Some(percent(epsilon)), "{rule:?}");
        let (before, after) = (losses(&record, 1), losses(&record, 2));
        if rule == Rule::Wins {
            let pairs = before.iter().zip(after);
            let is_won = |(old, new): &(&Loss, &Loss)| new.value() < (1.0 - epsilon) * old.value();
            let n_won = pairs.filter(is_won).count();
            assert!(n_won > 12, "{n_won}");
            assert_eq!(said("On which it was"), Some(n_won.to_string()));
            let half = said("Batches on which it had to be better by that");
            assert_eq!(half.as_deref(), Some("more than half of 25"));
        } else {
            let under = format!("{:.4} nats per token", (1.0 - epsilon) * mean(before));
            assert_eq!(said("To get under"), Some(under));
            let got = format!("{:.4} nats per token", mean(after));
            assert_eq!(said("The new champion's loss"), Some(got));
        }
        let page = json(&home, "/c/tiny/crown/2.json");
        let rows = page["tables"]["parts"]["rows"].as_array().unwrap();
        for (row, (old, new)) in rows.iter().zip(before.iter().zip(after)) {
            assert_eq!(row["former"].as_f64(), Some(old.value()));
            assert_eq!(row["new"].as_f64(), Some(new.value()));
            assert_eq!(row["gain"].as_f64(), Some(old.value() - new.value()));
        }
        assert_eq!(rows.len(), before.len());
    }
}

#[test]
fn rounds_in_which_nobody_takes_part_have_pages_that_say_so() {
    let mut judge = Judge::new(1);
    let records = [judge.judge(&[]), judge.judge(&[])];
    assert!(records.iter().all(|record| record.champion.is_none()));
    let mut home = Home::new();
    home.read(&[&judge]);
    for (address, said) in [
        ("/", "Nobody holds the crown: no model took part yet."),
        ("/c/tiny", "Nobody holds the crown."),
        ("/c/tiny", "No round has been measured yet."),
        ("/c/tiny", "no model took part in this round"),
        ("/c/tiny", "nobody has taken the crown yet"),
        ("/c/tiny/badge.svg", "no champion"),
        ("/c/tiny/round/2", "0 models on 25 documents, seeded by block 1020."),
        ("/c/tiny/round/2", "so no model was measured in this round"),
        ("/c/tiny/round/2/losses", "0 losses of 0 models."),
        ("/c/tiny/round/2/losses", "nothing had to be measured in this round"),
        ("/c/tiny/rounds", "nobody"),
    ] {
        let page = home.page(address);
        assert!(page.contains(said), "{address}: no {said} in {page}");
    }
    assert_eq!(home.answer("/c/tiny/crown/1").status, 404);
    assert_eq!(home.page("/crowns.atom").matches("<entry>").count(), 0);
    let all = elements(&home.page("/c/tiny/compare"));
    assert!(named(&all, "option").is_empty(), "there is nothing to choose");
    let page = json(&home, "/overview.json");
    let row = &page["tables"]["competitions"]["rows"][0];
    for key in ["loss", "since", "lead"] {
        assert_eq!(row[key], Value::Null, "{key}");
    }
    assert_eq!(row["champion"], "–");

    judge.judge(&[player(1, 0.0)]);
    home.read(&[&judge]);
    let crown = home.page("/c/tiny/crown/3");
    assert!(crown.contains("miner1/model took it from an empty throne at block 1030."), "{crown}");
    assert!(home.page("/").contains("champion since block 1030"));
    assert!(home.page("/?block=1020").contains("Nobody holds the crown"));
}

#[test]
fn the_rules_of_a_competition_are_told_as_they_are() {
    let (judge, newer) = (Judge::of_four_rounds(1), rules_of_succession());
    let mut home = Home::new();
    home.rules = vec![newer.clone(), judge.rules.clone()];
    home.read(&[&judge]);
    let versions = json(&home, "/c/tiny.json")["tables"]["rules"]["rows"].clone();
    let told: Vec<(&str, &str)> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["rule"].as_str().unwrap(), row["digest"].as_str().unwrap()))
        .collect();
    let (duel, other) = (judge.rules.digest().to_string(), newer.digest().to_string());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&("duel", duel.as_str())), "{told:?}");
    assert!(told.contains(&("succession", other.as_str())), "{told:?}");
    let page = home.page("/c/tiny");
    let rule = judge.rules.scoring.duel.unwrap();
    for said in [
        format!("A round begins every {} blocks", judge.rules.evaluation.blocks_per_round),
        format!("without being better is at most {}", rule.alpha),
        format!("ends after {} documents", rule.n_documents_max),
        format!("Digest of these rules: <code>{duel}</code>"),
    ] {
        assert!(page.contains(&said), "no {said} in {page}");
    }
    // A record that goes by others than those that are known here says so, and is not derived.
    home.rules = vec![rules_of_succession()];
    std::fs::remove_file(home.path().join(dashboard::index::FILE)).unwrap();
    home.read(&[&judge]);
    let page = home.page("/c/tiny");
    assert!(page.contains("are not known to this dashboard"), "{page}");
    assert!(!page.contains("verdict derived again</"), "{page}");
}
