//! What `agon miner watch` must not forget: what follows from the entries of its journal.

use crate::args::SUBMISSIONS_MAX;
use journal::past::{Follows, Happened};
use protocol::{Block, Digest};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use validator::Admission;

/// Most checkpoints that are remembered; one that is forgotten is judged anew if it is still there.
const JUDGED_MAX: usize = 2_000;

/// Blocks in which a call that was signed may still be included; Bittensor's clients let theirs
/// live for 128 at most.
const CALL_LIFE_BLOCKS: u64 = 256;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The folder belongs to this hotkey, subnet and competition.
    Began {
        /// All three, in words.
        identity: String,
    },
    /// Texts of blocks up to this one were, or are about to be, measured on.
    Drawn {
        /// The block.
        block: Block,
    },
    /// A checkpoint was judged; it is not judged again.
    Judged(Known),
    /// A checkpoint would win: it is on its way out.
    Chosen(Box<Outgoing>),
    /// It was measured again, and would still win.
    Confirmed {
        /// The newest block then.
        block: Block,
    },
    /// The call that commits to it is about to be signed.
    Committing {
        /// The newest block then.
        block: Block,
    },
    /// It would no longer win, and nobody has committed to it.
    Withdrawn,
    /// It is committed to and public.
    Settled,
}

/// A checkpoint that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Digest over where its files are, how large they are, and when they were written.
    pub fingerprint: Digest,
    /// Digest over its files, if they were read.
    pub root: Option<Digest>,
}

/// A model on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outgoing {
    /// The checkpoint.
    pub known: Known,
    /// Where it was found, for people.
    pub path: String,
    /// Folder of our copy of it, in the home.
    pub folder: String,
    /// As what it is admitted.
    pub admission: Admission,
    /// The newest block when it was last measured.
    pub measured: Block,
    /// The newest block when a call that commits to it was last about to be signed.
    pub committing: Option<Block>,
}

/// What is known of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// To whom and what the folder belongs.
    pub identity: Option<String>,
    /// The newest block whose text was measured on.
    pub drawn: Block,
    /// Checkpoints that were judged, the newest last.
    judged: VecDeque<Known>,
    /// Blocks at which commitments were made, the newest last; one for each model.
    commitments: VecDeque<Block>,
    /// The model on its way out.
    pub outgoing: Option<Outgoing>,
}

/// How many commitments may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most commitments in a window.
    pub n_max: u64,
    /// Blocks of the window.
    pub window: u64,
}

impl State {
    /// Whether a checkpoint was judged, by the looks of its files.
    pub fn knows(&self, fingerprint: &Digest) -> bool {
        self.judged.iter().any(|known| known.fingerprint == *fingerprint)
    }

    /// Whether a model of these files was judged.
    pub fn knows_files(&self, root: &Digest) -> bool {
        self.judged.iter().any(|known| known.root.as_ref() == Some(root))
    }

    /// The block from which on the budget allows another commitment; `None` if it does now.
    pub fn again(&self, budget: Budget, now: Block) -> Option<Block> {
        let end = |made: &Block| Block(made.0.saturating_add(budget.window));
        let recent: Vec<Block> =
            self.commitments.iter().map(end).filter(|end| *end > now).collect();
        let n_max = usize::try_from(budget.n_max).unwrap_or(usize::MAX);
        recent.len().checked_sub(n_max).and_then(|first| recent.get(first).copied())
    }
}

impl Outgoing {
    /// Whether a commitment to it may still come about by itself.
    pub fn is_in_flight(&self, now: Block) -> bool {
        self.committing.is_some_and(|signed| now.since(signed) <= CALL_LIFE_BLOCKS)
    }
}

impl Happened for Entry {
    const KEPT: (&'static [&'static str], usize) = (&["chosen", "settled", "withdrawn"], 1_000);

    fn kind(&self) -> &'static str {
        match self {
            Self::Began { .. } => "began",
            Self::Drawn { .. } => "drawn",
            Self::Judged(_) => "judged",
            Self::Chosen(_) => "chosen",
            Self::Confirmed { .. } => "confirmed",
            Self::Committing { .. } => "committing",
            Self::Withdrawn => "withdrawn",
            Self::Settled => "settled",
        }
    }
}

