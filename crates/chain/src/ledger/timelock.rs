//! Weights that nobody can read before a round of a beacon, and that the chain then opens itself.
//!
//! The beacon is a test key that follows from the genesis, so that a chain that nobody else serves
//! needs no network. Its clock is the chain's: a block takes twelve seconds of it, however long it
//! takes, so four rounds go by in a block and nothing depends on the machine's time.
//!
//! Deviation: the real chain's pulses come from outside, some seconds late, and stay for days; and
//! it runs at most two epochs in a block. It has no limit on the bytes that wait, nor on what a
//! block opens: this node lives in a process beside others.

use super::{Event, Ledger, Subnet, subnet::TimelockedCommit, weights::Weighed};
use crate::{Call, CallError, hash::blake2_256};
use protocol::{AccountId, Block, NetUid, Uid};
use std::{collections::BTreeMap, num::NonZeroU64};
use timelock::{Beacon, BeaconKey, Signature, Weights};

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

/// Most bytes of encrypted weights that wait on a subnet, but for what is reserved.
pub const WAITING_BYTES_MAX: usize = 2 << 20;

/// The same on all subnets.
const WAITING_BYTES_IN_ALL_MAX: usize = 16 << 20;

/// Bytes that wait of a validator with a permit, however much waits of others: they cannot keep it
/// out.
const RESERVED_BYTES: usize = 16 << 10;

/// What a commit counts for at least: an empty one takes room, too.
const COMMIT_BYTES_MIN: usize = 512;

/// Most commits that a block opens.
pub const OPENINGS_PER_BLOCK_MAX: usize = 256;

/// Most bytes of encrypted weights that name one target: a validator may weigh itself without a
/// permit.
const ONE_WEIGHT_BYTES_MAX: usize = timelock::OVERHEAD_BYTES + 47;

/// What `commit_timelocked_weights` brings.
pub(super) struct Locked {
    pub(super) sealed: Vec<u8>,
    pub(super) round: u64,
    pub(super) version: u16,
}

