//! Stake: money behind hotkeys.

use super::{Event, Ledger, ROOT};
use crate::CallError;
use protocol::{AccountId, NetUid};

/// Part of what stakers earn that the owner of the hotkey takes: 18 %, of 65,535.
const TAKE: u128 = 11_796;
const U16_MAX: u128 = u16::MAX as u128;

impl Ledger {
    /// Stake of one coldkey behind a hotkey.
    pub fn stake(&self, hotkey: AccountId, coldkey: AccountId) -> u64 {
        self.stakes.get(&(hotkey, coldkey)).copied().unwrap_or(0)
    }

    /// All stake behind a hotkey: what counts in consensus, on every subnet.
    pub fn total_stake(&self, hotkey: AccountId) -> u64 {
        self.stakers(hotkey).fold(0, |sum, (_, rao)| sum.saturating_add(rao))
    }

    /// Who staked how much behind a hotkey, in order of account.
    fn stakers(&self, hotkey: AccountId) -> impl Iterator<Item = (AccountId, u64)> {
        let all = (hotkey, AccountId([0; 32]))..=(hotkey, AccountId([0xff; 32]));
        self.stakes.range(all).map(|((_, coldkey), rao)| (*coldkey, *rao))
    }

    fn credit_stake(&mut self, hotkey: AccountId, coldkey: AccountId, rao: u64) {
        if rao > 0 {
            let stake = self.stakes.entry((hotkey, coldkey)).or_default();
            *stake = stake.saturating_add(rao);
        }
    }

    /// Moves all stake behind a hotkey to another.
    pub(super) fn move_stake(&mut self, from: AccountId, to: AccountId) {
        let stakes: Vec<(AccountId, u64)> = self.stakers(from).collect();
        for (coldkey, rao) in stakes {
            self.stakes.remove(&(from, coldkey));
            self.credit_stake(to, coldkey, rao);
        }
    }

    pub(super) fn add_stake(
        &mut self,
        coldkey: AccountId,
        hotkey: AccountId,
        netuid: NetUid,
        rao: u64,
    ) -> Result<Event, CallError> {
        self.check_stake(hotkey, netuid, rao)?;
        if !self.debit(coldkey, rao) {
            return Err(CallError::NotEnoughBalanceToStake);
        }
        self.credit_stake(hotkey, coldkey, rao);
        Ok(Event::StakeAdded { coldkey, hotkey, netuid, amount_rao: rao })
    }

    /// What adding and removing stake have in common.
    ///
    /// The subnet must be there, but does not matter: as in 2024, stake is TAO behind a hotkey
    /// and counts on every subnet.
    fn check_stake(&self, hotkey: AccountId, netuid: NetUid, rao: u64) -> Result<(), CallError> {
        if rao == 0 {
            return Err(CallError::AmountTooLow);
        }
        if netuid != ROOT && !self.subnets.contains_key(&netuid) {
            return Err(CallError::SubnetNotExists);
        }
        if !self.owners.contains_key(&hotkey) {
            return Err(CallError::HotKeyAccountNotExists);
        }
        Ok(())
    }

    pub(super) fn remove_stake(
        &mut self,
        coldkey: AccountId,
        hotkey: AccountId,
        netuid: NetUid,
        rao: u64,
    ) -> Result<Event, CallError> {
        self.check_stake(hotkey, netuid, rao)?;
        let rest = self
            .stake(hotkey, coldkey)
            .checked_sub(rao)
            .ok_or(CallError::NotEnoughStakeToWithdraw)?;
        if rest == 0 {
            self.stakes.remove(&(hotkey, coldkey));
        } else {
            self.stakes.insert((hotkey, coldkey), rest);
        }
        self.credit(coldkey, rao);
        Ok(Event::StakeRemoved { coldkey, hotkey, netuid, amount_rao: rao })
    }

    /// Pays what a hotkey earned, as stake: the miner's part to its owner, the validator's part to
    /// all who stake behind it, after the owner's take and in proportion; rounding favours the
    /// owner. False, and nothing paid, if the hotkey has no owner.
    pub(super) fn pay(&mut self, hotkey: AccountId, server_rao: u64, validator_rao: u64) -> bool {
        let Some(owner) = self.owners.get(&hotkey).copied() else {
            return false;
        };
        let total = u128::from(self.total_stake(hotkey));
        let shared = u128::from(validator_rao) * (U16_MAX - TAKE) / U16_MAX;
        let share = |stake: u64| {
            let rao = (shared * u128::from(stake)).checked_div(total).unwrap_or(0);
            u64::try_from(rao).unwrap_or(0)
        };
        let shares: Vec<(AccountId, u64)> =
            self.stakers(hotkey).map(|(coldkey, stake)| (coldkey, share(stake))).collect();
        let mut rest = validator_rao;
        for (coldkey, rao) in shares {
            rest = rest.saturating_sub(rao);
            self.credit_stake(hotkey, coldkey, rao);
        }
        self.credit_stake(hotkey, owner, rest.saturating_add(server_rao));
        true
    }
}
