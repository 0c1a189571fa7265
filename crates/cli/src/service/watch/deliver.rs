//! A chosen model on its way to a commitment, one at a time, gone on with after any interruption.

use super::{
    Watch, delete,
    measure::Measured,
    report::{Line, Verdict},
    state::{Entry, Outgoing},
};
use crate::command::miner::entrant::{Entrant, Exposure};
use ::hugging_face::Folder;
use anyhow::Context as _;
use chain::Chain as _;
use std::{cell::RefCell, path::Path};

/// Doublings of the pause between two tries, at most.
const DOUBLINGS_MAX: u32 = 6;

/// How long a submission that failed is left alone: one look, then two, and so on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    n_failures: u32,
    looks_left: u32,
}

impl Pace {
    /// Whether it is time for a try.
    fn is_due(&mut self) -> bool {
        let is_due = self.looks_left == 0;
        self.looks_left = self.looks_left.saturating_sub(1);
        is_due
    }

    /// Notes a try that may fail.
    fn try_once(&mut self) {
        self.looks_left = 1 << self.n_failures.min(DOUBLINGS_MAX);
        self.n_failures = self.n_failures.saturating_add(1);
    }
}

impl Watch<'_> {
    /// Brings the chosen model as far as it gets, unless it would no longer win and nobody has
    /// committed to it.
    pub(super) fn deliver(&mut self) -> anyhow::Result<()> {
        let Some(outgoing) = self.past.state().outgoing.clone() else { return Ok(()) };
        if !self.pace.is_due() {
            return Ok(());
        }
        self.pace.try_once();
        let dir = self.tools.home.join(&outgoing.folder);
        let line = |verdict| {
            let line = Line::new(Path::new(&outgoing.path), verdict);
            line.of_files(outgoing.admission.file_root)
        };
        let (entry, line) = match self.still_wins(&outgoing, &dir)? {
            true => {
                let what = "cannot submit the model that would win";
                let submitted = self.with_entrant(&outgoing, &dir, |entrant| entrant.submit());
                let submitted = submitted.context(what)?;
                (Entry::Settled, line(Verdict::Submitted).submitted(submitted))
            }
            false => (Entry::Withdrawn, line(Verdict::Withdrawn)),
        };
        self.tools.say(&line)?;
        let drawn = self.past.state().drawn;
        self.past.learn(&entry, drawn)?;
        self.pace = Pace::default();
        delete(&dir)
    }

    /// Whether the model is to go on: what was measured longer than a round ago is measured again,
    /// as long as nothing irreversible has happened.
    fn still_wins(&mut self, outgoing: &Outgoing, dir: &Path) -> anyhow::Result<bool> {
        let now = self.tools.session.chain.head().context("cannot read the newest block")?.block;
        let every = self.tools.contest.competition.evaluation.blocks_per_round;
        if now.since(outgoing.measured) <= every || outgoing.is_in_flight(now) {
            return Ok(true);
        }
        if self.with_entrant(outgoing, dir, |entrant| entrant.is_committed())? {
            return Ok(true);
        }
        match self.measure(dir, &outgoing.admission)? {
            Measured::Compared { comparison, .. } if comparison.wins => {
                self.past.learn(&Entry::Confirmed { block: now }, now)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Does something with the model as one that is entered.
    fn with_entrant<T>(
        &mut self,
        outgoing: &Outgoing,
        dir: &Path,
        act: impl FnOnce(&Entrant<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Self { tools, past, .. } = self;
        let root = &outgoing.admission.file_root;
        let repo = tools.repo(root)?;
        let folder = Folder::of_model(dir)?;
        let past = RefCell::new(past);
        let before_call = || -> anyhow::Result<()> {
            let head = tools.session.chain.head().context("cannot read the newest block")?;
            let block = head.block;
            Ok(past.borrow_mut().learn(&Entry::Committing { block }, block)?)
        };
        act(&Entrant {
            session: &tools.session,
            hotkey: &tools.hotkey,
            netuid: tools.netuid,
            address: &tools.args.service.address,
            competition: &tools.contest.competition,
            dir,
            folder: &folder,
            root,
            repo: repo.as_ref(),
            exposure: Exposure::Hidden,
            before_call: &before_call,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_that_fails_is_tried_less_and_less_often() {
        let mut pace = Pace::default();
        let mut tries = Vec::new();
        for look in 0..40 {
            if pace.is_due() {
                pace.try_once();
                tries.push(look);
            }
        }
        assert_eq!(tries, [0, 2, 5, 10, 19, 36]);
    }
}
