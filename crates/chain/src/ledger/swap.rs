//! One hotkey in the place of another.

use super::{Event, Ledger};
use crate::CallError;
use protocol::{AccountId, Block, NetUid};

impl Ledger {
    /// `swap_hotkey`: on one subnet the slot goes over, without one all slots and the stake.
    ///
    /// Commitments stay with the old key, as on the chain: the new one commits anew. The block of
    /// the last swap is kept for each coldkey.
    /// Deviation: it costs nothing, and there is no limit on its rate.
    pub(super) fn swap_hotkey(
        &mut self,
        coldkey: AccountId,
        old: AccountId,
        new: AccountId,
        netuid: Option<NetUid>,
    ) -> Result<Event, CallError> {
        if self.owners.get(&old) != Some(&coldkey) {
            return Err(CallError::NonAssociatedColdKey);
        }
        if self.owners.get(&new).is_some_and(|owner| *owner != coldkey) {
            return Err(CallError::NonAssociatedColdKey);
        }
        let netuids = match netuid {
            Some(netuid) => vec![netuid],
            None => self.netuids(),
        };
        for netuid in &netuids {
            let subnet = self.subnets.get(netuid).ok_or(CallError::SubnetNotExists)?;
            if subnet.uids.contains_key(&new) {
                return Err(CallError::HotKeyAlreadyRegisteredInSubNet);
            }
        }
        if let Some(netuid) = netuid
            && !self.subnets.get(&netuid).is_some_and(|subnet| subnet.uids.contains_key(&old))
        {
            return Err(CallError::HotKeyNotRegisteredInSubNet);
        }
        self.owners.insert(new, coldkey);
        let now = self.now();
        for netuid in &netuids {
            if let Some(subnet) = self.subnets.get_mut(netuid) {
                subnet.swap(old, new, coldkey, now);
            }
        }
        if netuid.is_none() {
            self.move_stake(old, new);
        }
        Ok(Event::HotkeySwapped { coldkey, old, new })
    }
}

impl super::Subnet {
    /// Puts a hotkey without a slot into the slot of another, if that has one.
    fn swap(&mut self, old: AccountId, new: AccountId, coldkey: AccountId, now: Block) {
        let Some(uid) = self.uids.remove(&old) else { return };
        self.uids.insert(new, uid);
        self.swaps.insert(coldkey, now);
        if let Some(slot) = self.slots.get_mut(usize::from(uid.0)) {
            slot.hotkey = new;
        }
        if self.owner_hotkey == Some(old) {
            self.owner_hotkey = Some(new);
        }
        if let Some(commits) = self.weight_commits.remove(&old) {
            self.weight_commits.insert(new, commits);
        }
    }
}
