//! Weights that nobody can read before a round of a beacon, and that the chain then opens itself.
//!
//! The beacon is a test key that follows from the genesis, so that a chain that nobody else serves
//! needs no network. Its clock is the chain's: a block takes twelve seconds of it, however long it
//! takes, so four rounds go by in a block and nothing depends on the machine's time.
//!
//! Deviation: the real chain's pulses come from outside, some seconds late, and stay for days; and
//! it runs at most two epochs in a block.

use super::{Event, Ledger, Subnet, subnet::TimelockedCommit};
use crate::{Call, CallError, hash::blake2_256};
use protocol::{AccountId, Block, NetUid, Uid};
use std::num::NonZeroU64;
use timelock::{Beacon, BeaconKey, Weights};

/// The only version of time-locked commits that is taken, as on the chain of 2026.
pub const COMMIT_REVEAL_VERSION: u16 = 4;

/// Most bytes of encrypted weights.
pub const SEALED_BYTES_MAX: usize = 5_000;

/// What a block takes on the clock of the beacon, in milliseconds.
pub const BEACON_BLOCK_MS: u64 = 12_000;

/// What a round of the beacon takes on its clock, in milliseconds.
const BEACON_PERIOD_MS: NonZeroU64 = NonZeroU64::new(3_000).expect("three seconds");

/// Most commits of one hotkey in one epoch.
const COMMITS_PER_EPOCH_MAX: usize = 10;

/// What `commit_timelocked_weights` brings.
pub(super) struct Locked {
    pub(super) sealed: Vec<u8>,
    pub(super) round: u64,
    pub(super) version: u16,
}

/// The newest round of the beacon that is known once a block has begun.
pub fn last_round(block: Block) -> u64 {
    block.0.saturating_mul(BEACON_BLOCK_MS / BEACON_PERIOD_MS)
}

impl Ledger {
    /// The key that makes the pulses of this chain's beacon.
    pub fn beacon_key(&self) -> BeaconKey {
        BeaconKey::from_seed(&blake2_256(&[b"agon beacon".as_slice(), &self.genesis].concat()))
    }

    /// The beacon as clients see it; its clock is zero at the genesis.
    pub fn beacon(&self) -> Beacon {
        Beacon {
            public_key: self.beacon_key().public_key(),
            genesis_unix: 0,
            period_ms: BEACON_PERIOD_MS,
        }
    }

    /// `commit_timelocked_weights`: the checks of the pallet in its order; what was encrypted is
    /// not looked at. The commit counts as an update of the validator.
    pub(super) fn commit_timelocked(
        &mut self,
        hotkey: AccountId,
        netuid: NetUid,
        locked: Locked,
    ) -> Result<Event, CallError> {
        let now = self.now();
        let Locked { sealed, round, version } = locked;
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(CallError::ExhaustsResources);
        }
        let stake_rao = self.total_stake(hotkey);
        let subnet = self.subnets.get_mut(&netuid).ok_or(CallError::SubnetNotExists)?;
        let rules = &subnet.hyperparameters;
        if !rules.commit_reveal {
            return Err(CallError::CommitRevealDisabled);
        }
        if version != COMMIT_REVEAL_VERSION {
            return Err(CallError::IncorrectCommitRevealVersion);
        }
        let (uid, slot) = subnet.slot(&hotkey).ok_or(CallError::HotKeyNotRegisteredInSubNet)?;
        let is_limited = slot.last_update.0 != 0;
        if is_limited && now.since(slot.last_update) < rules.weights_rate_limit {
            return Err(CallError::CommittingWeightsTooFast);
        }
        let epoch = subnet.epochs().number_at(now);
        let own = |commit: &&TimelockedCommit| commit.hotkey == hotkey;
        let n_own = subnet.timelocked.get(&epoch).map_or(0, |all| all.iter().filter(own).count());
        if n_own >= COMMITS_PER_EPOCH_MAX {
            return Err(CallError::TooManyUnrevealedCommits);
        }
        if stake_rao < rules.stake_threshold_rao {
            return Err(CallError::NotEnoughStakeToSetWeights);
        }
        if round < last_round(now) {
            return Err(CallError::InvalidRevealRound);
        }
        let hash = blake2_256(&sealed);
        let commit = TimelockedCommit { hotkey, block: now, sealed, round };
        subnet.timelocked.entry(epoch).or_default().push(commit);
        if let Some(slot) = subnet.slots.get_mut(usize::from(uid.0)) {
            slot.last_update = now;
        }
        Ok(Event::TimelockedCommitted { hotkey, netuid, hash, round })
    }

    /// Opens the weights whose epoch and round have come, in the order in which they were
    /// committed, and sets them.
    ///
    /// What cannot be opened, is another's, or breaks a rule of weights is gone without a word, as
    /// on the chain: only its row tells a validator that it was revealed. A round that is not
    /// there yet is waited for until the epoch is over.
    pub(super) fn reveal_timelocked(&mut self, netuid: NetUid) -> Vec<Event> {
        let now = self.now();
        let commits = self.subnets.get_mut(&netuid).map(|subnet| subnet.due_commits(now));
        let mut events = Vec::new();
        for commit in commits.into_iter().flatten() {
            if let Some(set) = self.reveal_one(netuid, &commit) {
                events.push(set);
                events.push(Event::TimelockedRevealed { hotkey: commit.hotkey, netuid });
            }
        }
        events
    }

    /// The weights that a call hides, which only the beacon can read: whoever has the genesis.
    pub fn opened(&self, call: &Call) -> Option<Weights> {
        match call {
            Call::CommitTimelockedWeights { sealed, round, .. }
            | Call::CommitTimelockedMechanismWeights { sealed, round, .. } => {
                self.open(sealed, *round)
            }
            _ => None,
        }
    }

    fn open(&self, sealed: &[u8], round: u64) -> Option<Weights> {
        let plain = timelock::open(sealed, &self.beacon_key().sign(round)).ok()?;
        Weights::from_bytes(&plain).ok()
    }

    fn reveal_one(&mut self, netuid: NetUid, commit: &TimelockedCommit) -> Option<Event> {
        let weights = self.open(&commit.sealed, commit.round)?;
        let Weights { hotkey, uids, values, version_key } = weights;
        // So that nobody can hand over somebody else's weights, unread, as its own.
        if hotkey.is_some_and(|hotkey| hotkey != commit.hotkey.0) {
            return None;
        }
        let uids: Vec<Uid> = uids.into_iter().map(Uid).collect();
        self.store_weights(commit.hotkey, netuid, (&uids, &values), version_key).ok()
    }
}

impl Subnet {
    /// Takes out the time-locked commits that are to be opened in the block `now`, and drops those
    /// whose epoch has passed.
    fn due_commits(&mut self, now: Block) -> Vec<TimelockedCommit> {
        let epoch = self.epochs().number_at(now);
        let Some(due) = epoch.checked_sub(self.hyperparameters.reveal_period) else {
            return Vec::new();
        };
        self.timelocked = self.timelocked.split_off(&due);
        let commits = self.timelocked.remove(&due).unwrap_or_default();
        let (open, waiting): (Vec<_>, Vec<_>) =
            commits.into_iter().partition(|commit| commit.round <= last_round(now));
        if !waiting.is_empty() {
            self.timelocked.insert(due, waiting);
        }
        open
    }
}
