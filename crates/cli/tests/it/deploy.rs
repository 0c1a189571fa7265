//! What is in `deploy/` and the operator's guide speak of the meters that there are.

use crate::tree;
use std::collections::BTreeSet;

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const ALERT_TESTS: &str = "deploy/prometheus/alerts_test.yml";
const DASHBOARD: &str = "deploy/grafana/dashboards/agon.json";
const GUIDE: &str = "docs/operations.md";
const METERS: &str = "crates/cli/src/service/metrics.rs";

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = |word: &&str| word.starts_with("agon_") || word.starts_with("process_");
    text.split(|c| !is_part(c)).filter(is_name).map(str::to_owned).collect()
}

/// What a file uses of the metrics that are `defined`; of histograms it names the parts.
fn used(path: &str, defined: &BTreeSet<String>) -> BTreeSet<String> {
    let whole = |name: String| {
        let ends = ["_bucket", "_sum", "_count"];
        let base = ends.iter().find_map(|end| name.strip_suffix(*end)).map(str::to_owned);
        base.filter(|base| defined.contains(base)).unwrap_or(name)
    };
    names(&tree::read(path)).into_iter().map(whole).collect()
}

/// The names of the alerts, in their order.
fn alerts(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect()
}

#[test]
fn every_metric_that_is_used_is_counted_and_every_one_that_is_counted_is_shown() {
    let defined = names(&tree::read(METERS));
    assert!(defined.len() > 20 && defined.contains("agon_chain_head_block"), "{defined:?}");
    for path in [ALERTS, ALERT_TESTS, DASHBOARD, GUIDE] {
        let used = used(path, &defined);
        let unknown: Vec<&String> = used.difference(&defined).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}, which {METERS} does not count");
    }
    for path in [DASHBOARD, GUIDE] {
        let used = used(path, &defined);
        let unseen: Vec<&String> = defined.difference(&used).collect();
        assert!(unseen.is_empty(), "{path} shows nothing of {unseen:?}");
    }
}

#[test]
fn every_alert_says_what_to_do_and_is_tried() {
    let (text, guide, tests) = (tree::read(ALERTS), tree::read(GUIDE), tree::read(ALERT_TESTS));
    let alerts = alerts(&text);
    assert!(alerts.len() > 10, "{ALERTS} has lost its alerts");
    for part in text.split("- alert: ").skip(1) {
        let name = part.lines().next().unwrap_or_default();
        let runbook = format!("runbook: {GUIDE}#{}\n", name.to_lowercase());
        for needed in ["expr: ", "for: ", "severity: ", "summary: ", "description: ", &runbook] {
            assert!(part.contains(needed), "{ALERTS}: `{name}` has no `{needed}`");
        }
        let rises = tests.split("alertname: ").skip(1).any(|case| {
            case.lines().next() == Some(name)
                && case.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts:")
        });
        assert!(rises, "{ALERT_TESTS} does not show when `{name}` rises");
    }
    let headings: Vec<&str> =
        guide.lines().filter_map(|line| line.strip_prefix("### Agon")).collect();
    let expected: Vec<&str> = alerts.iter().filter_map(|name| name.strip_prefix("Agon")).collect();
    assert_eq!(headings, expected, "{GUIDE} has a heading for each alert, in their order");
}

#[test]
fn the_example_configurations_are_flat_toml() {
    for path in ["deploy/validator.toml", "deploy/miner.toml"] {
        let table: toml::Table = tree::read(path).parse().unwrap();
        assert!(table.contains_key("network") && table.contains_key("netuid"), "{path}");
        assert!(!table.values().any(toml::Value::is_table), "{path}");
    }
}

#[test]
fn what_services_keep_of_hubs_is_where_their_units_let_them_write() {
    for service in ["validator", "miner"] {
        let unit = tree::read(&format!("deploy/systemd/agon-{service}@.service"));
        let has = |line: &str| unit.lines().any(|found| found == line);
        assert!(has("ProtectSystem=strict"), "{service}");
        assert!(has(&format!("StateDirectory=agon/{service}-%i")), "{service}");
        let cache = format!("Environment=XDG_CACHE_HOME=%S/agon/{service}-%i/cache");
        assert!(has(&cache), "{service} keeps footers and tokenizers where it cannot write");
    }
}

#[test]
fn containers_start_again_with_the_machine() {
    let compose = tree::read("deploy/compose.yml");
    let restarts = compose.lines().filter_map(|line| line.trim().strip_prefix("restart: "));
    let restarts: Vec<&str> = restarts.collect();
    assert!(restarts.len() >= 3, "{restarts:?}");
    assert!(restarts.iter().all(|restart| *restart == "unless-stopped"), "{restarts:?}");
}

#[test]
fn the_guide_says_of_the_door_what_the_option_says() {
    let guide = tree::read(GUIDE);
    assert!(tree::read("docs/config.md").contains("without it nobody is answered"));
    let line = guide.lines().find(|line| line.starts_with("`listen` is where")).unwrap();
    assert!(line.contains("without it nobody is answered"), "{line}");
    assert!(tree::read("deploy/validator.toml").contains("listen = \"127.0.0.1:9615\""));
    assert!(line.contains("127.0.0.1:9615") && !line.contains("`off`"), "{line}");
}

#[test]
fn no_unit_takes_from_a_service_what_it_needs() {
    // Evaluators make system calls that a filter could refuse, and end first where memory ends.
    let validator = tree::read("deploy/systemd/agon-validator@.service");
    assert!(validator.lines().any(|line| line == "OOMPolicy=continue"));
    let units = tree::files("deploy/systemd");
    assert!(units.len() >= 4);
    for unit in units {
        let has = |begin: &str| unit.text.lines().any(|line| line.starts_with(begin));
        for needed in ["Restart=on-failure", "TimeoutStopSec=", "NoNewPrivileges=yes", "User=agon"]
        {
            assert!(has(needed), "{} does not say {needed}", unit.path);
        }
        // The last would have the hotkey's file belong to another user at each start.
        for harmful in ["SystemCallFilter=", "ProcSubset=", "DynamicUser="] {
            assert!(!has(harmful), "{} says {harmful}", unit.path);
        }
    }
}
