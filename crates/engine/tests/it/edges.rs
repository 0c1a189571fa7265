//! Values that are not finite: how work is cut never decides what they spoil, nor what is said.

use crate::{
    golden,
    published::{self, Published, RawTensor},
    writer::{self, Random, Recipe},
};
use engine::{EvaluateOptions, InstructionSet, LoadOptions, Model, SequenceLoss, no_limits};
use half::{bf16, f16};
use protocol::{Reason, ReasonCode};
use std::collections::BTreeSet;

/// The token that makes values that are not finite.
const HOSTILE: u32 = 7;
/// Longest sequence here: past three tiles of rows.
const LENGTH_MAX: usize = 40;
/// Numbers of the token's row: the first that makes norms overflow keeps the logits of a tied table
/// finite.
const SIZES: [f32; 8] = [3e36, 1e37, 1.1e37, 1.3e37, 1.5e37, 3e37, 1e38, 3e38];

/// A model in memory and the same in its files.
struct Pair {
    name: String,
    models: [Model; 2],
}

impl Pair {
    fn load(name: &str, published: &Published) -> Self {
        let dir = published.write();
        let load = |streamed| {
            let options = LoadOptions { streamed, ..LoadOptions::default() };
            Model::load_with(dir.path(), &no_limits(), &options).unwrap().unwrap()
        };
        Self { name: name.to_owned(), models: [load(false), load(true)] }
    }

    /// Tokens without the hostile one.
    fn honest(&self, random: &mut Random, length: usize) -> Vec<u32> {
        let n = self.models[0].vocabulary() - 1;
        let next = |token| if token >= HOSTILE { token + 1 } else { token };
        random.tokens(length, n).into_iter().map(next).collect()
    }

    /// Honest tokens but one.
    fn with_hostile(&self, random: &mut Random, length: usize, place: usize) -> Vec<u32> {
        let mut tokens = self.honest(random, length);
        tokens[place] = HOSTILE;
        tokens
    }

    fn judge(&self, sequences: &[Vec<u32>]) -> Result<Vec<SequenceLoss>, Reason> {
        self.models[0].evaluate(sequences, &options(InstructionSet::best(), (1, 0))).unwrap()
    }

    /// The one outcome on every instruction set, in memory and streamed; `turn` picks how the work
    /// is cut.
    fn only_judgement(
        &self,
        sequences: &[Vec<u32>],
        turn: usize,
    ) -> Result<Vec<SequenceLoss>, Reason> {
        const CUTS: [(usize, usize); 4] = [(1, 1), (3, 0), (1, 100), (3, 1)];
        let expected = self.judge(sequences);
        for (index, instructions) in sets().enumerate() {
            // It takes most of the time: every third turn.
            if instructions == InstructionSet::Portable && !turn.is_multiple_of(3) {
                continue;
            }
            for (model, how) in self.models.iter().zip(["resident", "streamed"]) {
                let cut = CUTS[(turn + index) % CUTS.len()];
                let found = model.evaluate(sequences, &options(instructions, cut)).unwrap();
                let Self { name, .. } = self;
                assert_eq!(found, expected, "{name}, {how}, {instructions}, {cut:?}");
            }
        }
        expected
    }
}

fn sets() -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL.into_iter().filter(|set| set.is_available())
}

fn options(
    instructions: InstructionSet,
    (threads, sequences_per_batch): (usize, usize),
) -> EvaluateOptions<'static> {
    EvaluateOptions {
        threads,
        sequences_per_batch,
        per_token: true,
        instructions,
        ..EvaluateOptions::default()
    }
}

