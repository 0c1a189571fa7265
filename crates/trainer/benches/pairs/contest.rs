//! One pair: its gains, its duel, what the paper's rule says, and duels without a better one.

use crate::{
    corpus::{Corpus, Losses},
    statistics::{Moments, correlation, within_groups},
    texts::{Failure, PER_BATCH},
};
use protocol::{
    Block, Digest, Loss, Seed, SequenceLoss, Uid,
    competition::{Epsilon, LossKind},
    duel::{Document, Duel, DuelRules, Pairing, Terms, Verdict},
    loss,
    seed::uniform_below,
    wins::{Seniority, Side, is_win},
};

/// Advantage of the champion, as in the competition `tiny`.
pub(crate) const EPSILON: f64 = 0.005;
/// Batches of the paper's rule, of [`PER_BATCH`] documents each, as in `tiny`.
pub(crate) const N_BATCHES: usize = 24;
/// Fewest documents of a pair: those of the paper's rule, which are more than those of a crown.
pub(crate) const N_DOCUMENTS_MIN: usize = N_BATCHES * PER_BATCH;
/// Duels of a pair whose challenger is made exactly epsilon better.
pub(crate) const N_RESAMPLED: usize = 1_000;

/// What was found of a pair. Gains are fractions of the reference.
pub(crate) struct Findings {
    /// The champion's mean loss on other documents, in nats per token.
    pub(crate) reference: f64,
    /// By how much the challenger's loss is lower on the first window of each document.
    pub(crate) gains: Vec<f64>,
    pub(crate) moments: Moments,
    /// Correlation of gains on windows of one document.
    pub(crate) within_documents: f64,
    /// Correlation of the two models' losses.
    pub(crate) correlation: f64,
    /// How the duel ends; `None` while it would go on.
    pub(crate) verdict: Option<Verdict>,
    /// Documents that it takes in.
    pub(crate) n_documents: u32,
    /// What a crown must exceed; `None` if the duel ends before.
    pub(crate) margin: Option<f64>,
    /// Batches that the challenger wins by the paper's rule.
    pub(crate) n_batches_won: usize,
    pub(crate) null: Null,
}

/// Duels of [`N_RESAMPLED`] on the gains of a pair, moved so that the mean clipped one is epsilon.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Null {
    /// Those that crown a challenger which is not better by more than epsilon.
    pub(crate) n_dethroned: usize,
    /// Those that reject a challenger which is not worse than epsilon.
    pub(crate) n_rejected: usize,
}

impl Findings {
    pub(crate) fn of(
        corpus: &Corpus,
        [champion, challenger]: [&Losses; 2],
        seed: Seed,
    ) -> Result<Self, Failure> {
        let reference = champion.reference;
        let of_windows: Vec<f64> = champion
            .windows
            .iter()
            .zip(&challenger.windows)
            .map(|(a, b)| (a.cross_entropy.value() - b.cross_entropy.value()) / reference.value())
            .collect();
        let groups = corpus.documents.iter().map(|document| &of_windows[document.windows.clone()]);
        let groups: Vec<&[f64]> = groups.filter(|gains| gains.len() > 1).collect();
        let firsts = || corpus.documents.iter().map(|document| document.windows.start);
        let gains: Vec<f64> = firsts().map(|at| of_windows[at]).collect();
        let of_firsts = |losses: &Losses| firsts().map(|at| losses.windows[at]).collect::<Vec<_>>();
        let [champion, challenger] = [of_firsts(champion), of_firsts(challenger)];
        let documents = corpus.documents.iter().zip(champion.iter().zip(&challenger));
        let documents: Vec<Document> = documents
            .map(|(document, (champion, challenger))| Document {
                id: document.id,
                champion: champion.cross_entropy,
                challenger: challenger.cross_entropy,
            })
            .collect();
        let duel = fight(terms(reference, documents.len())?, &documents)?;
        Ok(Self {
            reference: reference.value(),
            moments: Moments::of(&gains),
            within_documents: within_groups(&groups),
            correlation: correlation(&values(&champion), &values(&challenger)),
            verdict: duel.verdict(),
            n_documents: duel.evidence().n_documents(),
            margin: duel.evidence().margin(),
            n_batches_won: n_batches_won(&champion, &challenger),
            null: Null::of(&gains, reference, seed)?,
            gains,
        })
    }

