//! Values of options of `agon chain`, as people type and mistype them.

use super::*;

/// Says that each value is refused in words that hold a part.
fn expect_refused<T: fmt::Debug>(read: impl Fn(&str) -> Result<T, String>, wrong: &[(&str, &str)]) {
    for (text, part) in wrong {
        let error = read(text).unwrap_err();
        assert!(error.contains(part), "`{text}`: no `{part}` in `{error}`");
    }
}

#[test]
fn a_weight_is_a_uid_with_a_number_from_zero_on() {
    for (text, uid, value) in [("3=0.7", 3, 0.7), ("0=0", 0, 0.0), ("65535=1e3", 65_535, 1e3)] {
        assert_eq!(weight(text), Ok((Uid(uid), value)), "{text}");
    }
    expect_refused(
        weight,
        &[
            ("", "UID=WEIGHT"),
            ("3", "UID=WEIGHT"),
            ("=1", "`` is not a uid"),
            ("65536=1", "`65536` is not a uid"),
            ("-1=1", "`-1` is not a uid"),
            ("3=", "`` is not a number"),
            ("3=0,7", "`0,7` is not a number"),
            ("3=1=2", "`1=2` is not a number"),
            ("3=-0.1", "from 0 on"),
            ("3=NaN", "from 0 on"),
            ("3=inf", "from 0 on"),
            ("3=1e999", "from 0 on"),
        ],
    );
}

#[test]
fn a_mechanism_has_one_of_the_numbers_that_the_chain_has() {
    assert_eq!(mechanism("0"), Ok(Mechanism::FIRST));
    let last = Mechanism::COUNT_MAX - 1;
    assert_eq!(mechanism(&last.to_string()), Ok(Mechanism(last)));
    let after = Mechanism::COUNT_MAX.to_string();
    let wrong = ["", "-1", "256", "one", after.as_str()];
    expect_refused(mechanism, &wrong.map(|text| (text, "is not a number from 0 to")));
}

#[test]
fn a_rule_takes_a_value_of_its_kind_and_within_its_bounds() {
    use HyperparameterChange as Change;
    for (text, expected) in [
        ("tempo=20", Change::Tempo(20)),
        ("kappa=65535", Change::Kappa(u16::MAX)),
        ("weights_version=18446744073709551615", Change::WeightsVersion(u64::MAX)),
        ("commit_reveal=true", Change::CommitReveal(true)),
        ("min_burn=5", Change::MinBurn(5)),
        ("min_burn_rao=5", Change::MinBurn(5)),
    ] {
        assert_eq!(change(text), Ok(expected), "{text}");
    }
    expect_refused(
        change,
        &[
            ("tempo", "RULE=VALUE"),
            ("tempo=", "`` is neither a number nor"),
            ("tempo=yes", "`yes` is neither a number nor"),
            ("tempo=20=30", "`20=30` is neither"),
            ("tempo=65536", "65536"),
            ("tempo=-1", "-1"),
            ("tempo=1.5", "1.5"),
            ("tempo=true", "true"),
            ("tempo=\"20\"", "string"),
            ("commit_reveal=1", "1"),
            ("Tempo=20", "unknown variant `Tempo`"),
            ("=20", "unknown variant"),
            ("owner=1", "unknown variant `owner`"),
        ],
    );
}

#[test]
fn a_network_is_a_name_or_an_address_and_a_variable_is_told_in_its_refusal() {
    for (text, name) in [
        ("local", "local"),
        ("archive", "archive"),
        ("ws://a", "ws://a"),
        ("wss://a:443/path?key=BT_1", "wss://a:443/path?key=BT_1"),
        ("ws://[::1]:9944", "ws://[::1]:9944"),
    ] {
        let found = network(text).unwrap();
        assert_eq!((found.network.to_string().as_str(), found.variable), (name, None), "{text}");
    }
    let named = network("BT_NETWORK=test").unwrap();
    assert_eq!((named.network, named.variable.as_deref()), (Network::Test, Some("BT_NETWORK")));
    let wrong =
        ["", "Local", "finney ", "http://a", "ws:/a", "ws://", "wss:///x", "WS://a", "a:9944"];
    expect_refused(network, &wrong.map(|text| (text, "is neither local, test, finney or archive")));
    expect_refused(
        network,
        &[("BT_CHAIN=fnney", "BT_CHAIN: `fnney`"), ("X_NETWORK=test", "X_NETWORK=test")],
    );
    expect_refused(endpoint, &[("finney", "is not the address of a chain"), ("", "``")]);
}
