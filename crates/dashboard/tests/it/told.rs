//! Numbers as they are told: true as far as they go, whatever they are.

use dashboard::figures::{
    Estimate, bits, bits_per_byte, decimals, fixed, grouped, lasting, log10, lower_by, odds,
    percent, perplexity, plural, short, tao, with_interval,
};
use protocol::Loss;

fn losses(values: &[f64]) -> Vec<Loss> {
    values.iter().map(|value| Loss::new(*value).unwrap()).collect()
}

#[test]
fn attack_losses_too_large_for_their_sum_have_no_mean() {
    for values in [
        &[f64::MAX, f64::MAX][..],
        &[1e200, 3.0],
        &[f64::INFINITY, 1.0],
        &[1.0, f64::NAN],
        &[f64::MAX, -f64::MAX],
    ] {
        assert_eq!(Estimate::of(values), None, "{values:?}");
    }
    let all = losses(&[f64::MAX, f64::MAX, 3.0]);
    assert_eq!(Estimate::of_losses(&all), None);
    assert_eq!(Estimate::of_gains(&all, &losses(&[0.0, 0.0, 0.0])), None);
    assert_eq!(Estimate::of_gains(&losses(&[f64::INFINITY]), &losses(&[f64::INFINITY])), None);
    let large = Estimate::of(&[1e100, 1e100]).unwrap();
    assert_eq!((large.mean, large.error), (1e100, 0.0), "what can be told is");
}

#[test]
fn a_gain_is_of_the_documents_that_both_were_measured_on() {
    let (first, second) = (losses(&[3.0, 2.0, 9.0, 9.0]), losses(&[2.5, 2.5]));
    let gain = Estimate::of_gains(&first, &second).unwrap();
    assert_eq!((gain.n, gain.mean), (2, 0.0));
    let back = Estimate::of_gains(&second, &first).unwrap();
    assert_eq!((back.mean, back.error.to_bits()), (0.0, gain.error.to_bits()));
    assert_eq!(Estimate::of_gains(&first, &[]), None);
    let (low, high) = gain.interval();
    assert!(low < gain.mean && gain.mean < high);
    assert_eq!(low.to_bits(), (-high).to_bits(), "as far on either side");
}

