//! Yuma against the chain's own numbers, and what must hold for every epoch.

mod chain_tests;
mod hostile;
mod properties;
mod slow;
mod vectors;
mod yuma3;

use super::{Input, Output, epoch};

/// Blocks between two epochs of a [`Network`].
const TEMPO: u16 = 10;

/// A subnet that lives from epoch to epoch, as in the chain's own tests.
struct Network {
    input: Input,
}

impl Network {
    /// All slots permitted, registered at block 0, updated just before the first epoch.
    fn new(stake_rao: &[u64]) -> Self {
        let n = stake_rao.len();
        Self {
            input: Input {
                n,
                block: 100,
                tempo: TEMPO,
                activity_cutoff: 5_000,
                kappa: 32_767,
                bonds_moving_average: 900_000,
                max_allowed_validators: u16::try_from(n).unwrap(),
                stake_rao: stake_rao.to_vec(),
                validator_permit_before: vec![true; n],
                last_update: vec![99; n],
                block_at_registration: vec![0; n],
                weights_u16: vec![Vec::new(); n],
                bonds_before_u16: vec![Vec::new(); n],
                emission_rao: Some(1_000_000_000),
                bonds_penalty: u16::MAX,
                ..Input::default()
            },
        }
    }

    fn weigh(&mut self, uid: usize, row: &[(u16, u16)]) {
        self.input.weights_u16[uid] = row.to_vec();
        self.input.last_update[uid] = self.input.block;
    }

    /// Runs an epoch and moves on to the next.
    fn epoch(&mut self) -> Output {
        let output = epoch(&self.input).unwrap();
        self.input.bonds_before_u16.clone_from(&output.bonds);
        self.input.block += u64::from(TEMPO);
        output
    }
}

fn bond(output: &Output, from: usize, to: u16) -> u16 {
    output.bonds[from].iter().find(|(j, _)| *j == to).map_or(0, |(_, bond)| *bond)
}
