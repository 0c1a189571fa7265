//! What became of the calls that were sent from here, and what they made.

use super::{
    SubstrateChain,
    link::{Failure, Link, is_state_gone, told},
    lock, read,
};
use chain::{CallError, CallId, CallStatus, Chain as _, Error, Head, Signed};
use futures_util::future::join_all;
use parity_scale_codec::Decode as _;
use protocol::{AccountId, Block, NetUid, Uid};
use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
};
use subxt::{error::DispatchError, events::Phase, utils::H256};

/// Most calls whose fate is remembered.
const FATES_MAX: usize = 4_096;

/// Blocks that are asked for together, without waiting for one before the next: where an answer
/// takes long, blocks come faster than it could be looked through them one by one. An endpoint that
/// counts requests in time gives each its turn all the same.
const BLOCKS_TOGETHER: u64 = 8;

/// Blocks whose hashes are asked for together, by one request.
const HASHES_TOGETHER: u64 = 256;

/// Blocks after its time for which a call that nobody asks for is remembered.
const UNASKED_BLOCKS: u64 = 4_096;

/// What came of looking through a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    Through,
    /// The endpoint has the block no more.
    Gone,
}

/// What became of our calls in a block; `None` where the endpoint does not have it any more.
type Fates = Option<Vec<(CallId, CallStatus, Effects)>>;

/// What a call made, by its own events and nobody else's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The subnet that it opened.
    pub netuid: Option<NetUid>,
    /// The slot that it bought: subnet and number.
    pub slot: Option<(NetUid, Uid)>,
}

/// A call that may still be included.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Last block that can include it.
    last: Block,
    /// The last block in which it was looked for.
    looked_at: Block,
    /// Who signed it, with which nonce.
    nonce: (AccountId, u64),
    /// Whether the endpoint has said that the nonce is another call's.
    is_contested: bool,
    /// The last block after which the nonce was still free: asked for once a block.
    free_at: Option<Block>,
    /// Whether a block that may have it could not be had.
    is_unread: bool,
}

/// Calls that were sent from here.
#[derive(Default)]
pub(super) struct Sent {
    /// Calls that may still be included.
    waiting: BTreeMap<CallId, Waiting>,
    fates: BTreeMap<CallId, (CallStatus, Effects)>,
    /// Order in which fates became known, oldest first.
    known: VecDeque<CallId>,
}

impl Sent {
    /// Waits for a call, from the block after which it was signed on: it may have been sent long
    /// ago, by a process that is gone. False if its fate is known.
    pub(super) fn wait_for(&mut self, signed: &Signed) -> bool {
        let Signed { id, last, from, signer, nonce, .. } = *signed;
        if self.fates.contains_key(&id) {
            return false;
        }
        let call = Waiting {
            last,
            looked_at: from,
            nonce: (signer, nonce),
            is_contested: false,
            free_at: None,
            is_unread: false,
        };
        self.waiting.entry(id).or_insert(call);
        true
    }

    /// Notes that another call may have the nonce of this one.
    pub(super) fn contest(&mut self, id: CallId) {
        if let Some(call) = self.waiting.get_mut(&id) {
            call.is_contested = true;
        }
    }

    /// Forgets a call that has not arrived anywhere.
    pub(super) fn forget(&mut self, id: CallId) {
        self.waiting.remove(&id);
    }

    /// Notes that these calls were looked for in a block, and gives up those that no later one can
    /// include.
    fn looked_for(&mut self, ids: &[CallId], block: Block, looked: Looked) {
        for id in ids {
            let Some(call) = self.waiting.get_mut(id) else { continue };
            // One that waits since before was not looked for in all blocks up to this one.
            if call.looked_at.0.checked_add(1) == Some(block.0) {
                call.looked_at = block;
                call.is_unread |= looked == Looked::Gone;
            }
            if call.last <= call.looked_at {
                // No later block can have it, but one that is gone may have had it.
                let unread = call.is_unread;
                let fate = if unread { CallStatus::Unknown } else { CallStatus::Expired };
                self.settle(*id, fate, Effects::default());
            }
        }
        // Nobody has asked for these in their time, nor long after it.
        self.waiting.retain(|_, call| block.since(call.last) < UNASKED_BLOCKS);
    }

