//! What stands on the chain at the seed of a round: commitments, and what it pays.

use crate::{
    ports::Committed,
    state::{ContestState, Lapse, Skips, Verdict},
    unheard,
};
use anyhow::Context as _;
use chain::{Chain, Head, StoredCommitment};
use protocol::{
    AccountId, Block, Commitment, Competition, CompetitionId, Digest, NetUid, Uid,
    competition::EvaluationRules,
    content::TENSOR_ROOT_VERSION,
    pool::{self, Entrant, Moment, Payee},
    weights::Miner,
    wins::Seniority,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// Everybody who committed to a competition in time for a round, who of them counts, and what the
/// chain pays.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    /// Those that count, in order of uid.
    pub(crate) entries: Vec<Entry>,
    /// Those that do not count: two thirds of the stake do not have their bytes.
    pub(crate) unheard: Vec<Entry>,
    /// Those that came too late for the round, where it is to be said that their bytes are here.
    pub(crate) young: Vec<Entry>,
    /// The round, and how long the chain takes to pay.
    pub(crate) moment: Moment,
    /// Slot that the chain pays most for a commitment in the book.
    pub(crate) paid: Option<Uid>,
}

/// A subnet of a chain, to be read.
#[derive(Clone, Copy)]
pub(crate) struct Subnet<'a> {
    pub(crate) chain: &'a dyn Chain,
    pub(crate) netuid: NetUid,
}

/// A commitment that a round has to hear of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) stored: Arc<StoredCommitment>,
    pub(crate) committed: Arc<Committed>,
    /// What the last epoch gave its slot, of 65,535.
    pub(crate) incentive: u16,
    /// Its place by its block alone.
    committed_at: Seniority,
}

impl Book {
    /// Reads it from the state `commitment_age_min` blocks before the seed.
    ///
    /// All of it is read from the state after one block, so a re-commitment can pair neither new
    /// content with an old block nor the other way round, and late validators see the same.
    /// Commitments for other competitions, and texts that are no commitment, are none of this
    /// competition's business. A commitment that is older than its slot lapsed with the slot before
    /// it: whoever registers again commits again.
    ///
    /// What stood in the book `before` of the competition as well is not parsed again.
    pub(crate) fn read(
        subnet: Subnet<'_>,
        competition: &Competition,
        seed: Head,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let Subnet { chain, netuid } = subnet;
        let age_min = competition.evaluation.commitment_age_min;
        let at = Block(seed.block.0.saturating_sub(age_min));
        let stored = chain.commitments(netuid, at).context("cannot read the commitments")?;
        let rewards = chain.rewards(netuid, at).context("cannot read what the chain pays")?;
        let read = (at, stored.as_slice());
        let heard = unheard::heard(subnet, competition, read, seed.block)
            .context("cannot read what validators say")?;
        let before = Before::of(before);
        let entry = |stored: StoredCommitment| {
            let incentive = rewards.incentives.get(usize::from(stored.uid.0)).copied();
            let incentive = incentive.unwrap_or(0);
            if let Some(known) = before.entry(&stored, competition.id, incentive) {
                return Some(known);
            }
            let commitment = Commitment::parse(&stored.data).ok()?;
            let is_ours = commitment.competition == competition.id;
            let has_lapsed = stored.block < stored.registered;
            (is_ours && !has_lapsed).then(|| Entry {
                committed: Arc::new(Committed { hotkey: stored.hotkey, commitment }),
                committed_at: Seniority::new(stored.block, stored.block_hash, stored.hotkey),
                stored: Arc::new(stored),
                incentive,
            })
        };
        let mut entries: Vec<Entry> = stored.into_iter().filter_map(entry).collect();
        let (mut unheard, mut young) = (Vec::new(), Vec::new());
        if let Some(heard) = heard {
            (entries, unheard) =
                entries.into_iter().partition(|entry: &Entry| heard.counts(&entry.stored));
            // What was replaced since is gone; of a hotkey one commitment is looked at in a round.
            unheard.retain(|entry| heard.stands(&entry.stored));
            let known = entries.iter().chain(&unheard).map(|entry| entry.stored.hotkey);
            let known: HashSet<AccountId> = known.collect();
            let is_new = |stored: &&StoredCommitment| !known.contains(&stored.hotkey);
            let standing = heard.standing.iter().filter(is_new);
            young = standing.cloned().filter_map(entry).collect();
        }
        let moment = Moment { seed: seed.block, settling_blocks: rewards.settling_blocks() };
        let payee = |entry: &Entry| {
            let Entry { stored, incentive, .. } = entry;
            Payee { uid: stored.uid, incentive: *incentive, committed: stored.block }
        };
        let payees: Vec<Payee> = entries.iter().map(payee).collect();
        let paid = pool::paid_most(competition, moment, &payees);
        Ok(Self { paid, entries, unheard, young, moment })
    }

