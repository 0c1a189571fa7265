//! Commitments that do not count yet: each validator has their bytes and says so on the chain, and
//! they count once two thirds of the stake do ([`protocol::publication`]).

use crate::{
    book::{Book, Entry, Subnet},
    ports::Sight,
    round::{Hindrance, Known, Measured, Need, Pause, Refusal, Skipped},
    state::Found,
};
use chain::StoredCommitment;
use protocol::{
    AccountId, Block, Competition, Outcome, ReasonCode,
    competition::Published,
    publication::{Seen, Voice, counts},
};
use records::Statement;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

/// Where the bytes of a commitment are that does not count yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// This validator had them.
    Here,
    /// They are not published.
    Absent,
    /// It is not known yet.
    Postponed,
    /// Trouble of our own kept them from being had.
    Trouble,
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "it counts once two thirds of the stake have its bytes, as we do",
            Self::Absent => "its bytes are not published, and it counts for nobody yet",
            Self::Postponed => "its bytes could not be had yet, and it does not count",
            Self::Trouble => "our own trouble keeps its bytes from us, and it does not count yet",
        })
    }
}

/// What validators say on the chain before a round, and of what.
#[derive(Debug)]
pub(crate) struct Heard {
    /// In the state that the book is read from.
    then: Vec<Voice>,
    /// In that of the seed.
    now: Vec<Voice>,
    /// Commitments as they stand at the seed.
    pub(crate) standing: Vec<StoredCommitment>,
    /// Their blocks, by hotkey.
    blocks: HashMap<AccountId, Block>,
}

/// What validators say of the commitments of a book, which is read from the state after `at`, and
/// of those that stand at the seed; `None` where a competition does not ask.
///
/// What is said of a commitment while it is too young counts as soon as it is not; one that was
/// replaced since counts by what was said while it stood.
pub(crate) fn heard(
    subnet: Subnet<'_>,
    competition: &Competition,
    (at, stored): (Block, &[StoredCommitment]),
    seed: Block,
) -> Result<Option<Heard>, chain::Error> {
    let rules = &competition.evaluation;
    if rules.published == Published::Own {
        return Ok(None);
    }
    let Subnet { chain, netuid } = subnet;
    let standing = chain.commitments(netuid, seed)?;
    let voters = chain.voters(netuid, seed)?;
    let voices = |at: Block, stored: &[StoredCommitment]| -> Vec<Voice> {
        let said: BTreeMap<AccountId, Seen> = stored
            .iter()
            .filter_map(|stored| {
                let seen = Statement::parse(&stored.data)?.seen?;
                seen.holds(rules, stored.block, at).then_some((stored.hotkey, seen))
            })
            .collect();
        let voice = |voter: &chain::Voter| {
            let seen = said.get(&voter.hotkey)?.clone();
            Some(Voice { stake_rao: voter.stake_rao, seen })
        };
        let voices: Vec<Voice> = voters.iter().filter_map(voice).collect();
        if is_quorate(&voters, &voices) { voices } else { Vec::new() }
    };
    let (then, now) = (voices(at, stored), voices(seed, &standing));
    let blocks = standing.iter().map(|stored| (stored.hotkey, stored.block)).collect();
    Ok(Some(Heard { then, now, standing, blocks }))
}

/// Whether at least half of the stake with a permit says something: less decides nothing.
fn is_quorate(voters: &[chain::Voter], voices: &[Voice]) -> bool {
    let all: u128 = voters.iter().map(|voter| u128::from(voter.stake_rao)).sum();
    let said: u128 = voices.iter().map(|voice| u128::from(voice.stake_rao)).sum();
    2 * said >= all
}

impl Heard {
    /// Whether a commitment of the book counts.
    pub(crate) fn counts(&self, stored: &StoredCommitment) -> bool {
        let voices = if self.stands(stored) { &self.now } else { &self.then };
        counts(voices, stored.uid, stored.block)
    }

    /// Whether a commitment was not replaced since.
    pub(crate) fn stands(&self, stored: &StoredCommitment) -> bool {
        self.blocks.get(&stored.hotkey) == Some(&stored.block)
    }
}

impl Measured {
    /// Whether the bytes of the commitment are to be had by this validator, where it can tell.
    fn has_bytes(&self) -> Option<bool> {
        match &self.outcome {
            Ok(Outcome::Evaluated(_)) => Some(true),
            Ok(Outcome::Disqualified(reason)) => Some(reason.code != ReasonCode::NotPublished),
            Err(Skipped::Unheard(Bytes::Here)) => Some(true),
            Err(Skipped::Unheard(Bytes::Absent)) => Some(false),
            Err(_) => None,
        }
    }
}