    fn settle(&mut self, id: CallId, fate: CallStatus, effects: Effects) {
        self.waiting.remove(&id);
        self.fates.insert(id, (fate, effects));
        self.known.push_back(id);
        if self.known.len() > FATES_MAX
            && let Some(oldest) = self.known.pop_front()
        {
            self.fates.remove(&oldest);
        }
    }
}

impl SubstrateChain {
    /// What became of a call that was sent from here.
    pub(super) fn fate(&self, id: CallId) -> Result<CallStatus, Error> {
        let newest = self.head()?;
        loop {
            let call = {
                let sent = lock(&self.sent);
                if let Some((fate, _)) = sent.fates.get(&id) {
                    return Ok(fate.clone());
                }
                let Some(call) = sent.waiting.get(&id) else { return Ok(CallStatus::Unknown) };
                *call
            };
            // Asked for only when all blocks were looked through: the nonce of a call that stands
            // in one of them is used, too.
            if call.looked_at >= newest.block {
                return self.displaced(id, call, newest);
            }
            let next = Block(call.looked_at.0 + 1);
            let last = newest.block.min(call.last).max(next);
            let up_to = |n: u64| last.min(Block(call.looked_at.0.saturating_add(n)));
            if last > next && lock(&self.finality).hash(next).is_none() {
                self.learn_hashes((next.0..=up_to(HASHES_TOGETHER).0).map(Block))?;
            }
            let is_over = newest.block > call.last;
            self.look_through(next..=up_to(BLOCKS_TOGETHER), is_over)?;
        }
    }

    /// Whether another call has the nonce of one that no block up to `head` has.
    fn displaced(&self, id: CallId, call: Waiting, head: Head) -> Result<CallStatus, Error> {
        let (signer, nonce) = call.nonce;
        if !call.is_contested || call.free_at == Some(head.block) {
            return Ok(CallStatus::Pending);
        }
        let account = self
            .links
            .ask("nonce", async |link: &Link| read::account(&link.at(head).await?, signer).await)?;
        if u64::from(account.nonce) <= nonce {
            if let Some(call) = lock(&self.sent).waiting.get_mut(&id) {
                call.free_at = Some(head.block);
            }
            return Ok(CallStatus::Pending);
        }
        lock(&self.sent).settle(id, CallStatus::Displaced, Effects::default());
        Ok(CallStatus::Displaced)
    }

    /// What a call that was applied has made, by its own events; empty for all others.
    pub fn effects(&self, id: CallId) -> Effects {
        lock(&self.sent).fates.get(&id).map(|(_, effects)| *effects).unwrap_or_default()
    }

    /// Finds our calls in some blocks, with what became of them.
    ///
    /// A block that the endpoint does not have is passed over where it is of a time that is over;
    /// else it may only be late.
    fn look_through(&self, blocks: RangeInclusive<Block>, is_over: bool) -> Result<(), Error> {
        let missing = Error::Unavailable { request: "block" };
        let mut heads = Vec::new();
        for block in (blocks.start().0..=blocks.end().0).map(Block) {
            let Some(hash) = self.block_hash(block)? else { break };
            heads.push(Head { block, hash });
        }
        if heads.is_empty() {
            return Err(missing);
        }
        // The lock is not held while the endpoint answers, which may take as long as it likes.
        let waiting: Vec<CallId> = lock(&self.sent).waiting.keys().copied().collect();
        let found = self
            .links
            .ask("block", async |link: &Link| fates_of_first(link, &heads, &waiting).await)?;
        for (head, found) in heads.iter().zip(found) {
            let looked = match found {
                Some(_) => Looked::Through,
                None if is_over => Looked::Gone,
                None => return Err(missing),
            };
            let mut sent = lock(&self.sent);
            for (id, fate, effects) in found.into_iter().flatten() {
                sent.settle(id, fate, effects);
            }
            // Only these: a call that came to wait meanwhile was not looked for.
            sent.looked_for(&waiting, head.block, looked);
        }
        Ok(())
    }
}

