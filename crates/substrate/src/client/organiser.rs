//! What owners of subnets ask before they sign, and what is kept by mechanism or by owner.

use super::{
    SubstrateChain,
    link::{At, Failure, Link},
    read::{self, Batch, Item, Key},
};
use chain::{CallError, Chain as _, Error, Mechanism, Metagraph, SubnetIdentity};
use protocol::{AccountId, Block, NetUid, Uid};
use std::collections::BTreeMap;
use subxt::{
    dynamic::{self, Value},
    ext::scale_decode::DecodeAsType,
    utils::AccountId32,
};

/// Whether a subnet is started, and who may start it from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetStart {
    /// Block of this state.
    pub block: Block,
    /// Who may start it.
    pub owner: AccountId,
    /// First block that can start it.
    pub from: Block,
    /// First block that pays, if it is started.
    pub first_emission: Option<Block>,
}

/// Who a subnet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubnetOwner {
    /// Who changes its rules.
    pub coldkey: AccountId,
    /// Key that got its first slot, where the chain keeps it.
    pub hotkey: Option<AccountId>,
}

/// What a hotkey has committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCommitment {
    /// Block in which the commitment was included.
    pub block: Block,
    /// Bytes as committed.
    pub data: Vec<u8>,
}

/// When the chain lets another subnet be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Block of this state.
    pub block: Block,
    /// First block that can open one; it may be past.
    pub from: Block,
    /// Coldkeys that have paid and wait until another subnet is dissolved, the first in turn first.
    pub queue: Vec<AccountId>,
}

/// Someone who has paid for a subnet and waits for it.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Queued {
    coldkey: AccountId32,
}

/// What an owner says of a subnet, as runtimes keep it since 2025.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Identity {
    subnet_name: Vec<u8>,
    github_repo: Vec<u8>,
    subnet_contact: Vec<u8>,
    subnet_url: Vec<u8>,
    discord: Vec<u8>,
    description: Vec<u8>,
    logo_url: Vec<u8>,
    additional: Vec<u8>,
}

const IDENTITIES: &str = "SubnetIdentitiesV3";
const START: &str = "start_call";
const OWNER_HOTKEY: &str = "SubnetOwnerHotkey";

impl SubnetStart {
    /// Why the chain would refuse to have `signer` start the subnet in the next block.
    pub fn refusal(&self, signer: AccountId) -> Option<CallError> {
        if self.owner != signer {
            return Some(CallError::BadOrigin);
        }
        if self.first_emission.is_some() {
            return Some(CallError::FirstEmissionBlockNumberAlreadySet);
        }
        (self.block.0.saturating_add(1) < self.from.0).then_some(CallError::StartCallNotReady)
    }
}

impl Opening {
    /// Whether the next block can open a subnet.
    pub fn is_open(&self) -> bool {
        self.from.0 <= self.block.0.saturating_add(1)
    }
}

impl SubstrateChain {
    /// Whether the subnet is started, and from when on it can be.
    pub fn subnet_start(&self, netuid: NetUid) -> Result<SubnetStart, Error> {
        let head = self.head()?;
        let read = self.links.ask("start of a subnet", async |link: &Link| {
            let at = link.at(head).await?;
            match read::has_call(&at, read::SUBTENSOR, START) {
                true => Ok(Some(start(link, &at, netuid).await?)),
                false => Ok(None),
            }
        })?;
        let what = || format!("{}.{START}", read::SUBTENSOR);
        read.ok_or_else(|| Error::Incompatible { what: what() })?.ok_or(Error::NoSubnet(netuid))
    }

    /// When the chain lets another subnet be opened, and who waits for one.
    pub fn opening(&self) -> Result<Opening, Error> {
        let head = self.head()?;
        self.links.ask("pace of new subnets", async |link: &Link| {
            opening(link, &link.at(head).await?).await
        })
    }

    /// The subnets that a coldkey owns.
    pub fn owned_subnets(&self, owner: AccountId) -> Result<Vec<NetUid>, Error> {
        let head = self.head()?;
        self.links.ask("owners of subnets", async |link: &Link| {
            let at = &link.at(head).await?;
            let netuids = read::subnets(link, at).await?;
            let mut batch = Batch::new(link, at);
            let mut owners: Vec<(NetUid, Item<AccountId32>)> = Vec::with_capacity(netuids.len());
            for netuid in netuids {
                owners.push((netuid, batch.item("SubnetOwner", (netuid.0,))?));
            }
            let values = batch.fetch().await?;
            let mut owned = Vec::new();
            for (netuid, item) in owners {
                if AccountId(values.get(&item)?.0) == owner {
                    owned.push(netuid);
                }
            }
            Ok(owned)
        })
    }

    /// Who a subnet belongs to.
    pub fn subnet_owner(&self, netuid: NetUid) -> Result<SubnetOwner, Error> {
        let head = self.head()?;
        let owner = self.links.ask("owner of a subnet", async |link: &Link| {
            owner(link, &link.at(head).await?, netuid).await
        })?;
        owner.ok_or(Error::NoSubnet(netuid))
    }

