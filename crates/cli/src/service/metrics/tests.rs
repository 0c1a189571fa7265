//! Every event is counted, and the text is one that Prometheus reads.

use super::*;
use chain::{CallError, CallId, Head};
use protocol::{BlockHash, Digest, Reason, ReasonCode, Uid};
use std::collections::{BTreeMap, BTreeSet};
use validator::{Cause, Duels, Event, state::Holder};

/// A name with all that has to be escaped.
const NAME: &str = "odd \"name\" \\ \n{x=\"1\"} 2";

/// The series of a text with their values, read line by line as the format says; panics where it
/// is broken.
fn read(text: &str) -> BTreeMap<String, f64> {
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut series = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "HELP twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(helped.contains(name), "{line}");
            assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE twice: {line}");
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = check_key(key);
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(*end));
            let is_part =
                base.is_some_and(|base| typed.get(base).is_some_and(|k| k == "histogram"));
            let newest = if is_part { base.unwrap() } else { name };
            assert!(typed.contains_key(newest), "no TYPE above: {line}");
            let value: f64 = value.replace("Inf", "inf").parse().unwrap();
            assert!(series.insert(key.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    series
}

/// The name of a series, whose labels must be closed and escaped.
fn check_key(key: &str) -> &str {
    let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_letter));
    let mut rest = labels;
    while rest != "}" {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("labels of {key}"));
        assert!(label.chars().all(is_letter), "{key}");
        let mut end = None;
        let mut escape = false;
        for (at, c) in after.char_indices() {
            match (escape, c) {
                (true, c) => {
                    assert!(['\\', '"', 'n'].contains(&c), "{key}");
                    escape = false;
                }
                (false, '\\') => escape = true,
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, _) => {}
            }
        }
        let end = end.unwrap_or_else(|| panic!("an open quote in {key}"));
        assert!(end > 0 && &after[..end] != "NaN", "an empty label, or no number, in {key}");
        rest = after[end + 1..].trim_start_matches(',');
    }
    name
}

/// The value of a series; panics where there is none.
fn value(metrics: &Metrics, key: &str) -> f64 {
    let series = read(&metrics.render());
    *series.get(key).unwrap_or_else(|| panic!("no `{key}` in {series:#?}"))
}

fn progress(progress: Progress) -> Event {
    Event::Progress { competition: NAME.into(), progress }
}

fn summary(champion_perplexity: Option<f64>) -> RoundSummary {
    RoundSummary {
        competition: NAME.to_owned(),
        round: 1,
        seed: Head { block: Block(100), hash: BlockHash([1; 32]) },
        champion: champion_perplexity
            .map(|_| Holder { uid: Uid(5), hotkey: protocol::AccountId([5; 32]) }),
        champion_perplexity: champion_perplexity.map(|value| Loss::new(value).unwrap()),
        crown_moved: champion_perplexity.is_some(),
        optimum_perplexity: None,
        digest: Digest::of(b"record"),
        duels: champion_perplexity.map(|_| Duels { n_open: 2, n_documents: 60, foremost: None }),
        rows: Vec::new(),
    }
}

#[test]
fn a_validator_that_did_nothing_shows_its_counters_at_zero() {
    let metrics = Metrics::of_validator(&["tiny", NAME]);
    let series = read(&metrics.render());
    for key in [
        "agon_rounds_ended_total{competition=\"tiny\"}",
        "agon_errors_total{kind=\"hub\"}",
        "agon_errors_total{kind=\"publish\"}",
        "agon_weights_refused_total",
        "agon_fetched_bytes_total",
    ] {
        assert_eq!(series.get(key), Some(&0.0), "{key}");
    }
    assert!(series["process_start_time_seconds"] > 1.7e9);
    assert!(!series.keys().any(|key| key.starts_with("agon_miner")));
    assert!(!series.contains_key("agon_chain_head_age_seconds"), "not known yet");
}

