//! Tensors that do not fit their config, in every architecture that the engine can run.

use crate::{
    assert_refused, load,
    memory::peak_bytes,
    published::{Published, RawTensor, all, one_each},
    refusal,
    writer::{Random, Recipe},
};
use engine::{Model, inspect, no_limits, scan};
use protocol::ReasonCode::{ConfigRefused, HeaderRefused, TensorMismatch};
use serde_json::json;

/// Keys of configs that say how large some tensor is.
///
/// Heads are none: without a size of their own, more of them are smaller ones.
const SIZES: [&str; 10] = [
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "n_embd",
    "n_layer",
    "n_inner",
    "layer_types",
];

/// Names under which a tied head may be written out.
const HEADS: [&str; 2] = ["lm_head.weight", "embed_out.weight"];

/// The model with one tensor changed.
fn changed(model: &Published, index: usize, change: impl FnOnce(&mut RawTensor)) -> Published {
    let mut model = model.clone();
    change(&mut model.tensors[index]);
    model.tensors[index].fit();
    model
}

#[test]
fn attack_a_shape_off_by_one_is_refused_for_each_dimension_of_each_tensor() {
    for model in one_each() {
        eprintln!("{}", model.architecture());
        for (index, tensor) in model.tensors.iter().enumerate() {
            let refused = |model: &Published| {
                let because = format!("`{}`", tensor.name);
                assert_refused(model.write().path(), TensorMismatch, &because);
            };
            for dimension in 0..tensor.shape.len() {
                refused(&changed(&model, index, |t| t.shape[dimension] += 1));
                if tensor.shape[dimension] > 1 {
                    refused(&changed(&model, index, |t| t.shape[dimension] -= 1));
                }
            }
            refused(&changed(&model, index, |t| t.shape.push(1)));
            refused(&changed(&model, index, |t| t.shape.insert(0, 1)));
            if tensor.shape.len() == 2 {
                refused(&changed(&model, index, |t| t.shape = vec![t.shape.iter().product()]));
                if tensor.shape[0] != tensor.shape[1] {
                    refused(&changed(&model, index, |t| t.shape.reverse()));
                }
            }
        }
    }
}

#[test]
fn attack_a_tensor_too_many_or_too_few_is_refused_in_every_architecture() {
    for model in one_each() {
        for index in 0..model.tensors.len() {
            let name = &model.tensors[index].name;
            let mut missing = model.clone();
            missing.tensors.remove(index);
            assert_refused(missing.write().path(), TensorMismatch, &format!("`{name}` is missing"));
            let mut renamed = model.clone();
            renamed.tensors[index].name += "_";
            assert_refused(renamed.write().path(), TensorMismatch, &format!("`{name}`"));
            let mut extra = model.clone();
            let hidden = format!("{name}_scale");
            extra.tensors.push(RawTensor { name: hidden.clone(), ..model.tensors[index].clone() });
            let because = format!("does not demand `{hidden}`");
            assert_refused(extra.write().path(), TensorMismatch, &because);
        }
    }
}

#[test]
fn attack_a_config_off_by_one_in_any_size_is_refused() {
    for (name, model) in all() {
        for key in SIZES {
            let Some(size) = model.config.get(key) else { continue };
            let others = match size.as_u64() {
                Some(size) => vec![json!(size + 1), json!(size - 1), json!(2 * size)],
                None if size.is_null() => continue,
                None => vec![json!([]), json!(["full_attention"])],
            };
            for other in others {
                let mut wrong = model.clone();
                wrong.config.insert(key.into(), other.clone());
                let reason = refusal(wrong.write().path());
                let is_named = [ConfigRefused, TensorMismatch].contains(&reason.code);
                assert!(is_named, "{name}: {key} {other}: {reason}");
            }
        }
    }
}

#[test]
fn attack_packed_and_quantised_parameters_are_refused() {
    for model in one_each() {
        let matrix = model.tensors.iter().position(|tensor| tensor.shape.len() == 2).unwrap();
        let name = &model.tensors[matrix].name;
        // Eight numbers of four bits in each of 32: as they are published, and disguised.
        for dtype in ["I32", "U32", "I8", "U8", "F8_E4M3", "F4", "I64", "BOOL", "F64", "C64"] {
            let packed = changed(&model, matrix, |tensor| {
                tensor.dtype = dtype.into();
                tensor.shape[1] = tensor.shape[1].div_ceil(8);
            });
            assert_refused(packed.write().path(), HeaderRefused, &format!("the type `{dtype}`"));
        }
        let disguised = changed(&model, matrix, |t| t.shape[1] = t.shape[1].div_ceil(4));
        assert_refused(disguised.write().path(), TensorMismatch, &format!("`{name}`"));
        let module = name.strip_suffix(".weight").unwrap_or(name);
        for part in ["qweight", "qzeros", "scales", "g_idx", "weight_scale", "weight.absmax"] {
            let mut beside = model.clone();
            let tensor = RawTensor { name: format!("{module}.{part}"), ..model.tensors[0].clone() };
            beside.tensors.push(tensor);
            assert_refused(beside.write().path(), TensorMismatch, part);
        }
        for key in ["quantization_config", "compression_config", "quantization"] {
            let mut said = model.clone();
            said.config.insert(key.into(), json!({"quant_method": "gptq", "bits": 4}));
            assert_refused(said.write().path(), ConfigRefused, key);
        }
    }
}