/// The commitments that this validator has the bytes of after a round, with their blocks: of those
/// that nobody looked at, what was known before stays.
pub(crate) fn seen(
    known: &Known<'_>,
    book: &Book,
    measured: &[Measured],
) -> BTreeMap<AccountId, Block> {
    // Under all rules: those of tomorrow may ask.
    let of = |entry: &Entry| {
        let (hotkey, block) = (entry.stored.hotkey, entry.stored.block);
        let model = measured.iter().find(|model| model.entry.stored.hotkey == hotkey);
        let before = known.state.seen.get(&hotkey) == Some(&block);
        let has_bytes = model.and_then(Measured::has_bytes).unwrap_or(before);
        has_bytes.then_some((hotkey, block))
    };
    book.all().filter_map(of).collect()
}

impl Known<'_> {
    /// Has the bytes of all that takes no part yet; measures nothing of it.
    pub(crate) fn have_unheard(&self) -> Result<Vec<Measured>, Pause> {
        let book = self.turn.book.as_ref().ok_or(Need::Book)?;
        let is_unseen = |entry: &&Entry| {
            !self.turn.sights.contains_key(&entry.stored.hotkey) && !self.waits(entry)
        };
        let unseen: Vec<Entry> = book.waiting().filter(is_unseen).cloned().collect();
        if !unseen.is_empty() {
            return Err(Need::Looks(unseen).into());
        }
        let mut waiting: Vec<&Entry> = book.waiting().collect();
        // In another order each round, those that were absent last: a round tries so many, and none
        // that cannot be had, however many and how old they are, keep all others out.
        waiting.sort_by_cached_key(|entry| {
            let mut place = entry.stored.hotkey.0;
            place.iter_mut().zip(self.seed.hash.0).for_each(|(key, seed)| *key ^= seed);
            (entry.lapse(self.state).is_some(), place)
        });
        let measured = |entry: &Entry| {
            let outcome = Err(Skipped::Unheard(self.bytes(entry)?));
            // Without roots: who owns a model is told among those that count.
            Ok(Measured { entry: entry.clone(), file_root: None, tensor_root: None, outcome })
        };
        waiting.into_iter().map(measured).collect()
    }

    /// Where the bytes of a commitment are, or what is missing to tell. No trouble gives the round
    /// up: nothing of it depends on them.
    fn bytes(&self, entry: &Entry) -> Result<Bytes, Pause> {
        let gone = |hub_lists: bool| if hub_lists { Bytes::Absent } else { Bytes::Postponed };
        match self.turn.sights.get(&entry.stored.hotkey) {
            None => return Ok(Bytes::Postponed),
            Some(Err(Refusal::Own(_))) => return Ok(Bytes::Trouble),
            Some(Ok(Sight::Absent(_))) => return Ok(Bytes::Absent),
            // Its files are listed for everybody, and break a rule.
            Some(Ok(Sight::Refused(_))) => return Ok(Bytes::Here),
            Some(Err(Refusal::Refused(_) | Refusal::Unanswered(_))) => {
                return Ok(gone(self.hub_lists()?));
            }
            Some(Ok(Sight::Published { .. })) => {}
        }
        match self.turn.hindered.get(&entry.stored.hotkey) {
            None => {}
            Some(Hindrance::Hopeless(_)) => return Ok(Bytes::Here),
            Some(Hindrance::Postponed(_)) => return Ok(Bytes::Postponed),
            Some(Hindrance::Trouble(Refusal::Own(_))) => return Ok(Bytes::Trouble),
            Some(Hindrance::Trouble(Refusal::Refused(_))) => return Ok(gone(self.hub_lists()?)),
            Some(Hindrance::Trouble(Refusal::Unanswered(_))) => {
                return Ok(gone(self.hub_delivers(entry)? == Some(true)));
            }
        }
        let verdict = entry.verdict(self.state, &self.contest.rules);
        match verdict.map(|verdict| &verdict.found) {
            Some(Found::Admitted(_) | Found::Refused(_)) => Ok(Bytes::Here),
            None | Some(Found::Hopeless(_)) => Err(Need::Model(entry.clone()).into()),
        }
    }
}