/// When a commit of the epoch that is revealed is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    Later,
    /// What is in it could not be set, whatever it is.
    Never,
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
            public_key: *self.beacon.get_or_init(|| self.beacon_key().public_key()),
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
        let subnet = self.subnets.get(&netuid).ok_or(CallError::SubnetNotExists)?;
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
        if self.total_stake(hotkey) < rules.stake_threshold_rao {
            return Err(CallError::NotEnoughStakeToSetWeights);
        }
        if round < last_round(now) {
            return Err(CallError::InvalidRevealRound);
        }
        // After all checks of the pallet: nothing else is refused by another name than there.
        if !self.has_room(subnet, &hotkey, sealed.len()) {
            return Err(CallError::TooManyUnrevealedCommits);
        }
        let subnet = self.subnets.get_mut(&netuid).ok_or(CallError::SubnetNotExists)?;
        let hash = blake2_256(&sealed);
        let commit = TimelockedCommit { hotkey, block: now, sealed, round };
        subnet.timelocked.entry(epoch).or_default().push(commit);
        if let Some(slot) = subnet.slots.get_mut(usize::from(uid.0)) {
            slot.last_update = now;
        }
        Ok(Event::TimelockedCommitted { hotkey, netuid, hash, round })
    }

    /// Whether encrypted weights of so many bytes may wait besides those that do.
    fn has_room(&self, subnet: &Subnet, hotkey: &AccountId, size_bytes: usize) -> bool {
        let more = size_bytes.max(COMMIT_BYTES_MIN);
        let has_permit = subnet.slot(hotkey).is_some_and(|(_, slot)| slot.validator_permit);
        let own = subnet.waiting_bytes(|commit| commit.hotkey == *hotkey);
        if has_permit && own.saturating_add(more) <= RESERVED_BYTES {
            return true;
        }
        let here = subnet.waiting_bytes(|_| true);
        if here.saturating_add(more) > WAITING_BYTES_MAX {
            return false;
        }
        let all: usize = self.subnets.values().map(|subnet| subnet.waiting_bytes(|_| true)).sum();
        all.saturating_add(more) <= WAITING_BYTES_IN_ALL_MAX
    }

    /// How many commits each subnet may open in the block being built.
    pub(super) fn openings_max(&self) -> usize {
        let now = self.now();
        let is_due = |subnet: &&Subnet| {
            subnet.due_epoch(now).is_some_and(|epoch| subnet.timelocked.contains_key(&epoch))
        };
        let n_due = self.subnets.values().filter(is_due).count();
        (OPENINGS_PER_BLOCK_MAX / n_due.max(1)).max(1)
    }

    /// Opens the weights whose epoch and round have come, at most so many, in the order in which
    /// they were committed, and sets them.
    ///
    /// What cannot be opened, is another's, or breaks a rule of weights is gone without a word, as
    /// on the chain: only its row tells a validator that it was revealed. A round that is not
    /// there yet is waited for until the epoch is over, and so does what a block has no time for.
    pub(super) fn reveal_timelocked(&mut self, netuid: NetUid, openings_max: usize) -> Vec<Event> {
        let now = self.now();
        let due = self.subnets.get_mut(&netuid).and_then(|subnet| subnet.due_commits(now));
        let Some((epoch, commits)) = due else { return Vec::new() };
        let turns = self.turns(netuid, &commits, openings_max);
        let (mut open, mut later) = (Vec::new(), Vec::new());
        for (commit, turn) in commits.into_iter().zip(turns) {
            match turn {
                Turn::Now => open.push(commit),
                Turn::Later => later.push(commit),
                Turn::Never => {}
            }
        }
        if let Some(subnet) = self.subnets.get_mut(&netuid)
            && !later.is_empty()
        {
            subnet.timelocked.insert(epoch, later);
        }
        // One signature serves all commits of its round.
        let (key, mut signatures) = (self.beacon_key(), BTreeMap::new());
        let mut events = Vec::new();
        for commit in open {
            let signature =
                signatures.entry(commit.round).or_insert_with(|| key.sign(commit.round));
            if let Some(set) = self.reveal_one(netuid, &commit, signature) {
                events.push(set);
                events.push(Event::TimelockedRevealed { hotkey: commit.hotkey, netuid });
            }
        }
        events
    }

    /// When each of the commits is opened, which are those of one epoch in their order.
    ///
    /// To open one costs a pairing: what would be refused whatever is in it is not opened, and
    /// where there are more than a block has time for, validators with a permit come first.
    fn turns(
        &self,
        netuid: NetUid,
        commits: &[TimelockedCommit],
        openings_max: usize,
    ) -> Vec<Turn> {
        let Some(subnet) = self.subnets.get(&netuid) else { return Vec::new() };
        let known = last_round(self.now());
        let threshold_rao = subnet.hyperparameters.stake_threshold_rao;
        let mut turns = vec![Turn::Later; commits.len()];
        let mut candidates = Vec::new();
        for (turn, commit) in turns.iter_mut().zip(commits) {
            if commit.round > known {
                continue;
            }
            let slot = subnet.slot(&commit.hotkey).map(|(_, slot)| slot);
            let may_be_set = slot.is_some_and(|slot| {
                slot.validator_permit || commit.sealed.len() <= ONE_WEIGHT_BYTES_MAX
            });
            if !may_be_set || self.total_stake(commit.hotkey) < threshold_rao {
                *turn = Turn::Never;
                continue;
            }
            let has_permit = slot.is_some_and(|slot| slot.validator_permit);
            candidates.push((!has_permit, turn));
        }
        // Stable: of equal ones the earlier comes first.
        candidates.sort_by_key(|(is_last, _)| *is_last);
        candidates.into_iter().take(openings_max).for_each(|(_, turn)| *turn = Turn::Now);
        turns
    }

    /// The weights that a call hides, which only the beacon can read: whoever has the genesis.
    pub fn opened(&self, call: &Call) -> Option<Weights> {
        match call {
            Call::CommitTimelockedWeights { sealed, round, .. }
            | Call::CommitTimelockedMechanismWeights { sealed, round, .. } => {
                open(sealed, &self.beacon_key().sign(*round))
            }
            _ => None,
        }
    }

    fn reveal_one(
        &mut self,
        netuid: NetUid,
        commit: &TimelockedCommit,
        signature: &Signature,
    ) -> Option<Event> {
        let weights = open(&commit.sealed, signature)?;
        let Weights { hotkey, uids, values, version_key } = weights;
        // So that nobody can hand over somebody else's weights, unread, as its own.
        if hotkey.is_some_and(|hotkey| hotkey != commit.hotkey.0) {
            return None;
        }
        let uids: Vec<Uid> = uids.into_iter().map(Uid).collect();
        let weighed = Weighed { uids: &uids, weights: &values, version_key };
        self.store_weights(commit.hotkey, netuid, weighed).ok()
    }
}

/// The weights that the signature of their round opens, if they are any.
fn open(sealed: &[u8], signature: &Signature) -> Option<Weights> {
    Weights::from_bytes(&timelock::open(sealed, signature).ok()?).ok()
}

impl Subnet {
    /// What waits of the commits that are counted, in bytes.
    fn waiting_bytes(&self, is_counted: impl Fn(&TimelockedCommit) -> bool) -> usize {
        let counted = self.timelocked.values().flatten().filter(|commit| is_counted(commit));
        counted.map(|commit| commit.sealed.len().max(COMMIT_BYTES_MIN)).sum()
    }

    /// The epoch whose commits are opened in the block `now`.
    fn due_epoch(&self, now: Block) -> Option<u64> {
        self.epochs().number_at(now).checked_sub(self.hyperparameters.reveal_period)
    }

    /// Takes out the time-locked commits of the epoch that is opened in the block `now`, with its
    /// number, and drops those whose epoch has passed.
    fn due_commits(&mut self, now: Block) -> Option<(u64, Vec<TimelockedCommit>)> {
        let due = self.due_epoch(now)?;
        self.timelocked = self.timelocked.split_off(&due);
        Some((due, self.timelocked.remove(&due)?))
    }
}
