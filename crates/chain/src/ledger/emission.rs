//! New money: some for owners of subnets in every block, the rest at each tempo by consensus.

use super::{
    Event, Ledger, RAO_PER_TAO, SUPPLY_RAO_MAX,
    subnet::{Slot, Subnet},
};
use crate::Error;
use protocol::{AccountId, Block, NetUid, Uid, yuma};
use serde::Serialize;

/// The owner's part of a block's emission: 18 %, of 65,535.
const OWNER_CUT: u128 = 11_796;
const U16_MAX: u128 = u16::MAX as u128;

/// What one epoch of a subnet paid, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochSummary {
    /// Subnet.
    pub netuid: NetUid,
    /// Block of the epoch.
    pub block: Block,
    /// What the subnet's owner got since the epoch before.
    pub owner_rao: u64,
    /// Every slot, in order of uid.
    pub slots: Vec<SlotEarnings>,
}

/// What one slot earned in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotEarnings {
    /// Slot.
    pub uid: Uid,
    /// Hotkey that held it.
    pub hotkey: AccountId,
    /// Share in what miners earn, of 65,535.
    pub incentive: u16,
    /// Share in what validators earn, of 65,535.
    pub dividends: u16,
    /// Paid to the miner.
    pub server_rao: u64,
    /// Paid to the validator and those who stake behind it.
    pub validator_rao: u64,
}

/// What came of the start of a block, before its calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Started {
    /// Time-locked weights that were revealed: [`Event::WeightsSet`] and
    /// [`Event::TimelockedRevealed`] for each.
    pub revealed: Vec<Event>,
    /// Epochs that ran.
    pub epochs: Vec<EpochSummary>,
}

/// What a block brings: 1 TAO, halved each time half of what was left has come.
pub(super) fn block_emission(issuance_rao: u64) -> u64 {
    let left = SUPPLY_RAO_MAX.saturating_sub(issuance_rao);
    SUPPLY_RAO_MAX.checked_div(left).map_or(0, |ratio| RAO_PER_TAO >> ratio.ilog2())
}

impl Ledger {
    /// What every block starts with, before its calls: weights whose time has come are revealed,
    /// money is made, and the epochs that are due run.
    pub fn start_block(&mut self) -> Result<Started, Error> {
        let now = self.now();
        let netuids: Vec<NetUid> = self.subnets.keys().copied().collect();
        let emission = block_emission(self.issued_rao.saturating_sub(self.burned_rao));
        let part = emission / u64::try_from(netuids.len().max(1)).unwrap_or(u64::MAX);
        let openings_max = self.openings_max();
        let mut started = Started::default();
        for netuid in netuids {
            self.emit(netuid, part);
            // Before the epoch of the same block, which then counts what is revealed.
            started.revealed.extend(self.reveal_timelocked(netuid, openings_max));
            let Some(subnet) = self.subnets.get_mut(&netuid) else { continue };
            subnet.start_block(now);
            // An epoch without slots passes, and its emission waits for the next.
            if subnet.step(now) && !subnet.slots.is_empty() {
                started.epochs.push(self.run_epoch(netuid)?);
            }
        }
        Ok(started)
    }

    /// 18 % to the owner at once, 82 % to the subnet's purse, each rounded down.
    fn emit(&mut self, netuid: NetUid, rao: u64) {
        let Some(subnet) = self.subnets.get_mut(&netuid) else {
            return;
        };
        let part = |share: u128| u64::try_from(u128::from(rao) * share / U16_MAX).unwrap_or(0);
        let (cut, rest) = (part(OWNER_CUT), part(U16_MAX - OWNER_CUT));
        subnet.pending_rao = subnet.pending_rao.saturating_add(rest);
        subnet.owner_rao = subnet.owner_rao.saturating_add(cut);
        let owner = subnet.owner;
        self.credit(owner, cut);
        self.issued_rao = self.issued_rao.saturating_add(cut).saturating_add(rest);
    }

