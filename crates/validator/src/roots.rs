//! What the validator says on the chain, under its own hotkey: the root of all its records, now and
//! then, and which commitments it has the bytes of, where a competition asks for that.
//!
//! Whoever looks later can tell from the root that a record was there at that time, and that none
//! was taken back since. A hotkey has one commitment on a subnet, so both are in it; where it has
//! one to something else, a model of its own perhaps, that stays.

use crate::{
    Contest, Validator,
    entry::Entry,
    event::Event,
    state::{ContestState, State},
};
use anyhow::Context as _;
use chain::{Call, CallStatus, Head, Signed, StoredCommitment};
use protocol::{
    AccountId, Block,
    competition::Published,
    publication::{self, Seen, Slots},
};
use records::{RootCommitment, Statement};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Blocks between two statements: competitions whose rounds end together are told of together.
const PAUSE: u64 = 10;
/// The same after the chain has refused one, or has something else of this hotkey: a chain that
/// counts blocks may take one in a hundred.
const REFUSED_PAUSE: u64 = 30;

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
    /// What was said last of the commitments that the validator has the bytes of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// First block at which it may be said again.
    #[serde(default)]
    pub again: Block,
}

/// Which commitments a validator said that it has the bytes of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Block up to which.
    pub as_of: Block,
    /// The commitments, by hotkey, with their blocks.
    pub seen: BTreeMap<AccountId, Block>,
}

/// A commitment to a root on its way to the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentRoot {
    /// The call.
    pub signed: Signed,
    /// What it says, as text: packed bytes as hexadecimal digits.
    pub text: String,
    /// What it says of the commitments that the validator has the bytes of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
    /// Whether it was sent for that alone, before another root was due.
    #[serde(default)]
    pub is_early: bool,
}

/// A commitment as text: packed bytes as hexadecimal digits.
fn text_of(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).unwrap_or_else(|_| hex::encode(data))
}

impl RootState {
    /// The records that the last commitment named which the chain took.
    fn records(&self) -> Option<RootCommitment> {
        let text = self.set.as_deref()?;
        let packed = || RootCommitment::parse(&hex::decode(text).ok()?);
        RootCommitment::parse(text.as_bytes()).or_else(packed)
    }

