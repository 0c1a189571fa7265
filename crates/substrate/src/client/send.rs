//! Signing calls, and sending each until the endpoint has it.

use super::{
    SubstrateChain,
    calls::NamedCall,
    config::Signatures,
    link::{At, Failure, Link},
    lock,
};
use crate::Era;
use chain::{Call, CallError, CallId, Chain as _, Error, Head, Keypair, Signed};
use protocol::{AccountId, Block};
use rand_core_06::{OsRng, RngCore as _};
use std::{ops::RangeInclusive, sync::Arc};
use subxt::{
    SubstrateConfig,
    config::substrate::SubstrateExtrinsicParamsBuilder,
    dynamic::Value,
    ext::scale_value::Composite,
    rpcs,
    tx::Signer,
    utils::{AccountId32, H256, MultiSignature},
};
use zeroize::Zeroizing;

/// How often a signed call is sent again when the answer gets lost.
const SENDINGS_MAX: usize = 5;

/// Codes of what a pool says of a call.
const POOL_CODES: RangeInclusive<i32> = 1_010..=1_019;
/// The call was seen lately, and is not wanted for a while.
const BANNED: i32 = 1_012;
/// The pool has the call.
const ALREADY_IMPORTED: i32 = 1_013;
/// The pool has another call of the signer with the same nonce.
const NONCE_TAKEN: i32 = 1_014;
/// Codes of JSON-RPC for a request that was not understood, so that nothing came of it.
const NOT_UNDERSTOOD: [i32; 4] = [-32_700, -32_600, -32_601, -32_602];

/// Whether a call was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    NotSent,
    MaybeSent,
}

/// Signs with one of our keys; with something fresh, the signature is like no other.
pub(super) struct Pen<'a> {
    pub(super) key: &'a Keypair,
    pub(super) fresh: Option<Zeroizing<[u8; 32]>>,
}

impl Signer<SubstrateConfig> for Pen<'_> {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.key.public().0)
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        let signature = match &self.fresh {
            Some(fresh) => self.key.sign_afresh(payload, fresh),
            None => self.key.sign(payload),
        };
        MultiSignature::Sr25519(signature.0)
    }
}

impl SubstrateChain {
    /// Signs a call and sends it until the endpoint has it.
    pub(super) fn sign_and_send(&self, call: &Call, signer: &Keypair) -> Result<CallId, Error> {
        // Two threads with one key get two nonces.
        let turn = Arc::clone(lock(&self.turns).entry(signer.public()).or_default());
        let _turn = lock(&turn);
        let signed = self.signed(call, signer, None)?;
        self.deliver(&signed, Before::NotSent)?;
        Ok(signed.id)
    }

    /// Signs a call for a limited time, which ends with block `last` at the latest.
    ///
    /// Other processes may use the same key, and then the nonce may be theirs. The call is signed
    /// once all the same: what an endpoint says of bytes that have reached it proves nothing, and
    /// only a block in which another call has the nonce shows that this one never will be included
    /// (`CallStatus::Displaced`).
    pub(super) fn signed(
        &self,
        call: &Call,
        signer: &Keypair,
        last: Option<Block>,
    ) -> Result<Signed, Error> {
        if matches!(call, Call::SetCommitment { data, .. } if data.len() > 128) {
            return Err(CallError::CommitmentTooLong.into());
        }
        let head = self.head()?;
        let nonce = self.next_nonce(signer.public())?;
        let config = self.links.config();
        let fresh = match config.signatures {
            Signatures::Unique => Some(fresh()?),
            Signatures::Repeatable => None,
        };
        let pen = Pen { key: signer, fresh };
        let (era, birth) = self.era(head, last)?;
        let bytes = self.links.ask("metadata", async |link: &Link| {
            let signing = Signing { pen: &pen, nonce, era, birth };
            sign(&link.at(head).await?, call, signing).await
        })??;
        let id = CallId(chain::hash::blake2_256(&bytes));
        let last = era.death(head.block).map_or(Block(u64::MAX), |death| Block(death.0 - 1));
        Ok(Signed { id, signer: signer.public(), nonce, from: head.block, last, bytes })
    }

    /// The era of a call that is signed at `head` and ends with block `last` at the latest, and the
    /// block that it begins with.
    pub(super) fn era(&self, head: Head, last: Option<Block>) -> Result<(Era, Head), Error> {
        let era_blocks = self.links.config().era_blocks;
        let Some(last) = last else { return Ok((Era::mortal(era_blocks, head.block), head)) };
        let too_late = Error::TooLate { last, head: head.block };
        let Some(era) = Era::until(last, head.block, era_blocks) else { return Err(too_late) };
        let block = era.birth(head.block);
        if block == head.block {
            return Ok((era, head));
        }
        let gone = Error::NoState { at: block, oldest: None, newest: head.block };
        Ok((era, Head { block, hash: self.block_hash(block)?.ok_or(gone)? }))
    }

