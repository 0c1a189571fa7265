//! Money that moved in a block, by the events that say so.

use super::{
    SubstrateChain,
    link::{Failure, Link},
};
use chain::{Error, Head};
use parity_scale_codec::Decode as _;
use protocol::{AccountId, Block};

/// Money that moved from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who paid.
    pub from: AccountId,
    /// Who was paid.
    pub to: AccountId,
    /// How much, in rao.
    pub amount_rao: u64,
}

impl SubstrateChain {
    /// The transfers of a final block, in order. What a call moved that was refused is none.
    ///
    /// Endpoints hold the events of some hundred blocks, unless they are archives: an error that
    /// says so of others.
    pub fn transfers(&self, block: Block) -> Result<Vec<Transfer>, Error> {
        let head = self.named(block)?;
        let read =
            self.links.ask("transfers of a block", async |link: &Link| transfers(link, head).await);
        self.held(read, block)
    }
}

async fn transfers(link: &Link, head: Head) -> Result<Vec<Transfer>, Failure> {
    let at = link.at(head).await?;
    let mut found = Vec::new();
    for event in at.events().fetch().await?.iter() {
        let event = event?;
        if (event.pallet_name(), event.event_name()) != ("Balances", "Transfer") {
            continue;
        }
        // In all runtimes since 2024 the event is these three, and nothing else.
        let mut fields = event.field_bytes();
        let read = <([u8; 32], [u8; 32], u64)>::decode(&mut fields).map_err(|e| e.to_string())?;
        if !fields.is_empty() {
            return Err("a transfer is not told as it used to be".into());
        }
        let (from, to, amount_rao) = read;
        found.push(Transfer { from: AccountId(from), to: AccountId(to), amount_rao });
    }
    Ok(found)
}
