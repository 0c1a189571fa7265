//! The root of all records on the chain: committed now and then, under the validator's own hotkey.
//!
//! Whoever looks later can tell from it that a record was there at that time, and that none was
//! taken back since. A hotkey has one commitment on a subnet: where it has one to something else, a
//! model of its own perhaps, that stays.

use crate::{Validator, entry::Entry, event::Event};
use anyhow::Context as _;
use chain::{Call, CallStatus, Head, Signed, StoredCommitment};
use protocol::Block;
use records::RootCommitment;
use serde::{Deserialize, Serialize};

/// What is known of the root on the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootState {
    /// A commitment on its way.
    pub sent: Option<SentRoot>,
    /// Text of the last one that the chain took.
    pub set: Option<String>,
    /// Block from which the time until the next is counted.
    pub since: Option<Block>,
}

/// A commitment to a root on its way to the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentRoot {
    /// The call.
    pub signed: Signed,
    /// Its text.
    pub text: String,
}

impl RootState {
    pub(crate) fn learnt(&mut self, entry: &Entry) {
        match entry {
            Entry::RootSigned(sent) => self.sent = Some(sent.clone()),
            Entry::RootSettled { since, set } => {
                self.sent = None;
                self.since = since.or(self.since);
                self.set = set.clone().or(self.set.take());
            }
            _ => {}
        }
    }
}

impl Validator {
    /// Whether a root may be committed to at a block: none is on its way, and the time since the
    /// last is over.
    pub fn is_root_due(&self, now: Block) -> bool {
        let every = self.config.root_blocks;
        let is_over = |since: Block| now.since(since) >= every;
        every > 0
            && self.memory.state(|state| {
                let RootState { sent, since, .. } = &state.roots;
                sent.is_none() && since.is_none_or(is_over)
            })
    }

    /// Learns what became of a root on its way; a lost one is due again.
    pub(crate) fn follow_root(&self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let Some(sent) = self.memory.state(|state| state.roots.sent.clone()) else {
            return Ok(());
        };
        let lost = Entry::RootSettled { since: None, set: None };
        let taken = |block| Entry::RootSettled { since: Some(block), set: Some(sent.text.clone()) };
        let (entry, event) = match self.ports.chain.follow(&sent.signed) {
            Ok(CallStatus::Pending) => return Ok(()),
            Ok(CallStatus::Unknown) if head.block <= sent.signed.last => return Ok(()),
            Ok(CallStatus::Applied(block)) => (taken(block), Some(Event::RootSet { block })),
            Ok(CallStatus::Refused(block, error)) => {
                let entry = Entry::RootSettled { since: Some(block), set: None };
                (entry, Some(Event::RootRefused(error)))
            }
            Ok(CallStatus::Expired | CallStatus::Displaced) => (lost, None),
            // No block tells, but the chain's own state does.
            Ok(CallStatus::Unreadable(_) | CallStatus::Unknown) => {
                match self.own_commitment(head.block) {
                    Ok(Some(stored)) if stored.data == sent.text.as_bytes() => {
                        let block = stored.block;
                        (taken(block), Some(Event::RootSet { block }))
                    }
                    Ok(_) => (lost, None),
                    Err(error) => {
                        watch(Event::ChainTrouble(format!("{error:#}")));
                        return Ok(());
                    }
                }
            }
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot ask for the root of records: {error}")));
                return Ok(());
            }
        };
        self.memory.learn(&entry, head.block)?;
        if let Some(event) = event {
            watch(event);
        }
        Ok(())
    }

    /// Commits to a root if it is due, another one than the last, and the chain has nothing else of
    /// this hotkey. What it names is published already.
    ///
    /// Weights come first: while some are on their way, nothing else is signed with their key.
    ///
    /// An `Err` is a journal that cannot be written.
    pub fn commit_root(
        &self,
        head: Head,
        root: &RootCommitment,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        let text = root.to_text()?;
        let is_free = self.memory.state(|state| {
            state.weights.sent.is_none() && state.roots.set.as_deref() != Some(text.as_str())
        });
        if !is_free || !self.is_root_due(head.block) {
            return Ok(());
        }
        let stored = match self.own_commitment(head.block) {
            Ok(stored) => stored,
            Err(error) => {
                watch(Event::ChainTrouble(format!("{error:#}")));
                return Ok(());
            }
        };
        let since = Some(head.block);
        match stored.map(|stored| stored.data) {
            // A journal that was lost does not know it.
            Some(data) if data == text.as_bytes() => {
                return self
                    .memory
                    .learn(&Entry::RootSettled { since, set: Some(text) }, head.block);
            }
            Some(data) if RootCommitment::parse(&data).is_none() => {
                self.memory.learn(&Entry::RootSettled { since, set: None }, head.block)?;
                watch(Event::RootWithheld(String::from_utf8_lossy(&data).into_owned()));
                return Ok(());
            }
            Some(_) | None => {}
        }
        self.hand_root(head, text, watch)
    }

    /// Signs, notes and sends.
    fn hand_root(&self, head: Head, text: String, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let chain = &self.ports.chain;
        let data = text.as_bytes().to_vec();
        let call = Call::SetCommitment { netuid: self.config.netuid, data };
        let signed = match chain.sign(call, &self.keypair) {
            Ok(signed) => signed,
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot sign the root of records: {error}")));
                return Ok(());
            }
        };
        // Before it is sent: if we die now, the next process knows what it has to ask for.
        let sent = SentRoot { signed: signed.clone(), text };
        self.memory.learn(&Entry::RootSigned(sent), head.block)?;
        match chain.send(&signed) {
            Ok(()) => {
                watch(Event::RootSubmitted(signed.id));
                Ok(())
            }
            Err(error) => {
                watch(Event::ChainTrouble(format!("cannot send the root of records: {error}")));
                self.memory.learn(&Entry::RootSettled { since: None, set: None }, head.block)
            }
        }
    }

    /// What the chain has of our hotkey.
    fn own_commitment(&self, at: Block) -> anyhow::Result<Option<StoredCommitment>> {
        let commitments = self.ports.chain.commitments(self.config.netuid, at);
        let commitments = commitments.context("cannot read our own commitment")?;
        let hotkey = self.keypair.public();
        Ok(commitments.into_iter().find(|stored| stored.hotkey == hotkey))
    }
}