#[test]
fn an_interval_narrows_with_the_root_of_the_number_of_documents() {
    let of = |n: usize| {
        let values: Vec<f64> = (0..n).map(|at| if at % 2 == 0 { 1.0 } else { 3.0 }).collect();
        Estimate::of(&values).unwrap().error
    };
    let ratio = of(100) / of(10_000);
    assert!((9.9..10.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_gain_is_told_with_two_digits_of_its_interval_however_small_that_is() {
    for exponent in 1..=7 {
        let unit = 10f64.powi(-exponent);
        let told = lower_by(&Estimate { mean: 3.0 * unit, error: unit, n: 50 });
        let (_, rest) = told.split_once("lower by ").unwrap();
        let (mean, interval) = rest.split_once(" nats per token (").unwrap();
        let (low, high) = interval.trim_end_matches(')').split_once(" to ").unwrap();
        let read = |text: &str| text.parse::<f64>().unwrap() / unit;
        assert!((read(mean) - 3.0).abs() <= 0.06, "{told}");
        assert!((read(low) - 1.04).abs() <= 0.06, "{told}");
        assert!((read(high) - 4.96).abs() <= 0.06, "{told}");
    }
    let tiny = lower_by(&Estimate { mean: 1e-6, error: 1e-8, n: 50 });
    assert_eq!(tiny, "lower by 0.00000100 nats per token (0.00000098 to 0.00000102)");
    let worse = lower_by(&Estimate { mean: -0.5, error: 0.5, n: 2 });
    assert_eq!(worse, "higher by 0.5000 nats per token (-0.4800 to 1.4800)");
}

#[test]
fn odds_are_told_for_every_size_of_evidence() {
    for tenth in -3_000..=200 {
        let log10 = f64::from(tenth) / 10.0;
        for near in [log10, log10.next_down(), log10.next_up()] {
            let told = odds(near);
            assert!(told.contains(" to 1"), "{near}: {told}");
            if (-1.0..15.0).contains(&near) {
                let number =
                    told.strip_suffix(" to 1").unwrap_or("1000000000000000").replace(',', "");
                let number: f64 = number.parse().unwrap_or(1e15);
                let wanted = 10f64.powf(near);
                assert!((number - wanted).abs() <= 0.051 * wanted.max(1.0), "{near}: {told}");
            }
        }
    }
    assert_eq!(odds(f64::INFINITY), "10^15 to 1 and more");
    assert_eq!(odds(f64::NEG_INFINITY), "0.0 to 1");
    assert_eq!(odds(log10(0.0)), "0.0 to 1", "no evidence is none");
}

#[test]
fn what_rounds_to_nothing_has_no_sign_and_what_is_no_number_is_a_dash() {
    assert_eq!(
        [percent(-1e-9), percent(0.5), percent(-0.123_456)],
        ["0.00 %", "50.00 %", "-12.35 %"]
    );
    assert_eq!([percent(f64::NAN), percent(f64::INFINITY)], ["– %", "– %"]);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(decimals(Some(odd), 4), "–");
        assert_eq!(with_interval(None, Some(odd)), "–");
    }
    assert_eq!(fixed(-0.0, 2), "0.00");
    assert_eq!(fixed(-0.005_1, 2), "-0.01");
    assert_eq!(with_interval(Some(2.5), None), "2.5000");
    assert_eq!(with_interval(Some(2.5), Some(0.0)), "2.5000", "one value tells no error");
}

#[test]
fn units_of_losses_agree() {
    for nats in [0.0, 0.1, 1.0, 2.5, 11.0] {
        assert!((perplexity(nats).log2() - bits(nats)).abs() <= 1e-12, "{nats}");
        assert!((log10(perplexity(nats)) - perplexity(nats).log10()).abs() <= 1e-12, "{nats}");
    }
    assert_eq!(perplexity(f64::INFINITY), f64::INFINITY);
    assert_eq!(bits_per_byte(Some(3.0), Some(0.25)), Some(0.75));
    for (nats, of_nat) in [
        (None, Some(0.25)),
        (Some(3.0), None),
        (Some(f64::INFINITY), Some(0.25)),
        (Some(f64::MAX), Some(f64::MAX)),
    ] {
        assert_eq!(bits_per_byte(nats, of_nat), None, "{nats:?} of {of_nat:?}");
    }
    assert!((log10(-1.0) + 300.0).abs() <= 1e-9 && (log10(f64::NAN) + 300.0).abs() <= 1e-9);
}

#[test]
fn money_is_never_told_as_more_than_there_is() {
    for (rao, told) in [
        (0, "0.000"),
        (999_999, "0.000"),
        (1_000_000, "0.001"),
        (999_999_999, "0.999"),
        (1_000_000_000, "1.000"),
        (21_000_000_000_000_000, "21,000,000.000"),
    ] {
        assert_eq!(tao(rao), told, "{rao}");
    }
}

#[test]
fn whole_numbers_and_times_are_told_at_their_bounds() {
    assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    assert_eq!([1, 12, 123, 1_234].map(grouped), ["1", "12", "123", "1,234"]);
    let told = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 86_400 * 1_000].map(lasting);
    assert_eq!(told, ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "1,000 d"]);
    assert_eq!(lasting(u64::MAX), "213,503,982,334,601 d");
    assert_eq!(plural(2, "validator"), "2 validators");
}

#[test]
fn attack_a_long_name_is_short_whatever_its_letters_are() {
    let long = "日本語👍é".repeat(10_000);
    for name in ["", "fourteen-chars", long.as_str(), "\u{202e}\u{202e}\u{202e}0123456789abcdef"] {
        let told = short(name);
        assert!(told.chars().count() <= 14, "{told}");
        assert!(told == name || told.chars().filter(|c| *c == '…').count() == 1, "{told}");
    }
    assert_eq!(short("fifteen-letters"), "fiftee…ters");
}
