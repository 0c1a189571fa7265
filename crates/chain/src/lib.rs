//! The chain: registrations, stake, commitments, weights, blocks and seeds.
//!
//! [`Chain`] is what services see. Reads name a block and get one consistent state; calls are
//! signed by a [`Keypair`], enter the next block, and their fate is asked for afterwards. Here are
//! the rules, and chains that live in this process; what speaks to others is `substrate`.

pub mod demands;
pub mod epoch;
pub mod error;
pub mod faulty;
pub mod hash;
pub mod hiding;
pub mod ledger;
pub mod mechanism;
pub mod memory;
pub mod opening;
pub mod pay;

pub use demands::Demands;
pub use epoch::Epochs;
pub use error::{CallError, Error};
pub use faulty::FaultyChain;
pub use hiding::{Handed, HidingError, HidingRules, Reveal, Weights};
pub use keys::Keypair;
pub use ledger::{
    EpochSummary, Genesis, HyperparameterChange, Hyperparameters, Ledger, SubnetGenesis,
    SubnetIdentity,
};
pub use mechanism::Mechanism;
pub use memory::MemoryChain;
pub use opening::Opening;
pub use pay::{Rewards, Voter};

use protocol::{AccountId, Block, BlockHash, NetUid, Uid};
use serde::{Deserialize, Serialize};

/// Number and hash of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Height.
    pub block: Block,
    /// Hash of the header.
    pub hash: BlockHash,
}

/// A call that a key signs; effects and errors are those of the pallets of the same names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Stands in a block and does nothing.
    Remark {
        /// Any bytes.
        data: Vec<u8>,
    },
    /// Buys a slot on a subnet for `hotkey`; signed by its coldkey, which becomes its owner.
    BurnedRegister {
        /// Subnet.
        netuid: NetUid,
        /// Key that gets the slot.
        hotkey: AccountId,
    },
    /// The same at no higher a price than named; the chain of 2024 has no such call.
    RegisterLimit {
        /// Subnet.
        netuid: NetUid,
        /// Key that gets the slot.
        hotkey: AccountId,
        /// Highest price in rao.
        limit_rao: u64,
    },
    /// Moves balance of the signing coldkey into stake of `hotkey`.
    AddStake {
        /// Key that gets the stake.
        hotkey: AccountId,
        /// Subnet whose stake it is; 0, the root network, is plain TAO. The chain of 2024 and the
        /// ledger here know only stake in TAO, which counts on every subnet.
        netuid: NetUid,
        /// Amount in rao.
        amount_rao: u64,
    },
    /// Takes stake back into balance; signed by the coldkey that staked.
    RemoveStake {
        /// Key that loses the stake.
        hotkey: AccountId,
        /// Subnet whose stake it is, as in `AddStake`.
        netuid: NetUid,
        /// Amount in rao.
        amount_rao: u64,
    },
    /// Moves balance from the signer to another coldkey.
    Transfer {
        /// Receiver.
        to: AccountId,
        /// Amount in rao.
        amount_rao: u64,
    },
    /// Moves all balance of the signer to another coldkey.
    TransferAll {
        /// Receiver.
        to: AccountId,
    },
    /// Takes all stake of the signing coldkey behind a hotkey back into balance.
    UnstakeAll {
        /// Key that loses the stake.
        hotkey: AccountId,
    },
    /// Lets another hotkey of the signing coldkey take the place of one.
    SwapHotkey {
        /// Key that loses its slots.
        hotkey: AccountId,
        /// Key that gets them; commitments do not go over.
        new_hotkey: AccountId,
        /// Subnet, or nothing for all of them and the stake as well.
        netuid: Option<NetUid>,
    },
    /// Opens a subnet owned by the signer.
    RegisterNetwork {
        /// Key that gets the first slot; the chain of 2024 gave none.
        hotkey: AccountId,
    },
    /// Publishes up to 128 bytes under the signing hotkey, replacing what stood there.
    SetCommitment {
        /// Subnet.
        netuid: NetUid,
        /// Text of the commitment.
        data: Vec<u8>,
    },
    /// Sets the weights of the signing hotkey, a validator with a permit.
    SetWeights {
        /// Subnet.
        netuid: NetUid,
        /// Miners.
        uids: Vec<Uid>,
        /// Their weights, same order; only the ratios count.
        weights: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// Commits to weights on a subnet that wants them hidden until the next epoch.
    CommitWeights {
        /// Subnet.
        netuid: NetUid,
        /// BLAKE2b-256 of the SCALE tuple (hotkey, subnet, uids, weights, salt, version).
        hash: [u8; 32],
    },
    /// Reveals the weights of a commit, `reveal_period` epochs after it.
    RevealWeights {
        /// Subnet.
        netuid: NetUid,
        /// Miners.
        uids: Vec<Uid>,
        /// Their weights, same order.
        weights: Vec<u16>,
        /// Random numbers that keep the hash from being guessed.
        salt: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// Commits to weights that the chain opens itself once a beacon has made a round.
    CommitTimelockedWeights {
        /// Subnet.
        netuid: NetUid,
        /// The weights, encrypted to the round; at most 5,000 bytes.
        sealed: Vec<u8>,
        /// Round of the beacon.
        round: u64,
        /// Version of the scheme.
        version: u16,
    },
    /// Changes one rule of a subnet; signed by its owner.
    SetHyperparameter {
        /// Subnet.
        netuid: NetUid,
        /// The rule and its new value.
        change: HyperparameterChange,
    },
    /// Starts a subnet: its epochs pay from then on; signed by its owner.
    StartSubnet {
        /// Subnet.
        netuid: NetUid,
    },
    /// Says what a subnet is, in place of what was said before; signed by its owner.
    SetSubnetIdentity {
        /// Subnet.
        netuid: NetUid,
        /// What is said.
        identity: SubnetIdentity,
    },
    /// The same as `SetWeights` for another mechanism of the subnet than the first.
    SetMechanismWeights {
        /// Subnet.
        netuid: NetUid,
        /// Which of its mechanisms.
        mechanism: Mechanism,
        /// Miners.
        uids: Vec<Uid>,
        /// Their weights, same order; only the ratios count.
        weights: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// The same as `CommitTimelockedWeights` for another mechanism of the subnet than the first.
    CommitTimelockedMechanismWeights {
        /// Subnet.
        netuid: NetUid,
        /// Which of its mechanisms.
        mechanism: Mechanism,
        /// The weights, encrypted to the round; at most 5,000 bytes.
        sealed: Vec<u8>,
        /// Round of the beacon.
        round: u64,
        /// Version of the scheme.
        version: u16,
    },
}

/// Names a submitted call; equal calls of one signer with different nonces differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub [u8; 32]);

/// A signed call as the chain takes it: one and the same call, however often and by whomever it is
/// sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Its name.
    pub id: CallId,
    /// Who signed it.
    pub signer: AccountId,
    /// How many calls of the signer stand in blocks before this one.
    pub nonce: u64,
    /// Newest block when it was signed: later ones may include it.
    pub from: Block,
    /// The last block that may.
    pub last: Block,
    /// The call with its signature.
    pub bytes: Vec<u8>,
}

/// What became of a submitted call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallStatus {
    /// Waits for a block.
    Pending,
    /// Stands in a block and took effect.
    Applied(Block),
    /// Stands in a block and was refused by the rules of the chain.
    Refused(Block, CallError),
    /// Stands in a block; whether it took effect cannot be read any more.
    Unreadable(Block),
    /// Its time is over and no block has it: it never will be included.
    Expired,
    /// Another call of the signer used its nonce and stands in a block: this one never will be
    /// included, and can be made again.
    Displaced,
    /// Not known here: never submitted, or so long ago that no block tells any more.
    Unknown,
}