    /// What a hotkey has committed to on a subnet, whether it has a slot or not.
    pub fn commitment_of(
        &self,
        netuid: NetUid,
        hotkey: AccountId,
    ) -> Result<Option<OwnCommitment>, Error> {
        let head = self.head()?;
        self.links.ask("commitment", async |link: &Link| {
            let found = read::commitment(link, &link.at(head).await?, (netuid, hotkey)).await?;
            Ok(found.map(|(block, data)| OwnCommitment { block, data }))
        })
    }

    /// What its owner says of a subnet, where the runtime keeps that; nothing is said of a subnet
    /// that is not there.
    pub fn identity(&self, netuid: NetUid) -> Result<Option<SubnetIdentity>, Error> {
        let head = self.head()?;
        let mut said = self.links.ask("identity of a subnet", async |link: &Link| {
            identities(link, &link.at(head).await?, &[netuid]).await
        })?;
        Ok(said.remove(&netuid))
    }

    /// How many mechanisms a subnet has.
    pub fn mechanism_count(&self, netuid: NetUid) -> Result<u64, Error> {
        let head = self.head()?;
        self.links.ask("mechanisms of a subnet", async |link: &Link| {
            mechanism_count(&link.at(head).await?, netuid).await
        })
    }

    /// The subnet with the weights, bonds, updates and incentive of one of its mechanisms, after a
    /// block whose state the endpoint holds, or the newest.
    pub fn metagraph_of(
        &self,
        netuid: NetUid,
        mechanism: Mechanism,
        block: Option<Block>,
    ) -> Result<Metagraph, Error> {
        let head = match block {
            Some(block) => self.named(block)?,
            None => self.head()?,
        };
        let read = self.links.ask("metagraph", async |link: &Link| {
            let at = link.at(head).await?;
            let count = match mechanism {
                Mechanism::FIRST => 1,
                _ => mechanism_count(&at, netuid).await?,
            };
            if u64::from(mechanism.0) >= count {
                return Ok(Err(count));
            }
            Ok(Ok(read::metagraph(link, &at, (netuid, mechanism)).await?))
        });
        let found = match block {
            Some(block) => self.held(read, block)?,
            None => read?,
        };
        let found = found.map_err(|count| Error::NoMechanism { netuid, mechanism, count })?;
        found.ok_or(Error::NoSubnet(netuid))
    }

    /// The weights of a slot for one of the mechanisms of a subnet.
    pub fn weights_of(
        &self,
        netuid: NetUid,
        mechanism: Mechanism,
        uid: Uid,
    ) -> Result<Vec<(Uid, u16)>, Error> {
        let head = self.head()?;
        let weights = self.links.ask("weights", async |link: &Link| {
            read::weights(link, &link.at(head).await?, (netuid, mechanism), uid).await
        })?;
        weights.ok_or(Error::NoSubnet(netuid))
    }

    /// Block in which the owner of a hotkey has swapped a hotkey of the subnet, where this one has
    /// a slot from before and has committed to nothing in it: what the old key had committed to
    /// does not go over. The chain remembers swaps for about a day.
    pub fn swap_without_commitment(
        &self,
        netuid: NetUid,
        hotkey: AccountId,
    ) -> Result<Option<Block>, Error> {
        let head = self.head()?;
        self.links.ask("swaps of hotkeys", async |link: &Link| {
            swap(link, &link.at(head).await?, (netuid, hotkey)).await
        })
    }
}

/// An item in a batch, if the runtime has it.
fn item_if<K: Key, V: DecodeAsType>(
    batch: &mut Batch<'_>,
    at: &At,
    name: &str,
    keys: K,
) -> Result<Option<Item<V>>, Failure> {
    if read::has_item(at, name) { batch.item(name, keys).map(Some) } else { Ok(None) }
}

async fn start(link: &Link, at: &At, netuid: NetUid) -> Result<Option<SubnetStart>, Failure> {
    let (mut batch, key) = (Batch::new(link, at), (netuid.0,));
    let is_open: Item<bool> = batch.item("NetworksAdded", key)?;
    let owner: Item<AccountId32> = batch.item("SubnetOwner", key)?;
    let registered: Item<u64> = batch.item("NetworkRegisteredAt", key)?;
    let first_emission: Item<u64> = batch.item("FirstEmissionBlockNumber", key)?;
    let delay: Option<Item<u64>> = item_if(&mut batch, at, "StartCallDelay", ())?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    let delay = match &delay {
        Some(delay) => values.get(delay)?,
        // A constant until 2026.
        None => {
            let address = dynamic::constant::<u64>(read::SUBTENSOR, "DurationOfStartCall");
            at.constants().entry(address).unwrap_or(0)
        }
    };
    Ok(Some(SubnetStart {
        block: Block(at.block_number()),
        owner: AccountId(values.get(&owner)?.0),
        from: Block(values.get(&registered)?.saturating_add(delay)),
        first_emission: values.try_get(&first_emission)?.map(Block),
    }))
}

