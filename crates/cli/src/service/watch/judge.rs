//! Whether a model would win: measured beside whatever stands in its way, by the rules of the
//! competition.

use protocol::{
    Block, Digest, Entry, Loss, Seniority, Uid, champion,
    competition::{LossKind, ScoringRules},
    duel::{Document, Duel, DuelError, DuelRules, Report, Terms, Verdict},
    loss,
};
use serde::Serialize;

/// What a comparison goes by.
#[derive(Clone, Copy, Debug)]
pub struct Bar<'a> {
    /// How the competition decides.
    pub rules: &'a ScoringRules,
    /// Fraction by which the perplexity must be lower still.
    pub margin: f64,
    /// Block that seeds the first round that a commitment made now counts in.
    pub judged: Block,
}

/// Whose model stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// That of whoever is paid most.
    Champion,
    /// The one that our hotkey has committed to, and whose age another commitment would cost.
    Own,
}

/// A model that was measured beside ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// Whose it is.
    pub whose: Whose,
    /// Block of its commitment.
    pub block: Block,
    /// Its losses in nats per token, one for each batch.
    pub losses: Vec<Loss>,
}

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Whether the model takes the crown from all that it was compared with.
    pub wins: bool,
    /// Its perplexity.
    pub perplexity: f64,
    /// Below which perplexity it would win, if anybody stands in its way; with duels, and with
    /// rules that compare batches one by one, about.
    pub needed: Option<f64>,
    /// The perplexities of the others.
    pub others: Vec<(Whose, f64)>,
    /// With rule `duel`, the duel that decided: the one that was not won, if there is one.
    pub duel: Option<Report>,
}

