//! What the repo of an offer holds: rules, tokenizer, signed offer, and in which blocks was paid.

use crate::hugging_face::explained;
use ::hugging_face::{HubClient, client::Pinned};
use anyhow::Context as _;
use keys::{Signature, verify};
use protocol::{
    Block, Competition, Digest, Offer, competition::TokenizerRules, offer::OFFER_BYTES_MAX,
};
use serde::{Deserialize, Serialize};

/// The offer.
pub const OFFER: &str = "offer.json";
/// The rules, as canonical JSON.
pub const RULES: &str = "rules.json";
/// Blocks in which was paid.
pub const PAYMENTS: &str = "payments.json";
/// The tokenizer, where the rules have it in a file.
pub const TOKENIZER: &str = "tokenizer.json";

/// Most payments of an offer: one a day for years.
const PAYMENTS_MAX: usize = 2_000;
/// Most bytes of the two small files.
const SIZE_BYTES_MAX: usize = 16 * OFFER_BYTES_MAX;

/// An offer with its signature, as the repo has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// The canonical JSON of the offer.
    offer: String,
    /// sr25519, of the payer, over the digest of the offer.
    signature: Vec<u8>,
}

/// All of it, verified.
pub struct Proposal {
    /// The offer.
    pub offer: Offer,
    /// The rules, as whoever pays wrote them.
    pub rules: Competition,
    /// The tokenizer, where the rules have it in a file.
    pub tokenizer: Option<Vec<u8>>,
    /// Blocks in which the payer says that it paid.
    pub payments: Vec<Block>,
}

/// The bytes of a signed offer.
pub fn signed(offer: &Offer, payer: &chain::Keypair) -> anyhow::Result<Vec<u8>> {
    let signature = payer.sign(&offer.digest().0).0.to_vec();
    let offer = String::from_utf8(offer.to_json())?;
    Ok(serde_json::to_vec(&Signed { offer, signature })?)
}

/// Reads a signed offer of a stranger.
fn verified(bytes: &[u8]) -> anyhow::Result<Offer> {
    anyhow::ensure!(bytes.len() <= SIZE_BYTES_MAX, "the offer is too long");
    let Signed { offer, signature } =
        serde_json::from_slice(bytes).context("there is no signed offer")?;
    let offer = Offer::from_json(offer.as_bytes())?;
    let signature = <[u8; 64]>::try_from(signature).ok();
    let is_signed = signature
        .is_some_and(|signature| verify(&offer.digest().0, &Signature(signature), offer.payer));
    anyhow::ensure!(is_signed, "the offer is not signed by {}", offer.payer);
    Ok(offer)
}

/// The blocks of the payments of a repo; none if it has none.
pub fn payments(client: &HubClient, pinned: Pinned<'_>) -> anyhow::Result<Vec<Block>> {
    let Some(bytes) = small(client, pinned, PAYMENTS)? else { return Ok(Vec::new()) };
    anyhow::ensure!(bytes.len() <= SIZE_BYTES_MAX, "`{PAYMENTS}` is too long");
    let mut blocks: Vec<Block> =
        serde_json::from_slice(&bytes).with_context(|| format!("`{PAYMENTS}` is no list"))?;
    anyhow::ensure!(blocks.len() <= PAYMENTS_MAX, "`{PAYMENTS}` names too many blocks");
    blocks.sort_unstable();
    blocks.dedup();
    Ok(blocks)
}

/// What a repo proposes. Whatever is not what the offer names is an error.
pub fn proposal(client: &HubClient, pinned: Pinned<'_>) -> anyhow::Result<Proposal> {
    let offer = verified(&needed(client, pinned, OFFER)?)?;
    let bytes = needed(client, pinned, RULES)?;
    anyhow::ensure!(Digest::of(&bytes) == offer.rules, "`{RULES}` is not what the offer names");
    let rules = Competition::from_json(&bytes)?;
    let tokenizer = match &rules.text.tokenizer {
        TokenizerRules::File { sha256, .. } => {
            let bytes = needed(client, pinned, TOKENIZER)?;
            anyhow::ensure!(
                Digest::of(&bytes) == *sha256,
                "`{TOKENIZER}` is not the one that the rules name"
            );
            Some(bytes)
        }
        TokenizerRules::Trained { .. } | TokenizerRules::Hub { .. } => None,
    };
    Ok(Proposal { offer, rules, tokenizer, payments: payments(client, pinned)? })
}

fn needed(client: &HubClient, pinned: Pinned<'_>, path: &str) -> anyhow::Result<Vec<u8>> {
    small(client, pinned, path)?
        .with_context(|| format!("`{}@{}` has no `{path}`", pinned.repo, pinned.revision))
}

fn small(client: &HubClient, pinned: Pinned<'_>, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(listed) = client.file(pinned, path).map_err(explained)? else { return Ok(None) };
    client.read(pinned, &listed).map(Some).map_err(explained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::Keypair;
    use protocol::{BlockHash, NetUid, Seed, offer::Terms};

    #[test]
    fn attack_an_offer_in_the_name_of_somebody_else_is_none() {
        let [payer, other] = [1, 2].map(|number| Keypair::from_seed(Seed::of_number(number)));
        let mut rules = Competition::builtin("tiny").unwrap();
        rules.until_block = Some(9_000);
        let terms = Terms {
            genesis: BlockHash([0; 32]),
            netuid: NetUid(1),
            payer: payer.public(),
            payee: other.public(),
            rao_per_day: 1,
        };
        let offer = Offer::new(&rules, terms).unwrap();
        assert_eq!(verified(&signed(&offer, &payer).unwrap()).unwrap(), offer);
        assert!(verified(&signed(&offer, &other).unwrap()).is_err());
        let mut dearer = offer.clone();
        dearer.rao_per_day = 2;
        let bytes = String::from_utf8(signed(&offer, &payer).unwrap()).unwrap();
        let inner = |offer: &Offer| {
            let text = String::from_utf8(offer.to_json()).unwrap();
            serde_json::to_string(&text).unwrap()
        };
        let swapped = bytes.replace(&inner(&offer), &inner(&dearer));
        assert_ne!(swapped, bytes);
        assert!(verified(swapped.as_bytes()).is_err());
        assert!(verified(b"{}").is_err());
    }

    #[test]
    fn attack_no_byte_of_a_signed_offer_can_be_changed() {
        let [payer, payee] = [1, 2].map(|number| Keypair::from_seed(Seed::of_number(number)));
        let mut rules = Competition::builtin("tiny").unwrap();
        rules.until_block = Some(9_000);
        let terms = Terms {
            genesis: BlockHash([3; 32]),
            netuid: NetUid(1),
            payer: payer.public(),
            payee: payee.public(),
            rao_per_day: 1_234_567,
        };
        let offer = Offer::new(&rules, terms).unwrap();
        let bytes = signed(&offer, &payer).unwrap();
        for at in 0..bytes.len() {
            assert!(verified(&bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 7);
            // Some changes are none to a reader of JSON.
            let found = verified(&changed).ok();
            assert!(found.is_none_or(|found| found == offer), "byte {at}");
        }
        let long = [&bytes[..], &vec![b' '; SIZE_BYTES_MAX]].concat();
        assert!(verified(&long).unwrap_err().to_string().contains("too long"));
    }
}