    /// Sends the same bytes until there is an answer: they are one call, however often they arrive.
    ///
    /// An error means that they have surely not arrived now, or that the pool of the endpoint does
    /// not want them; else the fate of the call will tell.
    pub(super) fn deliver(&self, signed: &Signed, before: Before) -> Result<(), Error> {
        let id = signed.id;
        if !lock(&self.sent).wait_for(signed) {
            return Ok(());
        }
        let until = self.links.deadline();
        let mut may_have_arrived = false;
        for _ in 0..SENDINGS_MAX {
            let sending = async |link: &Link| link.rpc.author_submit_extrinsic(&signed.bytes).await;
            match self.links.ask_once(until, sending) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refusal)) => {
                    let again = may_have_arrived || before == Before::MaybeSent;
                    return self.refused(id, refusal, again);
                }
                Err(Error::Unavailable { .. }) => may_have_arrived = true,
                Err(_) if may_have_arrived => break,
                Err(error) => {
                    // Whoever resumes it asks again: what is not waited for is not known.
                    lock(&self.sent).forget(id);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// What a refusal means: that the endpoint has the call, or another of the signer with the same
    /// nonce, or that it does not want this one.
    fn refused(&self, id: CallId, refusal: rpcs::Error, again: bool) -> Result<(), Error> {
        // Whatever is no answer of a pool may come from somebody who has passed the call on.
        let rpcs::Error::User(said) = refusal else { return Ok(()) };
        if !POOL_CODES.contains(&said.code) && !NOT_UNDERSTOOD.contains(&said.code) {
            return Ok(());
        }
        let data = said.data.as_ref().map(|data| data.get().to_owned()).unwrap_or_default();
        let text = format!("{} {data}", said.message);
        if [ALREADY_IMPORTED, NONCE_TAKEN].contains(&said.code) || text.contains("outdated") {
            // Ours may be the call that has the nonce: sent twice by somebody on the way, it is
            // refused the second time.
            lock(&self.sent).contest(id);
            return Ok(());
        }
        if again || said.code == BANNED {
            // What an endpoint says, too, of a call that it has put into a block already.
            return Ok(());
        }
        lock(&self.sent).forget(id);
        Err(refusal_of(said.code, &text))
    }

    fn next_nonce(&self, signer: AccountId) -> Result<u64, Error> {
        let account = AccountId32(signer.0);
        self.links.ask("nonce", async |link: &Link| {
            Ok(link.rpc.system_account_next_index(&account).await?)
        })
    }
}

/// Bytes that nobody has drawn before.
fn fresh() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    OsRng
        .try_fill_bytes(&mut *bytes)
        .map_err(|failure| Error::Randomness { text: failure.to_string() })?;
    Ok(bytes)
}

/// By whom a call is signed, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Signing<'a> {
    pub(super) pen: &'a Pen<'a>,
    pub(super) nonce: u64,
    pub(super) era: Era,
    /// The block that the era begins with, after which it may be included.
    pub(super) birth: Head,
}

/// The signed bytes of a call; an error if the runtime has no such call.
pub(super) async fn sign(
    at: &At,
    call: &Call,
    signing: Signing<'_>,
) -> Result<Result<Vec<u8>, Error>, Failure> {
    let Signing { pen, nonce, era, birth } = signing;
    let call = NamedCall::of(call);
    let pallet = call.pallet;
    let metadata = at.metadata();
    let variant = metadata
        .pallet_by_name(pallet)
        .and_then(|found| call.names().find_map(|name| found.call_variant_by_name(name)));
    let Some(variant) = variant else {
        let what = format!("{pallet}.{}", call.name);
        return Ok(Err(Error::Incompatible { what }));
    };
    let what = format!("{pallet}.{}", variant.name);
    let fields: Vec<String> =
        variant.fields.iter().map(|field| field.name.clone().unwrap_or_default()).collect();
    let arguments: Vec<(String, Value)> = match call.arguments_for(&fields) {
        Ok(arguments) => arguments,
        Err(field) => return Ok(Err(Error::Incompatible { what: format!("{what}({field})") })),
    };
    let payload = subxt::dynamic::transaction(pallet, &variant.name, Composite::Named(arguments));
    let params = SubstrateExtrinsicParamsBuilder::new().nonce(nonce);
    let params = match era {
        Era::Mortal { period, .. } => {
            params.mortal_from_unchecked(period.into(), birth.block.0, H256(birth.hash.0))
        }
        Era::Immortal => params.immortal(),
    };
    let mut signable = at.transactions().create_v4_signable_offline(&payload, params.build())?;
    Ok(Ok(signable.sign(pen)?.into_encoded()))
}

/// Refusals of the pool, by the texts that all nodes give.
fn refusal_of(code: i32, text: &str) -> Error {
    const POOL_FULL: i32 = 1016;
    if code == POOL_FULL {
        return Error::PoolFull;
    }
    let known = [
        ("bad signature", CallError::BadSignature),
        // At the block after its last one a call's era would begin anew, with that very block.
        ("ancient birth block", CallError::BadSignature),
        ("outdated", CallError::BadNonce),
        ("Priority is too low", CallError::BadNonce),
        ("exhaust", CallError::ExhaustsResources),
        ("Inability to pay", CallError::UnknownSigner),
    ];
    let known = known.into_iter().find(|(sign, _)| text.contains(sign)).map(|(_, error)| error);
    Error::Refused(known.unwrap_or_else(|| CallError::Other(text.trim().to_owned())))
}

#[cfg(test)]
mod tests;
