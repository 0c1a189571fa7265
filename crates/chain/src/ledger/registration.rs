//! Buying slots and subnets.

use super::{
    Event, Hyperparameters, Ledger, ROOT, SUBNETS_MAX,
    subnet::{Slot, Subnet},
};
use crate::CallError;
use protocol::{AccountId, Block, NetUid, Uid};

impl Ledger {
    /// `burned_register` and `register_limit`: the checks of the pallet in its order, then the
    /// price, which is at most `limit_rao`, and the slot.
    pub(super) fn register(
        &mut self,
        coldkey: AccountId,
        netuid: NetUid,
        hotkey: AccountId,
        limit_rao: u64,
    ) -> Result<Event, CallError> {
        if netuid == ROOT {
            return Err(CallError::RegistrationNotPermittedOnRootSubnet);
        }
        let subnet = self.subnets.get(&netuid).ok_or(CallError::SubnetNotExists)?;
        let price = subnet.open_to(&hotkey)?;
        if price > limit_rao {
            return Err(CallError::RegistrationPriceLimitExceeded);
        }
        if self.balance(coldkey) < price {
            return Err(CallError::NotEnoughBalanceToStake);
        }
        if self.owners.get(&hotkey).is_some_and(|owner| *owner != coldkey) {
            return Err(CallError::NonAssociatedColdKey);
        }
        if !self.debit(coldkey, price) {
            return Err(CallError::NotEnoughBalanceToStake);
        }
        self.burned_rao = self.burned_rao.saturating_add(price);
        self.owners.insert(hotkey, coldkey);
        let now = self.now();
        let subnet = self.subnets.get_mut(&netuid).ok_or(CallError::SubnetNotExists)?;
        let uid = subnet.seat(hotkey, now);
        Ok(Event::NeuronRegistered { netuid, uid, hotkey })
    }

    /// `register_network`: locks the price and opens a subnet with default rules, whose first slot
    /// is the owner's.
    ///
    /// Deviation: the price is fixed; the chain doubles it at each sale and lets it decay.
    pub(super) fn register_network(
        &mut self,
        coldkey: AccountId,
        hotkey: AccountId,
    ) -> Result<Event, CallError> {
        if self.owners.get(&hotkey).is_some_and(|owner| *owner != coldkey) {
            return Err(CallError::NonAssociatedColdKey);
        }
        let last = self.subnets.keys().next_back().map_or(0, |netuid| netuid.0);
        let netuid = last.checked_add(1).filter(|_| self.subnets.len() < SUBNETS_MAX);
        let netuid = NetUid(netuid.ok_or(CallError::SubnetLimitReached)?);
        let price = self.network_price_rao;
        if !self.debit(coldkey, price) {
            return Err(CallError::CannotAffordLockCost);
        }
        self.owners.insert(hotkey, coldkey);
        let mut subnet = Subnet::new(coldkey, Hyperparameters::default(), price);
        subnet.opened_at = self.now();
        subnet.cycle.last_epoch_block = self.now();
        subnet.owner_hotkey = Some(hotkey);
        subnet.seat(hotkey, self.now());
        self.subnets.insert(netuid, subnet);
        Ok(Event::NetworkAdded { netuid })
    }
}

impl Subnet {
    /// What a slot costs `hotkey` now, or why it cannot have one.
    fn open_to(&self, hotkey: &AccountId) -> Result<u64, CallError> {
        let rules = &self.hyperparameters;
        if !rules.registration_allowed {
            return Err(CallError::SubNetRegistrationDisabled);
        }
        if self.registrations_this_block >= rules.max_registrations_per_block {
            return Err(CallError::TooManyRegistrationsThisBlock);
        }
        if self.registrations_this_interval >= u32::from(rules.target_registrations) * 3 {
            return Err(CallError::TooManyRegistrationsThisInterval);
        }
        if self.uids.contains_key(hotkey) {
            return Err(CallError::HotKeyAlreadyRegisteredInSubNet);
        }
        Ok(self.burn_rao)
    }

    /// Gives `hotkey` a new slot, or the weakest one when all are taken.
    fn seat(&mut self, hotkey: AccountId, now: Block) -> Uid {
        let mut slot = Slot::new(hotkey, now);
        let uid = if self.slots.len() < usize::from(self.hyperparameters.max_uids) {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            // As if it were the strongest, until the next epoch has judged it.
            slot.pruning_score = u16::MAX;
            let uid = self.weakest(now);
            if let Some(place) = self.slots.get_mut(uid) {
                self.uids.remove(&place.hotkey);
                *place = slot;
            }
            self.drop_bonds_on(uid);
            uid
        };
        let uid = Uid(u16::try_from(uid).unwrap_or(u16::MAX));
        self.uids.insert(hotkey, uid);
        self.registrations_this_block = self.registrations_this_block.saturating_add(1);
        self.registrations_this_interval = self.registrations_this_interval.saturating_add(1);
        uid
    }

    /// Takes back the bonds on a slot that changes hands.
    ///
    /// Deviation: the chain leaves this to the next epoch, which overlooks a slot taken in the very
    /// block of the epoch before; its new owner's weights would then feed bonds made for another.
    fn drop_bonds_on(&mut self, uid: usize) {
        for slot in &mut self.slots {
            slot.bonds.retain(|(to, _)| usize::from(*to) != uid);
        }
    }

    /// The slot with the lowest pruning score past its immunity; if none is past, of all. The
    /// owner's own is spared as long as there is another.
    ///
    /// Among equals the higher uid, as the chain of 2024 has it.
    fn weakest(&self, now: Block) -> usize {
        let is_immune = |slot: &Slot| {
            now.since(slot.block_at_registration) < self.hyperparameters.immunity_period
        };
        let rank = |uid: &usize| {
            let slot = &self.slots[*uid];
            let is_owner = self.owner_hotkey == Some(slot.hotkey);
            (is_owner, is_immune(slot), slot.pruning_score, std::cmp::Reverse(*uid))
        };
        (0..self.slots.len()).min_by_key(rank).unwrap_or(0)
    }

    /// Start of a block: counts anew, and moves the price at the end of an interval.
    pub(super) fn start_block(&mut self, now: Block) {
        self.registrations_this_block = 0;
        if now.0.is_multiple_of(self.hyperparameters.adjustment_interval.max(1)) {
            self.burn_rao = self.adjusted_burn();
            self.registrations_this_interval = 0;
        }
    }

    /// `burn * (registrations + target) / (2 * target)`, smoothed and within bounds.
    fn adjusted_burn(&self) -> u64 {
        let rules = &self.hyperparameters;
        let target = u128::from(rules.target_registrations.max(1));
        let burn = u128::from(self.burn_rao);
        let wanted = burn * (u128::from(self.registrations_this_interval) + target) / (2 * target);
        let (alpha, whole) = (u128::from(rules.adjustment_alpha), u128::from(u16::MAX));
        let smoothed = (alpha * burn + (whole - alpha) * wanted) / whole;
        let burn = u64::try_from(smoothed).unwrap_or(u64::MAX);
        burn.clamp(rules.min_burn_rao, rules.max_burn_rao.max(rules.min_burn_rao))
    }
}