    pub(crate) fn learnt(&mut self, entry: &Entry) {
        match entry {
            Entry::RootSigned(sent) => {
                self.again = Block(sent.signed.from.0.saturating_add(PAUSE));
                self.sent = Some(sent.clone());
            }
            Entry::RootSettled { since, set } => {
                let sent = self.sent.take();
                if !sent.as_ref().is_some_and(|sent| sent.is_early) {
                    self.since = since.or(self.since);
                }
                if let (Some(block), None) = (since, set) {
                    self.again = Block(block.0.saturating_add(REFUSED_PAUSE));
                }
                if let Some(SentRoot { text, said: Some(said), .. }) = sent
                    && set.as_ref() == Some(&text)
                {
                    self.said = Some(said);
                }
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
                    Ok(Some(stored)) if text_of(&stored.data) == sent.text => {
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
                watch(Event::ChainTrouble(format!("cannot ask for our commitment: {error}")));
                return Ok(());
            }
        };
        self.memory.learn(&entry, head.block)?;
        if let Some(event) = event {
            watch(event);
        }
        Ok(())
    }

    /// Says on the chain what is due to be said: the root of the records, which are published
    /// already, and which commitments this validator has the bytes of. Nothing where the chain has
    /// something else of this hotkey.
    ///
    /// Weights come first: while some are on their way, nothing else is signed with their key.
    ///
    /// An `Err` is a journal that cannot be written.
    pub fn state_on_chain(
        &self,
        head: Head,
        records: Option<&RootCommitment>,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        // One that stands already is none: the time goes on until there is another.
        let stands = || self.memory.state(|state| state.roots.records());
        let is_root_due =
            self.is_root_due(head.block) && records.is_some() && records != stands().as_ref();
        let seen = self.memory.state(|state| self.seen_due(state, head.block));
        let is_free =
            self.memory.state(|state| state.weights.sent.is_none() && state.roots.sent.is_none());
        if !is_free || !(is_root_due || seen.is_some()) {
            return Ok(());
        }
        let stored = match self.commitments(head.block) {
            Ok(stored) => stored,
            Err(error) => {
                watch(Event::ChainTrouble(format!("{error:#}")));
                return Ok(());
            }
        };
        let seen = seen.or_else(|| self.memory.state(|state| self.seen(state)));
        let said = seen.map(|seen| Said { as_of: head.block, seen });
        let own = stored.iter().find(|stored| stored.hotkey == self.keypair.public());
        // A process that has just begun does not know its root yet, and takes none back.
        let before = own.filter(|_| self.config.root_blocks > 0);
        let before = before.and_then(|own| RootCommitment::parse(&own.data));
        let records = records.cloned().or(before);
        let data = statement(records, said.as_ref(), &stored).to_bytes()?;
        let since = Some(head.block);
        match own.map(|stored| &stored.data) {
            // A journal that was lost does not know it.
            Some(own) if *own == data => {
                let set = Some(text_of(&data));
                return self.memory.learn(&Entry::RootSettled { since, set }, head.block);
            }
            Some(own) if Statement::parse(own).is_none() => {
                self.memory.learn(&Entry::RootSettled { since, set: None }, head.block)?;
                watch(Event::RootWithheld(String::from_utf8_lossy(own).into_owned()));
                return Ok(());
            }
            Some(_) | None => {}
        }
        let text = text_of(&data);
        self.hand_root(
            head,
            data,
            &|signed| SentRoot {
                signed,
                text: text.clone(),
                said: said.clone(),
                is_early: !is_root_due,
            },
            watch,
        )
    }

    /// The competitions that have decided something, where one of those that are judged here asks
    /// for what is here: what is said of one must not speak against another.
    fn asking<'a>(&self, state: &'a State) -> impl Iterator<Item = &'a ContestState> {
        let mut rules = self.contests.iter().map(|contest| &contest.competition.evaluation);
        let asks = rules.any(|rules| rules.published == Published::TwoThirds);
        let decided = state.contests().filter(|(_, contest)| contest.n_rounds > 0);
        decided.filter(move |_| asks).map(|(_, contest)| contest)
    }

    /// The commitments that this validator has the bytes of, in all competitions that ask for that;
    /// `None` where none does, or none was decided yet.
    fn seen(&self, state: &State) -> Option<BTreeMap<AccountId, Block>> {
        let mut seen: Option<BTreeMap<AccountId, Block>> = None;
        for contest in self.asking(state) {
            let all = seen.get_or_insert_default();
            for (hotkey, block) in &contest.seen {
                let known = all.entry(*hotkey).or_insert(*block);
                *known = (*known).max(*block);
            }
        }
        seen
    }

    /// The same, if it has to be said: it is not what was said last, or that has grown old.
    fn seen_due(&self, state: &State, now: Block) -> Option<BTreeMap<AccountId, Block>> {
        if now < state.roots.again {
            return None;
        }
        let holds = |contest: &Contest| publication::holds_blocks(&contest.competition.evaluation);
        let holds = self.contests.iter().map(holds).min().unwrap_or_default();
        // What nobody has looked at for so long is not said again: it expires.
        let newest = self.asking(state).map(|contest| contest.seed_block).max()?;
        if now.since(newest) > holds {
            return None;
        }
        let said = state.roots.said.as_ref();
        let said = said.filter(|said| now.since(said.as_of) < holds / 2).map(|said| &said.seen);
        // Mostly nothing is new, and nothing is put together then.
        let mut asking = self.asking(state);
        if let (Some(said), Some(one), None) = (said, asking.next(), asking.next())
            && *said == one.seen
        {
            return None;
        }
        self.seen(state).filter(|seen| said != Some(seen))
    }

    /// Signs, notes and sends.
    fn hand_root(
        &self,
        head: Head,
        data: Vec<u8>,
        sent: &dyn Fn(Signed) -> SentRoot,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        let chain = &self.ports.chain;
        let call = Call::SetCommitment { netuid: self.config.netuid, data };
        let signed = match chain.sign(call, &self.keypair, None) {
            Ok(signed) => signed,
            Err(error) => {
                watch(Event::ChainTrouble(format!(
                    "cannot sign what is to be committed to: {error}"
                )));
                return Ok(());
            }
        };
        // Before it is sent: if we die now, the next process knows what it has to ask for.
        self.memory.learn(&Entry::RootSigned(sent(signed.clone())), head.block)?;
        match chain.send(&signed) {
            Ok(()) => {
                watch(Event::RootSubmitted(signed.id));
                Ok(())
            }
            Err(error) => {
                watch(Event::ChainTrouble(format!(
                    "cannot send what is to be committed to: {error}"
                )));
                self.memory.learn(&Entry::RootSettled { since: None, set: None }, head.block)
            }
        }
    }

    /// What the chain has of our hotkey.
    fn own_commitment(&self, at: Block) -> anyhow::Result<Option<StoredCommitment>> {
        let hotkey = self.keypair.public();
        Ok(self.commitments(at)?.into_iter().find(|stored| stored.hotkey == hotkey))
    }

    fn commitments(&self, at: Block) -> anyhow::Result<Vec<StoredCommitment>> {
        let commitments = self.ports.chain.commitments(self.config.netuid, at);
        commitments.context("cannot read our own commitment")
    }
}

/// What is to be said, given all commitments as they stand: of one that is not the one that was
/// seen, nothing.
fn statement(
    records: Option<RootCommitment>,
    said: Option<&Said>,
    stored: &[StoredCommitment],
) -> Statement {
    let seen = said.map(|Said { as_of, seen }| {
        let is_seen = |stored: &&StoredCommitment| seen.get(&stored.hotkey) == Some(&stored.block);
        let slots: Slots = stored.iter().filter(is_seen).map(|stored| stored.uid).collect();
        Seen { as_of: *as_of, slots }
    });
    Statement { records, seen }
}
