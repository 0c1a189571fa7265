//! The Llamas that miners of this program train.

use crate::failure::HintExt as _;
use indicatif::HumanCount;
use protocol::Competition;
use trainer::ModelConfig;

/// Hidden sizes that miners may choose.
const HIDDEN: [usize; 13] = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768];

/// Bytes of a file beside its parameters, generously.
const HEADER_BYTES: u64 = 16 << 10;

/// A Llama of this size for a competition.
fn config(competition: &Competition, hidden: usize, n_layers: usize) -> ModelConfig {
    ModelConfig {
        vocabulary: competition.text.vocabulary(),
        context: competition.text.sequence_length,
        hidden,
        // Two thirds of four times the hidden size, as Llamas have it, and a multiple of eight.
        intermediate: (8 * hidden).div_ceil(3).next_multiple_of(8),
        n_layers,
        n_heads: 4,
        n_kv_heads: 2,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: true,
    }
}

/// The Llama of a size that the competition admits which comes nearest to the wanted one.
///
/// # Errors
///
/// None fits.
pub fn fitting(
    competition: &Competition,
    wanted: usize,
    layers: usize,
) -> anyhow::Result<ModelConfig> {
    let limits = &competition.model;
    let fits = |config: &ModelConfig| {
        config.n_parameters().is_some_and(|n| {
            (limits.n_parameters_min..=limits.n_parameters_max).contains(&n)
                && 4 * n + HEADER_BYTES <= limits.size_bytes_max
        })
    };
    let configs = HIDDEN.into_iter().map(|hidden| config(competition, hidden, layers));
    let nearest = configs.filter(fits).min_by_key(|config| config.hidden.abs_diff(wanted));
    if let Some(config) = nearest {
        return Ok(config);
    }
    let size = |hidden: usize| {
        HumanCount(config(competition, hidden, layers).n_parameters().unwrap_or(u64::MAX))
    };
    let [least, most] = [HIDDEN[0], HIDDEN[HIDDEN.len() - 1]].map(size);
    Err(anyhow::anyhow!(
        "competition `{}` admits {} to {} parameters in {} bytes; miners here train Llamas of \
         {least} to {most}, 4 bytes for each",
        competition.name,
        HumanCount(limits.n_parameters_min),
        HumanCount(limits.n_parameters_max),
        HumanCount(limits.size_bytes_max),
    ))
    .hint("widen the limits under [model], or take a smaller vocabulary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_llama_that_is_chosen_can_be_built_fits_and_is_the_nearest() {
        let mut rules = Competition::builtin("tiny").unwrap();
        for vocabulary in [257, 512, 8_192] {
            rules.text.tokenizer =
                protocol::competition::TokenizerRules::Trained { vocabulary, sha256: None };
            for (wanted, layers) in [(1, 1), (64, 2), (100, 2), (128, 3), (5_000, 1), (64, 40)] {
                let Ok(chosen) = fitting(&rules, wanted, layers) else {
                    assert!(vocabulary > 512 || layers > 3, "{vocabulary} {wanted} {layers}");
                    continue;
                };
                let n = chosen.n_parameters().unwrap();
                let limits = &rules.model;
                assert!((limits.n_parameters_min..=limits.n_parameters_max).contains(&n), "{n}");
                assert!(4 * n < limits.size_bytes_max, "{n}");
                chosen.check().unwrap();
                assert_eq!((chosen.vocabulary, chosen.n_layers), (vocabulary, layers));
                for hidden in HIDDEN {
                    let other = config(&rules, hidden, layers).n_parameters().unwrap();
                    let fits = (limits.n_parameters_min..=limits.n_parameters_max).contains(&other)
                        && 4 * other + HEADER_BYTES <= limits.size_bytes_max;
                    let is_nearer = hidden.abs_diff(wanted) < chosen.hidden.abs_diff(wanted);
                    assert!(!(fits && is_nearer), "{hidden} is nearer to {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_competition_without_a_llama_that_fits_says_what_it_admits_and_what_there_is() {
        let mut small = Competition::builtin("tiny").unwrap();
        (small.model.n_parameters_min, small.model.n_parameters_max) = (1, 2_000);
        let mut tight = Competition::builtin("tiny").unwrap();
        tight.model.size_bytes_max = 30_000;
        let large = Competition::builtin("7b").unwrap();
        for rules in [small, tight, large] {
            let error = format!("{:#?}", fitting(&rules, 64, 2).unwrap_err());
            for part in
                [rules.name.as_str(), "parameters in", "4 bytes for each", "widen the limits"]
            {
                assert!(error.contains(part), "no `{part}` in {error}");
            }
        }
    }
}