impl Follows for State {
    type Entry = Entry;

    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::Began { identity } => self.identity = Some(identity.clone()),
            Entry::Drawn { block } => self.drawn = *block,
            Entry::Judged(known) => push(&mut self.judged, known.clone(), JUDGED_MAX),
            Entry::Chosen(outgoing) => {
                if self.outgoing.is_some() {
                    return Err("another model is on its way".to_owned());
                }
                push(&mut self.judged, outgoing.known.clone(), JUDGED_MAX);
                self.outgoing = Some(Outgoing::clone(outgoing));
            }
            Entry::Confirmed { block } => self.on_its_way()?.measured = *block,
            Entry::Committing { block } => {
                let outgoing = self.on_its_way()?;
                // One that is tried again is one commitment.
                if outgoing.committing.replace(*block).is_none() {
                    let n_max = usize::try_from(SUBMISSIONS_MAX).unwrap_or(usize::MAX);
                    push(&mut self.commitments, *block, n_max);
                }
            }
            Entry::Withdrawn | Entry::Settled => self.outgoing = None,
        }
        Ok(())
    }
}

impl State {
    fn on_its_way(&mut self) -> Result<&mut Outgoing, String> {
        self.outgoing.as_mut().ok_or_else(|| "no model is on its way".to_owned())
    }
}

