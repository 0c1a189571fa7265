//! Signing calls, sending each once, and finding out what became of it.

use super::{
    SubstrateChain,
    calls::NamedCall,
    link::{At, Failure, Link, is_state_gone, told},
    lock,
};
use crate::{Call, CallError, CallId, CallStatus, Chain as _, Error, Head, Keypair};
use protocol::{AccountId, Block};
use std::{collections::BTreeMap, sync::Arc};
use subxt::{
    SubstrateConfig,
    config::substrate::SubstrateExtrinsicParamsBuilder,
    dynamic::Value,
    error::DispatchError,
    events::Phase,
    ext::scale_value::Composite,
    rpcs,
    tx::Signer,
    utils::{AccountId32, H256, MultiSignature},
};

/// Most calls whose fate is remembered.
const FATES_MAX: usize = 4_096;

/// How often a signed call is sent again when the answer gets lost.
const SENDINGS_MAX: usize = 5;

/// Calls that were sent from here.
#[derive(Default)]
pub(super) struct Sent {
    /// Calls that may still be included: last block that can.
    waiting: BTreeMap<CallId, Block>,
    fates: BTreeMap<CallId, CallStatus>,
    /// Order in which fates became known, oldest first.
    known: std::collections::VecDeque<CallId>,
    /// The last block that was looked through.
    looked_at: Option<Block>,
}

impl Sent {
    fn wait_for(&mut self, id: CallId, last: Block, sent_at: Block) {
        if self.waiting.is_empty() {
            self.looked_at = Some(sent_at);
        }
        self.waiting.insert(id, last);
    }

    /// Gives up the calls that no block after `block` can include.
    fn expire(&mut self, block: Block) {
        let is_over = |(id, last): (&CallId, &Block)| (*last <= block).then_some(*id);
        let over: Vec<CallId> = self.waiting.iter().filter_map(is_over).collect();
        for id in over {
            self.settle(id, CallStatus::Unknown);
        }
    }

    fn settle(&mut self, id: CallId, fate: CallStatus) {
        self.waiting.remove(&id);
        self.fates.insert(id, fate);
        self.known.push_back(id);
        if self.known.len() > FATES_MAX
            && let Some(oldest) = self.known.pop_front()
        {
            self.fates.remove(&oldest);
        }
    }
}

/// Signs with one of our keys; the same bytes always get the same signature.
struct Pen<'a>(&'a Keypair);

impl Signer<SubstrateConfig> for Pen<'_> {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.0.public().0)
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.sign(payload).0)
    }
}

impl SubstrateChain {
    /// Signs a call for a limited time and sends it until the endpoint has it.
    pub(super) fn send(&self, call: &Call, signer: &Keypair) -> Result<CallId, Error> {
        if matches!(call, Call::SetCommitment { data, .. } if data.len() > 128) {
            return Err(CallError::CommitmentTooLong.into());
        }
        let turn = Arc::clone(lock(&self.turns).entry(signer.public()).or_default());
        let _turn = lock(&turn);
        let head = self.head()?;
        let nonce = self.next_nonce(signer.public())?;
        let era_blocks = self.links.config().era_blocks;
        let bytes = self.links.ask("metadata", async |link: &Link| {
            sign(&link.at(head).await?, call, (signer, nonce), (head, era_blocks)).await
        })??;
        let id = CallId(crate::extrinsic::blake2_256(&bytes));
        let era = crate::Era::mortal(era_blocks, head.block);
        let last = era.death(head.block).map_or(Block(u64::MAX), |death| Block(death.0 - 1));
        lock(&self.sent).wait_for(id, last, head.block);
        self.deliver(id, &bytes)?;
        Ok(id)
    }

    /// Sends the same bytes until there is an answer: they are one call, however often they arrive.
    fn deliver(&self, id: CallId, bytes: &[u8]) -> Result<(), Error> {
        let until = self.links.deadline();
        let mut may_have_arrived = false;
        for _ in 0..SENDINGS_MAX {
            let sending = async |link: &Link| link.rpc.author_submit_extrinsic(bytes).await;
            match self.links.ask_once(until, sending) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refusal)) => return self.refused(id, refusal, may_have_arrived),
                Err(Error::Unavailable { .. }) => may_have_arrived = true,
                Err(_) if may_have_arrived => break,
                Err(error) => {
                    lock(&self.sent).waiting.remove(&id);
                    return Err(error);
                }
            }
        }
        // It may have arrived: its fate will tell.
        Ok(())
    }

    /// What a refusal means: perhaps that an earlier sending arrived.
    fn refused(&self, id: CallId, refusal: rpcs::Error, again: bool) -> Result<(), Error> {
        let rpcs::Error::User(said) = refusal else {
            return Err(Error::Answer { request: "submit", text: refusal.to_string() });
        };
        const BANNED: i32 = 1012;
        const ALREADY_IMPORTED: i32 = 1013;
        const NONCE_TAKEN: i32 = 1014;
        if said.code == ALREADY_IMPORTED {
            return Ok(());
        }
        let data = said.data.as_ref().map(|data| data.get().to_owned()).unwrap_or_default();
        let text = format!("{} {data}", said.message);
        // What an endpoint says of a call that it has, or has put into a block, already.
        let is_known = [BANNED, NONCE_TAKEN].contains(&said.code) || text.contains("outdated");
        if again && is_known {
            return Ok(());
        }
        lock(&self.sent).waiting.remove(&id);
        Err(refusal_of(said.code, &text))
    }

    fn next_nonce(&self, signer: AccountId) -> Result<u64, Error> {
        let account = AccountId32(signer.0);
        self.links.ask("nonce", async |link: &Link| {
            Ok(link.rpc.system_account_next_index(&account).await?)
        })
    }

    /// What became of a call that was sent from here.
    pub(super) fn fate(&self, id: CallId) -> Result<CallStatus, Error> {
        let newest = self.head()?.block;
        loop {
            let next = {
                let sent = lock(&self.sent);
                if let Some(fate) = sent.fates.get(&id) {
                    return Ok(fate.clone());
                }
                let Some(last) = sent.waiting.get(&id) else { return Ok(CallStatus::Unknown) };
                match sent.looked_at {
                    Some(looked_at) if looked_at < newest => Block(looked_at.0 + 1),
                    _ if *last <= newest => break,
                    _ => return Ok(CallStatus::Pending),
                }
            };
            self.look_through(next)?;
        }
        // Its time is over: it never will be included.
        lock(&self.sent).settle(id, CallStatus::Unknown);
        Ok(CallStatus::Unknown)
    }

    /// Finds our calls in a block, with what became of them.
    fn look_through(&self, block: Block) -> Result<(), Error> {
        let hash = self.block_hash(block)?.ok_or(Error::Unavailable { request: "block" })?;
        let waiting: Vec<CallId> = lock(&self.sent).waiting.keys().copied().collect();
        let found = self
            .links
            .ask("block", async |link: &Link| fates(link, Head { block, hash }, &waiting).await)?;
        let mut sent = lock(&self.sent);
        for (id, fate) in found {
            sent.settle(id, fate);
        }
        sent.expire(block);
        // Another thread may have looked further meanwhile.
        sent.looked_at = sent.looked_at.max(Some(block));
        Ok(())
    }
}

