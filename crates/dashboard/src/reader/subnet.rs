//! The subnet of the chain that is read: its head, whoever may judge, and what validators commit
//! to.

use super::{Reader, Trouble, held};
use crate::index::Root;
use chain::{Chain, StoredCommitment};
use protocol::Block;
use records::RootCommitment;

impl Reader {
    /// Notes the head of the chain, whoever may judge, and the subnet as it is once an epoch.
    pub(super) fn read_chain(&mut self) -> Result<(), Trouble> {
        let Some(chain) = self.chain.clone() else { return Ok(()) };
        let head = chain.head()?;
        if self.head == Some(head) {
            return Ok(());
        }
        self.clock.see(head.block);
        if self.genesis.is_none() {
            self.genesis = chain.block_hash(Block(0))?;
        }
        let metagraph = chain.metagraph(self.netuid)?;
        let judges = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit);
        self.permitted = Some(judges.map(|neuron| neuron.hotkey).collect());
        // Between two epochs only the weights change; they are looked at every so many blocks.
        let every = (metagraph.tempo / 4).clamp(1, 100);
        let noted = held(&self.index).newest_metagraph()?;
        if noted.is_none_or(|noted| metagraph.block.since(noted) >= every) {
            let roots = self.roots(&*chain, head.block)?;
            let mut index = held(&self.index);
            index.note_roots(&roots)?;
            index.note_metagraph(&metagraph)?;
        }
        self.head = Some(head);
        self.note_change();
        Ok(())
    }

    /// The roots of records that validators commit to at a block.
    fn roots(&self, chain: &dyn Chain, at: Block) -> Result<Vec<Root>, chain::Error> {
        let Some(genesis) = self.genesis else { return Ok(Vec::new()) };
        let netuid = self.netuid;
        let root = |stored: &StoredCommitment| {
            let RootCommitment { root, .. } = RootCommitment::parse(&stored.data)?;
            let (validator, block) = (stored.hotkey, stored.block);
            // One from before the slot was taken was made by whoever had the key then.
            (block >= stored.registered).then_some(Root { validator, root, block, genesis, netuid })
        };
        Ok(chain.commitments(netuid, at)?.iter().filter_map(root).collect())
    }
}
