//! What a miner does at each block, by strategy.

use crate::{
    Champion, Event, Outbox, Publisher, Train, find_champion,
    publish::Patience,
    state::{Entry, Measured, State},
};
use anyhow::Context as _;
use chain::Head;
use protocol::Block;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folder of the checkpoint, in that of the miner.
const CHECKPOINT: &str = "checkpoint";
/// Folder of the champion that training goes on from.
const MODELS: &str = "models";
/// Beginning of the names of folders with models that are about to be published.
const NEXT: &str = "next-";
/// Folder of the model that was published last.
const LAST: &str = "published";

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
    /// Blocks between two measurements on held-back text, with each of which goes a checkpoint.
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
    outbox: Outbox,
    train: Box<dyn Train>,
    /// Steps that the model in training has had; after a crash fewer than are remembered.
    n_steps: u64,
    /// With the hub of a champion that cannot be had.
    patience: Patience,
}

impl Miner {
    /// Goes on with the training, and with the model on its way, where checkpoint and journal say
    /// they were; in an empty folder it begins.
    pub fn open(plan: Plan, outbox: Outbox, train: Box<dyn Train>) -> anyhow::Result<Self> {
        let mut miner = Self { plan, outbox, train, n_steps: 0, patience: Patience::default() };
        // What a process that was killed had begun to write: the journal keeps others out of here.
        for folder in [&miner.outbox.home, &miner.outbox.home.join(CHECKPOINT)] {
            disk::sweep(folder).with_context(|| unread(folder))?;
        }
        let checkpoint = miner.outbox.home.join(CHECKPOINT);
        match miner.train.resume(&checkpoint).context("cannot go on from the checkpoint")? {
            Some(n_steps) => miner.n_steps = n_steps,
            // From the first block on there is one: if it is not there, it was there.
            None if *miner.outbox.state() == State::default() => miner.save_checkpoint()?,
            None => anyhow::bail!(
                "the checkpoint `{}` is gone, and {} steps of training with it; put it back, or \
                 begin again in another folder",
                checkpoint.display(),
                miner.outbox.state().n_steps
            ),
        }
        miner.tidy()?;
        Ok(miner)
    }

    /// What this miner remembers.
    pub fn state(&self) -> &State {
        self.outbox.state()
    }

    /// Does the work of one block; `watch` hears of every step.
    ///
    /// A block whose work is done already, as after a crash, is not worked for again. Trouble with
    /// the hub or the chain is told, and training goes on; an `Err` is our own, or of a training
    /// that came to no numbers any more.
    pub fn on_block(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        self.outbox.advance(head, watch)?;
        if head.block > self.state().block {
            self.work(head, watch)?;
        } else if head.block < self.state().block {
            let (now, before) = (head.block, self.state().block);
            watch(Event::ChainTrouble(format!(
                "the chain is at block {now}, and was at {before}: another chain, or one that lags"
            )));
        }
        self.tidy()
    }

    fn work(&mut self, head: Head, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        // What a crash undid comes first: champions are compared with the model as it was, or,
        // after a crash between the checkpoint and the end of a block, as it was at the end.
        self.train_to(self.state().n_steps, watch)?;
        if let Strategy::Rebase { patience_blocks } = self.plan.strategy {
            self.rebase(head.block, patience_blocks, watch)?;
            if self.state().base.is_none() {
                return Ok(());
            }
        }
        // Whoever plans more steps than before has not finished.
        if self.state().is_finished && self.n_steps >= self.plan.n_steps {
            return Ok(());
        }
        let goal = self.state().n_steps.saturating_add(self.plan.steps_per_block);
        self.train_to(goal.min(self.plan.n_steps), watch)?;
        let is_last = self.n_steps >= self.plan.n_steps;
        let mut is_finished = false;
        // By the block that was worked for before: of blocks that come while it trains, only the
        // newest is worked for.
        let every = self.plan.blocks_per_measure.max(1);
        let last = Some(self.state().block).filter(|last| last.0 > 0);
        let is_due = head.block.0.is_multiple_of(every)
            || last.is_some_and(|last| last.0 / every != head.block.0 / every);
        if is_last || is_due {
            // Before the measurement: a model that goes out can then be trained on from.
            self.save_checkpoint()?;
            is_finished = self.measure(head.block, watch)? && is_last;
        }
        let (block, n_steps) = (head.block, self.n_steps);
        // Last: should we die before, the same steps are made again and give the same numbers.
        self.outbox.learn(&Entry::Worked { block, n_steps, is_finished }, block)?;
        self.outbox.advance(head, watch)
    }

    fn train_to(&mut self, n_steps: u64, watch: &dyn Fn(Event)) -> anyhow::Result<()> {
        while self.n_steps < n_steps {
            watch(Event::Step(self.train.step()?));
            self.n_steps += 1;
        }
        Ok(())
    }

    fn save_checkpoint(&mut self) -> anyhow::Result<()> {
        let dir = self.outbox.home.join(CHECKPOINT);
        self.train.checkpoint(&dir, self.n_steps).context("cannot write a checkpoint")
    }

