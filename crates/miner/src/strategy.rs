//! What a miner does at each block, by strategy.

use crate::{Champion, Event, Published, Publisher, Train, find_champion};
use anyhow::Context as _;
use chain::{CallError, CallStatus, Head};
use protocol::Block;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How a miner gets its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Trains from scratch and publishes each clear improvement on what it last published.
    Pretrain,
    /// Waits for a champion, trains on from its parameters (section 3.4.3 of the paper), and
    /// publishes what is clearly better than the champion.
    Rebase {
        /// Blocks that a champion's commitment must be old: one that is still improved upon every
        /// few blocks would be gone before anything better came of it.
        patience_blocks: u64,
    },
}

/// How much a miner works and when it publishes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How the miner gets its model.
    pub strategy: Strategy,
    /// Training steps at each block.
    pub steps_per_block: u64,
    /// Steps before the first model is published: earlier ones are not worth a commitment.
    pub n_steps_unpublished: u64,
    /// Steps after which the miner has spent what it had and trains no more.
    pub n_steps: u64,
    /// Blocks between two measurements on held-back text.
    pub blocks_per_measure: u64,
    /// Fraction by which the perplexity must be lower than that of the champion rebased on.
    pub improvement: f64,
    /// The same over the model that was last published: more, because the new commitment is junior
    /// to every copy of the old model, and must beat them all by epsilon.
    pub improvement_own: f64,
}

/// A miner at work: one hotkey, one repo, one model in training.
pub struct Miner {
    plan: Plan,
    publisher: Publisher,
    train: Box<dyn Train>,
    /// Folder of this miner: what it downloads and what it is about to publish.
    home: PathBuf,
    /// Champion whose parameters training went on from.
    base: Option<Champion>,
    /// Champion whose parameters training cannot go on from.
    passed_over: Option<Champion>,
    /// Perplexity below which the next model is published.
    mark: f64,
    /// A commitment whose fate is not known yet.
    pending: Option<Published>,
    n_steps: u64,
}

impl Miner {
    /// A miner that has published nothing yet and keeps its files under `home`.
    pub fn new(plan: Plan, publisher: Publisher, train: Box<dyn Train>, home: PathBuf) -> Self {
        Self {
            plan,
            publisher,
            train,
            home,
            base: None,
            passed_over: None,
            mark: f64::INFINITY,
            pending: None,
            n_steps: 0,
        }
    }

    /// Does the work of one block; `watch` hears of every step.
    pub fn on_block(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        self.settle(watch)?;
        if let Strategy::Rebase { patience_blocks } = self.plan.strategy {
            self.rebase(head.block, patience_blocks, watch)?;
            if self.base.is_none() {
                return Ok(());
            }
        }
        let n_steps = self.plan.steps_per_block.min(self.plan.n_steps - self.n_steps);
        if n_steps == 0 {
            return Ok(());
        }
        for _ in 0..n_steps {
            watch(Event::Step(self.train.step()?));
        }
        self.n_steps += n_steps;
        if self.n_steps < self.plan.n_steps_unpublished {
            return Ok(());
        }
        let is_last = self.n_steps == self.plan.n_steps;
        if is_last || head.block.0.is_multiple_of(self.plan.blocks_per_measure) {
            let loss = self.train.held_out_loss()?;
            watch(Event::Measured(loss));
            if loss.exp() < self.mark {
                self.publish(loss.exp(), watch)?;
            }
        }
        Ok(())
    }

    /// Looks after the commitment on its way: commits again while the chain asks to wait.
    fn settle(&mut self, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        let Some(published) = &mut self.pending else { return Ok(()) };
        match self
            .publisher
            .chain
            .status(published.call)
            .context("cannot ask for the commitment")?
        {
            CallStatus::Pending => {}
            CallStatus::Applied(_) => self.pending = None,
            // A second commitment would cost the age of the first.
            CallStatus::Unreadable(_) if self.publisher.has_committed(&published.commitment)? => {
                self.pending = None;
            }
            CallStatus::Unreadable(_)
            | CallStatus::Refused(_, CallError::CommitmentSetRateLimitExceeded)
            | CallStatus::Expired
            | CallStatus::Displaced
            | CallStatus::Unknown => {
                published.call = self.publisher.commit(&published.commitment)?;
            }
            CallStatus::Refused(_, error) => {
                self.pending = None;
                watch(Event::CommitmentRefused(error));
            }
        }
        Ok(())
    }

    /// Goes over to a champion that is somebody else's and better than the model in training.
    fn rebase(
        &mut self,
        now: Block,
        patience_blocks: u64,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        let publisher = &self.publisher;
        let champion = find_champion(&*publisher.chain, publisher.netuid, &publisher.competition)?;
        let Some(champion) = champion else { return Ok(()) };
        if now.since(champion.block) < patience_blocks {
            return Ok(());
        }
        let is_known =
            [&self.base, &self.passed_over].map(Option::as_ref).contains(&Some(&champion));
        if champion.hotkey == publisher.keypair.public() || is_known {
            return Ok(());
        }
        let models = self.home.join("models");
        let Some(dir) = champion.fetch(&*publisher.hub, &publisher.competition, &models)? else {
            return Ok(());
        };
        let Some(theirs) = self.train.loss_of(&dir)? else {
            watch(Event::PassedOver(champion.clone()));
            self.passed_over = Some(champion);
            return Ok(());
        };
        let ours = self.train.held_out_loss()?;
        if self.base.is_none() || theirs < ours {
            self.train.rebase(&dir)?;
            watch(Event::Rebased(champion.clone()));
        }
        self.mark = self.mark.min(theirs.exp() * (1.0 - self.plan.improvement));
        self.base = Some(champion);
        Ok(())
    }

    fn publish(&mut self, perplexity: f64, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        if self.pending.is_some() {
            return Ok(());
        }
        let [next, last] = ["next", "published"].map(|name| self.home.join(name));
        delete(&next)?;
        fs::create_dir_all(&self.home)
            .with_context(|| format!("cannot create `{}`", self.home.display()))?;
        self.train.save(&next)?;
        match self.publisher.publish(&next)? {
            Ok(mut published) => {
                delete(&last)?;
                fs::rename(&next, &last)
                    .with_context(|| format!("cannot rename `{}`", next.display()))?;
                published.perplexity = Some(perplexity);
                self.mark = perplexity * (1.0 - self.plan.improvement_own);
                self.pending = Some(published.clone());
                watch(Event::Published(published));
            }
            Err(reason) => watch(Event::Withheld(reason)),
        }
        Ok(())
    }
}

/// Deletes a folder if it is there.
fn delete(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete `{}`", dir.display()))?;
    }
    Ok(())
}
