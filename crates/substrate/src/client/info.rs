//! What people ask of a chain besides what services need.

use super::{
    SubstrateChain,
    link::{Failure, Link},
    organiser, read,
};
use chain::{Chain as _, Error, Head, Mechanism, Metagraph};
use protocol::{AccountId, Block, BlockHash, NetUid};
use serde::Serialize;
use std::collections::BTreeMap;

/// What an endpoint says of itself and its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainInfo {
    /// Name of the chain.
    pub chain: String,
    /// Name and version of the node.
    pub node: String,
    /// Version of the runtime.
    pub spec_version: u32,
    /// Newest final block.
    pub head: Head,
    /// Hash of the block before the first.
    pub genesis: BlockHash,
    /// Subnets that are there, the root network left out.
    pub subnets: Vec<NetUid>,
    /// Names of those whose owners have given one; strangers' text.
    pub names: BTreeMap<NetUid, String>,
}

impl SubstrateChain {
    /// Which chain this is, and how far it is.
    pub fn info(&self) -> Result<ChainInfo, Error> {
        let head = self.head()?;
        self.links.ask("info", async |link: &Link| {
            let (rpc, at) = (&link.rpc, link.at(head).await?);
            let (name, version) = (rpc.system_name().await?, rpc.system_version().await?);
            let subnets = read::subnets(link, &at).await?;
            let said = organiser::identities(link, &at, &subnets).await?;
            let names = said
                .into_iter()
                .filter(|(_, said)| !said.name.is_empty())
                .map(|(netuid, said)| (netuid, String::from_utf8_lossy(&said.name).into_owned()));
            Ok(ChainInfo {
                chain: rpc.system_chain().await?,
                node: format!("{name} {version}"),
                spec_version: at.spec_version(),
                head,
                genesis: link.genesis(),
                names: names.collect(),
                subnets,
            })
        })
    }

    /// The subnet after a block whose state the endpoint holds.
    pub fn metagraph_at(&self, netuid: NetUid, at: Block) -> Result<Metagraph, Error> {
        self.metagraph_of(netuid, Mechanism::FIRST, Some(at))
    }

    /// What a slot on the subnet costs now, in rao.
    pub fn slot_price_rao(&self, netuid: NetUid) -> Result<u64, Error> {
        let head = self.head()?;
        let price = self.links.ask("price of a slot", async |link: &Link| {
            read::slot_price(link, &link.at(head).await?, netuid).await
        })?;
        price.ok_or(Error::NoSubnet(netuid))
    }

    /// Whether a slot can be bought with a limit that holds when the call is included
    /// ([`Call::RegisterLimit`](chain::Call::RegisterLimit)).
    pub fn takes_price_limits(&self) -> Result<bool, Error> {
        let head = self.head()?;
        self.links.ask("metadata", async |link: &Link| {
            Ok(read::has_call(&link.at(head).await?, "SubtensorModule", "register_limit"))
        })
    }

    /// The first block that can take another commitment of the hotkey, by the rate limit of the
    /// subnet; 0 for any. It may be past.
    pub fn next_commitment(&self, netuid: NetUid, hotkey: AccountId) -> Result<Block, Error> {
        let head = self.head()?;
        let block = self.links.ask("last commitment", async |link: &Link| {
            read::next_commitment(&link.at(head).await?, netuid, hotkey).await
        })?;
        block.ok_or(Error::NoSubnet(netuid))
    }

    /// What opening a subnet costs now, in rao.
    pub fn network_price_rao(&self) -> Result<u64, Error> {
        let head = self.head()?;
        self.links.ask("price of a subnet", async |link: &Link| -> Result<u64, Failure> {
            read::network_price(&link.at(head).await?).await
        })
    }
}