impl Bar<'_> {
    /// Compares a model, by its losses of the batches, with others that were measured on the same
    /// batches.
    ///
    /// The rules, which are not those of duels, are asked: would a model that is junior to all
    /// others, and has losses that are higher by the margin, wear the crown?
    pub fn compare(&self, losses: &[Loss], others: &[Beside]) -> Comparison {
        let handicapped: Vec<Loss> = losses.iter().map(|loss| self.handicapped(*loss)).collect();
        let own = Uid(u16::try_from(others.len()).unwrap_or(u16::MAX));
        let others_by_number = (0..).map(Uid).zip(others);
        let mut entries: Vec<Entry> = others_by_number
            .map(|(uid, other)| entry(uid, other.block, other.losses.clone()))
            .collect();
        // Committed later than anything that was seen.
        entries.push(entry(own, self.judged, handicapped));
        let winner = champion(self.rules, self.judged, losses.len(), &entries);
        Comparison {
            wins: winner == Some(own),
            perplexity: perplexity(losses),
            needed: others.iter().map(|other| self.below(other)).reduce(f64::min),
            others: perplexities(others),
            duel: None,
        }
    }

    /// Lets a model, by its losses on documents, duel with each of the others, as validators will
    /// let it: on the terms of a first attempt, and with losses that are higher by the margin.
    /// `None` while it is open whether it wins.
    ///
    /// Duels that validators have begun are not known here, nor when a champion took the crown: a
    /// reign is counted from the block of its commitment, before which it did not begin.
    ///
    /// # Errors
    ///
    /// Rules that allow no duel, or a loss that is not finite.
    pub fn duel(
        &self,
        rules: DuelRules,
        documents: &[Digest],
        losses: &[Loss],
        others: &[Beside],
    ) -> Result<Option<Comparison>, DuelError> {
        let duels = others.iter().map(|other| self.fought(rules, documents, losses, other));
        let duels: Vec<Duel> = duels.collect::<Result<_, _>>()?;
        let is_won = |duel: &&Duel| duel.verdict() == Some(Verdict::Dethroned);
        let is_lost = |duel: &&Duel| duel.verdict().is_some() && !is_won(duel);
        let lost = duels.iter().find(is_lost);
        let open = duels.iter().find(|duel| duel.verdict().is_none());
        // Documents that come again are not counted again: there may be no more.
        let n_all = n_first(&rules).saturating_add(rules.n_documents_max as usize);
        if lost.is_none() && open.is_some() && documents.len() < n_all {
            return Ok(None);
        }
        let needed = duels.iter().zip(others).map(|(duel, other)| self.below_by_duel(duel, other));
        Ok(Some(Comparison {
            wins: lost.is_none() && open.is_none() && losses.iter().all(|loss| loss.is_finite()),
            perplexity: perplexity(losses),
            needed: needed.reduce(f64::min),
            others: perplexities(others),
            duel: lost.or(open).or(duels.first()).map(Report::of),
        }))
    }

    /// The duel with one of the others as far as the documents go: the first of them are those of
    /// the reference.
    fn fought(
        &self,
        rules: DuelRules,
        documents: &[Digest],
        losses: &[Loss],
        other: &Beside,
    ) -> Result<Duel, DuelError> {
        let n_first = n_first(&rules).min(other.losses.len());
        let reference = loss::mean(&other.losses[..n_first]);
        let epsilon = self.rules.epsilon.at(self.judged, other.block);
        let terms = Terms::of_first_attempt(&rules, reference, epsilon);
        let mut duel = Duel::begin(rules, terms)?;
        let pairs = documents.iter().zip(other.losses.iter().zip(losses)).skip(n_first);
        let document = |(id, (champion, own)): (&Digest, (&Loss, &Loss))| Document {
            id: *id,
            champion: *champion,
            challenger: self.handicapped(*own),
        };
        duel.look(&pairs.map(document).collect::<Vec<Document>>())?;
        Ok(duel)
    }

    /// The perplexity below which a model would win its duel with another one in the end: what the
    /// duel asks of the mean gain, which is known after its pilot.
    fn below_by_duel(&self, duel: &Duel, other: &Beside) -> f64 {
        let margin = duel.evidence().margin().unwrap_or(duel.terms().epsilon);
        let most = loss::mean(&other.losses).value() - margin * duel.terms().reference.value();
        (most * (1.0 - self.margin)).exp()
    }

    /// A loss as if the perplexity were higher by the margin.
    fn handicapped(&self, cross_entropy: Loss) -> Loss {
        let kept = 1.0 - self.margin;
        let value = match self.rules.loss {
            LossKind::Perplexity => cross_entropy.value() - kept.ln(),
            LossKind::CrossEntropy => cross_entropy.value() / kept,
        };
        Loss::new(value).unwrap_or(Loss::INFINITE)
    }

    /// The perplexity below which a model beats another one.
    fn below(&self, other: &Beside) -> f64 {
        let epsilon = self.rules.epsilon.at(self.judged, other.block);
        let kept = (1.0 - epsilon) * (1.0 - self.margin);
        match self.rules.loss {
            LossKind::Perplexity => kept * perplexity(&other.losses),
            LossKind::CrossEntropy => (kept * loss::mean(&other.losses).value()).exp(),
        }
    }
}

/// Documents that the reference of a duel is the mean of.
fn n_first(rules: &DuelRules) -> usize {
    rules.n_documents_min as usize
}

fn perplexities(others: &[Beside]) -> Vec<(Whose, f64)> {
    others.iter().map(|other| (other.whose, perplexity(&other.losses))).collect()
}

fn entry(uid: Uid, block: Block, losses: Vec<Loss>) -> Entry {
    // Nobody is of one block with ours, so nothing is left to be drawn.
    let seniority = Seniority { block, tie_break: Digest([0; 32]) };
    Entry { uid, seniority, losses }
}

