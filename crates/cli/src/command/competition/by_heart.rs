//! Whether the largest model that a competition admits could know by heart what a round draws from.

use crate::{
    findings::{Findings, State},
    rules_text::parameters,
};
use dataset::{Source, Split, pack::Round};
use protocol::{
    Competition,
    competition::{DatasetRules, HubDataset, Packing},
};
use sim::scenario::ModelRules;

/// What is looked at.
const WHAT: &str = "by heart";
/// How many times what the largest model can know a round should draw from.
///
/// Parameters that hold a text are lost for everything else. By published scaling laws, by which
/// the loss falls with the 0.076th power of the parameters, a share of them costs 0.076 of that
/// share; on the exam it brings the share times what all of them know, times the 0.8 that the loss
/// of a text known by heart is less. With ten times as much text as they know both are equal.
const TIMES_ENOUGH: f64 = 10.0;
/// Row groups of a pinned dataset of which one is for evaluation.
const EVALUATION_PART: f64 = 10.0;
/// Bytes of parquet files for each token of their text, packed and with other columns: FineWeb has
/// 44 TB for 15 trillion tokens.
const FILE_BYTES_PER_TOKEN: f64 = 3.0;

/// What one round draws from.
#[derive(Debug, PartialEq)]
struct Pool {
    n_tokens: f64,
    /// Where the number comes from, for people.
    known_by: String,
}

/// Holds the text of rounds against the parameters; one round of it was drawn.
pub(super) fn of_round(
    source: &dyn Source,
    round: &Round,
    rules: &Competition,
    found: &mut Findings,
) {
    let pool = by_lengths(rules, source.n_documents(Split::Evaluation), &round.lengths);
    add(pool, rules, found);
}

/// The same where no round could be drawn: all that is known is how large the pinned files are.
pub(super) fn of_files(rules: &Competition, found: &mut Findings) {
    add(by_bytes(rules), rules, found);
}

/// Rounds of which each draws from a part of its own; `None` of text without an end.
fn n_parts(dataset: &DatasetRules) -> Option<f64> {
    match dataset {
        DatasetRules::Generated { .. } => None,
        DatasetRules::Files { .. } => Some(1.0),
        DatasetRules::Hub(dataset) => Some(rounds_apart(dataset)),
    }
}

fn rounds_apart(dataset: &HubDataset) -> f64 {
    dataset.draw.rounds_apart.max(1) as f64
}

/// So many documents for evaluation, as long as those of one round are on average.
fn by_lengths(rules: &Competition, n_documents: u64, lengths: &[u64]) -> Option<Pool> {
    let n_parts = n_parts(&rules.dataset)?;
    let longest = match rules.text.packing {
        Packing::Packed => u64::MAX,
        // Nobody is asked for what stands behind.
        Packing::PerDocument => rules.text.sequence_length as u64,
    };
    let sum: f64 = lengths.iter().map(|length| (*length).min(longest) as f64).sum();
    let mean = sum / lengths.len().max(1) as f64;
    let known_by = format!("estimated from the lengths of {} documents", lengths.len());
    Some(Pool { n_tokens: n_documents as f64 / n_parts * mean, known_by })
}

/// What the sizes of pinned files tell; `None` where none are pinned.
fn by_bytes(rules: &Competition) -> Option<Pool> {
    let DatasetRules::Hub(dataset) = &rules.dataset else { return None };
    dataset.pinned()?;
    let files = || dataset.configs.iter().flat_map(|config| &config.files);
    let part = 1.0 / (EVALUATION_PART * rounds_apart(dataset));
    let n_bytes: f64 = files().map(|file| file.size_bytes as f64).sum();
    let n_rows: f64 = files().map(|file| file.n_rows as f64).sum();
    let most = match rules.text.packing {
        Packing::Packed => f64::INFINITY,
        Packing::PerDocument => n_rows * rules.text.sequence_length as f64,
    };
    let n_tokens = (n_bytes / FILE_BYTES_PER_TOKEN).min(most) * part;
    Some(Pool { n_tokens, known_by: "estimated from the bytes of its files".to_owned() })
}