/// A commitment as the chain stores it: content and block from one storage item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCommitment {
    /// Who committed.
    pub hotkey: AccountId,
    /// Owner of the hotkey, in the state that this was read from.
    pub coldkey: AccountId,
    /// Slot of the hotkey.
    pub uid: Uid,
    /// Block at which the slot was taken: a commitment outlives its slot on the chain, and one that
    /// is older was made in an earlier slot.
    pub registered: Block,
    /// Block in which the commitment was included.
    pub block: Block,
    /// Hash of that block: unknown to everybody before the commitment was signed.
    pub block_hash: BlockHash,
    /// Bytes as committed, at most 128.
    pub data: Vec<u8>,
}

/// State of one slot, in the units of the chain (65,535 is 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neuron {
    /// Slot.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Owner of the key.
    pub coldkey: AccountId,
    /// Stake behind the hotkey.
    pub stake_rao: u64,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// Whether it set weights recently enough.
    pub active: bool,
    /// Block at which it last set weights (or registered).
    pub last_update: Block,
    /// Block at which the slot was taken.
    pub block_at_registration: Block,
    /// Consensus of the last epoch.
    pub consensus: u16,
    /// Incentive of the last epoch, of 65,535.
    pub incentive: u16,
    /// Dividends of the last epoch, of 65,535.
    pub dividends: u16,
    /// Validator trust of the last epoch.
    pub validator_trust: u16,
    /// Rao paid by the last epoch, miner and validator part together.
    pub emission_rao: u64,
    /// Weights it set: target and value.
    pub weights: Vec<(Uid, u16)>,
    /// Bonds it holds: target and value.
    pub bonds: Vec<(Uid, u16)>,
}

