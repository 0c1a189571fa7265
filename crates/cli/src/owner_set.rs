//! The competitions that the owner of a subnet has published: found on the chain, had from a hub.

mod follow;
mod store;

pub use follow::{Commitment, Followed, Follower, Look, Missed, Refused, read};
pub use store::{Bounds, Fetched, INDEX, Store, rules_path, tokenizer_path};

use crate::failure::HintExt as _;
use anyhow::Context as _;
use chain::Chain as _;
use protocol::{AccountId, Block, NetUid, SetCommitment};
use substrate::SubstrateChain;

/// What stands for the competitions of the owner where competitions are named.
pub const OWNER: &str = "owner";

/// A commitment to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Who committed.
    pub hotkey: AccountId,
    /// In which block.
    pub block: Block,
    /// To what.
    pub commitment: SetCommitment,
}

/// The hotkey whose commitment counts: the one that got the first slot of the subnet, or where the
/// chain keeps none, that in the first slot of the owner's.
pub fn owner_hotkey(chain: &SubstrateChain, netuid: NetUid) -> anyhow::Result<AccountId> {
    let owner = chain.subnet_owner(netuid)?;
    if let Some(hotkey) = owner.hotkey {
        return Ok(hotkey);
    }
    let metagraph = chain.metagraph(netuid)?;
    let own = metagraph.neurons.iter().find(|neuron| neuron.coldkey == owner.coldkey);
    own.map(|neuron| neuron.hotkey)
        .with_context(|| format!("{}, the owner of subnet {netuid}, has no slot", owner.coldkey))
        .hint("`agon chain register` buys one, for a hotkey of the owner's wallet")
}

/// What the owner of a subnet has committed to, if that is a set of competitions.
pub fn published(chain: &SubstrateChain, netuid: NetUid) -> anyhow::Result<Option<Published>> {
    let hotkey = owner_hotkey(chain, netuid)?;
    let found = chain.commitment_of(netuid, hotkey)?;
    let of_set = found.and_then(|found| Some((found.block, SetCommitment::parse(&found.data)?)));
    Ok(of_set.map(|(block, commitment)| Published { hotkey, block, commitment }))
}