    /// Runs Yuma Consensus and pays the purse out; what rounding leaves of it is burned.
    fn run_epoch(&mut self, netuid: NetUid) -> Result<EpochSummary, Error> {
        let input = self.yuma_input(netuid).ok_or(Error::NoSubnet(netuid))?;
        let output = yuma::epoch(&input).map_err(|source| Error::Epoch { netuid, source })?;
        let now = self.now();
        let subnet = self.subnets.get_mut(&netuid).ok_or(Error::NoSubnet(netuid))?;
        for (uid, slot) in subnet.slots.iter_mut().enumerate() {
            slot.store(&output, uid);
        }
        let purse = std::mem::take(&mut subnet.pending_rao);
        let owner_rao = std::mem::take(&mut subnet.owner_rao);
        subnet.last_epoch = now;
        let slots = earnings(&subnet.slots, &output);
        let mut left = purse;
        for earned in &slots {
            if self.pay(earned.hotkey, earned.server_rao, earned.validator_rao) {
                left = left.saturating_sub(earned.server_rao).saturating_sub(earned.validator_rao);
            }
        }
        self.burned_rao = self.burned_rao.saturating_add(left);
        Ok(EpochSummary { netuid, block: now, owner_rao, slots })
    }

    /// What an epoch of the subnet would be computed from in the block being built.
    pub fn yuma_input(&self, netuid: NetUid) -> Option<yuma::Input> {
        let (subnet, now) = (self.subnets.get(&netuid)?, self.now());
        let rules = &subnet.hyperparameters;
        let slots = &subnet.slots;
        let commit_blocks = || {
            let earliest = subnet.earliest_commits(now);
            slots.iter().map(|slot| earliest.get(&slot.hotkey).copied()).collect()
        };
        Some(yuma::Input {
            n: slots.len(),
            block: now.0,
            tempo: rules.tempo,
            activity_cutoff: rules.activity_cutoff,
            kappa: rules.kappa,
            bonds_moving_average: rules.bonds_moving_average,
            max_allowed_validators: rules.max_validators,
            stake_rao: slots.iter().map(|slot| self.total_stake(slot.hotkey)).collect(),
            validator_permit_before: slots.iter().map(|slot| slot.validator_permit).collect(),
            last_update: slots.iter().map(|slot| slot.last_update.0).collect(),
            block_at_registration: slots.iter().map(|slot| slot.block_at_registration.0).collect(),
            weights_u16: slots.iter().map(|slot| slot.weights.clone()).collect(),
            bonds_before_u16: slots.iter().map(|slot| slot.bonds.clone()).collect(),
            emission_rao: Some(subnet.pending_rao),
            yuma3: rules.yuma3,
            bonds_penalty: rules.bonds_penalty,
            era: Some(rules.era),
            stake_threshold_rao: rules.stake_threshold_rao,
            last_epoch: subnet.last_epoch.0,
            liquid_alpha: rules.liquid_alpha,
            owner_uid: subnet.owner_uid(),
            commit_blocks: rules.commit_reveal.then(commit_blocks),
            ..yuma::Input::default()
        })
    }
}

impl Subnet {
    /// Slot of the owner, where the owner has one.
    fn owner_uid(&self) -> Option<u16> {
        Some(self.uids.get(self.owner_hotkey.as_ref()?)?.0)
    }
}

impl Slot {
    fn store(&mut self, output: &yuma::Output, uid: usize) {
        self.validator_permit = output.validator_permit[uid];
        self.active = output.active[uid];
        self.consensus = output.consensus[uid];
        self.incentive = output.incentive[uid];
        self.dividends = output.dividends[uid];
        self.validator_trust = output.validator_trust[uid];
        self.emission_rao = output.emission[uid];
        self.pruning_score = output.pruning_scores[uid];
        self.bonds.clone_from(&output.bonds[uid]);
    }
}

fn earnings(slots: &[Slot], output: &yuma::Output) -> Vec<SlotEarnings> {
    let earned = |(uid, slot): (u16, &Slot)| {
        let i = usize::from(uid);
        SlotEarnings {
            uid: Uid(uid),
            hotkey: slot.hotkey,
            incentive: output.incentive[i],
            dividends: output.dividends[i],
            server_rao: output.server_emission[i],
            validator_rao: output.validator_emission[i],
        }
    };
    (0..).zip(slots).map(earned).collect()
}