/// State of a subnet at one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metagraph {
    /// Subnet.
    pub netuid: NetUid,
    /// Block of this state.
    pub block: Block,
    /// Blocks from one run of Yuma Consensus to the next.
    pub tempo: u64,
    /// Blocks that must pass between two settings of weights of one validator.
    pub weights_rate_limit: u64,
    /// Block of the last epoch; zero before the first.
    pub last_epoch: Block,
    /// Slots in order of uid; `neurons[i].uid` is `i`.
    pub neurons: Vec<Neuron>,
}

/// A chain that services read and call; blocking, safe to share between threads.
pub trait Chain: Send + Sync {
    /// The newest finalized block.
    fn head(&self) -> Result<Head, Error>;

    /// Hash of a finalized block; `None` when it is not there (yet).
    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error>;

    /// The subnet at the newest finalized block.
    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error>;

    /// Commitments of all registered hotkeys in the state after block `at`, in order of uid.
    ///
    /// Content and block of each come from one storage item. Validators name the block, so that
    /// they agree however late they ask; at least the last 256 blocks can be asked for, an older
    /// or future one is an error that names it.
    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error>;

    /// What the subnet pays in the state after block `at`; the same blocks can be asked for.
    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error>;

    /// Slots with a validator permit in the state after block `at`, in order of uid; the same
    /// blocks can be asked for.
    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error>;

    /// Free balance of a coldkey, in rao.
    fn balance(&self, coldkey: AccountId) -> Result<u64, Error>;

    /// The weights of a slot at the newest finalized block: targets and values as the chain keeps
    /// them, the largest value 65,535; empty where it has set none.
    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error>;

    /// How the subnet hides weights, if its owner wants them hidden.
    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error>;

    /// What the subnet demands of weights at the newest finalized block.
    fn demands(&self, netuid: NetUid) -> Result<Demands, Error>;

    /// Weights in the way in which the subnet takes them now, openly or hidden.
    fn hand(&self, weights: &Weights, signer: &Keypair) -> Result<Handed, Error> {
        match self.hiding(weights.netuid)? {
            Some(rules) => weights.hidden(&rules, signer),
            None => Ok(weights.openly()),
        }
    }

    /// Signs `call`, and sends nothing: of two calls that a key signs before either is sent, one is
    /// `Displaced`.
    ///
    /// Whoever must not make a call twice keeps what this gives before it is sent, and takes it up
    /// with [`Self::resume`] in the next process.
    ///
    /// No block after `last` can include the call, whoever holds it back; an error that is
    /// transient where that block has come.
    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error>;

    /// Queues a signed call for a coming block; the rules decide when it is included.
    ///
    /// A call that may have arrived although the answer got lost counts as queued: its status
    /// tells. After an error it is not queued, and can be made anew.
    fn send(&self, signed: &Signed) -> Result<(), Error>;

    /// Takes up a signed call that may have been sent before, by this process or another: it is
    /// sent once more, and its status tells. After an error the same may be tried again.
    fn resume(&self, signed: &Signed) -> Result<(), Error>;

    /// Signs `call` and queues it.
    fn submit(&self, call: Call, signer: &Keypair) -> Result<CallId, Error> {
        let signed = self.sign(call, signer, None)?;
        self.send(&signed)?;
        Ok(signed.id)
    }

    /// What became of a submitted call.
    fn status(&self, id: CallId) -> Result<CallStatus, Error>;

    /// What became of a signed call, which is taken up where this process has not sent it.
    fn follow(&self, signed: &Signed) -> Result<CallStatus, Error> {
        match self.status(signed.id)? {
            CallStatus::Unknown => {
                self.resume(signed)?;
                self.status(signed.id)
            }
            known => Ok(known),
        }
    }
}

/// A chain that several hold is a chain.
impl<C: Chain + ?Sized> Chain for std::sync::Arc<C> {
    fn head(&self) -> Result<Head, Error> {
        (**self).head()
    }

    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        (**self).block_hash(block)
    }

    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        (**self).metagraph(netuid)
    }

    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        (**self).commitments(netuid, at)
    }

    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        (**self).rewards(netuid, at)
    }

    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        (**self).voters(netuid, at)
    }

    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        (**self).balance(coldkey)
    }

    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        (**self).weights(netuid, uid)
    }

    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        (**self).hiding(netuid)
    }

    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        (**self).demands(netuid)
    }

    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        (**self).sign(call, signer, last)
    }

    fn send(&self, signed: &Signed) -> Result<(), Error> {
        (**self).send(signed)
    }

    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        (**self).resume(signed)
    }

    fn submit(&self, call: Call, signer: &Keypair) -> Result<CallId, Error> {
        (**self).submit(call, signer)
    }

    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        (**self).status(id)
    }
}