/// The signed bytes of a call; an error if the runtime has no such call.
async fn sign(
    at: &At,
    call: &Call,
    (signer, nonce): (&Keypair, u64),
    (birth, era_blocks): (Head, u32),
) -> Result<Result<Vec<u8>, Error>, Failure> {
    let call = NamedCall::of(call);
    let (pallet, name) = (call.pallet, call.name);
    let what = format!("{pallet}.{name}");
    let metadata = at.metadata();
    let variant =
        metadata.pallet_by_name(pallet).and_then(|found| found.call_variant_by_name(name));
    let Some(variant) = variant else {
        return Ok(Err(Error::Incompatible { what }));
    };
    let fields: Vec<String> =
        variant.fields.iter().map(|field| field.name.clone().unwrap_or_default()).collect();
    let arguments: Vec<(String, Value)> = match call.arguments_for(&fields) {
        Ok(arguments) => arguments,
        Err(field) => return Ok(Err(Error::Incompatible { what: format!("{what}({field})") })),
    };
    let payload = subxt::dynamic::transaction(pallet, name, Composite::Named(arguments));
    let params = SubstrateExtrinsicParamsBuilder::new()
        .mortal_from_unchecked(era_blocks.into(), birth.block.0, H256(birth.hash.0))
        .nonce(nonce)
        .build();
    let mut signable = at.transactions().create_v4_signable_offline(&payload, params)?;
    Ok(Ok(signable.sign(&Pen(signer))?.into_encoded()))
}

/// What became of those of `ids` that stand in the block; unknown if that was too long ago.
///
/// Calls are found by the hash of their bytes: what strangers put into a block is never decoded.
async fn fates(
    link: &Link,
    head: Head,
    ids: &[CallId],
) -> Result<Vec<(CallId, CallStatus)>, Failure> {
    let block = link.rpc.chain_get_block(Some(H256(head.hash.0))).await?;
    let block = block.ok_or("a final block is not there")?.block;
    let name = |bytes: &[u8]| CallId(crate::extrinsic::blake2_256(bytes));
    let names = (0..).zip(block.extrinsics.iter().map(|extrinsic| name(&extrinsic.0)));
    let found: BTreeMap<u32, CallId> = names.filter(|(_, id)| ids.contains(id)).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let refusals = match refusals(link, head).await {
        Err(failure) if is_state_gone(&told(&*failure)) => {
            return Ok(found.into_values().map(|id| (id, CallStatus::Unknown)).collect());
        }
        refusals => refusals?,
    };
    let fate = |(index, id): (u32, CallId)| match refusals.get(&index) {
        None => (id, CallStatus::Applied(head.block)),
        Some(error) => (id, CallStatus::Refused(head.block, error.clone())),
    };
    Ok(found.into_iter().map(fate).collect())
}

/// Why calls of a block were refused, by their places in it.
async fn refusals(link: &Link, head: Head) -> Result<BTreeMap<u32, CallError>, Failure> {
    let at = link.at(head).await?;
    let mut refusals = BTreeMap::new();
    for event in at.events().fetch().await?.iter() {
        let event = event?;
        if let Phase::ApplyExtrinsic(index) = event.phase()
            && (event.pallet_name(), event.event_name()) == ("System", "ExtrinsicFailed")
        {
            let error = DispatchError::decode_from(event.field_bytes(), at.metadata())?;
            refusals.insert(index, call_error(&error));
        }
    }
    Ok(refusals)
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

/// Refusals of the pool, by the texts that all nodes give.
fn refusal_of(code: i32, text: &str) -> Error {
    const POOL_FULL: i32 = 1016;
    if code == POOL_FULL {
        return Error::PoolFull;
    }
    let known = [
        ("bad signature", CallError::BadSignature),
        ("outdated", CallError::BadNonce),
        ("Priority is too low", CallError::BadNonce),
        ("exhaust", CallError::ExhaustsResources),
        ("Inability to pay", CallError::UnknownSigner),
    ];
    let known = known.into_iter().find(|(sign, _)| text.contains(sign)).map(|(_, error)| error);
    Error::Refused(known.unwrap_or_else(|| CallError::Other(text.trim().to_owned())))
}