    /// Whether the challenger takes the crown by the paper's rule: it wins more than half of the
    /// batches.
    pub(crate) fn is_majority(&self) -> bool {
        2 * self.n_batches_won > N_BATCHES
    }
}

fn values(losses: &[SequenceLoss]) -> Vec<f64> {
    losses.iter().map(|loss| loss.cross_entropy.value()).collect()
}

/// The terms of a first attempt on so many documents, or as many as the rules let it have.
fn terms(reference: Loss, n_documents: usize) -> Result<Terms, Failure> {
    let rules = DuelRules::default();
    let pairing =
        Pairing { champion: Digest::of(b"champion"), challenger: Digest::of(b"challenger") };
    // Of alpha / (j (j + 1)), the share of the j-th attempt.
    let alpha = rules.alpha / 2.0;
    let n = u32::try_from(n_documents)?.min(rules.n_documents_max);
    let n_documents_max = n - n % rules.n_documents_per_look;
    Ok(Terms { pairing, reference, epsilon: EPSILON, alpha, n_documents_max })
}

fn fight(terms: Terms, documents: &[Document]) -> Result<Duel, Failure> {
    let mut duel = Duel::begin(DuelRules::default(), terms)?;
    duel.look(documents)?;
    Ok(duel)
}

/// Batches of the first documents that the challenger wins: perplexities, by epsilon (equations 2
/// and 3).
fn n_batches_won(champion: &[SequenceLoss], challenger: &[SequenceLoss]) -> usize {
    let batches = |losses| loss::per_batch(std::iter::repeat_n(PER_BATCH, N_BATCHES), losses);
    let side = |number: u16, loss: Loss| Side {
        uid: Uid(number),
        seniority: Seniority { block: Block(number.into()), tie_break: Digest::of(b"") },
        loss: LossKind::Perplexity.compared(loss),
    };
    let epsilon = Epsilon::Fixed { value: EPSILON };
    let pairs = batches(champion).into_iter().zip(batches(challenger));
    pairs.filter(|(old, new)| is_win(side(1, *new), side(0, *old), epsilon, Block(1))).count()
}

impl Null {
    /// Draws gains again, each as often as chance will have it, for duels as long as the rules let
    /// them be.
    fn of(gains: &[f64], reference: Loss, seed: Seed) -> Result<Self, Failure> {
        let rules = DuelRules::default();
        let shift = shift_to(EPSILON, gains, rules.clip);
        let gains: Vec<f64> = gains.iter().map(|gain| gain + shift).collect();
        let greatest = gains.iter().copied().fold(0.0, f64::max);
        // High enough that no loss is below zero. Gains are differences, and do not know it.
        let champion = Loss::new(reference.value() * (1.0 + greatest))?;
        let challenger = |gain: &f64| Loss::new(champion.value() - reference.value() * gain);
        let losses = gains.iter().map(challenger).collect::<Result<Vec<Loss>, _>>()?;
        let terms = terms(reference, rules.n_documents_max as usize)?;
        let ids: Vec<Digest> =
            (0..terms.n_documents_max).map(|number| Digest::of(&number.to_le_bytes())).collect();
        let mut stream = seed.stream();
        let mut null = Self::default();
        for _ in 0..N_RESAMPLED {
            let document = |id: &Digest| {
                let at = uniform_below(&mut stream, losses.len() as u64) as usize;
                Document { id: *id, champion, challenger: losses[at] }
            };
            let documents: Vec<Document> = ids.iter().map(document).collect();
            match fight(terms, &documents)?.verdict() {
                Some(Verdict::Dethroned) => null.n_dethroned += 1,
                Some(Verdict::Rejected) => null.n_rejected += 1,
                Some(Verdict::Undecided) | None => {}
            }
        }
        Ok(null)
    }
}

/// What added to each number makes the mean of the clipped sums the target, to the last bits.
fn shift_to(target: f64, numbers: &[f64], clip: f64) -> f64 {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut low, mut high) = (-clip - greatest, clip - least);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let clipped = numbers.iter().map(|number| (number + middle).clamp(-clip, clip));
        if clipped.sum::<f64>() < target * numbers.len() as f64 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}