    /// All that came in time, whether they count or not.
    pub(crate) fn in_time(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.unheard)
    }

    /// All that take no part in the round.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.unheard.iter().chain(&self.young)
    }

    /// All commitments to the competition.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(self.waiting())
    }
}

/// The entries of the book of an earlier round.
struct Before<'a>(BTreeMap<(Uid, Block), &'a Entry>);

impl<'a> Before<'a> {
    fn of(book: Option<&'a Book>) -> Self {
        let entries = book.into_iter().flat_map(Book::all);
        Self(entries.map(|entry| ((entry.stored.uid, entry.stored.block), entry)).collect())
    }

    /// The entry of this very commitment, if it was to the competition then as well: all of an
    /// entry but its incentive follows from these.
    fn entry(
        &self,
        stored: &StoredCommitment,
        competition: CompetitionId,
        incentive: u16,
    ) -> Option<Entry> {
        let entry = self.0.get(&(stored.uid, stored.block)).copied()?;
        let is_it =
            *entry.stored == *stored && entry.committed.commitment.competition == competition;
        is_it.then(|| Entry { incentive, ..entry.clone() })
    }
}

/// What the chain says of a competition at the seed of a round: what a record of the round is held
/// against.
#[derive(Clone, Debug)]
pub struct OnChain {
    /// Who had committed to it in time and counts, in order of uid.
    pub listed: Vec<Listed>,
    /// Slots of those that do not count yet: two thirds of the stake do not have their bytes.
    pub unheard: Vec<Uid>,
    /// The round, and how long the chain takes to pay for it.
    pub moment: Moment,
    /// Slot that the chain paid most of these.
    pub paid: Option<Uid>,
}

/// A commitment to a competition.
#[derive(Clone, Debug)]
pub struct Listed {
    /// As it stands on the chain.
    pub stored: StoredCommitment,
    /// What it says.
    pub commitment: Commitment,
    /// What the last epoch gave its slot, of 65,535.
    pub incentive: u16,
}

/// Reads what the chain says of a competition before a round, as validators read it.
pub fn on_chain(
    chain: &dyn Chain,
    netuid: NetUid,
    competition: &Competition,
    seed: Head,
) -> anyhow::Result<OnChain> {
    let book = Book::read(Subnet { chain, netuid }, competition, seed, None)?;
    let Book { entries, unheard, young: _, moment, paid } = book;
    let listed = |entry: Entry| {
        let Entry { stored, committed, incentive, .. } = entry;
        let (stored, committed) = (Arc::unwrap_or_clone(stored), Arc::unwrap_or_clone(committed));
        Listed { stored, commitment: committed.commitment, incentive }
    };
    let unheard = unheard.into_iter().map(|entry| entry.stored.uid).collect();
    Ok(OnChain { listed: entries.into_iter().map(listed).collect(), unheard, moment, paid })
}

impl Entry {
    pub(crate) fn miner(&self) -> Miner {
        Miner { uid: self.stored.uid, hotkey: self.stored.hotkey }
    }

