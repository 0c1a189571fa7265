//! Tables for people.

use crate::terminal::shown;
use chain::{Metagraph, Neuron, StoredCommitment};
use protocol::Block;
use std::fmt::Write as _;
use substrate::SubnetRules;

/// An amount in TAO, exact, without zeros at the end.
pub fn tao(rao: u64) -> String {
    let (whole, part) = (rao / 1_000_000_000, rao % 1_000_000_000);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share of 65,535.
fn share(value: u16) -> String {
    format!("{:.4}", f64::from(value) / f64::from(u16::MAX))
}

/// The slots of a subnet, which is told as `which`.
pub fn metagraph(which: &str, metagraph: &Metagraph) -> String {
    let mut text = format!(
        "{which} after block {}; tempo {}, last epoch {}\n",
        metagraph.block, metagraph.tempo, metagraph.last_epoch
    );
    if metagraph.neurons.is_empty() {
        return text + "no slot is taken\n";
    }
    let header = [
        "uid",
        "hotkey",
        "stake",
        "permit",
        "active",
        "updated",
        "consensus",
        "incentive",
        "dividends",
        "vtrust",
        "emission",
    ];
    let rows = metagraph.neurons.iter().map(|neuron| row(neuron, metagraph.block));
    let rows: Vec<[String; 11]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; 11] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                1 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        // Writing to a String never fails.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn row(neuron: &Neuron, now: Block) -> [String; 11] {
    let mark = |flag: bool| if flag { "yes" } else { "-" }.to_owned();
    [
        neuron.uid.to_string(),
        neuron.hotkey.to_string(),
        tao(neuron.stake_rao),
        mark(neuron.validator_permit),
        mark(neuron.active),
        now.0.saturating_sub(neuron.last_update.0).to_string(),
        share(neuron.consensus),
        share(neuron.incentive),
        share(neuron.dividends),
        share(neuron.validator_trust),
        tao(neuron.emission_rao),
    ]
}

/// The rules of a subnet, as they are set; prices in TAO.
pub fn rules(rules: &SubnetRules) -> String {
    let mut text = format!(
        "subnet {} after block {}, owned by {}\n{} slots are taken; the next costs {} TAO\n",
        rules.netuid,
        rules.block,
        rules.owner,
        rules.slots,
        tao(rules.slot_price_rao)
    );
    if let Some(number) = rules.registrations_this_interval {
        let _ = writeln!(text, "{number} registrations since the price was last adjusted");
    }
    for rule in &rules.rules {
        let _ = writeln!(text, "  {}={}", rule.name, rule.value);
    }
    text
}

/// What the swap of a hotkey means to the key that came in its place.
pub fn swapped(block: Block) -> String {
    format!(
        "the coldkey swapped a hotkey in block {block}: what the old key had committed to stays \
         with it; a model counts again from the block in which this key commits to it"
    )
}

/// The commitments on a subnet.
pub fn commitments(netuid: u16, at: Block, stored: &[StoredCommitment]) -> String {
    let mut text = format!("commitments on subnet {netuid} after block {at}\n");
    if stored.is_empty() {
        return text + "nobody has committed\n";
    }
    for commitment in stored {
        let data = match str::from_utf8(&commitment.data) {
            Ok(data) => shown(data),
            Err(_) => format!("{} bytes that are not text", commitment.data.len()),
        };
        let _ = writeln!(
            text,
            "{:>4}  block {:>8}  {}  {data}",
            commitment.uid, commitment.block, commitment.hotkey
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_every_rao_and_no_more() {
        for (rao, text) in
            [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (2_000_000_000, "2")]
        {
            assert_eq!(tao(rao), text);
        }
    }
}
