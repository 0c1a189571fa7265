//! What calls cost, as the runtime behind an endpoint reckons it.

use super::{
    SubstrateChain,
    link::Link,
    send::{Pen, Signing, sign},
};
use chain::{Call, Chain as _, Error, Keypair};
use parity_scale_codec::{Compact, Decode as _, Encode as _};
use protocol::Seed;
use subxt::{rpcs, utils::H256};

/// The method of a runtime that says what a signed call costs.
const METHOD: &str = "TransactionPaymentApi_query_info";

impl SubstrateChain {
    /// What a call would cost now beside what it moves, in rao, whoever signs it; `None` where the
    /// endpoint does not tell, or its runtime has no such call.
    ///
    /// Nothing is sent to be included, and no key of anybody's is used.
    pub fn fee_rao(&self, call: &Call) -> Result<Option<u64>, Error> {
        let head = self.head()?;
        // The runtime reckons by the call and its length, and looks at no signature.
        let key = Keypair::from_seed(Seed::of_number(0));
        let pen = Pen { key: &key, fresh: None };
        let (era, birth) = self.era(head, None)?;
        self.links.ask("fee", async |link: &Link| {
            let at = link.at(head).await?;
            let signed = sign(&at, call, Signing { pen: &pen, nonce: 0, era, birth }).await?;
            let Ok(mut arguments) = signed else { return Ok(None) };
            let length = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
            length.encode_to(&mut arguments);
            let (n_put_off, hash) = (link.n_put_off(), H256(head.hash.0));
            match link.rpc.state_call(METHOD, Some(arguments.as_slice()), Some(hash)).await {
                Ok(answer) => Ok(fee_in(&answer)),
                // Put off is not refused.
                Err(rpcs::Error::User(said)) if link.n_put_off() > n_put_off => {
                    Err(rpcs::Error::User(said).into())
                }
                Err(rpcs::Error::User(_)) => Ok(None),
                Err(failure) => Err(failure.into()),
            }
        })
    }
}

/// The fee in an answer, which has weight and class before it; runtimes count money in 64 bits, or
/// in 128.
fn fee_in(mut answer: &[u8]) -> Option<u64> {
    let rest = &mut answer;
    <(Compact<u64>, Compact<u64>, u8)>::decode(rest).ok()?;
    match rest.len() {
        8 => u64::decode(rest).ok(),
        16 => u128::decode(rest).ok().and_then(|fee| u64::try_from(fee).ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_read_in_either_width_and_nothing_else_is_a_fee() {
        let before = (Compact(1_000_000_u64), Compact(3_u64), 0_u8);
        assert_eq!(fee_in(&(before, 124_700_u64).encode()), Some(124_700));
        assert_eq!(fee_in(&(before, 124_700_u128).encode()), Some(124_700));
        assert_eq!(fee_in(&(before, u128::MAX).encode()), None);
        for odd in [vec![], before.encode(), (before, 7_u32).encode(), vec![0xff; 64]] {
            assert_eq!(fee_in(&odd), None, "{odd:?}");
        }
    }
}
