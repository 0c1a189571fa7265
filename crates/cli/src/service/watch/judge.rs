//! Whether a model would win: measured beside whatever stands in its way, by the rules of the
//! competition.

use protocol::{
    Block, Digest, Entry, Loss, Seniority, Uid, champion,
    competition::{LossKind, Rule, ScoringRules},
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
    /// Below which perplexity it would win, if anybody stands in its way; with rules that compare
    /// batches one by one, about.
    pub needed: Option<f64>,
    /// The perplexities of the others.
    pub others: Vec<(Whose, f64)>,
}

impl Bar<'_> {
    /// Compares a model, by its losses of the batches, with others that were measured on the same
    /// batches.
    ///
    /// The rules are asked: would a model that is junior to all others, and has losses that are
    /// higher by the margin, wear the crown? With rule `duel` one round tells nobody: there the
    /// line of succession says who is better by epsilon, and a duel asks for proof of it besides.
    pub fn compare(&self, losses: &[Loss], others: &[Beside]) -> Comparison {
        let handicapped: Vec<Loss> = losses.iter().map(|loss| self.handicapped(*loss)).collect();
        let own = Uid(u16::try_from(others.len()).unwrap_or(u16::MAX));
        let others_by_number = (0..).map(Uid).zip(others);
        let mut entries: Vec<Entry> = others_by_number
            .map(|(uid, other)| entry(uid, other.block, other.losses.clone()))
            .collect();
        // Committed later than anything that was seen.
        entries.push(entry(own, self.judged, handicapped));
        let line = ScoringRules { rule: Rule::Succession, ..self.rules.clone() };
        let rules = if self.rules.rule == Rule::Duel { &line } else { self.rules };
        let winner = champion(rules, self.judged, losses.len(), &entries);
        Comparison {
            wins: winner == Some(own),
            perplexity: perplexity(losses),
            needed: others.iter().map(|other| self.below(other)).reduce(f64::min),
            others: others.iter().map(|other| (other.whose, perplexity(&other.losses))).collect(),
        }
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
    use protocol::{Competition, competition::Epsilon};

    fn rules(rule: Rule, loss: LossKind) -> ScoringRules {
        let rules = Competition::builtin("tiny").unwrap().scoring;
        ScoringRules { rule, loss, epsilon: Epsilon::Fixed { value: 0.005 }, ..rules }
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
        let all = [Rule::Succession, Rule::Mean, Rule::Wins, Rule::Duel];
        for rule in all {
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
}
