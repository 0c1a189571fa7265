//! Tables and words for people.

use crate::{rules_text::plural, terminal::shown};
use chain::{CallId, Metagraph, Neuron, StoredCommitment};
use protocol::Block;
use records::Statement;
use std::fmt::Write as _;
use substrate::{Origin, SubnetRules, SubstrateChain};

/// An amount in TAO, exact, without zeros at the end.
pub fn tao(rao: u64) -> String {
    let (whole, part) = (rao / 1_000_000_000, rao % 1_000_000_000);
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where money is spent, in words that a person can check.
pub fn place(chain: &SubstrateChain, origin: Origin) -> String {
    match origin {
        Origin::Bittensor(name) => format!("Bittensor's network `{name}` ({})", chain.url()),
        Origin::Agon | Origin::Unknown => chain.url().to_owned(),
    }
}

/// The name of a call.
pub fn hex_of(id: &CallId) -> String {
    id.0.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
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
            Err(_) => packed(&commitment.data),
        };
        let _ = writeln!(
            text,
            "{:>4}  block {:>8}  {}  {data}",
            commitment.uid, commitment.block, commitment.hotkey
        );
    }
    text
}

/// What stands there that is no text.
fn packed(data: &[u8]) -> String {
    let Some(Statement { records, seen: Some(seen) }) = Statement::parse(data) else {
        return format!("{} bytes that are not text", data.len());
    };
    let (n_models, as_of) = (plural(seen.slots.len(), "model"), seen.as_of);
    let of = records.map_or(String::new(), |records| format!("records in {}; ", records.repo));
    format!("a validator: {of}has the bytes of {n_models} up to block {as_of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_validator_says_in_packed_form_is_told_in_words() {
        let repo = "ann/agon-records".parse().unwrap();
        let root = protocol::Digest::of(b"index");
        let slots = [Uid(3), Uid(200)].into_iter().collect();
        let seen = Some(protocol::publication::Seen { as_of: Block(70), slots });
        let records = Some(records::RootCommitment { repo, root });
        let said = Statement { records, seen: seen.clone() }.to_bytes().unwrap();
        let told = "records in ann/agon-records; has the bytes of 2 models up to block 70";
        assert_eq!(packed(&said), format!("a validator: {told}"));
        let alone = Statement { records: None, seen }.to_bytes().unwrap();
        assert!(packed(&alone).ends_with("a validator: has the bytes of 2 models up to block 70"));
        assert_eq!(packed(&[0xff; 9]), "9 bytes that are not text");
    }
    use crate::args::TransferArgs;
    use clap::Parser;
    use protocol::{AccountId, BlockHash, NetUid, Seed, Uid, seed::uniform_below, text::is_plain};

    #[test]
    fn amounts_show_every_rao_and_no_more() {
        for (rao, text) in
            [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (2_000_000_000, "2")]
        {
            assert_eq!(tao(rao), text);
        }
    }

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: TransferArgs,
    }

    #[test]
    fn an_amount_that_is_shown_is_the_same_when_it_is_typed() {
        let to = AccountId([1; 32]).to_string();
        let typed = |text: &str| {
            let parsed = Only::try_parse_from(["agon", "--to", &to, text]);
            parsed.map(|only| only.args.amount_rao)
        };
        let ends = [1, 9, 10, 999_999_999, 1_000_000_000, 1_000_000_001, u64::MAX - 1, u64::MAX];
        let mut random = Seed::of_number(7).stream();
        let others = (1..=60).map(|bits| 1 + uniform_below(&mut random, 1 << bits));
        for rao in ends.into_iter().chain(others) {
            let shown = tao(rao);
            assert_eq!(typed(&shown).unwrap(), rao, "{shown}");
            assert!(!shown.contains('.') || !shown.ends_with(['0', '.']), "{shown}");
        }
    }

    fn neuron(uid: u16, stake_rao: u64, last_update: u64) -> Neuron {
        Neuron {
            uid: Uid(uid),
            hotkey: AccountId([u8::try_from(uid % 251).unwrap() + 1; 32]),
            coldkey: AccountId([9; 32]),
            stake_rao,
            validator_permit: uid.is_multiple_of(2),
            active: uid.is_multiple_of(3),
            last_update: Block(last_update),
            block_at_registration: Block(0),
            consensus: uid,
            incentive: u16::MAX,
            dividends: 0,
            validator_trust: u16::MAX / 2,
            emission_rao: stake_rao / 3,
            weights: Vec::new(),
            bonds: Vec::new(),
        }
    }

    #[test]
    fn the_columns_of_slots_stand_below_each_other_whatever_the_numbers() {
        let neurons = vec![
            neuron(0, 0, 0),
            neuron(7, 1, 100),
            neuron(256, 15, 9),
            neuron(65_535, u64::MAX, 999),
        ];
        let (block, last_epoch) = (Block(100), Block(0));
        let netuid = NetUid(1);
        let found =
            Metagraph { netuid, block, tempo: 9, weights_rate_limit: 0, last_epoch, neurons };
        let text = metagraph("subnet 1", &found);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 5, "{text}");
        // Where each cell begins and ends; the keys stand to the left of theirs, and numbers to the
        // right.
        let places = |line: &str| {
            let letters: Vec<char> = line.chars().collect();
            let is_blank = |at: usize| letters.get(at).is_none_or(|letter| *letter == ' ');
            let cells = (0..letters.len()).filter(|at| !is_blank(*at));
            let begins = cells.clone().filter(|at| *at == 0 || is_blank(at - 1));
            let ends = cells.filter(|at| is_blank(at + 1));
            begins.zip(ends).collect::<Vec<(usize, usize)>>()
        };
        let head = places(lines[0]);
        assert_eq!(head.len(), 11);
        for line in &lines {
            let found = places(line);
            assert_eq!(found.len(), head.len(), "{text}");
            for (column, (cell, titled)) in found.iter().zip(&head).enumerate() {
                let is_below = if column == 1 { cell.0 == titled.0 } else { cell.1 == titled.1 };
                assert!(is_below, "column {column} of `{line}` in\n{text}");
            }
        }
        assert!(lines[4].contains("18446744073.709551615"), "{text}");
        let ages: Vec<&str> =
            lines.iter().skip(1).map(|line| line.split_whitespace().nth(5).unwrap()).collect();
        assert_eq!(ages, ["100", "0", "91", "0"], "an update that is ahead is of now");
        let empty = Metagraph { neurons: Vec::new(), ..found };
        assert!(metagraph("subnet 1", &empty).ends_with("no slot is taken\n"));
    }

    #[test]
    fn attack_a_commitment_is_told_in_a_line_of_its_own_and_deceives_nobody() {
        let stored = |data: &[u8]| StoredCommitment {
            hotkey: AccountId([1; 32]),
            coldkey: AccountId([2; 32]),
            uid: Uid(3),
            registered: Block(1),
            block: Block(5),
            block_hash: BlockHash([4; 32]),
            data: data.to_vec(),
        };
        for data in [
            &b"me:model:rev"[..],
            b"",
            b"a\n   0  block        1  forged",
            b"a\r\x1b[2Jb\t\0",
            "turned \u{202e}txt.exe\u{2028}next".as_bytes(),
            b"\xff\xfe",
        ] {
            let text = commitments(7, Block(9), &[stored(data), stored(b"last")]);
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.chars().all(|letter| letter == '\n' || is_plain(letter)), "{text:?}");
            assert!(text.ends_with("last\n"), "{text}");
        }
        assert!(
            commitments(7, Block(9), &[stored(b"\xff\xfe")]).contains("2 bytes that are not text")
        );
        assert!(commitments(7, Block(9), &[]).contains("nobody has committed"));
    }
}
