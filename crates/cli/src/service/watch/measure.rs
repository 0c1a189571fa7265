//! Measuring a model beside those that stand in its way, on text that nobody has seen.

use super::{
    Tools, Watch,
    judge::{Bar, Beside, Comparison, Whose},
    rivals::{Ours, Rival},
    state::Entry,
};
use crate::{evaluator::ProcessEvaluate, service::metrics::ErrorKind};
use anyhow::Context as _;
use chain::{Chain as _, Head};
use protocol::{
    AccountId, Block, Competition, Digest, Loss, Reason, SequenceLoss,
    competition::Seeds,
    loss::{of_sequences, per_batch},
    publication::first_round,
    unigram::no_better_than_guessing,
};
use std::{path::Path, time::Duration};
use validator::{Admission, Ask, Drawn, Engine as _, Sequence};

/// How often the chain is asked for a block with fresh text.
const TICK: Duration = Duration::from_millis(200);

/// What a measurement came to.
pub enum Measured {
    /// A validator would refuse the model.
    Refused(Reason),
    /// It was compared with others.
    Compared {
        /// With what outcome.
        comparison: Comparison,
        /// Blocks whose text it was measured on, the newest first.
        blocks: Vec<Block>,
    },
}

/// What was measured so far, on one text after the other.
#[derive(Default)]
struct Course {
    /// Blocks whose texts those were, the newest first.
    blocks: Vec<Block>,
    /// Their documents: with rule `duel` one for each loss.
    documents: Vec<Digest>,
    /// The losses of our model.
    own: Vec<Loss>,
    /// Whoever still stands in the way, with its losses.
    others: Vec<(Rival, Beside)>,
}

/// The sequences of some texts.
struct Exam<'a> {
    texts: &'a [Drawn],
    sequences: Vec<&'a Sequence>,
    /// Whether validators disqualify a model that does no better than guessing on one of the texts.
    has_bar: bool,
}

impl Exam<'_> {
    /// The losses of the batches, or why validators disqualify a model that has them.
    fn pass(&self, losses: &[SequenceLoss]) -> Result<Vec<Loss>, Reason> {
        let mut rest = losses;
        for text in self.texts {
            let n_sequences = text.n_sequences().min(rest.len());
            let (own, others) = rest.split_at(n_sequences);
            rest = others;
            if self.has_bar
                && let Some(reason) = no_better_than_guessing(of_sequences(own), text.guessing)
            {
                return Err(reason);
            }
        }
        let batches = self.texts.iter().flat_map(|text| &text.batches);
        Ok(per_batch(batches.map(Vec::len), losses))
    }
}

