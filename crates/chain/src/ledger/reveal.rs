//! Weights that are committed to by hash first and revealed an epoch later, so that nobody can copy
//! them while they are fresh.

use super::{
    Event, Ledger,
    subnet::{Subnet, WeightCommit},
    weights::Weighed,
};
use crate::{CallError, hash::blake2_256};
use protocol::{AccountId, Block, NetUid, Uid};
use std::collections::BTreeMap;

/// Most commits of one hotkey that wait for their reveal.
pub const OPEN_COMMITS_MAX: usize = 10;

/// What a reveal says.
pub(super) struct Reveal {
    pub(super) uids: Vec<Uid>,
    pub(super) weights: Vec<u16>,
    pub(super) salt: Vec<u16>,
    pub(super) version_key: u64,
}

/// What a commit must be to cover these weights: BLAKE2b-256 of the SCALE tuple of hotkey, subnet,
/// uids, weights, salt and version.
pub fn commit_hash(
    hotkey: AccountId,
    netuid: NetUid,
    weighed: Weighed<'_>,
    salt: &[u16],
) -> [u8; 32] {
    let Weighed { uids, weights, version_key } = weighed;
    let uids: Vec<u16> = uids.iter().map(|uid| uid.0).collect();
    let mut bytes = hotkey.0.to_vec();
    bytes.extend(netuid.0.to_le_bytes());
    [&uids, weights, salt].into_iter().for_each(|numbers| extend(&mut bytes, numbers));
    bytes.extend(version_key.to_le_bytes());
    blake2_256(&bytes)
}

/// Adds a list as SCALE has it: its length in one, two or four bytes, then its numbers.
fn extend(bytes: &mut Vec<u8>, numbers: &[u16]) {
    // No call has as many numbers as four bytes can count.
    let length = (numbers.len() as u32) << 2;
    match numbers.len() {
        ..64 => bytes.push(length as u8),
        64..16_384 => bytes.extend((length as u16 | 1).to_le_bytes()),
        _ => bytes.extend((length | 2).to_le_bytes()),
    }
    numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
}

impl Subnet {
    /// Number of the epoch that a commit in the block `now`, which is being built, belongs to.
    fn epoch_at(&self, now: Block) -> u64 {
        self.epochs().number_at(now)
    }

    /// Epoch in which what was committed in `epoch` must be revealed.
    pub(super) fn reveal_epoch(&self, epoch: u64) -> u64 {
        epoch.saturating_add(self.hyperparameters.reveal_period)
    }

    /// Drops commits whose epoch has passed.
    fn expire_commits(&mut self, hotkey: &AccountId, now: Block) {
        let epoch = self.epoch_at(now);
        let mut commits = self.weight_commits.remove(hotkey).unwrap_or_default();
        commits.retain(|commit| self.reveal_epoch(commit.epoch) >= epoch);
        if !commits.is_empty() {
            self.weight_commits.insert(*hotkey, commits);
        }
    }

    /// Block of the earliest commit of each hotkey that can still be revealed: older weights than
    /// a slot do not count for it, also when they come by reveal.
    pub(super) fn earliest_commits(&self, now: Block) -> BTreeMap<AccountId, u64> {
        let hashed = self.weight_commits.iter().flat_map(|(hotkey, commits)| {
            commits.iter().map(|commit| (*hotkey, commit.epoch, commit.block))
        });
        let locked = self.timelocked.iter().flat_map(|(of, commits)| {
            commits.iter().map(|commit| (commit.hotkey, *of, commit.block))
        });
        let (epoch, mut earliest) = (self.epoch_at(now), BTreeMap::new());
        for (hotkey, of, block) in hashed.chain(locked) {
            if self.reveal_epoch(of) >= epoch {
                let first = earliest.entry(hotkey).or_insert(block.0);
                *first = block.0.min(*first);
            }
        }
        earliest
    }
}

impl Ledger {
    /// `commit_weights`: the hash counts as an update of the validator.
    pub(super) fn commit_weights(
        &mut self,
        hotkey: AccountId,
        netuid: NetUid,
        hash: [u8; 32],
    ) -> Result<Event, CallError> {
        let now = self.now();
        let subnet = self.subnets.get_mut(&netuid).ok_or(CallError::SubnetNotExists)?;
        if !subnet.hyperparameters.commit_reveal {
            return Err(CallError::CommitRevealDisabled);
        }
        let (uid, slot) = subnet.slot(&hotkey).ok_or(CallError::HotKeyNotRegisteredInSubNet)?;
        let limit = subnet.hyperparameters.weights_rate_limit;
        if slot.last_update.0 != 0 && now.since(slot.last_update) < limit {
            return Err(CallError::CommittingWeightsTooFast);
        }
        subnet.expire_commits(&hotkey, now);
        let epoch = subnet.epoch_at(now);
        let commits = subnet.weight_commits.entry(hotkey).or_default();
        if commits.len() >= OPEN_COMMITS_MAX {
            return Err(CallError::TooManyUnrevealedCommits);
        }
        commits.push(WeightCommit { hash, block: now, epoch });
        if let Some(slot) = subnet.slots.get_mut(usize::from(uid.0)) {
            slot.last_update = now;
        }
        Ok(Event::WeightsCommitted { hotkey, netuid, hash })
    }

    /// `reveal_weights`: the weights of a commit are set in the epoch that is theirs.
    pub(super) fn reveal_weights(
        &mut self,
        hotkey: AccountId,
        netuid: NetUid,
        reveal: &Reveal,
    ) -> Result<Event, CallError> {
        let now = self.now();
        let subnet = self.subnets.get(&netuid).ok_or(CallError::SubnetNotExists)?;
        if !subnet.hyperparameters.commit_reveal {
            return Err(CallError::CommitRevealDisabled);
        }
        let commits = subnet.weight_commits.get(&hotkey).ok_or(CallError::NoWeightsCommitFound)?;
        let Reveal { uids, weights, salt, version_key } = reveal;
        let weighed = Weighed { uids, weights, version_key: *version_key };
        let hash = commit_hash(hotkey, netuid, weighed, salt);
        let found = commits.iter().position(|commit| commit.hash == hash);
        let position = found.ok_or(CallError::InvalidRevealCommitHashNotMatch)?;
        let epoch = subnet.epoch_at(now);
        match subnet.reveal_epoch(commits[position].epoch) {
            due if due > epoch => return Err(CallError::RevealTooEarly),
            due if due < epoch => return Err(CallError::ExpiredWeightCommit),
            _ => {}
        }
        self.store_weights(hotkey, netuid, weighed)?;
        // Earlier ones were passed over: they cannot be revealed after a later one.
        if let Some(subnet) = self.subnets.get_mut(&netuid)
            && let Some(commits) = subnet.weight_commits.get_mut(&hotkey)
        {
            commits.drain(..=position);
            if commits.is_empty() {
                subnet.weight_commits.remove(&hotkey);
            }
        }
        Ok(Event::WeightsRevealed { hotkey, netuid, hash })
    }
}
