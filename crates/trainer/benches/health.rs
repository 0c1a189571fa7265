//! How many sabotaged models are found, and how many honest ones are refused.
//!
//! `cargo bench -p trainer --bench health` prints a table; it takes some minutes.

#![allow(clippy::print_stdout, reason = "its only output is a table")]

#[path = "../tests/it/health/zoo.rs"]
mod zoo;

use protocol::competition::HealthLimits;
use std::error::Error;

/// Honest models; the first few of them are sabotaged.
const N_HONEST: u64 = 200;
const N_SABOTAGED: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let limits = HealthLimits::default();
    let (mut n_found, mut n_probed, mut worst) = (0, 0, f64::NEG_INFINITY);
    let mut farthest = 0.0_f64;
    for number in 0..N_HONEST {
        let dir = zoo::honest(number);
        let judged = zoo::judge(&zoo::model(&dir), &limits);
        n_found += u32::from(judged.is_found);
        n_probed += u32::from(judged.is_probed);
        worst = worst.max(judged.increase);
        farthest = farthest.max(judged.farthest.abs());
    }
    println!("{N_HONEST} honest models: {n_found} refused by the rules, {n_probed} by the probe;");
    println!("12 steps add {worst:.3} nats at most, and no gradient is farther than");
    println!("{farthest:.2} decades from the median of its kind\n");
    println!(
        "| sabotage | spoilt | by rules | by the probe | by either | at own rate | by either | found unspoilt |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (kind, name) in zoo::KINDS.iter().enumerate() {
        let [mut spoilt, mut rules, mut probe, mut either] = [0; 4];
        let [mut spoilt_at_own_rate, mut found_of_those, mut harmless] = [0; 3];
        for number in 0..N_SABOTAGED {
            let honest = zoo::honest(number);
            let usual = zoo::judge(&zoo::model(&honest), &limits).increase_at_own_rate;
            for strength in 0..zoo::N_STRENGTHS {
                let dir = zoo::sabotaged(&zoo::model(&honest), kind, strength);
                let judged = zoo::judge(&zoo::model(&dir), &limits);
                let is_refused = u32::from(judged.is_refused());
                if judged.is_spoilt(&limits) {
                    spoilt += 1;
                    rules += u32::from(judged.is_found);
                    probe += u32::from(judged.is_probed);
                    either += is_refused;
                }
                // Even an honest model is hurt at first: what counts is how much more.
                let excess = judged.increase_at_own_rate - usual;
                let is_hurt = excess > limits.probe_increase_max;
                spoilt_at_own_rate += u32::from(is_hurt);
                found_of_those += is_refused * u32::from(is_hurt);
                harmless += is_refused * u32::from(!is_hurt && !judged.is_spoilt(&limits));
                if is_hurt && !judged.is_refused() {
                    println!("unfound: {name}, strength {strength} of model {number}: {excess:.2}");
                }
            }
        }
        println!(
            "| {name} | {spoilt} | {rules} | {probe} | {either} | {spoilt_at_own_rate} | \
             {found_of_those} | {harmless} |"
        );
    }
    Ok(())
}