impl Watch<'_> {
    /// Measures a model of ours; where it would win against somebody, once more on other text,
    /// where it has to win as well. A duel says by itself how likely luck wins it.
    pub(super) fn measure_twice(
        &mut self,
        dir: &Path,
        admission: &Admission,
    ) -> anyhow::Result<Measured> {
        let first = self.measure(dir, admission)?;
        let is_contested = match &first {
            Measured::Refused(_) => false,
            Measured::Compared { comparison, .. } => {
                comparison.wins && !comparison.others.is_empty() && comparison.duel.is_none()
            }
        };
        if is_contested { self.measure(dir, admission) } else { Ok(first) }
    }

    /// Measures a model of ours beside whatever stands in its way; with rule `duel` on one text
    /// after the other, until the duels are decided.
    pub(super) fn measure(
        &mut self,
        dir: &Path,
        admission: &Admission,
    ) -> anyhow::Result<Measured> {
        // What cannot be had costs no text.
        let found = {
            let Tools { contest, rivals, session, hotkey, netuid, .. } = &mut self.tools;
            let (hotkey, competition) = (hotkey.public(), &contest.competition);
            rivals.find(&*session.chain, Ours { netuid: *netuid, hotkey, competition })?
        };
        let beside = |rival: Rival| {
            let Rival { whose, block, .. } = &rival;
            let (whose, block) = (*whose, *block);
            (rival, Beside { whose, block, losses: Vec::new() })
        };
        let mut course =
            Course { others: found.into_iter().map(beside).collect(), ..Course::default() };
        loop {
            if let Err(reason) = self.measure_more(dir, admission, &mut course)? {
                return Ok(Measured::Refused(reason));
            }
            if let Some(comparison) = self.compare(&course)? {
                return Ok(Measured::Compared { comparison, blocks: course.blocks });
            }
        }
    }

    /// Measures all of a course on text that nothing was measured on; or says why validators would
    /// refuse our model.
    fn measure_more(
        &mut self,
        dir: &Path,
        admission: &Admission,
        course: &mut Course,
    ) -> anyhow::Result<Result<(), Reason>> {
        let heads = self.fresh()?;
        let Tools { contest, rivals, engine, hotkey, .. } = &self.tools;
        let (competition, hotkey) = (&contest.competition, hotkey.public());
        let texts = heads.iter().map(|head| contest.drawn(seed_of(competition, *head, hotkey)));
        let texts = texts.collect::<anyhow::Result<Vec<Drawn>>>();
        let texts = texts.context(ErrorKind::Text).context("cannot draw text")?;
        // Where somebody holds the crown, duels alone decide: each takes another part of the text.
        let has_duels = competition.scoring.duel_rules().is_some();
        let is_champion = |(_, beside): &(Rival, Beside)| beside.whose == Whose::Champion;
        let has_bar = !has_duels || !course.others.iter().any(is_champion);
        let exam = Exam { texts: &texts, sequences: sequences(&texts), has_bar };
        let ask = Ask { competition, admission, sequences: &exam.sequences };
        match losses(engine, dir, ask)?.and_then(|losses| exam.pass(&losses)) {
            Ok(own) => course.own.extend(own),
            Err(reason) => return Ok(Err(reason)),
        }
        for (rival, mut beside) in std::mem::take(&mut course.others) {
            let losses = rivals.losses(Ask { admission: &rival.admission, ..ask });
            let losses = losses.context(ErrorKind::Evaluator)?;
            match losses.and_then(|losses| exam.pass(&losses)) {
                Ok(losses) => {
                    beside.losses.extend(losses);
                    course.others.push((rival, beside));
                }
                Err(reason) => {
                    tracing::info!("{:?} stands in nobody's way: {reason}", rival.whose);
                }
            }
        }
        let documents = texts.iter().flat_map(|text| &text.documents);
        course.documents.extend(documents.map(|document| document.sha256));
        let mut blocks: Vec<Block> = heads.iter().map(|head| head.block).collect();
        blocks.append(&mut course.blocks);
        course.blocks = blocks;
        Ok(Ok(()))
    }

    /// What a course came to; `None` while more has to be measured.
    fn compare(&self, course: &Course) -> anyhow::Result<Option<Comparison>> {
        let Tools { contest, args, .. } = &self.tools;
        let competition = &contest.competition;
        let newest = course.blocks.first().copied().unwrap_or_default();
        let next = Block(newest.0.saturating_add(1));
        let judged = first_round(competition, next);
        let bar = Bar { rules: &competition.scoring, margin: args.margin, judged };
        let others: Vec<Beside> = course.others.iter().map(|(_, beside)| beside.clone()).collect();
        match competition.scoring.duel_rules() {
            Some(rules) => {
                let compared = bar.duel(rules, &course.documents, &course.own, &others);
                compared.context("cannot let the model duel")
            }
            None => Ok(Some(bar.compare(&course.own, &others))),
        }
    }

    /// Blocks whose text nothing was measured on, the newest first; waits until there are as many
    /// as a measurement takes. They are noted before they are used.
    fn fresh(&mut self) -> anyhow::Result<Vec<Head>> {
        let (n, drawn) = (self.tools.args.rounds, self.past.state().drawn);
        let newest = loop {
            let head = self.tools.session.chain.head().context("cannot read the newest block")?;
            let now = head.block;
            anyhow::ensure!(
                now >= drawn,
                "the chain is at block {now}, and was at {drawn}: another chain, or one that lags"
            );
            if now.since(drawn) >= n {
                break head;
            }
            self.tools.rest(TICK)?;
        };
        let chain = &self.tools.session.chain;
        let mut heads = vec![newest];
        for back in 1..n {
            let block = Block(newest.block.0.saturating_sub(back));
            let hash = chain.block_hash(block).context("cannot read a block")?;
            let hash = hash.with_context(|| format!("the chain does not have block {block}"))?;
            heads.push(Head { block, hash });
        }
        self.past.learn(&Entry::Drawn { block: newest.block }, newest.block)?;
        Ok(heads)
    }
}

fn sequences(texts: &[Drawn]) -> Vec<&Sequence> {
    texts.iter().flat_map(|text| text.batches.iter().flatten()).collect()
}

/// What text is drawn from at a block: with rule `duel` of a seed of our own, so that no round has
/// these documents.
fn seed_of(competition: &Competition, head: Head, hotkey: AccountId) -> Head {
    if competition.scoring.duel_rules().is_none() {
        return head;
    }
    Head { hash: Seeds::Own.hash(head.hash, hotkey), ..head }
}

/// The losses of a model of ours, or why a validator would refuse it.
fn losses(
    engine: &ProcessEvaluate,
    dir: &Path,
    ask: Ask<'_>,
) -> anyhow::Result<Result<Vec<SequenceLoss>, Reason>> {
    let mut all = Vec::new();
    let mut learn = |losses: &[SequenceLoss]| -> anyhow::Result<()> {
        all.extend_from_slice(losses);
        Ok(())
    };
    let end = engine.losses(dir, ask, &mut learn).context(ErrorKind::Evaluator)?;
    Ok(end.map(|()| all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_of_guessing_holds_where_it_holds_in_a_round() {
        let text = Drawn {
            documents: Vec::new().into(),
            batches: vec![vec![Sequence { digest: Digest([1; 32]), tokens: vec![1, 2] }]],
            digest: Digest([2; 32]),
            guessing: Loss::new(5.0).unwrap(),
            optimum: None,
        };
        let texts = [text];
        let loss =
            |nats: f64| [SequenceLoss { n_tokens: 1, cross_entropy: Loss::new(nats).unwrap() }];
        let exam = |has_bar| Exam { texts: &texts, sequences: sequences(&texts), has_bar };
        assert!(exam(true).pass(&loss(6.0)).is_err());
        assert_eq!(exam(true).pass(&loss(4.0)), exam(false).pass(&loss(4.0)));
        assert_eq!(exam(false).pass(&loss(6.0)), Ok(vec![Loss::new(6.0).unwrap()]));
    }
}