/// The perplexity over batches of equal size.
pub fn perplexity(losses: &[Loss]) -> f64 {
    loss::perplexity(loss::mean(losses)).value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        Competition, Seed,
        competition::{Epsilon, Rule},
        seed::uniform_below,
    };

    fn rules(rule: Rule, loss: LossKind) -> ScoringRules {
        let rules = Competition::builtin("tiny").unwrap().scoring;
        ScoringRules { rule, loss, epsilon: Epsilon::Fixed { value: 0.005 }, duel: None, ..rules }
    }

    /// Losses of four batches with this perplexity.
    fn losses(perplexity: f64) -> Vec<Loss> {
        vec![Loss::new(perplexity.ln()).unwrap(); 4]
    }

    fn beside(whose: Whose, perplexity: f64) -> Beside {
        Beside { whose, block: Block(7), losses: losses(perplexity) }
    }

    #[test]
    fn whoever_is_better_by_epsilon_and_the_margin_wins_by_every_rule() {
        for rule in [Rule::Succession, Rule::Mean, Rule::Wins] {
            let rules = rules(rule, LossKind::Perplexity);
            for (margin, perplexity, wins) in [
                (0.0, 9.94, true),
                (0.0, 9.96, false),
                (0.0, 10.0, false),
                (0.01, 9.94, false),
                (0.01, 9.86, false),
                (0.01, 9.84, true),
            ] {
                let bar = Bar { rules: &rules, margin, judged: Block(20) };
                let champion = [beside(Whose::Champion, 10.0)];
                let comparison = bar.compare(&losses(perplexity), &champion);
                assert_eq!(comparison.wins, wins, "{rule:?} {margin} {perplexity}");
                let needed = comparison.needed.unwrap();
                assert_eq!(perplexity < needed, wins, "{rule:?} {margin} {perplexity} {needed}");
            }
        }
    }

    #[test]
    fn both_the_champion_and_the_own_model_are_to_be_beaten() {
        let rules = rules(Rule::Succession, LossKind::CrossEntropy);
        let bar = Bar { rules: &rules, margin: 0.0, judged: Block(20) };
        let others = [beside(Whose::Champion, 10.0), beside(Whose::Own, 8.0)];
        assert!(!bar.compare(&losses(9.0), &others).wins, "our own is better still");
        let comparison = bar.compare(&losses(7.5), &others);
        assert!(comparison.wins);
        assert!((comparison.needed.unwrap() - (0.995 * 8.0_f64.ln()).exp()).abs() < 1e-9);
        assert_eq!(comparison.others.len(), 2);
    }

    #[test]
    fn an_empty_crown_is_anybodys_who_was_measured() {
        let rules = rules(Rule::Succession, LossKind::Perplexity);
        let bar = Bar { rules: &rules, margin: 0.1, judged: Block(20) };
        let comparison = bar.compare(&losses(400.0), &[]);
        assert!(comparison.wins && comparison.needed.is_none());
        assert!(!bar.compare(&[Loss::INFINITE; 4], &[]).wins);
    }

    /// What duels by the rules of `tiny` come to on so many documents, on which all losses are
    /// these.
    fn dueled(n: u64, own: f64, others: &[(Whose, f64)], margin: f64) -> Option<Comparison> {
        let duel = Competition::builtin("tiny").unwrap().scoring.duel;
        let rules = ScoringRules { duel, ..rules(Rule::Duel, LossKind::CrossEntropy) };
        let documents: Vec<Digest> = (0..n).map(|i| Digest::of(&i.to_le_bytes())).collect();
        let losses = |loss: f64| vec![Loss::new(loss).unwrap(); documents.len()];
        let beside = |(whose, loss): &(Whose, f64)| Beside {
            whose: *whose,
            block: Block(7),
            losses: losses(*loss),
        };
        let others: Vec<Beside> = others.iter().map(beside).collect();
        let bar = Bar { rules: &rules, margin, judged: Block(20) };
        bar.duel(rules.duel_rules().unwrap(), &documents, &losses(own), &others).unwrap()
    }

    #[test]
    fn with_duels_a_model_wins_when_its_duel_is_won_and_neither_before_nor_without_proof() {
        let champion = [(Whose::Champion, 2.0)];
        // Better by 2 %: 64 documents make the reference, and the rest is too little for a crown.
        assert_eq!(dueled(120, 1.96, &champion, 0.0), None);
        let won = dueled(600, 1.96, &champion, 0.0).unwrap();
        assert!(won.wins, "{won:?}");
        let report = won.duel.unwrap();
        assert_eq!(report.verdict, Some(Verdict::Dethroned));
        assert!((report.mean - 0.02).abs() < 1e-9 && report.n_documents < 536, "{report:?}");
        // All gains are alike, so that epsilon alone is to be exceeded.
        assert!((won.needed.unwrap() - 1.99_f64.exp()).abs() < 1e-9, "{won:?}");
        assert!((won.perplexity - 1.96_f64.exp()).abs() < 1e-9);
        // As good as the champion, and better by no more than the margin.
        for (own, margin) in [(2.0, 0.0), (1.96, 0.02)] {
            let lost = dueled(600, own, &champion, margin).unwrap();
            assert!(!lost.wins, "{lost:?}");
            assert_eq!(lost.duel.unwrap().verdict, Some(Verdict::Rejected));
        }
        // Better by about epsilon: nothing is ever proven, and it does not go on for ever.
        assert_eq!(dueled(1_500, 1.99, &champion, 0.0), None);
        let undecided = dueled(1_564, 1.99, &champion, 0.0).unwrap();
        assert!(!undecided.wins, "{undecided:?}");
        assert_eq!(undecided.duel.unwrap().verdict, Some(Verdict::Undecided));
    }

    #[test]
    fn with_duels_the_own_model_is_to_be_beaten_too_and_an_empty_crown_is_anybodys() {
        let both = [(Whose::Champion, 2.0), (Whose::Own, 1.9)];
        let lost = dueled(600, 1.95, &both, 0.0).unwrap();
        assert!(!lost.wins, "{lost:?}");
        assert!((lost.duel.unwrap().mean + 0.05 / 1.9).abs() < 1e-9, "the duel that was not won");
        assert!(dueled(600, 1.8, &both, 0.0).unwrap().wins);
        let alone = dueled(100, 5.0, &[], 0.1).unwrap();
        assert!(alone.wins && alone.duel.is_none() && alone.needed.is_none());
    }

    #[test]
    fn a_model_wins_below_what_it_needs_and_nowhere_else_by_every_rule_and_loss() {
        for seed in 0..60 {
            let mut random = Seed::of_number(seed).stream();
            let mut share = || uniform_below(&mut random, 1_000) as f64 / 1_000.0;
            let (champion, margin) = (2.0 + 50.0 * share(), 0.5 * share());
            let factor = 0.05 + 1.1 * share();
            for rule in [Rule::Succession, Rule::Mean, Rule::Wins] {
                for loss in [LossKind::Perplexity, LossKind::CrossEntropy] {
                    let rules = rules(rule, loss);
                    let bar = Bar { rules: &rules, margin, judged: Block(20) };
                    let others = [beside(Whose::Champion, champion)];
                    let needed = bar.compare(&losses(champion), &others).needed.unwrap();
                    let own = (needed * factor).max(1.0);
                    if (own / needed - 1.0).abs() < 1e-6 {
                        continue;
                    }
                    let comparison = bar.compare(&losses(own), &others);
                    let told = format!("seed {seed}: {rule:?} {loss:?} {own} of {needed}");
                    assert_eq!(comparison.wins, own < needed, "{told}");
                    assert!((comparison.perplexity / own - 1.0).abs() < 1e-9, "{told}");
                }
            }
        }
    }

    #[test]
    fn a_loss_without_end_wins_nothing_and_stands_in_nobodys_way() {
        for rule in [Rule::Succession, Rule::Mean, Rule::Wins] {
            let rules = rules(rule, LossKind::Perplexity);
            let bar = Bar { rules: &rules, margin: 0.0, judged: Block(20) };
            let mut endless = losses(2.0);
            endless[3] = Loss::INFINITE;
            assert!(!bar.compare(&endless, &[beside(Whose::Champion, 10.0)]).wins, "{rule:?}");
            assert!(
                !bar.compare(&[Loss::INFINITE; 4], &[beside(Whose::Own, 10.0)]).wins,
                "{rule:?}"
            );
            let broken =
                Beside { losses: vec![Loss::INFINITE; 4], ..beside(Whose::Champion, 10.0) };
            assert!(bar.compare(&losses(400.0), &[broken]).wins, "{rule:?}");
        }
    }
}