async fn owner(link: &Link, at: &At, netuid: NetUid) -> Result<Option<SubnetOwner>, Failure> {
    let (mut batch, key) = (Batch::new(link, at), (netuid.0,));
    let is_open: Item<bool> = batch.item("NetworksAdded", key)?;
    let coldkey: Item<AccountId32> = batch.item("SubnetOwner", key)?;
    let hotkey: Option<Item<AccountId32>> = item_if(&mut batch, at, OWNER_HOTKEY, key)?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    let hotkey = match &hotkey {
        Some(hotkey) => values.try_get(hotkey)?,
        None => None,
    };
    // Its default is the account of nobody.
    let hotkey = hotkey.map(|hotkey| AccountId(hotkey.0)).filter(|hotkey| hotkey.0 != [0; 32]);
    Ok(Some(SubnetOwner { coldkey: AccountId(values.get(&coldkey)?.0), hotkey }))
}

async fn opening(link: &Link, at: &At) -> Result<Opening, Failure> {
    let mut batch = Batch::new(link, at);
    let limit: Option<Item<u64>> = item_if(&mut batch, at, "NetworkRateLimit", ())?;
    let last: Option<Item<u64>> = match read::has_item(at, "LastRateLimitedBlock") {
        true => {
            let key = Value::unnamed_variant("NetworkLastRegistered", []);
            Some(batch.item("LastRateLimitedBlock", (key,))?)
        }
        // So called until 2025.
        false => item_if(&mut batch, at, "NetworkLastRegistered", ())?,
    };
    let queue: Option<Item<Vec<Queued>>> = item_if(&mut batch, at, "NetworkRegistrationQueue", ())?;
    let values = batch.fetch().await?;
    let number = |item: &Option<Item<u64>>| match item {
        Some(item) => values.get(item),
        None => Ok(0),
    };
    let (limit, last) = (number(&limit)?, number(&last)?);
    let queue = match &queue {
        Some(queue) => values.get(queue)?,
        None => Vec::new(),
    };
    Ok(Opening {
        block: Block(at.block_number()),
        // Nobody has opened one yet where the last block is 0.
        from: Block(if last == 0 { 0 } else { last.saturating_add(limit) }),
        queue: queue.into_iter().map(|queued| AccountId(queued.coldkey.0)).collect(),
    })
}

/// What is said of each of these subnets, where something is.
pub(super) async fn identities(
    link: &Link,
    at: &At,
    netuids: &[NetUid],
) -> Result<BTreeMap<NetUid, SubnetIdentity>, Failure> {
    let mut batch = Batch::new(link, at);
    let mut items: Vec<(NetUid, Item<Identity>)> = Vec::with_capacity(netuids.len());
    for netuid in netuids {
        if let Some(item) = item_if(&mut batch, at, IDENTITIES, (netuid.0,))? {
            items.push((*netuid, item));
        }
    }
    let values = batch.fetch().await?;
    let mut said = BTreeMap::new();
    for (netuid, item) in items {
        if let Some(identity) = values.try_get(&item)? {
            said.insert(netuid, identity.into());
        }
    }
    Ok(said)
}

impl From<Identity> for SubnetIdentity {
    fn from(identity: Identity) -> Self {
        Self {
            name: identity.subnet_name,
            github: identity.github_repo,
            contact: identity.subnet_contact,
            url: identity.subnet_url,
            discord: identity.discord,
            description: identity.description,
            logo_url: identity.logo_url,
            additional: identity.additional,
        }
    }
}

async fn mechanism_count(at: &At, netuid: NetUid) -> Result<u64, Failure> {
    // Runtimes before mechanisms have one of each subnet.
    Ok(read::number(at, "MechanismCountCurrent", (netuid.0,)).await?.unwrap_or(1))
}

async fn swap(
    link: &Link,
    at: &At,
    (netuid, hotkey): (NetUid, AccountId),
) -> Result<Option<Block>, Failure> {
    const SWAPS: &str = "LastHotkeySwapOnNetuid";
    if !read::has_item(at, SWAPS) {
        return Ok(None);
    }
    let Some(Some(uid)) = read::slot(at, netuid, hotkey).await? else { return Ok(None) };
    let hotkey = AccountId32(hotkey.0);
    let mut batch = Batch::new(link, at);
    let owner: Item<AccountId32> = batch.item("Owner", (hotkey,))?;
    let registered: Item<u64> = batch.item("BlockAtRegistration", (netuid.0, uid.0))?;
    let committed: Item<u32> =
        batch.item_of("Commitments", "LastCommitment", (netuid.0, hotkey))?;
    let values = batch.fetch().await?;
    let registered = values.get(&registered)?;
    let committed = values.try_get(&committed)?.map(u64::from);
    if committed.is_some_and(|block| block >= registered) {
        return Ok(None);
    }
    let coldkey = values.get(&owner)?;
    let swapped = read::number(at, SWAPS, (netuid.0, coldkey)).await?;
    Ok(swapped.filter(|block| *block > registered).map(Block))
}
