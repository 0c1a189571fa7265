//! Scenario files: those that come along are read, and typos are named.

use sim::Scenario;

const SMALL: &str = "blocks = 100\n[[miners]]\nstrategy = \"rebase\"\n";

fn error(text: &str) -> String {
    Scenario::from_toml(text).unwrap_err().to_string()
}

#[test]
fn every_scenario_that_comes_along_is_read() {
    for name in Scenario::builtin_names() {
        let scenario = Scenario::builtin(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!scenario.all_rules().unwrap().is_empty(), "{name}");
        let path = format!("../../scenarios/{name}.toml");
        assert!(std::fs::read_to_string(&path).is_ok(), "`{path}` is not there");
    }
}

#[test]
fn typos_are_named_with_what_was_meant() {
    assert!(Scenario::from_toml(SMALL).is_ok());
    let told = error(&SMALL.replace("blocks", "blocksx"));
    assert!(told.starts_with("line 1: ") && told.contains("did you mean `blocks`?"), "{told}");
    let told = error(&SMALL.replace("rebase", "rebasex"));
    assert!(told.contains("line 3: ") && told.contains("did you mean `rebase`?"), "{told}");
    let told = error(&format!("{SMALL}[noise]\nscratchx = 0.01\n"));
    assert!(told.contains("did you mean `scratch`?"), "{told}");
    let told = error(&format!("{SMALL}[rules.mine.scoring]\ntemperaturex = 0.1\n"));
    assert!(told.starts_with("rules `mine`: "), "{told}");
    assert!(told.contains("did you mean `temperature`?"), "{told}");
    let told = Scenario::builtin("seasonx").unwrap_err().to_string();
    assert!(told.contains("did you mean `season`?"), "{told}");
    let scenario = Scenario::from_toml(&format!("{SMALL}[rules.duels]\n")).unwrap();
    let told = scenario.some_rules(&["duel".to_owned()]).unwrap_err().to_string();
    assert!(told.contains("did you mean `duels`?"), "{told}");
}

#[test]
fn what_is_out_of_range_is_named() {
    for (key, text) in [
        ("blocks", SMALL.replace("100", "1")),
        ("miners", format!("{SMALL}count = 300\n")),
        ("validators", format!("validators = 0\n{SMALL}")),
        ("text.reserve_share", format!("{SMALL}[text]\nreserve_share = 2.0\n")),
        ("models.floor", format!("{SMALL}[models]\nfloor = 9.0\n")),
        ("noise.tail", format!("{SMALL}[noise]\ntail = -1.0\n")),
    ] {
        let told = error(&text);
        assert!(told.contains(&format!("`{key}`")), "{key}: {told}");
    }
    let told = error(&format!("{SMALL}[competition.scoring]\ntemperature = -1.0\n"));
    assert!(told.contains("scoring.temperature"), "{told}");
}

#[test]
fn rules_are_written_over_those_of_the_base_and_an_epsilon_over_both() {
    let text = format!("{SMALL}[competition.evaluation]\nn_batches = 12\n[rules.soft.scoring]\n");
    let scenario = Scenario::from_toml(&format!("{text}temperature = 0.1\n")).unwrap();
    let rules = scenario.all_rules().unwrap();
    assert_eq!(rules[0].name, "soft");
    assert_eq!(rules[0].competition.evaluation.n_batches, 12);
    assert_eq!(rules[0].competition.scoring.temperature, 0.1);
    let swept = scenario.with_epsilon(&rules[0], 0.02).unwrap();
    assert_eq!(swept.competition.scoring.epsilon.settled(), 0.02);
    assert_eq!(swept.name, "soft 2.00 %");
    assert!(scenario.with_epsilon(&rules[0], 2.0).is_err());
}
