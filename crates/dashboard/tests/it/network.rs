//! The page of the network, as large as networks are.

use crate::scene::{Home, Judge, NETUID};
use chain::{Metagraph, Neuron};
use dashboard::index::Index;
use flate2::{Compression, write::GzEncoder};
use protocol::{AccountId, Block, Digest, Uid};
use std::io::Write as _;

const N_SLOTS: u16 = 256;
const N_VALIDATORS: u16 = 64;

/// A slot whose keys and values look random; a validator has weights and bonds for all slots.
fn neuron(uid: u16) -> Neuron {
    let of = |what: &str| Digest::of(format!("{what} {uid}").as_bytes()).0;
    let is_validator = uid < N_VALIDATORS;
    let parts = |what: &str| -> Vec<(Uid, u16)> {
        let value = |to: u16| {
            let bytes = Digest::of(format!("{what} {uid} {to}").as_bytes()).0;
            (Uid(to), u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        if is_validator { (0..N_SLOTS).map(value).collect() } else { Vec::new() }
    };
    Neuron {
        uid: Uid(uid),
        hotkey: AccountId(of("hotkey")),
        coldkey: AccountId(of("coldkey")),
        stake_rao: 1_000_000_000 * u64::from(uid),
        validator_permit: is_validator,
        active: true,
        last_update: Block(u64::from(uid)),
        block_at_registration: Block(u64::from(uid)),
        consensus: uid,
        incentive: uid,
        dividends: uid,
        validator_trust: uid,
        emission_rao: if uid.is_multiple_of(2) { 1_000_000 } else { 0 },
        weights: parts("weight"),
        bonds: parts("bond"),
    }
}

fn metagraph() -> Metagraph {
    Metagraph {
        netuid: NETUID,
        block: Block(2_000),
        tempo: 360,
        weights_rate_limit: 100,
        last_epoch: Block(1_900),
        neurons: (0..N_SLOTS).map(neuron).collect(),
    }
}

pub(crate) fn home_with_network() -> Home {
    let judge = Judge::of_four_rounds(1);
    let mut home = Home::new();
    home.read(&[&judge]);
    let mut index = Index::open(home.path()).unwrap();
    index.note_metagraph(&metagraph()).unwrap();
    home
}

#[test]
fn the_page_of_a_full_network_has_at_most_300_kib() {
    let home = home_with_network();
    let page = home.page("/network");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page.as_bytes()).unwrap();
    let n_bytes = encoder.finish().unwrap().len();
    assert!(n_bytes <= 300 << 10, "{n_bytes} bytes");
    assert_eq!(page.matches("class=\"heat\"").count(), 2);
}

#[test]
fn the_overview_says_how_many_slots_were_paid_and_how_the_network_is() {
    let home = home_with_network();
    let page = home.page("/");
    assert!(page.contains("to 128 of 256 slots"), "{page}");
    assert!(page.contains("1 validator published a record of the last round"), "{page}");
}