#[test]
fn competitions_that_begin_count_from_zero_and_those_that_end_are_told_no_more() {
    let metrics = Metrics::of_validator(&["tiny", NAME]);
    metrics.on_validator_event(&progress(Progress::Decided { n_models: 3, n_waiting: 1 }));
    metrics.on_validator_event(&Event::RoundEnded(summary(Some(8.0))));
    metrics.serve(&["tiny", "new"]);
    let series = read(&metrics.render());
    assert_eq!(series.get("agon_rounds_ended_total{competition=\"new\"}"), Some(&0.0));
    assert_eq!(series.get("agon_crown_moves_total{competition=\"tiny\"}"), Some(&0.0));
    assert!(!series.keys().any(|key| key.contains("odd")), "{series:?}");
}

#[test]
fn that_rules_are_missing_is_told_while_they_are_and_not_where_nobody_asks() {
    let metrics = Metrics::of_miner();
    let told = || read(&metrics.render()).get("agon_owner_rules_missing").copied();
    assert_eq!(told(), None);
    metrics.rules_missing();
    assert_eq!(told(), Some(1.0));
    metrics.rules_taken();
    assert_eq!(told(), Some(0.0));
}

#[test]
fn every_event_of_a_validator_is_counted() {
    let metrics = Metrics::of_validator(&[NAME]);
    let tell = |event: Event| metrics.on_validator_event(&event);
    let of = |name: &str| {
        format!("{name}{{competition=\"odd \\\"name\\\" \\\\ \\n{{x=\\\"1\\\"}} 2\"}}")
    };
    tell(progress(Progress::Began(Stage::Look)));
    tell(progress(Progress::Ended(Stage::Look)));
    // The end of what never began is no time.
    tell(progress(Progress::Ended(Stage::Text)));
    tell(progress(Progress::Fetched { n_bytes: 1 << 40 }));
    tell(progress(Progress::Measured { n_tokens: 128 }));
    tell(progress(Progress::Measured { n_tokens: 128 }));
    tell(progress(Progress::Decided { n_models: 9, n_waiting: 2 }));
    tell(progress(Progress::GivenUp));
    for cause in [Cause::Chain, Cause::Hub, Cause::Text, Cause::Evaluator, Cause::Disk] {
        tell(progress(Progress::Failed(cause)));
    }
    tell(Event::ChainTrouble("x".to_owned()));
    tell(Event::RecordDelayed("x".to_owned()));
    tell(Event::RoundEnded(summary(Some(1.5))));
    tell(Event::Disqualified { uid: Uid(1), reason: Reason::new(ReasonCode::Duplicate, "x") });
    tell(Event::Skipped { uid: Uid(1), error: "x".to_owned() });
    tell(Event::WeightsSubmitted(CallId([0; 32])));
    tell(Event::WeightsRefused(CallError::BadNonce));
    tell(Event::WeightsUnfit(CallError::IncorrectWeightVersionKey));
    tell(Event::AnotherValidator { block: Block(1), until: Block(2) });
    tell(Event::WeightsRevealed { block: Block(90) });
    tell(Event::WeightsSet { block: Block(80) });
    metrics.head(Block(100));
    metrics.records_waiting(3);
    metrics.failed(&journal::Error::InUse("home".into()).into());
    metrics.failed(&anyhow::anyhow!("cannot start a thread"));
    for (key, expected) in [
        ("agon_stage_seconds_count{stage=\"look\"}", 1.0),
        ("agon_fetched_bytes_total", (1_u64 << 40) as f64),
        ("agon_measured_tokens_total", 256.0),
        (of("agon_round_models").as_str(), 9.0),
        (of("agon_round_models_waiting").as_str(), 2.0),
        (of("agon_rounds_given_up_total").as_str(), 1.0),
        (of("agon_rounds_ended_total").as_str(), 1.0),
        (of("agon_crown_moves_total").as_str(), 1.0),
        (of("agon_champion_perplexity").as_str(), 1.5),
        (of("agon_duels_open").as_str(), 2.0),
        ("agon_errors_total{kind=\"chain\"}", 2.0),
        ("agon_errors_total{kind=\"evaluator\"}", 1.0),
        ("agon_errors_total{kind=\"journal\"}", 1.0),
        ("agon_errors_total{kind=\"publish\"}", 1.0),
        ("agon_models_disqualified_total", 1.0),
        ("agon_models_skipped_total", 1.0),
        ("agon_weights_submitted_total", 1.0),
        ("agon_weights_refused_total", 2.0),
        ("agon_weights_withheld_total", 1.0),
        ("agon_weights_not_revealed_total", 0.0),
        ("agon_weights_revealed_block", 90.0),
        ("agon_weights_block", 80.0),
        ("agon_weights_age_blocks", 20.0),
        ("agon_chain_head_block", 100.0),
        ("agon_records_waiting", 3.0),
    ] {
        assert_eq!(value(&metrics, key), expected, "{key}");
    }
    assert!(!metrics.render().contains("stage=\"text\""));
    tell(Event::RoundEnded(summary(None)));
    assert!(!metrics.render().contains("agon_champion_perplexity"), "nobody is champion");
    assert!(!metrics.render().contains("agon_duels_open"), "of another rule");
}

