//! Chains of Substrate: the wire, signed calls, a client, and a node of our own.
//!
//! [`SubstrateChain`] is a [`Chain`](chain::Chain) behind an endpoint; [`DevNode`] is such an
//! endpoint, whose rules are those of [`chain::Ledger`].

pub mod block;
pub mod client;
pub mod dev;
pub mod extrinsic;
pub mod wire;

pub use block::SealedLedger;
pub use client::{
    ChainInfo, ClientConfig, Clock, Effects, Fit, Opening, Origin, OwnCommitment, Rate, RateLimit,
    Signatures, SubnetOwner, SubnetRules, SubnetStart, SubstrateChain, Transfer, genesis_of,
};
pub use dev::DevNode;
pub use extrinsic::SignedCall;
pub use wire::era::Era;
