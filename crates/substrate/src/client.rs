//! The chain behind an endpoint: the embedded node's, or Bittensor's.
//!
//! One implementation for all runtimes since 2024: numbers of pallets and calls, arguments and
//! names of errors are taken from the metadata that the endpoint gives, never from this program.

mod calls;
mod config;
mod door;
mod fate;
mod fees;
mod finality;
mod fit;
mod heads;
mod hiding;
mod info;
mod limiter;
mod line;
mod link;
mod links;
mod organiser;
mod origin;
mod read;
mod rules;
mod send;
mod transfers;

pub use config::{ClientConfig, Clock, Rate, RateLimit, Signatures};
pub use fate::Effects;
pub use fit::Fit;
pub use info::ChainInfo;
pub use organiser::{Opening, OwnCommitment, SubnetOwner, SubnetStart};
pub(crate) use origin::GENESIS_METHOD;
pub use origin::{Origin, genesis_of};
pub use rules::{Rule, RuleValue, SubnetRules};
pub use transfers::Transfer;

use chain::{
    Call, CallId, CallStatus, Chain, Demands, Error, Head, HidingRules, Keypair, Mechanism,
    Metagraph, Rewards, Signed, StoredCommitment, Voter,
};
use fate::Sent;
use finality::{Contest, Finality};
use link::Link;
use links::Links;
use protocol::{AccountId, Block, BlockHash, NetUid, Uid};
use send::Before;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// A chain that is reached over JSON-RPC; blocking, safe to share between threads.
///
/// A request that gets lost is asked again on a new connection, with growing pauses, as long as
/// the configuration is patient. A call is signed anew only if it has surely not arrived: whatever
/// gets lost, it is included once.
pub struct SubstrateChain {
    links: Links,
    finality: Mutex<Finality>,
    contest: Mutex<Contest>,
    sent: Mutex<Sent>,
    /// Held by each signer from the choice of a nonce until the call is taken, where both are one
    /// step: who signs first and sends later has its key for itself.
    turns: Mutex<BTreeMap<AccountId, Arc<Mutex<()>>>>,
    /// Whose chain it is, once it was asked for: the chain stays the same.
    origin: OnceLock<Origin>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SubstrateChain {
    /// Connects, and fetches the metadata.
    pub fn connect(config: ClientConfig) -> Result<Self, Error> {
        let finality = Mutex::new(Finality::new(config.stall_limit));
        let links = Links::connect(config)?;
        let (contest, sent, turns) = (Mutex::default(), Mutex::default(), Mutex::default());
        let chain = Self { links, finality, contest, sent, turns, origin: OnceLock::new() };
        // Where nobody else can be asked, it has to be believed.
        if chain.links.len() > 1 && chain.bittensor()?.is_some() {
            lock(&chain.finality).set_pace(hiding::BITTENSOR_BLOCK);
        }
        chain.head()?;
        Ok(chain)
    }

    /// Where the chain is reached.
    pub fn url(&self) -> &str {
        self.links.url()
    }

    /// The newest final block by the endpoint that is asked now, and whether that is a reason to
    /// ask another.
    fn said_head(&self) -> Result<(Result<Head, Error>, bool), Error> {
        let (said, is_bad, url) = self.asked_head()?;
        let known = lock(&self.finality).newest();
        let is_known_false = lock(&self.contest).note(known, &url, &said);
        if !is_known_false {
            return Ok((said, is_bad));
        }
        lock(&self.finality).forget();
        let (said, is_bad, _) = self.asked_head()?;
        Ok((said, is_bad))
    }

    /// The same, with the address of the endpoint.
    fn asked_head(&self) -> Result<(Result<Head, Error>, bool, String), Error> {
        self.links.ask("head", async |link: &Link| {
            let said = link.head(&self.finality).await?;
            let is_bad = link.heads.are_bad(&said);
            Ok((said, is_bad, link.url.clone()))
        })
    }

    /// Finds the hashes of final blocks that are not known yet, by one request for many.
    fn learn_hashes(&self, blocks: impl IntoIterator<Item = Block>) -> Result<(), Error> {
        let newest = self.head()?.block;
        let mut unknown: BTreeSet<Block> = blocks.into_iter().collect();
        {
            let finality = lock(&self.finality);
            unknown.retain(|block| *block <= newest && finality.hash(*block).is_none());
        }
        let unknown: Vec<Block> = unknown.into_iter().collect();
        let hashes =
            self.links.ask("block hash", async |link: &Link| link.block_hashes(&unknown).await)?;
        let mut finality = lock(&self.finality);
        for (block, hash) in unknown.into_iter().zip(hashes) {
            if let Some(hash) = hash {
                finality.remember(Head { block, hash });
            }
        }
        Ok(())
    }

    /// Number and hash of a block that is final and whose hash was asked for.
    fn named(&self, block: Block) -> Result<Head, Error> {
        match self.block_hash(block)? {
            Some(hash) => Ok(Head { block, hash }),
            None => Err(self.no_state(block, None)?),
        }
    }

    /// What was read after a block, if the endpoint still holds the state.
    fn held<T>(&self, read: Result<T, Error>, at: Block) -> Result<T, Error> {
        match read {
            Err(Error::Answer { text, .. }) if link::is_state_gone(&text) => {
                Err(self.no_state(at, link::oldest_held(&text))?)
            }
            read => read,
        }
    }

    fn no_state(&self, at: Block, oldest: Option<Block>) -> Result<Error, Error> {
        let newest = self.head()?.block;
        Ok(Error::NoState { at, oldest, newest })
    }
}

impl Chain for SubstrateChain {
    fn head(&self) -> Result<Head, Error> {
        // What one endpoint says last is said, when all have said what is of no use.
        for _ in 1..self.links.len() {
            let (said, is_bad) = self.said_head()?;
            if !is_bad || !self.links.leave() {
                return said;
            }
        }
        self.said_head()?.0
    }

    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        let known = || lock(&self.finality).hash(block);
        if let Some(hash) = known() {
            return Ok(Some(hash));
        }
        if block > self.head()?.block {
            return Ok(None);
        }
        // The block may just have been heard of, with its hash.
        if let Some(hash) = known() {
            return Ok(Some(hash));
        }
        let hash =
            self.links.ask("block hash", async |link: &Link| link.block_hash(block).await)?;
        if let Some(hash) = hash {
            lock(&self.finality).remember(Head { block, hash });
        }
        Ok(hash)
    }

    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.metagraph_of(netuid, Mechanism::FIRST, None)
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        let head = self.named(at)?;
        let read = self.links.ask("commitments", async |link: &Link| {
            read::commitments(link, &link.at(head).await?, netuid).await
        });
        let found = self.held(read, at)?.ok_or(Error::NoSubnet(netuid))?;
        self.learn_hashes(found.iter().map(|found| found.block))?;
        let stored = |found: read::Committed| {
            let read::Committed { uid, hotkey, coldkey, registered, block, data } = found;
            let hash = self.block_hash(block)?;
            // A final commitment stands in a final block.
            let block_hash = hash.ok_or(Error::Unavailable { request: "block hash" })?;
            Ok(StoredCommitment { hotkey, coldkey, uid, registered, block, block_hash, data })
        };
        found.into_iter().map(stored).collect()
    }

    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        let head = self.named(at)?;
        let read = self.links.ask("rewards", async |link: &Link| {
            read::rewards(link, &link.at(head).await?, netuid).await
        });
        self.held(read, at)?.ok_or(Error::NoSubnet(netuid))
    }

    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        let head = self.named(at)?;
        let read = self.links.ask("voters", async |link: &Link| {
            read::voters(link, &link.at(head).await?, netuid).await
        });
        self.held(read, at)?.ok_or(Error::NoSubnet(netuid))
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        let head = self.head()?;
        let account = self.links.ask("balance", async |link: &Link| {
            read::account(&link.at(head).await?, coldkey).await
        })?;
        Ok(account.data.free)
    }

    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.weights_of(netuid, Mechanism::FIRST, uid)
    }

    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        self.hiding_rules(netuid)
    }

    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        let rules = self.rules(netuid)?;
        // What the runtime does not have it does not demand.
        let number = |name| rules.number(name).unwrap_or(0);
        let (weights_version, min_weights) = (number("weights_version"), number("min_weights"));
        Ok(Demands { weights_version, min_weights })
    }

    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        self.signed(&call, signer, last)
    }

    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.deliver(signed, Before::NotSent)
    }

    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.deliver(signed, Before::MaybeSent)
    }

    fn submit(&self, call: Call, signer: &Keypair) -> Result<CallId, Error> {
        self.sign_and_send(&call, signer)
    }

    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.fate(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DevNode, dev};
    use chain::{Genesis, SubnetGenesis};
    use protocol::Seed;
    use std::net::SocketAddr;

    const NETUID: NetUid = NetUid(1);

    fn key(number: u64) -> Keypair {
        Keypair::from_seed(Seed::of_number(number))
    }

    /// A subnet with one slot and some stake behind it.
    fn node() -> (DevNode, SubstrateChain) {
        let genesis = Genesis {
            accounts: vec![(key(0).public(), 10_000_000_000_000)],
            subnets: vec![SubnetGenesis {
                owner: key(0).public(),
                hyperparameters: chain::Hyperparameters::default(),
            }],
            ..Genesis::default()
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = dev::Config { listen, database: None, genesis, block_time: None };
        let node = DevNode::start(&config).unwrap();
        let chain = SubstrateChain::connect(ClientConfig::new(node.url())).unwrap();
        let hotkey = key(1).public();
        chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &key(0)).unwrap();
        let stake = Call::AddStake { hotkey, netuid: NETUID, amount_rao: 77 };
        chain.submit(stake, &key(0)).unwrap();
        node.produce_block().unwrap();
        (node, chain)
    }

    #[test]
    fn stakes_are_the_same_by_storage_and_by_the_metagraph_of_the_runtime() {
        let (_node, chain) = node();
        let head = chain.head().unwrap();
        let by_runtime = chain
            .links
            .ask("stakes", async |link: &Link| {
                read::total_stakes(&link.at(head).await?, NETUID).await
            })
            .unwrap();
        let metagraph = chain.metagraph(NETUID).unwrap();
        let by_storage: Vec<u64> =
            metagraph.neurons.iter().map(|neuron| neuron.stake_rao).collect();
        assert_eq!((by_storage, by_runtime), (vec![77], vec![77]));
    }

    #[test]
    fn prices_and_subnets_are_what_the_node_says() {
        let (node, chain) = node();
        let info = chain.info().unwrap();
        assert_eq!((info.subnets, info.head), (vec![NETUID], node.head()));
        assert_eq!(info.genesis, node.genesis_hash());
        assert_eq!(chain.slot_price_rao(NETUID).unwrap(), 1_000_000_000);
        assert_eq!(chain.network_price_rao().unwrap(), 1_000 * 1_000_000_000);
        let nowhere = chain.slot_price_rao(NetUid(9)).unwrap_err();
        assert!(matches!(nowhere, Error::NoSubnet(NetUid(9))), "{nowhere}");
        let before = chain.metagraph_at(NETUID, Block(0)).unwrap();
        assert_eq!(before.neurons, []);
    }

    #[test]
    fn owners_and_what_a_hotkey_has_committed_to_are_told() {
        let (node, chain) = node();
        let of_genesis = chain.subnet_owner(NETUID).unwrap();
        assert_eq!((of_genesis.coldkey, of_genesis.hotkey), (key(0).public(), None));
        let hotkey = key(2).public();
        chain.submit(Call::RegisterNetwork { hotkey }, &key(0)).unwrap();
        node.produce_block().unwrap();
        let opened = NetUid(2);
        let owner = chain.subnet_owner(opened).unwrap();
        assert_eq!((owner.coldkey, owner.hotkey), (key(0).public(), Some(hotkey)));
        assert!(matches!(chain.subnet_owner(NetUid(9)), Err(Error::NoSubnet(NetUid(9)))));
        assert_eq!(chain.commitment_of(opened, hotkey).unwrap(), None);
        let data = b"agon-set:1:".to_vec();
        let commit = Call::SetCommitment { netuid: opened, data: data.clone() };
        chain.submit(commit, &key(2)).unwrap();
        node.produce_block().unwrap();
        let block = node.head().block;
        assert_eq!(
            chain.commitment_of(opened, hotkey).unwrap(),
            Some(OwnCommitment { block, data })
        );
    }

    #[test]
    fn transfers_of_a_block_are_told_and_refused_ones_are_not() {
        let (node, chain) = node();
        let (from, to) = (key(0).public(), key(5).public());
        chain.submit(Call::Transfer { to, amount_rao: 2_000_000_000 }, &key(0)).unwrap();
        node.produce_block().unwrap();
        let block = node.head().block;
        chain.submit(Call::Transfer { to: from, amount_rao: u64::MAX }, &key(5)).unwrap();
        node.produce_block().unwrap();
        let moved = Transfer { from, to, amount_rao: 2_000_000_000 };
        assert_eq!(chain.transfers(block).unwrap(), [moved]);
        assert_eq!(chain.transfers(Block(block.0 + 1)).unwrap(), []);
        assert!(chain.transfers(Block(99)).is_err());
    }

    #[test]
    fn a_swap_is_told_until_the_new_key_has_committed() {
        let (node, chain) = node();
        let told = |hotkey| chain.swap_without_commitment(NETUID, key(hotkey).public()).unwrap();
        assert_eq!(told(1), None);
        let (hotkey, new_hotkey) = (key(1).public(), key(2).public());
        let swap = Call::SwapHotkey { hotkey, new_hotkey, netuid: Some(NETUID) };
        chain.submit(swap, &key(0)).unwrap();
        node.produce_block().unwrap();
        assert_eq!((told(1), told(2)), (None, Some(node.head().block)), "the old key has no slot");
        let commit = Call::SetCommitment { netuid: NETUID, data: vec![1] };
        chain.submit(commit, &key(2)).unwrap();
        node.produce_block().unwrap();
        assert_eq!(told(2), None);
    }

    #[test]
    fn attack_a_strangers_call_that_does_not_decode_hides_no_fate() {
        let (node, chain) = node();
        let nobody = crate::wire::primitives::Address::Index(parity_scale_codec::Compact(()));
        let strange =
            crate::wire::call::BalancesCall::transfer_keep_alive { dest: nobody, value: 1 };
        let strange = crate::wire::call::RuntimeCall::Balances(strange);
        let nonce = node.next_nonce(key(0).public());
        let strange = crate::SignedCall::sign(strange, nonce, node.genesis_hash(), &key(0));
        let request = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"author_submitExtrinsic\",\
             \"params\":[\"0x{}\"]}}",
            hex::encode(strange.to_bytes())
        );
        let answer = node.answer(&request).unwrap();
        assert!(answer.contains("result"), "{answer}");
        let ours = chain.submit(Call::Remark { data: vec![1] }, &key(0)).unwrap();
        node.produce_block().unwrap();
        assert_eq!(chain.status(ours).unwrap(), CallStatus::Applied(node.head().block));
    }

    #[test]
    fn attack_giant_calls_keep_no_fate_from_being_read() {
        let (node, chain) = node();
        let calls: Vec<CallId> = (0..200)
            .map(|i| chain.submit(Call::Remark { data: vec![i; 31_000] }, &key(0)).unwrap())
            .collect();
        for _ in 0..4 {
            node.produce_block().unwrap();
        }
        for call in calls {
            assert!(matches!(chain.status(call).unwrap(), CallStatus::Applied(_)));
        }
    }

    #[test]
    fn a_call_that_nobody_asked_for_stops_nobody_from_asking_later() {
        let (node, chain) = node();
        for _ in 0..2 {
            chain.submit(Call::Remark { data: vec![1] }, &key(0)).unwrap();
            for _ in 0..dev::STATE_BLOCKS + 10 {
                node.produce_block().unwrap();
            }
        }
        let call = chain.submit(Call::Remark { data: vec![2] }, &key(0)).unwrap();
        node.produce_block().unwrap();
        assert_eq!(chain.status(call).unwrap(), CallStatus::Applied(node.head().block));
    }

    #[test]
    fn an_endpoint_of_another_chain_than_the_wanted_one_is_refused_at_once_and_again() {
        let (node, _) = node();
        let patience = std::time::Duration::from_secs(5);
        let wanting = |genesis| ClientConfig { genesis, patience, ..ClientConfig::new(node.url()) };
        let other = SubstrateChain::connect(wanting(genesis_of("finney"))).err().unwrap();
        assert!(matches!(other, Error::OtherChain { .. }) && !other.is_transient(), "{other}");
        assert!(other.to_string().contains("0x2f0555cc"), "{other}");
        assert_eq!((genesis_of("agon"), genesis_of("test").is_some()), (None, true));

        let chain = SubstrateChain::connect(wanting(Some(node.genesis_hash()))).unwrap();
        let listen = node.address();
        drop(node);
        let genesis = Genesis { seed: 9, ..Genesis::default() };
        let config = dev::Config { listen, database: None, genesis, block_time: None };
        let _other = DevNode::start(&config).unwrap();
        let error = chain.head().unwrap_err();
        assert!(matches!(error, Error::OtherChain { .. }), "{error}");
    }

    #[test]
    fn calls_on_our_node_cost_what_it_says_they_cost() {
        let (_node, chain) = node();
        let transfer = Call::Transfer { to: key(5).public(), amount_rao: 1 };
        let commit = Call::SetCommitment { netuid: NETUID, data: vec![1; 128] };
        for call in [transfer, commit] {
            assert_eq!(chain.fee_rao(&call).unwrap(), Some(0), "{call:?}");
        }
    }

    #[test]
    fn an_endpoint_that_became_another_chain_is_not_believed() {
        let (node, chain) = node();
        let listen = node.address();
        drop(node);
        let genesis = Genesis { seed: 9, ..Genesis::default() };
        let config = dev::Config { listen, database: None, genesis, block_time: None };
        let _other = DevNode::start(&config).unwrap();
        let error = chain.head().unwrap_err();
        assert!(matches!(error, Error::Contradiction { block: Block(0) }), "{error}");
    }
}