#[test]
fn a_head_that_is_told_again_gets_older() {
    let metrics = Metrics::of_miner();
    metrics.head(Block(7));
    let first = value(&metrics, "agon_chain_head_age_seconds");
    std::thread::sleep(Duration::from_millis(20));
    metrics.head(Block(7));
    let second = value(&metrics, "agon_chain_head_age_seconds");
    assert!(second >= first + 0.02, "{first} and then {second}");
    metrics.head(Block(8));
    assert_eq!(value(&metrics, "agon_chain_head_block"), 8.0);
}

#[test]
fn every_event_of_a_miner_is_counted() {
    use miner::Event;
    let metrics = Metrics::of_miner();
    let tell = |event: Event| metrics.on_miner_event(&event);
    tell(Event::Step(StepReport { step: 1, loss: 3.5 }));
    tell(Event::Step(StepReport { step: 2, loss: f64::NAN }));
    tell(Event::Measured(0.0));
    tell(Event::Withheld(Reason::new(ReasonCode::Duplicate, "x")));
    tell(Event::CommitmentRefused(CallError::BadNonce));
    tell(Event::HubTrouble("x".to_owned()));
    tell(Event::ChainTrouble("x".to_owned()));
    for (key, expected) in [
        ("agon_miner_steps_total", 2.0),
        ("agon_miner_held_out_perplexity", 1.0),
        ("agon_miner_withheld_total", 1.0),
        ("agon_miner_refused_total", 1.0),
        ("agon_miner_published_total", 0.0),
        ("agon_errors_total{kind=\"hub\"}", 1.0),
        ("agon_errors_total{kind=\"chain\"}", 1.0),
    ] {
        assert_eq!(value(&metrics, key), expected, "{key}");
    }
    assert!(value(&metrics, "agon_miner_training_loss_nats").is_nan(), "shown as it is");
    assert!(!metrics.render().contains("agon_rounds"), "a miner has no rounds");
}

#[test]
fn a_watcher_counts_what_checkpoints_come_to_and_has_nothing_of_one_that_trains() {
    let metrics = Metrics::of_watcher(&["loses", "submitted"]);
    let series = read(&metrics.render());
    assert_eq!(series.get("agon_watch_verdicts_total{verdict=\"submitted\"}"), Some(&0.0));
    assert_eq!(series.get("agon_errors_total{kind=\"evaluator\"}"), Some(&0.0));
    // Else alerts for those that train would rise for it.
    assert!(!series.keys().any(|key| key.starts_with("agon_miner")), "{series:?}");
    assert!(!series.contains_key("agon_watch_newest_age_seconds"), "there is none yet");
    let age = || read(&metrics.render()).get("agon_watch_newest_age_seconds").copied();
    metrics.looked(2, Some(since_1970() - Duration::from_secs(100)));
    assert!((100.0..200.0).contains(&age().unwrap()), "{:?}", age());
    assert_eq!(value(&metrics, "agon_watch_checkpoints"), 2.0);
    metrics.looked(1, Some(since_1970() + Duration::from_secs(100)));
    assert_eq!(age(), Some(0.0), "a clock that is ahead");
    metrics.looked(0, None);
    assert_eq!(age(), None);
    metrics.judged("loses");
    metrics.failed(&anyhow::anyhow!("no answer").context(ErrorKind::Evaluator));
    for key in
        ["agon_watch_verdicts_total{verdict=\"loses\"}", "agon_errors_total{kind=\"evaluator\"}"]
    {
        assert_eq!(value(&metrics, key), 1.0, "{key}");
    }
}
