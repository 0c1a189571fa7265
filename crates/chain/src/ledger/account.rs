//! Accounts: free balances, nonces and transfers.

use super::{Event, Ledger};
use crate::CallError;
use protocol::AccountId;
use serde::{Deserialize, Serialize};

/// Free money of a key, and how many of its calls stand in blocks.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// Free balance.
    pub balance_rao: u64,
    /// Nonce of its next call.
    pub nonce: u32,
}

impl Ledger {
    /// Free balance of an account.
    pub fn balance(&self, account: AccountId) -> u64 {
        self.accounts.get(&account).map_or(0, |account| account.balance_rao)
    }

    /// Nonce of the account's next call.
    pub fn nonce(&self, account: AccountId) -> u32 {
        self.accounts.get(&account).map_or(0, |account| account.nonce)
    }

    /// Whether an account has ever had money, a hotkey, or an owner.
    pub fn knows(&self, account: AccountId) -> bool {
        self.accounts.contains_key(&account) || self.owners.contains_key(&account)
    }

    pub(super) fn use_nonce(&mut self, signer: AccountId, nonce: u32) -> Result<(), CallError> {
        if nonce != self.nonce(signer) {
            return Err(CallError::BadNonce);
        }
        let next = nonce.checked_add(1).ok_or(CallError::BadNonce)?;
        self.accounts.entry(signer).or_default().nonce = next;
        Ok(())
    }

    /// Adds to a balance. The supply bounds all sums, so nothing is lost by saturation.
    pub(super) fn credit(&mut self, account: AccountId, rao: u64) {
        let balance = &mut self.accounts.entry(account).or_default().balance_rao;
        *balance = balance.saturating_add(rao);
    }

    /// Takes from a balance; false, and nothing taken, if it does not suffice.
    #[must_use]
    pub(super) fn debit(&mut self, account: AccountId, rao: u64) -> bool {
        let Some(entry) = self.accounts.get_mut(&account) else {
            return rao == 0;
        };
        match entry.balance_rao.checked_sub(rao) {
            Some(rest) => {
                entry.balance_rao = rest;
                true
            }
            None => false,
        }
    }

    pub(super) fn transfer(
        &mut self,
        from: AccountId,
        to: AccountId,
        rao: u64,
    ) -> Result<Event, CallError> {
        if rao == 0 {
            return Err(CallError::AmountTooLow);
        }
        if !self.debit(from, rao) {
            return Err(CallError::FundsUnavailable);
        }
        self.credit(to, rao);
        Ok(Event::Transferred { from, to, amount_rao: rao })
    }
}
