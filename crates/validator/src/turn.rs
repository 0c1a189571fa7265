//! A round while it goes on: what was brought for it so far.

use crate::{
    book::{Book, Entry},
    duels::{Begun, Parties},
    ports::{Drawn, Sequence, Sight, Trouble},
    round::{Hindrance, Measured, Refusal},
};
use journal::Losses;
use protocol::{AccountId, Digest, Loss, Outcome, Reason, SequenceLoss, loss::of_sequences};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Times that something is tried again in a round before its trouble counts.
const N_RETRIES: usize = 1;

/// What is known of a round while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// The book of an earlier round, of which most stays as it is: it is only there to save time.
    pub(crate) before: Option<Book>,
    pub(crate) book: Option<Book>,
    /// What one look at each repo showed.
    pub(crate) sights: BTreeMap<AccountId, Result<Sight, Refusal>>,
    /// Whether the hub answers, where nothing else told.
    pub(crate) is_up: Option<bool>,
    /// Whether the hub gave true bytes of a model that is here.
    pub(crate) deliveries: BTreeMap<AccountId, bool>,
    /// What kept models from being had.
    pub(crate) hindered: BTreeMap<AccountId, Hindrance>,
    /// How often something went wrong with each.
    pub(crate) n_failed: BTreeMap<AccountId, usize>,
    /// Models that were tried and not known before.
    pub(crate) n_new: usize,
    /// Bytes fetched for models so far.
    pub(crate) n_fetched: u64,
    /// Tokens measured so far, times the parameters of the models that they were measured with.
    pub(crate) work: u64,
    pub(crate) text: Option<Arc<Drawn>>,
    /// Losses of models on the first sequences of the text in order, by tensor root: on all of
    /// them, or on as many as the duels wanted so far.
    pub(crate) measured: BTreeMap<Digest, Result<SoFar, Reason>>,
    /// The losses of models that the journal keeps, as far as they were asked for in this round.
    pub(crate) kept: BTreeMap<Digest, Losses>,
    /// With rule `duel`, its duels.
    pub(crate) duels: Option<Begun>,
    /// The models of the round, where nothing has come since they were told but losses of one, or
    /// what takes no part in it.
    pub(crate) told: Option<Told>,
}

/// The models of a round as far as they were measured, in order of uid.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) models: Vec<Measured>,
    /// Whether nobody is there who was crowned before, so that losses decide who is measured.
    pub(crate) is_vacant: bool,
    /// The parts that they have in the duels, once these were asked.
    pub(crate) parties: Option<Parties>,
    /// Whether their duels were asked and want no more losses; never with other rules.
    pub(crate) is_fought: bool,
}

/// The losses of a model as far as it was measured.
#[derive(Debug, Default)]
pub(crate) struct SoFar {
    /// Of the first sequences of the text, in order.
    pub(crate) of_sequences: Vec<SequenceLoss>,
    /// Of the batches that were measured whole, in order.
    pub(crate) of_batches: Vec<Loss>,
}

impl SoFar {
    /// Takes in the losses that follow.
    fn learn(&mut self, further: Vec<SequenceLoss>, text: &Drawn) {
        self.of_sequences.extend(further);
        let (whole, others) = text.batches.split_at(self.of_batches.len());
        let mut n_before: usize = whole.iter().map(Vec::len).sum();
        for batch in others {
            let own = n_before..n_before + batch.len();
            let Some(losses) = self.of_sequences.get(own) else { return };
            self.of_batches.push(of_sequences(losses));
            n_before += batch.len();
        }
    }
}

impl Turn {
    /// Keeps what was told of a round before losses of a model came, with these: what else it
    /// depends on is as it was, if they came.
    pub(crate) fn tell_again(&mut self, told: Option<Told>, entry: &Entry, n_sequences: usize) {
        let Some(mut told) = told else { return };
        let is_its = |model: &&mut Measured| model.entry.stored.hotkey == entry.stored.hotkey;
        let Some(model) = told.models.iter_mut().find(is_its) else { return };
        let losses = model.tensor_root.and_then(|root| self.measured.get(&root));
        if let Some(Ok(losses)) = losses
            && losses.of_sequences.len() >= n_sequences
            && model.is_sound()
        {
            model.outcome = Ok(Outcome::Evaluated(losses.of_batches.clone()));
            self.told = Some(told);
        }
    }

    /// The losses of a model that follow those that are known, on the first sequences of the text
    /// in its order, if all of them are kept.
    pub(crate) fn further_losses(
        &self,
        root: &Digest,
        n_sequences: usize,
    ) -> Option<Vec<SequenceLoss>> {
        let kept = self.kept.get(root)?;
        let wanted = self.known(root).len()..n_sequences;
        let mut further = Vec::with_capacity(wanted.len());
        for sequence in self.sequences(wanted) {
            further.push(*kept.get(&sequence.digest)?);
        }
        Some(further)
    }

    /// Takes in the losses of a model that follow those that are known.
    pub(crate) fn learn(&mut self, root: Digest, further: Vec<SequenceLoss>) {
        let Some(text) = &self.text else { return };
        let mut losses = match self.measured.remove(&root) {
            Some(Ok(known)) => known,
            Some(Err(_)) | None => SoFar::default(),
        };
        losses.learn(further, text);
        self.measured.insert(root, Ok(losses));
    }

    /// The losses of a model on the first sequences of the text, as far as they are known already:
    /// a duel asks for a few more again and again.
    pub(crate) fn known(&self, root: &Digest) -> &[SequenceLoss] {
        match self.measured.get(root) {
            Some(Ok(losses)) => &losses.of_sequences,
            Some(Err(_)) | None => &[],
        }
    }

    /// Those of the sequences of the text, in its order; none before there is one.
    pub(crate) fn sequences(&self, places: Range<usize>) -> impl Iterator<Item = &Sequence> {
        let mut batches = self.text.as_deref().map_or(&[][..], |text| &text.batches);
        let mut n_before = places.start;
        // Whole batches are passed over: a duel asks for the next few documents again and again.
        while let [batch, others @ ..] = batches
            && batch.len() <= n_before
        {
            n_before -= batch.len();
            batches = others;
        }
        batches.iter().flatten().skip(n_before).take(places.len())
    }

    /// Notes what kept a model from being had or measured, if it counts.
    pub(crate) fn hinder(&mut self, entry: &Entry, trouble: Trouble) -> anyhow::Result<()> {
        if let Some(refusal) = self.counts(entry, trouble)? {
            self.hindered.insert(entry.stored.hotkey, Hindrance::Trouble(refusal));
        }
        Ok(())
    }

    /// What counts of a trouble: nothing the first time, when it is tried again. Being told to end
    /// never counts: it ends the round for now.
    pub(crate) fn counts(
        &mut self,
        entry: &Entry,
        trouble: Trouble,
    ) -> anyhow::Result<Option<Refusal>> {
        let words = |error: anyhow::Error| format!("{error:#}");
        let refusal = match trouble {
            Trouble::Stopped(error) => return Err(error),
            Trouble::Refused(error) => Refusal::Refused(words(error)),
            Trouble::Unanswered(error) => Refusal::Unanswered(words(error)),
            Trouble::Own(error) if crate::is_ours(&error) => return Err(error),
            Trouble::Own(error) => Refusal::Own(words(error)),
        };
        let n_failed = self.n_failed.entry(entry.stored.hotkey).or_default();
        *n_failed += 1;
        Ok((*n_failed > N_RETRIES).then_some(refusal))
    }
}