#[test]
fn attack_a_tied_head_that_is_not_its_table_is_refused_in_every_architecture() {
    let mut n_tied = 0;
    for (name, model) in all() {
        let has_head = model.tensors.iter().any(|t| HEADS.contains(&t.name.as_str()));
        if has_head {
            continue;
        }
        n_tied += 1;
        let rows = model.config["vocab_size"].as_u64().unwrap();
        let is_table = |t: &&RawTensor| t.name.contains("emb") || t.name.contains("wte");
        let table = model.tensors.iter().filter(is_table).find(|t| t.shape[0] == rows);
        let head = if model.architecture() == "gpt_neox" { HEADS[1] } else { HEADS[0] };
        let with = |change: &dyn Fn(&mut RawTensor)| {
            let mut copy = RawTensor { name: head.into(), ..table.unwrap().clone() };
            change(&mut copy);
            let mut model = model.clone();
            model.tensors.push(copy);
            model.write()
        };
        let (plain, same) = (load(model.write().path()), load(with(&|_| ()).path()));
        let n_parameters = plain.inspection().n_parameters;
        assert_eq!(same.inspection().n_parameters, n_parameters, "{name}: a copy is no capacity");
        let n_bytes = table.unwrap().bytes.len();
        for at in [0, n_bytes / 2, n_bytes - 2] {
            let dir = with(&|copy| copy.bytes[at] ^= 1);
            let scanned = scan(dir.path(), &no_limits()).unwrap().unwrap_err();
            let loaded = Model::load(dir.path(), &no_limits()).unwrap().unwrap_err();
            assert_eq!((scanned.code, &scanned), (TensorMismatch, &loaded), "{name}");
            assert!(scanned.detail.contains(head), "{name}: {scanned}");
        }
        let other = if head == HEADS[0] { HEADS[1] } else { HEADS[0] };
        assert_refused(with(&|copy| copy.name = other.into()).path(), TensorMismatch, other);
    }
    assert!(n_tied >= 5, "{n_tied}");
}

/// Zero has two signs: equal as numbers, not the same bits.
#[test]
fn attack_a_tied_head_that_differs_in_the_sign_of_a_zero_is_refused() {
    let recipe = Recipe { is_tied: true, ..Recipe::small(16, 1, 20) };
    let mut model = Published::read(crate::folder(&recipe).path());
    let table = model.tensors.iter_mut().find(|t| t.name == "model.embed_tokens.weight").unwrap();
    table.bytes[..4].fill(0);
    let mut copy = RawTensor { name: HEADS[0].into(), ..table.clone() };
    copy.bytes[3] = 0x80;
    model.tensors.push(copy);
    let reason = scan(model.write().path(), &no_limits()).unwrap().unwrap_err();
    assert_eq!(reason.code, TensorMismatch);
}

/// What a model of this shape has by the book, tensor by tensor.
fn parameters_by_the_book(recipe: &Recipe) -> usize {
    let Recipe { hidden, intermediate, n_layers, n_heads, n_kv_heads, head_dim, .. } = *recipe;
    let (queries, keys) = (n_heads * head_dim, n_kv_heads * head_dim);
    let mut layer = 2 * hidden + 2 * queries * hidden + 2 * keys * hidden;
    layer += 3 * hidden * intermediate;
    if recipe.has_biases {
        layer += queries + 2 * keys + hidden + 2 * intermediate + hidden;
    }
    let tables = if recipe.is_tied { 1 } else { 2 };
    tables * recipe.vocabulary * hidden + hidden + n_layers * layer
}

#[test]
fn parameters_are_counted_by_the_book_in_fifty_generated_models() {
    let seed = 24;
    let mut random = Random(seed);
    for case in 0..50 {
        let n_kv_heads = 1 + random.below(3);
        let recipe = Recipe {
            intermediate: 1 + random.below(50),
            n_kv_heads,
            n_heads: n_kv_heads * (1 + random.below(3)),
            head_dim: 2 * (1 + random.below(6)),
            is_tied: random.below(2) == 0,
            has_biases: random.below(2) == 0,
            dtype: ["F32", "F16", "BF16"][random.below(3)],
            ..Recipe::small(1 + random.below(40), 1 + random.below(3), 1 + random.below(60))
        };
        let dir = crate::folder(&recipe);
        let (inspection, n_bytes) =
            peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap().unwrap());
        let expected = parameters_by_the_book(&recipe) as u64;
        assert_eq!(inspection.n_parameters, expected, "seed {seed}, case {case}: {recipe:?}");
        assert!(n_bytes < 1 << 20, "seed {seed}, case {case}: {n_bytes} bytes");
    }
    // Other architectures against their own files, in which each tensor is its own.
    for (name, model) in all() {
        // But for masks, which older programs saved as if they were parameters.
        let is_mask = |t: &&RawTensor| t.shape.len() == 4 || t.name.ends_with("masked_bias");
        let tensors = model.tensors.iter().filter(|t| !is_mask(t));
        let n: u64 = tensors.map(|t| t.shape.iter().product::<u64>()).sum();
        let dir = model.write();
        assert_eq!(inspect(dir.path(), &no_limits()).unwrap().unwrap().n_parameters, n, "{name}");
    }
}