fn numbers(tensor: &RawTensor) -> Vec<f32> {
    let halves = || tensor.bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
    match tensor.dtype.as_str() {
        "F16" => halves().map(|bits| f16::from_bits(bits).to_f32()).collect(),
        "BF16" => halves().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        _ => tensor.bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
}

/// Rewrites the numbers of every tensor whose name ends so, as singles.
fn change(model: &mut Published, endings: &[&str], change: impl Fn(&mut [f32], usize)) {
    let is_named = |name: &str| endings.iter().any(|ending| name.ends_with(ending));
    let tensors = model.tensors.iter_mut().filter(|tensor| is_named(&tensor.name));
    for tensor in tensors.filter(|tensor| tensor.shape.len() == 2) {
        let mut all = numbers(tensor);
        change(&mut all, tensor.shape[1] as usize);
        tensor.bytes = all.iter().flat_map(|number| number.to_le_bytes()).collect();
        tensor.dtype = "F32".into();
    }
}

const TABLES: [&str; 4] =
    ["embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight"];

/// A row so large that the norm of it overflows: a NaN in architectures that take off the mean.
fn with_large_row(model: &Published, size: f32) -> Published {
    let mut hostile = model.clone();
    change(&mut hostile, &TABLES, |numbers, width| {
        numbers[HOSTILE as usize * width..][..width].fill(size);
    });
    hostile
}

/// A channel that only one token uses, and values of the first layer that overflow by it.
///
/// A norm by the root mean square turns any row into one of usual size.
fn with_large_values(model: &Published) -> Published {
    let mut hostile = model.clone();
    change(&mut hostile, &TABLES, |numbers, width| {
        numbers.iter_mut().step_by(width).for_each(|number| *number = 0.0);
        let row = &mut numbers[HOSTILE as usize * width..][..width];
        row.fill(0.0);
        row[0] = 1.0;
    });
    let values = ["layers.0.self_attn.v_proj.weight", "layers.0.self_attn.qkv_proj.weight"];
    change(&mut hostile, &values, |numbers, width| {
        numbers.iter_mut().step_by(width).for_each(|number| *number = 3e38);
    });
    hostile
}

/// The same model but for one token, which alone makes values that are not finite.
fn hostile(name: &str, model: &Published) -> Pair {
    let large = SIZES.iter().map(|size| with_large_row(model, *size));
    for candidate in large.chain([with_large_values(model)]) {
        let pair = Pair::load(name, &candidate);
        let mut random = Random(1);
        let honest: Vec<_> = (0..50).map(|_| pair.honest(&mut random, LENGTH_MAX)).collect();
        if pair.judge(&honest).is_ok() && pair.judge(&[vec![HOSTILE, 1]]).is_err() {
            return pair;
        }
    }
    panic!("{name}: no token makes a value that is not finite");
}

/// A model of each architecture, and those that have windows.
fn models() -> Vec<(String, Published)> {
    let mut seen = BTreeSet::new();
    let is_wanted = |(name, model): &(String, Published)| {
        seen.insert(model.architecture().to_owned()) || name.contains("window")
    };
    published::all().into_iter().filter(is_wanted).collect()
}

#[test]
fn attack_a_token_that_spoils_values_spoils_its_own_sequence_and_no_other_however_work_is_cut() {
    // Every place of every length: minutes of work.
    let is_whole = std::env::var_os("AGON_EVERY_PLACE").is_some();
    let models = models();
    assert!(models.len() >= 16, "an architecture is missing");
    for (name, model) in &models {
        let pair = hostile(name, model);
        let mut random = Random(5);
        // Last, it is only predicted.
        let last: Vec<Vec<u32>> =
            (2..=LENGTH_MAX).map(|n| pair.with_hostile(&mut random, n, n - 1)).collect();
        let losses = pair.only_judgement(&last, 0);
        losses.unwrap_or_else(|reason| panic!("{name}: {reason}"));
        // Half of the lengths of one architecture, fewer of the others.
        let n_skipped = match model.architecture() {
            _ if is_whole => 1,
            "llama" => 2,
            _ => 10,
        };
        for length in (2 + random.below(n_skipped)..=LENGTH_MAX).step_by(n_skipped) {
            let places = match is_whole {
                true => (0..length - 1).collect(),
                false => BTreeSet::from([0, random.below(length - 1), length - 2]),
            };
            for place in places {
                let sequences = [
                    pair.honest(&mut random, 9),
                    pair.with_hostile(&mut random, 13, 12),
                    pair.with_hostile(&mut random, length, place),
                    pair.honest(&mut random, 2),
                    pair.with_hostile(&mut random, 5, 0),
                ];
                let reason = pair.only_judgement(&sequences, length + place).unwrap_err();
                let expected = Reason::new(ReasonCode::NonFiniteLoss, "the loss of sequence 2");
                assert_eq!(reason, expected, "{name}, {place} of {length}");
            }
        }
    }
}

#[test]
fn what_the_last_token_is_changes_only_its_own_loss() {
    for (name, model) in published::all() {
        let pair = Pair::load(&name, &model);
        let vocabulary = pair.models[0].vocabulary() as u32;
        for length in [2, 3, 12, 13, 17, 40, 61] {
            let tokens = Random(length as u64).tokens(length, vocabulary as usize);
            let mut other = tokens.clone();
            other[length - 1] = (other[length - 1] + 1) % vocabulary;
            let nats = |tokens: &[u32]| {
                let losses = pair.judge(&[tokens.to_vec()]).unwrap();
                let nats = losses[0].token_nll.clone().unwrap();
                nats.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let [one, two] = [nats(&tokens), nats(&other)];
            let (place, n) = (format!("{name}, {length} tokens"), length - 1);
            assert_eq!((one.len(), &one[..n - 1]), (n, &two[..n - 1]), "{place}");
            assert_ne!(one[n - 1], two[n - 1], "{place}");
        }
    }
}

#[test]
fn attack_a_last_token_that_a_model_does_not_know_refuses_it() {
    let folder = golden::folders().remove(0);
    let model = crate::load(&folder);
    let unknown = model.vocabulary() as u32;
    let code = |tokens: &[u32]| {
        let judged = model.evaluate(&[tokens.to_vec()], &EvaluateOptions::default()).unwrap();
        judged.map_err(|reason| reason.code)
    };
    assert_eq!(code(&[1, unknown]), Err(ReasonCode::VocabularyMismatch));
    let too_long = vec![1; model.context() + 1];
    assert_eq!(code(&too_long), Err(ReasonCode::VocabularyMismatch), "by the token not run");
    assert!(code(&too_long[1..]).is_ok());
}

/// A window longer than a block of positions, and heads that are no whole vectors.
fn with_long_window(window: usize) -> Published {
    let heads = Recipe { n_heads: 2, n_kv_heads: 1, head_dim: 20, ..Recipe::small(24, 2, 40) };
    let recipe = Recipe { intermediate: 24, ..heads };
    let mut config = recipe.config();
    let fields = config.as_object_mut().unwrap();
    for key in ["architectures", "attention_bias", "mlp_bias"] {
        fields.remove(key);
    }
    fields.insert("model_type".into(), "mistral".into());
    fields.insert("sliding_window".into(), window.into());
    let dir = tempfile::tempdir().unwrap();
    writer::write(dir.path(), &config, &recipe.tensors());
    Published::read(dir.path())
}

#[test]
fn a_value_that_all_windows_have_left_behind_changes_nothing_even_if_it_is_not_finite() {
    let is_mistral = |(name, _): &(String, Published)| name == "mistral-window";
    let (name, model) = published::all().into_iter().find(is_mistral).unwrap();
    // Two layers.
    check_left_behind(&hostile(&name, &model), 2 * 23, &[1, 2, 5, 12, 30, 60]);
    let long = hostile("a long window", &with_long_window(300));
    check_left_behind(&long, 2 * 299, &[1, 256, 300]);
}

/// The last of a prompt's positions looks `n_back` positions back, through all layers.
fn check_left_behind(pair: &Pair, n_back: usize, all_behind: &[usize]) {
    let reach = 1 + n_back;
    let mut random = Random(11);
    for &behind in all_behind {
        let mut prompt = pair.honest(&mut random, behind + reach);
        let generate = |prompt: &[u32]| {
            let cases = sets().flat_map(|set| pair.models.iter().map(move |model| (set, model)));
            let generated = cases.map(|(set, model)| {
                model.generate(&[&[1, 2, 3], prompt], 1, &options(set, (3, 0))).unwrap()
            });
            let generated: Vec<_> = generated.collect();
            assert!(generated.iter().all(|one| *one == generated[0]), "{behind}: {generated:?}");
            generated.into_iter().next().unwrap()
        };
        let honest = generate(&prompt).unwrap();
        prompt[behind - 1] = HOSTILE;
        assert_eq!(generate(&prompt), Ok(honest), "{behind} positions behind");
        // One position further it is seen.
        prompt.swap(behind - 1, behind);
        let expected = Reason::new(ReasonCode::NonFiniteLoss, "a logit after prompt 1");
        assert_eq!(generate(&prompt), Err(expected), "{behind} positions behind");
    }
}

/// Why a model is refused when it is scanned, loaded, and streamed through an evaluation.
fn refusals(model: &Published) -> [Reason; 3] {
    let dir = model.write();
    let options = LoadOptions { streamed: true, ..LoadOptions::default() };
    let streamed = Model::load_with(dir.path(), &no_limits(), &options).unwrap();
    let streamed = streamed.and_then(|model| {
        model.evaluate(&[vec![1, 2, 3]], &EvaluateOptions::default()).unwrap().map(drop)
    });
    [
        engine::scan(dir.path(), &no_limits()).unwrap().unwrap_err(),
        Model::load(dir.path(), &no_limits()).unwrap().unwrap_err(),
        streamed.unwrap_err(),
    ]
}

#[test]
fn attack_several_faults_in_parameters_give_one_reason_however_they_are_read() {
    for model in published::one_each() {
        let name = model.architecture().to_owned();
        let n = model.tensors.len();
        // One fault anywhere, then pairs: in the first tensor read and the last, and at random.
        let mut random = Random(2);
        let singles = (0..n).map(|index| vec![index]);
        let pairs = (0..10).map(|_| vec![random.below(n), random.below(n)]);
        for spoilt in singles.chain(pairs).chain([(0..n).collect()]) {
            let mut bad = model.clone();
            for &index in &spoilt {
                let tensor = &mut bad.tensors[index];
                let mut all = numbers(tensor);
                // In a table, the row of a token that no sequence has.
                *all.last_mut().unwrap() = f32::NAN;
                tensor.bytes = all.iter().flat_map(|number| number.to_le_bytes()).collect();
                tensor.dtype = "F32".into();
            }
            let [scanned, loaded, streamed] = refusals(&bad);
            assert_eq!((&loaded, &streamed), (&scanned, &scanned), "{name}: {spoilt:?}");
            let first = &bad.tensors[*spoilt.iter().min().unwrap()].name;
            assert_eq!(scanned.code, ReasonCode::NonFiniteParameters, "{name}: {scanned}");
            assert!(scanned.detail.starts_with(&format!("`{first}`")), "{name}: {scanned}");
        }
    }
}

#[test]
fn attack_a_tied_head_that_differs_never_hides_what_is_not_finite() {
    let tied = published::all().into_iter().find(|(name, _)| name == "tied").unwrap().1;
    let table = tied.tensors.iter().find(|t| t.name.ends_with(TABLES[0])).unwrap().clone();
    let mut bad = tied;
    let mut copy = RawTensor { name: "lm_head.weight".into(), ..table };
    copy.bytes[0] ^= 1;
    bad.tensors.insert(0, copy);
    let [scanned, loaded, streamed] = refusals(&bad);
    assert_eq!(
        (scanned.code, &loaded, &streamed),
        (ReasonCode::TensorMismatch, &scanned, &scanned)
    );
    let last = bad.tensors.last_mut().unwrap();
    *last.bytes.last_mut().unwrap() = 0x7f;
    let n = last.bytes.len();
    last.bytes[n - 2] = 0xff;
    let [scanned, loaded, streamed] = refusals(&bad);
    let code = ReasonCode::NonFiniteParameters;
    assert_eq!((scanned.code, &loaded, &streamed), (code, &scanned, &scanned));
}
