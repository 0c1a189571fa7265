//! Which tensors a model has, and with what it is born.

use super::*;
use crate::tests::Random;
use protocol::Digest;
use std::collections::BTreeSet;

/// Two layers with grouped queries and a head of their own.
fn config() -> ModelConfig {
    ModelConfig {
        vocabulary: 5,
        hidden: 8,
        intermediate: 6,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 1,
        context: 4,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-5,
        tied: false,
    }
}

#[test]
fn a_model_has_the_tensors_that_transformers_expects() {
    let slots = slots(&ModelConfig { n_layers: 1, ..config() });
    let tensors: Vec<(&str, Vec<usize>)> = slots.iter().flat_map(Slot::tensors).collect();
    let expected: [(&str, &[usize]); 12] = [
        ("model.embed_tokens.weight", &[5, 8]),
        ("model.layers.0.input_layernorm.weight", &[8]),
        ("model.layers.0.self_attn.q_proj.weight", &[8, 8]),
        ("model.layers.0.self_attn.k_proj.weight", &[4, 8]),
        ("model.layers.0.self_attn.v_proj.weight", &[4, 8]),
        ("model.layers.0.self_attn.o_proj.weight", &[8, 8]),
        ("model.layers.0.post_attention_layernorm.weight", &[8]),
        ("model.layers.0.mlp.gate_proj.weight", &[6, 8]),
        ("model.layers.0.mlp.up_proj.weight", &[6, 8]),
        ("model.layers.0.mlp.down_proj.weight", &[8, 6]),
        ("model.norm.weight", &[8]),
        ("lm_head.weight", &[5, 8]),
    ];
    assert_eq!(tensors.len(), expected.len());
    for ((name, shape), (expected_name, expected_shape)) in tensors.iter().zip(expected) {
        assert_eq!((*name, shape.as_slice()), (expected_name, expected_shape));
    }
}

#[test]
fn the_slots_of_any_shape_hold_as_many_numbers_as_its_config_says() {
    for seed in 0..200 {
        let config = Random::new(seed).config();
        config.check().unwrap();
        let slots = slots(&config);
        let n: usize = slots.iter().map(Slot::len).sum();
        assert_eq!(config.n_parameters(), Some(n as u64), "seed {seed}: {config:?}");
        for slot in &slots {
            assert_eq!(slot.shape().iter().product::<usize>(), slot.len(), "seed {seed}");
            let parts = slot.tensors().map(|(_, shape)| shape.iter().product::<usize>());
            assert_eq!(parts.sum::<usize>(), slot.len(), "seed {seed}");
        }
        let names: BTreeSet<&str> =
            slots.iter().flat_map(Slot::tensors).map(|(name, _)| name).collect();
        assert_eq!(names.len(), slots.iter().map(|slot| slot.parts.len()).sum::<usize>());
        assert_eq!(names.contains("lm_head.weight"), !config.tied, "seed {seed}");
    }
}

#[test]
fn blocks_and_head_are_found_under_their_names() {
    for tied in [true, false] {
        let config = ModelConfig { n_layers: 3, tied, ..config() };
        let slots = slots(&config);
        let mut n_blocks = 0;
        for (layer, block) in blocks(&slots).enumerate() {
            for (slot, part) in [
                (block.attention_norm, "input_layernorm"),
                (block.query_key_value, "self_attn.q_proj"),
                (block.output, "self_attn.o_proj"),
                (block.feed_forward_norm, "post_attention_layernorm"),
                (block.gate_up, "mlp.gate_proj"),
                (block.down, "mlp.down_proj"),
            ] {
                assert_eq!(slot.parts[0].0, format!("model.layers.{layer}.{part}.weight"));
            }
            n_blocks += 1;
        }
        assert_eq!(n_blocks, 3);
        let (norm, weight) = head(&slots, &config);
        assert_eq!(norm.parts[0].0, "model.norm.weight");
        let name = if tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        assert_eq!(weight.parts[0].0, name);
    }
}

#[test]
fn the_first_values_of_a_seed_are_frozen() {
    let values = first_values(&config(), &Seed::of_number(1)).concat();
    assert_eq!(values.len(), 792);
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let frozen = "fb7cef30d0a258e17b62a8fed84410b5adbce52554945d135e8588b18cc13f63";
    assert_eq!(Digest::of(&bytes).hex(), frozen);
}

#[test]
fn first_values_are_as_wide_as_their_kind_says_and_gains_are_one() {
    let config =
        ModelConfig { vocabulary: 60, hidden: 32, intermediate: 48, n_layers: 3, ..config() };
    let values = first_values(&config, &Seed::of_number(2));
    for (slot, values) in slots(&config).iter().zip(&values) {
        let name = &slot.parts[0].0;
        if slot.kind == Kind::Gain {
            assert!(name.contains("norm") && values.iter().all(|x| *x == 1.0), "{name}");
            continue;
        }
        let wanted = match name.rsplit('.').nth(1).unwrap() {
            "embed_tokens" => 0.02,
            // What blocks add to the residual rows: six of them together are as wide as one.
            "o_proj" => (1.0 / (6.0 * 32.0_f64)).sqrt(),
            "down_proj" => (1.0 / (6.0 * 48.0_f64)).sqrt(),
            _ => (1.0 / 32.0_f64).sqrt(),
        };
        let n = values.len() as f64;
        let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let square = values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / n;
        let deviation = (square - mean * mean).sqrt();
        // Five times what chance does to the deviation and the mean of so many numbers.
        assert!((deviation / wanted - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{name}: {deviation}");
        assert!(mean.abs() < 5.0 * wanted / n.sqrt(), "{name}: {mean}");
    }
}

#[test]
fn the_first_values_of_a_tensor_depend_on_its_own_shape_alone() {
    let seed = Seed::of_number(3);
    let values = first_values(&config(), &seed);
    let larger = ModelConfig { vocabulary: 9, intermediate: 7, ..config() };
    let of_larger = first_values(&larger, &seed);
    // The rows that both have are the same, and so are the tensors that did not grow.
    assert_eq!(of_larger[EMBEDDING][..values[EMBEDDING].len()], values[EMBEDDING]);
    for (i, slot) in slots(&config()).iter().enumerate() {
        if slot.parts[0].0.contains("self_attn") {
            assert_eq!(of_larger[i], values[i], "{}", slot.parts[0].0);
        }
    }
    // Equal shapes in other layers have streams of their own.
    let layers: Vec<&Vec<f32>> = blocks(&values).map(|block| block.query_key_value).collect();
    assert_ne!(layers[0], layers[1]);
}

#[test]
fn variables_hold_the_values_in_the_shapes_of_their_slots() {
    let slots = slots(&config());
    let values = first_values(&config(), &Seed::of_number(4));
    let variables = variables(&slots, values.clone()).unwrap();
    assert_eq!(variables.len(), slots.len());
    for ((slot, values), variable) in slots.iter().zip(values).zip(variables) {
        assert_eq!(variable.dims(), slot.shape());
        let found = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found, values, "{}", slot.parts[0].0);
    }
}