    /// Measures the model and offers it if it is worth a commitment; false if that has to wait.
    fn measure(&mut self, block: Block, watch: &dyn Fn(Event)) -> anyhow::Result<bool> {
        if self.n_steps < self.plan.n_steps_unpublished {
            return Ok(true);
        }
        let loss = self.train.held_out_loss()?;
        watch(Event::Measured(loss));
        let perplexity = loss.exp();
        let is_better = perplexity < self.state().mark.unwrap_or(f64::INFINITY);
        if !is_better {
            return Ok(true);
        }
        if self.state().is_committing() {
            return Ok(false);
        }
        // One that waits for a hub gives way only to a better one.
        let waits = self.state().outgoing.as_ref().and_then(|outgoing| outgoing.measured);
        if waits.is_some_and(|waits| perplexity >= waits.perplexity) {
            return Ok(true);
        }
        let folder = format!("{NEXT}{}", self.n_steps);
        let dir = self.outbox.home.join(&folder);
        // What a killed process left of it is of the same steps, and may be half of it.
        delete(&dir)?;
        self.train.save(&dir)?;
        let mark = perplexity * (1.0 - self.plan.improvement_own);
        let measured = Some(Measured { perplexity, mark });
        let offered = Entry::Offered { block, folder, measured, commitment: None };
        self.outbox.take(&offered, block)?;
        Ok(true)
    }

    /// Goes over to a champion that is somebody else's and better than the model in training.
    fn rebase(
        &mut self,
        now: Block,
        patience_blocks: u64,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<()> {
        let Some((champion, dir)) = self.base_to_be(now, patience_blocks, watch)? else {
            return Ok(());
        };
        let pass_over = |outbox: &mut Outbox| {
            watch(Event::PassedOver(champion.clone()));
            outbox.learn(&Entry::PassedOver(champion.clone()), now)
        };
        let Some(theirs) = self.train.loss_of(&dir)?.filter(|theirs| theirs.is_finite()) else {
            return pass_over(&mut self.outbox);
        };
        let ours = self.train.held_out_loss()?;
        if self.state().base.is_none() || theirs < ours {
            if !self.train.rebase(&dir)? {
                return pass_over(&mut self.outbox);
            }
            // Before it is remembered: a checkpoint of before would undo it, and one of after that
            // is not remembered is found to be as good as the champion, which comes to the same.
            self.save_checkpoint()?;
            watch(Event::Rebased(champion.clone()));
        }
        let mark = theirs.exp() * (1.0 - self.plan.improvement);
        let mark = mark.min(self.state().mark.unwrap_or(f64::INFINITY));
        let mark = mark.is_finite().then_some(mark);
        self.outbox.learn(&Entry::Rebased { champion, mark }, now)
    }

    /// A champion to compare with, and its model on this disk.
    fn base_to_be(
        &mut self,
        now: Block,
        patience_blocks: u64,
        watch: &dyn Fn(Event),
    ) -> anyhow::Result<Option<(Champion, PathBuf)>> {
        let Publisher { chain, hub, netuid, competition, keypair, .. } = &self.outbox.publisher;
        let champion = match find_champion(&**chain, *netuid, competition) {
            Ok(champion) => champion,
            Err(error) => {
                let error = anyhow::Error::from(error);
                watch(Event::ChainTrouble(format!("cannot look for a champion: {error:#}")));
                return Ok(None);
            }
        };
        let State { base, passed_over, .. } = self.state();
        let is_new = |champion: &Champion| {
            now.since(champion.block) >= patience_blocks
                && champion.hotkey != keypair.public()
                && ![base, passed_over].map(Option::as_ref).contains(&Some(champion))
        };
        let Some(champion) = champion.filter(is_new) else { return Ok(None) };
        if !self.patience.is_over(now) {
            return Ok(None);
        }
        match champion.fetch(&**hub, competition, &self.outbox.home.join(MODELS))? {
            Ok(Some(dir)) => {
                self.patience = Patience::default();
                Ok(Some((champion, dir)))
            }
            Ok(None) => {
                self.patience.fail(now);
                Ok(None)
            }
            Err(trouble) => {
                self.patience.fail(now);
                watch(Event::HubTrouble(trouble));
                Ok(None)
            }
        }
    }

    /// Names the folder of the model that was published last, and deletes those that led nowhere.
    fn tidy(&self) -> anyhow::Result<()> {
        let home = &self.outbox.home;
        let State { outgoing, uploaded, .. } = self.state();
        let waits = outgoing.as_ref().map(|outgoing| &outgoing.folder);
        let entries = fs::read_dir(home).with_context(|| unread(home))?;
        for entry in entries {
            let path = entry.with_context(|| unread(home))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some(name) = name.filter(|name| name.starts_with(NEXT)) else { continue };
            // What was uploaded first: its entry may be of a process that died before this.
            if uploaded.as_ref() == Some(&name) {
                let last = home.join(LAST);
                delete(&last)?;
                fs::rename(&path, &last)
                    .with_context(|| format!("cannot rename `{}`", path.display()))?;
            } else if waits != Some(&name) {
                delete(&path)?;
            }
        }
        Ok(())
    }
}

fn unread(dir: &Path) -> String {
    format!("cannot read `{}`", dir.display())
}

/// Deletes a folder if it is there.
fn delete(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete `{}`", dir.display()))?;
    }
    Ok(())
}
