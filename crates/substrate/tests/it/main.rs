//! The node and its client, over the loopback: what is on disk, on the wire and in storage.

mod answers;
mod contract;
mod hidden;
mod hostile;
mod money;
mod node;
mod origin;
mod real;
mod requests;
mod resume;
mod rpc;
#[path = "../../../chain/tests/contract/suite.rs"]
mod suite;