/// The same as [`fates`] of some blocks, up to the first of which there is no answer: of what a
/// slow line gives before it fails nothing is asked for again.
async fn fates_of_first(
    link: &Link,
    heads: &[Head],
    ids: &[CallId],
) -> Result<Vec<Fates>, Failure> {
    let all = join_all(heads.iter().map(|head| fates(link, *head, ids))).await;
    let mut first = Vec::with_capacity(all.len());
    for found in all {
        match found {
            Ok(found) => first.push(found),
            Err(failure) if first.is_empty() => return Err(failure),
            Err(_) => break,
        }
    }
    Ok(first)
}

/// What became of those of `ids` that stand in the block, and what they made; `None` where the
/// endpoint does not have the block any more.
///
/// Calls are found by the hash of their bytes: what strangers put into a block is never decoded.
async fn fates(link: &Link, head: Head, ids: &[CallId]) -> Result<Fates, Failure> {
    let Some(block) = link.rpc.chain_get_block(Some(H256(head.hash.0))).await? else {
        return Ok(None);
    };
    let block = block.block;
    let name = |bytes: &[u8]| CallId(chain::hash::blake2_256(bytes));
    let names = (0..).zip(block.extrinsics.iter().map(|extrinsic| name(&extrinsic.0)));
    let found: BTreeMap<u32, CallId> = names.filter(|(_, id)| ids.contains(id)).collect();
    if found.is_empty() {
        return Ok(Some(Vec::new()));
    }
    // Only now: most blocks have no call of ours, and events are many times as long.
    let outcomes = match outcomes(link, head).await {
        Err(failure) if is_state_gone(&told(&*failure)) => {
            let unreadable = CallStatus::Unreadable(head.block);
            let fate = |id| (id, unreadable.clone(), Effects::default());
            return Ok(Some(found.into_values().map(fate).collect()));
        }
        outcomes => outcomes?,
    };
    let fate = |(index, id): (u32, CallId)| match outcomes.get(&index) {
        None => (id, CallStatus::Applied(head.block), Effects::default()),
        Some(Ok(effects)) => (id, CallStatus::Applied(head.block), *effects),
        Some(Err(error)) => {
            (id, CallStatus::Refused(head.block, error.clone()), Effects::default())
        }
    };
    Ok(Some(found.into_iter().map(fate).collect()))
}

/// What the events of a block say of its calls, by their places in it.
async fn outcomes(
    link: &Link,
    head: Head,
) -> Result<BTreeMap<u32, Result<Effects, CallError>>, Failure> {
    let at = link.at(head).await?;
    let mut outcomes = BTreeMap::new();
    for event in at.events().fetch().await?.iter() {
        let event = event?;
        let Phase::ApplyExtrinsic(index) = event.phase() else { continue };
        let name = (event.pallet_name(), event.event_name());
        if name == ("System", "ExtrinsicFailed") {
            let error = DispatchError::decode_from(event.field_bytes(), at.metadata())?;
            outcomes.insert(index, Err(call_error(&error)));
        } else if let Ok(effects) = outcomes.entry(index).or_insert(Ok(Effects::default())) {
            effects.take(name, event.field_bytes());
        }
    }
    Ok(outcomes)
}

impl Effects {
    /// Takes in an event; in all runtimes since 2024 those of interest begin with their numbers.
    fn take(&mut self, name: (&str, &str), mut fields: &[u8]) {
        let mut number = || u16::decode(&mut fields).ok();
        match name {
            ("SubtensorModule", "NetworkAdded") => self.netuid = number().map(NetUid),
            ("SubtensorModule", "NeuronRegistered") => {
                let netuid = number().map(NetUid);
                self.slot = netuid.zip(number().map(Uid));
            }
            _ => {}
        }
    }
}

fn call_error(error: &DispatchError) -> CallError {
    match error {
        DispatchError::Module(module) => match module.details() {
            Ok(details) => CallError::from_name(&details.variant.name),
            Err(_) => CallError::Other(module.details_string()),
        },
        DispatchError::BadOrigin => CallError::BadOrigin,
        DispatchError::Token(subxt::error::TokenError::FundsUnavailable) => {
            CallError::FundsUnavailable
        }
        other => CallError::Other(other.to_string()),
    }
}