/// Tokens that a model of so many parameters can know by heart, as seasons have it.
fn held(n_parameters: u64) -> f64 {
    let ModelRules { bits_per_parameter, bits_per_token, .. } = ModelRules::default();
    n_parameters as f64 * bits_per_parameter / bits_per_token
}

fn add(pool: Option<Pool>, rules: &Competition, found: &mut Findings) {
    let Some(Pool { n_tokens, known_by }) = pool else { return };
    let most = rules.model.n_parameters_max;
    let held = held(most);
    let text = format!(
        "a round draws from some {} tokens ({known_by}); a model of {} parameters can know some \
         {} by heart",
        parameters(n_tokens as u64),
        parameters(most),
        parameters(held as u64)
    );
    if n_tokens >= TIMES_ENOUGH * held {
        return found.add(WHAT, State::Ok, text);
    }
    let share = 100.0 * (held / n_tokens).min(1.0);
    let mend = match rules.dataset {
        DatasetRules::Hub(_) => {
            "pin more files, or lower `model.n_parameters_max`; a larger \
             `dataset.draw.rounds_apart` leaves each round less to draw from"
        }
        _ => "take more text, or lower `model.n_parameters_max`",
    };
    let note = format!(
        "{text}, {share:.0} % of it: everybody can see what rounds draw from, and under every rule \
         whoever learns it is paid for that: {mend}"
    );
    found.add(WHAT, State::Note, note);
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        Digest,
        competition::{DatasetConfig, DrawRules, PinnedFile},
    };

    /// Rules whose text lies in one pinned file.
    fn pinned(n_parameters_max: u64, size_bytes: u64, rounds_apart: u64) -> Competition {
        let mut rules = Competition::builtin("700m").unwrap();
        rules.model.n_parameters_max = n_parameters_max;
        let DatasetRules::Hub(dataset) = &mut rules.dataset else { panic!("{rules:?}") };
        dataset.revision = Some("0123456789abcdef0123456789abcdef01234567".parse().unwrap());
        dataset.draw = DrawRules { rounds_apart, ..DrawRules::default() };
        let file = PinnedFile {
            path: "a.parquet".to_owned(),
            size_bytes,
            n_rows: size_bytes / 3_000,
            rows_per_group: 1_000,
            sha256: Digest::of(b"a"),
            footer_bytes: 1_000,
            footer_sha256: Digest::of(b"b"),
        };
        let files = vec![file];
        dataset.configs = vec![DatasetConfig { name: "all".to_owned(), weight: 1, files }];
        rules
    }

    /// How a text stands of which a round of three documents of these lengths was drawn.
    fn found(rules: &Competition, n_documents: u64, lengths: &[u64]) -> Findings {
        let mut found = Findings::default();
        add(by_lengths(rules, n_documents, lengths), rules, &mut found);
        found
    }

    #[test]
    fn a_text_of_ten_billion_tokens_is_small_beside_a_model_of_700_million_parameters() {
        // A billion tokens for evaluation, a third of them for one round.
        let (n_documents, lengths) = (1_000_000, [500, 1_000, 1_500]);
        let large = found(&pinned(700_000_000, 30_000_000_000, 3), n_documents, &lengths);
        let text = large.text();
        assert_eq!(large.states(), [State::Note], "{text}");
        for part in [
            "some 333.33M tokens (estimated from the lengths of 3 documents)",
            "a model of 700M parameters can know some 630M by heart, 100 % of it",
            "pin more files, or lower `model.n_parameters_max`",
            "a larger `dataset.draw.rounds_apart` leaves each round less",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!large.is_bad(), "it is no reason to refuse");
        let small = found(&pinned(2_000_000, 30_000_000_000, 3), n_documents, &lengths);
        assert_eq!(small.states(), [State::Ok], "{}", small.text());
        assert!(small.text().contains("of 2M parameters can know some 1.8M by heart\n"));
    }

    #[test]
    fn text_is_enough_from_ten_times_of_what_is_known_and_rounds_further_apart_need_more() {
        // 0.9 tokens a parameter: ten times that are nine million, of documents of a thousand.
        for (n_documents, rounds_apart, state) in [
            (9_000, 1, State::Ok),
            (8_999, 1, State::Note),
            (27_000, 3, State::Ok),
            (26_999, 3, State::Note),
            (27_000, 4, State::Note),
        ] {
            let found = found(&pinned(1_000_000, 3_000, rounds_apart), n_documents, &[1_000]);
            let text = found.text();
            assert_eq!(found.states(), [state], "{n_documents} of {rounds_apart}: {text}");
        }
    }

    #[test]
    fn of_a_document_in_a_sequence_of_its_own_no_more_than_the_sequence_counts() {
        let mut rules = pinned(1_000, 3_000, 1);
        rules.text.sequence_length = 100;
        let n_tokens = |rules: &Competition| by_lengths(rules, 10, &[50, 450]).unwrap().n_tokens;
        assert_eq!(n_tokens(&rules), 10.0 * 250.0);
        rules.text.packing = Packing::PerDocument;
        assert_eq!(n_tokens(&rules), 10.0 * 75.0);
        // By bytes there are 1,000 tokens in one row.
        assert_eq!(by_bytes(&rules).unwrap().n_tokens, 100.0 / 10.0);
        rules.text.packing = Packing::Packed;
        assert_eq!(by_bytes(&rules).unwrap().n_tokens, 1_000.0 / 10.0);
    }

    #[test]
    fn where_no_round_was_drawn_bytes_of_pinned_files_make_an_estimate_that_says_so() {
        let of = |rules: &Competition| {
            let mut found = Findings::default();
            of_files(rules, &mut found);
            found
        };
        let large = of(&pinned(700_000_000, 30_000_000_000, 3));
        let text = large.text();
        assert_eq!(large.states(), [State::Note], "{text}");
        assert!(text.contains("333.33M tokens (estimated from the bytes of its files)"), "{text}");
        assert_eq!(of(&pinned(2_000_000, 30_000_000_000, 3)).states(), [State::Ok]);
        let mut unpinned = pinned(700_000_000, 30_000_000_000, 3);
        let DatasetRules::Hub(dataset) = &mut unpinned.dataset else { panic!("{unpinned:?}") };
        dataset.revision = None;
        assert!(of(&unpinned).states().is_empty(), "nobody knows what will be pinned");
    }

    #[test]
    fn no_competition_that_comes_along_is_warned_of() {
        for name in Competition::builtin_names() {
            let rules = Competition::builtin(name).unwrap();
            let mut found = Findings::default();
            of_files(&rules, &mut found);
            if rules.dataset == (DatasetRules::Generated { world: 1 }) {
                // Text without an end cannot be learnt by heart.
                add(by_lengths(&rules, 1 << 40, &[300]), &rules, &mut found);
            }
            assert!(found.states().is_empty(), "{name}: {}", found.text());
        }
    }

    #[test]
    fn a_file_of_ones_own_is_small_beside_models_and_has_no_rounds_to_set_apart() {
        let mut rules = pinned(935_040, 3_000, 1);
        rules.dataset = DatasetRules::Files { path: "book.txt".to_owned(), sha256: None };
        let found = found(&rules, 78, &[200, 210]);
        let text = found.text();
        assert_eq!(found.states(), [State::Note], "{text}");
        assert!(text.contains("some 15.99k tokens") && text.contains("take more text"), "{text}");
        assert!(!text.contains("rounds_apart"), "{text}");
    }

    #[test]
    fn attack_numbers_without_bounds_overflow_nothing() {
        let mut rules = pinned(u64::MAX, u64::MAX, 0);
        for lengths in [&[][..], &[0], &[u64::MAX, u64::MAX]] {
            for n_documents in [0, u64::MAX] {
                assert_eq!(found(&rules, n_documents, lengths).states().len(), 1);
            }
        }
        rules.model.n_parameters_max = 0;
        assert_eq!(found(&rules, 0, &[]).states(), [State::Ok], "a model of nothing knows nothing");
        let mut found = Findings::default();
        of_files(&rules, &mut found);
        assert_eq!(found.states(), [State::Ok]);
    }
}