    /// As it stands on the chain.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stored.data).into_owned()
    }

    /// Its lapse, if this very commitment was seen absent.
    pub(crate) fn lapse(&self, state: &ContestState) -> Option<Lapse> {
        let lapse = state.lapses.get(&self.stored.hotkey).copied();
        lapse.filter(|lapse| lapse.committed == self.stored.block)
    }

    /// How often our own trouble kept this very commitment from being measured.
    pub(crate) fn skips(&self, state: &ContestState) -> Option<Skips> {
        let skips = state.skips.get(&self.stored.hotkey).copied();
        skips.filter(|skips| skips.committed == self.stored.block)
    }

    /// Its place by its block alone, whether it was ever absent or not.
    pub(crate) fn committed_at(&self) -> Seniority {
        self.committed_at
    }

    /// Its place among the models of the competition: one that was absent counts from when it was
    /// seen again, and from now if that is now.
    pub(crate) fn seniority(&self, state: &ContestState, seed: Block) -> Seniority {
        self.committed_at.since(self.since(state, seed))
    }

    /// From which round on it was seen without a break, if it was ever seen absent.
    pub(crate) fn since(&self, state: &ContestState, seed: Block) -> Option<Block> {
        self.lapse(state).map(|lapse| lapse.since.unwrap_or(seed))
    }

    /// The verdict on this text of this block by these rules, if it was given, and its root is one
    /// as they are defined now.
    pub(crate) fn verdict<'a>(
        &self,
        state: &'a ContestState,
        rules: &Digest,
    ) -> Option<&'a Verdict> {
        self.last_verdict(state).filter(|verdict| verdict.rules == *rules)
    }

    /// The last verdict on this text of this block, by whichever rules.
    pub(crate) fn last_verdict<'a>(&self, state: &'a ContestState) -> Option<&'a Verdict> {
        let verdict = state.verdicts.get(&self.stored.hotkey)?;
        // What parses as a commitment is text, so its bytes are those of the text.
        let is_it = verdict.block == self.stored.block
            && verdict.commitment.as_bytes() == self.stored.data
            && verdict.roots == TENSOR_ROOT_VERSION;
        is_it.then_some(verdict)
    }

    /// Whether none of the rounds that were decided here could have measured it, though some were:
    /// those since were given up or missed, and by now it may not be fresh any more.
    fn was_missed(&self, state: &ContestState, rules: &EvaluationRules) -> bool {
        let counts_from = self.stored.block.0.saturating_add(rules.commitment_age_min);
        state.n_rounds > 0 && counts_from > state.seed_block.0
    }

    /// As the rules for the pool see it.
    pub(crate) fn entrant(
        &self,
        state: &ContestState,
        rules: &EvaluationRules,
        seed: Block,
    ) -> Entrant {
        Entrant {
            uid: self.stored.uid,
            seniority: self.seniority(state, seed),
            incentive: self.incentive,
            is_wanted: state.has_weight(&self.miner())
                || state.waiting.contains(&self.stored.hotkey)
                || self.was_missed(state, rules),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Found;
    use protocol::{BlockHash, Reason, ReasonCode};

    fn entry(uid: u16, incentive: u16) -> Entry {
        let hotkey = AccountId([uid as u8; 32]);
        let repo = "lab/model".parse().unwrap();
        let revision = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let id = Competition::builtin("tiny").unwrap().id;
        let commitment = Commitment::bound(&repo, &revision, &Digest([2; 32]), &hotkey, id);
        let (block, block_hash) = (Block(5), BlockHash([1; 32]));
        let stored = StoredCommitment {
            hotkey,
            coldkey: hotkey,
            uid: Uid(uid),
            registered: Block(1),
            block,
            block_hash,
            data: commitment.to_text().unwrap().into_bytes(),
        };
        let (stored, committed) = (Arc::new(stored), Arc::new(Committed { hotkey, commitment }));
        let committed_at = Seniority::new(block, block_hash, hotkey);
        Entry { stored, committed, incentive, committed_at }
    }

    #[test]
    fn what_stood_in_the_book_before_is_known_unless_anything_of_it_has_changed() {
        let id = Competition::builtin("tiny").unwrap().id;
        let moment = Moment { seed: Block(9), settling_blocks: 1 };
        let (entries, unheard, young) = (vec![entry(1, 7)], vec![entry(2, 0)], vec![entry(3, 0)]);
        let book = Book { entries, unheard, young, moment, paid: None };
        let before = Before::of(Some(&book));
        for uid in [1, 2, 3] {
            let stored = (*entry(uid, 0).stored).clone();
            // It is paid what it is paid now.
            assert_eq!(before.entry(&stored, id, 5), Some(entry(uid, 5)));
            assert_eq!(before.entry(&stored, CompetitionId(id.0 + 1), 5), None);
            let changes: [fn(&mut StoredCommitment); 7] = [
                |stored| stored.hotkey = AccountId([9; 32]),
                |stored| stored.coldkey = AccountId([9; 32]),
                |stored| stored.uid = Uid(9),
                |stored| stored.registered = Block(2),
                |stored| stored.block = Block(6),
                |stored| stored.block_hash = BlockHash([9; 32]),
                |stored| stored.data[0] ^= 1,
            ];
            for (at, change) in changes.iter().enumerate() {
                let mut other = stored.clone();
                change(&mut other);
                assert_eq!(before.entry(&other, id, 5), None, "change {at} of uid {uid}");
            }
        }
        let stored = &entry(1, 0).stored;
        assert_eq!(Before::of(None).entry(stored, id, 5), None);
    }

    #[test]
    fn a_verdict_of_another_version_of_roots_is_none() {
        let (entry, rules) = (entry(1, 0), Digest::of(b"rules"));
        let verdict = |roots: u32| Verdict {
            commitment: entry.text(),
            block: entry.stored.block,
            rules,
            roots,
            found: Found::Refused(Reason::new(ReasonCode::TooLarge, "")),
        };
        for (roots, is_one) in [(TENSOR_ROOT_VERSION, true), (1, false), (0, false)] {
            let mut state = ContestState::default();
            state.verdicts.insert(entry.stored.hotkey, verdict(roots));
            assert_eq!(entry.verdict(&state, &rules).is_some(), is_one, "{roots}");
        }
    }
}