/// Appends, and lets go of the oldest beyond `n_max`.
fn push<T>(queue: &mut VecDeque<T>, value: T, n_max: usize) {
    queue.push_back(value);
    while queue.len() > n_max {
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Seed, seed::uniform_below};
    use serde_json::json;

    fn known(number: u8) -> Known {
        Known { fingerprint: Digest([number; 32]), root: Some(Digest([number; 32])) }
    }

    fn chosen(number: u8) -> Entry {
        let [file_root, tensor_root] = [Digest([number; 32]); 2];
        Entry::Chosen(Box::new(Outgoing {
            known: known(number),
            path: format!("checkpoint-{number}"),
            folder: format!("outgoing-{number}"),
            admission: Admission { file_root, tensor_root, n_parameters: 1, card: None },
            measured: Block(1),
            committing: None,
        }))
    }

    fn state(entries: &[Entry]) -> State {
        let mut state = State::default();
        entries.iter().for_each(|entry| state.apply(entry).unwrap());
        state
    }

    #[test]
    fn the_budget_counts_each_model_once_and_frees_itself_with_the_window() {
        let committing = |block| Entry::Committing { block: Block(block) };
        let state = state(&[
            chosen(1),
            committing(10),
            committing(12),
            Entry::Settled,
            chosen(2),
            Entry::Withdrawn,
            chosen(3),
            committing(20),
            Entry::Settled,
        ]);
        let again = |n_max, now| state.again(Budget { n_max, window: 100 }, Block(now));
        assert_eq!(again(3, 20), None, "two of three");
        assert_eq!(again(2, 20), Some(Block(110)), "the first was at block 10");
        assert_eq!(again(1, 20), Some(Block(120)));
        assert_eq!(again(2, 109), Some(Block(110)));
        assert_eq!(again(2, 110), None);
    }

    #[test]
    fn a_model_that_may_be_committed_to_by_itself_is_not_withdrawn() {
        let state = state(&[chosen(1), Entry::Committing { block: Block(10) }]);
        let outgoing = state.outgoing.unwrap();
        assert!(outgoing.is_in_flight(Block(266)) && !outgoing.is_in_flight(Block(267)));
        let Entry::Chosen(fresh) = chosen(2) else { unreachable!() };
        assert!(!fresh.is_in_flight(Block(1)));
    }

    #[test]
    fn what_does_not_follow_is_refused_and_what_was_judged_is_known() {
        let mut state = state(&[Entry::Judged(known(1)), chosen(2)]);
        assert!(state.knows(&known(1).fingerprint) && state.knows_files(&Digest([2; 32])));
        assert!(!state.knows(&Digest([3; 32])));
        assert!(state.apply(&chosen(3)).is_err());
        state.apply(&Entry::Settled).unwrap();
        assert!(state.apply(&Entry::Committing { block: Block(1) }).is_err());
    }

    #[test]
    fn the_budget_frees_itself_at_the_first_block_at_which_it_can() {
        for seed in 0..300 {
            let mut random = Seed::of_number(seed).stream();
            let mut below = |bound| uniform_below(&mut random, bound);
            let (mut block, mut entries, mut made) = (0, Vec::new(), Vec::new());
            for number in 0..below(8) {
                block += below(20);
                let number = u8::try_from(number).unwrap();
                entries.extend([chosen(number), Entry::Committing { block: Block(block) }]);
                entries.push(Entry::Settled);
                made.push(block);
            }
            let state = state(&entries);
            let budget = Budget { n_max: 1 + below(4), window: below(40) };
            let now = block + below(30);
            let is_free = |at: u64| {
                let recent = made.iter().filter(|made| **made + budget.window > at);
                (recent.count() as u64) < budget.n_max
            };
            let expected = (now..).find(|at| is_free(*at)).filter(|at| *at > now).map(Block);
            let found = state.again(budget, Block(now));
            assert_eq!(found, expected, "seed {seed}: {made:?} {budget:?} at {now}");
        }
        let late = state(&[chosen(1), Entry::Committing { block: Block(u64::MAX) }]);
        let budget = Budget { n_max: 1, window: u64::MAX };
        assert_eq!(late.again(budget, Block(u64::MAX)), None, "no block comes after");
    }

    #[test]
    fn entries_are_written_as_journals_of_before_have_them() {
        let digest = Digest([7; 32]);
        let root = serde_json::to_value(digest).unwrap();
        for (entry, written) in [
            (Entry::Began { identity: "a".to_owned() }, json!({ "began": { "identity": "a" } })),
            (Entry::Drawn { block: Block(7) }, json!({ "drawn": { "block": 7 } })),
            (
                Entry::Judged(Known { fingerprint: digest, root: None }),
                json!({ "judged": { "fingerprint": root, "root": null } }),
            ),
            (Entry::Confirmed { block: Block(8) }, json!({ "confirmed": { "block": 8 } })),
            (Entry::Committing { block: Block(9) }, json!({ "committing": { "block": 9 } })),
            (Entry::Withdrawn, json!("withdrawn")),
            (Entry::Settled, json!("settled")),
        ] {
            assert_eq!(serde_json::to_value(&entry).unwrap(), written);
            assert_eq!(serde_json::from_value::<Entry>(written).unwrap(), entry);
        }
        let state =
            state(&[Entry::Judged(known(1)), chosen(2), Entry::Committing { block: Block(3) }]);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let newer = text.replacen('{', "{\"of_tomorrow\":1,", 1);
        assert!(serde_json::from_str::<State>(&newer).is_err(), "what is not known is not dropped");
    }

    #[test]
    fn of_checkpoints_without_number_the_newest_are_known() {
        let known = |number: usize| {
            let fingerprint = Digest::of(&number.to_le_bytes());
            Known { fingerprint, root: Some(fingerprint) }
        };
        let mut state = State::default();
        for number in 0..=JUDGED_MAX {
            state.apply(&Entry::Judged(known(number))).unwrap();
        }
        assert_eq!(state.judged.len(), JUDGED_MAX);
        let knows = |number| {
            let Known { fingerprint, .. } = known(number);
            (state.knows(&fingerprint), state.knows_files(&fingerprint))
        };
        assert_eq!(
            (knows(0), knows(1), knows(JUDGED_MAX)),
            ((false, false), (true, true), (true, true))
        );
        let unread = Known { root: None, ..known(0) };
        let mut state = State::default();
        state.apply(&Entry::Judged(unread)).unwrap();
        assert!(state.knows(&known(0).fingerprint) && !state.knows_files(&known(0).fingerprint));
    }
}
