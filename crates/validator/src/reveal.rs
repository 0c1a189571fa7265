//! Hidden weights are looked for when the chain should have opened them: it tells nobody.

use crate::{
    Validator,
    entry::Entry,
    event::Event,
    state::{Hidden, WeightsState},
};
use anyhow::Context as _;
use chain::{Error, Head, HidingRules, Opening};
use protocol::{Block, Uid};

/// Blocks after which it is looked at hidden weights although their time has not come: the owner of
/// a subnet may have moved it.
const LOOK_BLOCKS: u64 = 50;

/// Hidden weights whose epoch has come.
struct Looked<'a> {
    /// Their place among all that are hidden, the oldest first.
    place: usize,
    hidden: &'a Hidden,
    opening: Opening,
}

/// What was found of hidden weights.
struct Found {
    entry: Entry,
    /// What is told; nothing where newer weights have taken their place.
    event: Option<Event>,
}

impl Validator {
    /// Looks whether the chain has opened our hidden weights.
    ///
    /// All that were committed in one epoch are opened together, in their order, so the last of
    /// them is what stays. Weights that are not there when their time is over are said to be lost.
    /// Weights are handed over again where the chain has others than those that were handed over
    /// last, and none are on their way that would change it.
    pub(crate) fn look_for_reveal(&self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let is_time = |weights: &WeightsState| {
            let mut hidden = weights.hidden.iter();
            let is_reached = hidden.any(|hidden| head.block >= hidden.reveal.from);
            !weights.hidden.is_empty() && (is_reached || head.block.0.is_multiple_of(LOOK_BLOCKS))
        };
        let Some(state) = self.weights_if(is_time) else { return Ok(()) };
        match self.found(&state, head) {
            Ok(None) => Ok(()),
            Ok(Some(Found { entry, event })) => {
                self.memory.learn(&entry, head.block)?;
                if let Some(event) = event {
                    watch(event);
                }
                Ok(())
            }
            Err(error) => {
                watch(Event::ChainTrouble(format!("{error:#}")));
                Ok(())
            }
        }
    }

    /// What became of hidden weights, if that is known by now.
    fn found(&self, state: &WeightsState, head: Head) -> anyhow::Result<Option<Found>> {
        let rules = self.rules_of_now()?;
        let looked = state.hidden.iter().enumerate().map(|(place, hidden)| {
            let opening = Opening::of(hidden.reveal, rules.as_ref(), head.block);
            Looked { place, hidden, opening }
        });
        let looked: Vec<_> = looked.filter(|looked| looked.opening != Opening::Ahead).collect();
        // A row that was there before tells nothing until there is nothing more to wait for.
        let tells =
            |looked: &&Looked<'_>| !looked.hidden.repeats || looked.opening == Opening::Over;
        let Some(uid) = looked.iter().find(tells).map(|looked| looked.hidden.uid) else {
            return Ok(None);
        };
        let row = self.own_row(uid)?;
        let is_there = |looked: &&Looked<'_>| looked.hidden.row == row && looked.hidden.uid == uid;
        // While we were away, later ones may have taken the place of the oldest.
        let seen = looked.iter().filter(tells).rev().find(is_there);
        let known: Vec<&Looked<'_>> = match seen {
            Some(seen) => looked.iter().filter(|looked| looked.place <= seen.place).collect(),
            None => looked.iter().filter(|looked| looked.opening == Opening::Over).collect(),
        };
        let (Some(first), Some(last)) = (known.first(), known.last()) else { return Ok(None) };
        let is_newer_coming = last.place + 1 < state.hidden.len() || state.sent.is_some();
        let is_as_wanted = state.row.as_ref().map_or(seen.is_some(), |wanted| *wanted == row);
        let block = head.block;
        let event = match seen {
            Some(seen) if seen.hidden.repeats => Some(Event::WeightsUnchanged { block }),
            Some(_) => Some(Event::WeightsRevealed { block }),
            None if is_as_wanted => None,
            None => Some(Event::WeightsNotRevealed { reveal: first.hidden.reveal }),
        };
        let entry = Entry::WeightsOpened {
            until: last.hidden.reveal.until,
            again: !is_newer_coming && !is_as_wanted,
            places: Some(known.iter().map(|looked| looked.place).collect()),
            row: Some(row),
        };
        Ok(Some(Found { entry, event }))
    }

    /// The row that the chain keeps of us, in order of target.
    fn own_row(&self, uid: Uid) -> anyhow::Result<Vec<(Uid, u16)>> {
        let row = self.ports.chain.weights(self.config.netuid, uid);
        let mut row = row.context("cannot read our own weights")?;
        row.sort_unstable();
        Ok(row)
    }

    /// Number of the epoch that took our hidden weights in, by the block that did.
    pub(crate) fn epoch_taken(
        &self,
        state: &WeightsState,
        set: Option<Block>,
    ) -> anyhow::Result<Option<u64>> {
        let planned = state.hiding.as_ref().map_or(0, |hidden| hidden.reveal.epoch);
        let Some(block) = set.filter(|_| planned > 0) else { return Ok(None) };
        Ok(self.rules_of_now()?.map(|rules| rules.epochs.number_of(block)))
    }

    /// How the subnet hides weights, if it does and that can be known.
    fn rules_of_now(&self) -> anyhow::Result<Option<HidingRules>> {
        match self.ports.chain.hiding(self.config.netuid) {
            Ok(rules) => Ok(rules),
            // What keeps us from hiding more, such as a wrong clock, says nothing of those that are
            // hidden: for them counts what was reckoned when they were signed.
            Err(Error::Clock { .. }) => Ok(None),
            Err(error) if !error.is_transient() => Ok(None),
            Err(error) => Err(error).context("cannot read how the subnet hides weights"),
        }
    }
}
