//! Losses against a second implementation: Llama in `f64`, term by term from its definition.

use crate::{
    evaluate, folder, load,
    writer::{Random, Recipe},
};
use engine::EvaluateOptions;
use serde_json::{Value, json};
use std::{collections::HashMap, f64::consts::PI};

/// Largest difference of a token's loss in nats.
const TOLERANCE: f64 = 1e-4;

/// A Llama in `f64`.
pub(crate) struct Reference<'a> {
    recipe: &'a Recipe,
    tensors: HashMap<String, Vec<f64>>,
}

impl<'a> Reference<'a> {
    pub(crate) fn new(recipe: &'a Recipe) -> Self {
        let tensors = recipe.tensors().into_iter();
        Self { recipe, tensors: tensors.map(|t| (t.name.clone(), t.rounded())).collect() }
    }

    /// Logits after each token.
    pub(crate) fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let hidden = self.recipe.hidden;
        let table = &self.tensors["model.embed_tokens.weight"];
        let embed = |token: &u32| table[*token as usize * hidden..][..hidden].to_vec();
        let mut rows: Vec<Vec<f64>> = tokens.iter().map(embed).collect();
        for layer in 0..self.recipe.n_layers {
            let prefix = format!("model.layers.{layer}.");
            let gathered = self.attention(&prefix, &rows);
            for (row, gathered) in rows.iter_mut().zip(gathered) {
                add(row, &self.linear(&format!("{prefix}self_attn.o_proj"), &gathered));
                let normed = self.norm(&format!("{prefix}post_attention_layernorm"), row);
                let gate = self.linear(&format!("{prefix}mlp.gate_proj"), &normed);
                let up = self.linear(&format!("{prefix}mlp.up_proj"), &normed);
                let silu = |x: f64| x / (1.0 + (-x).exp());
                let wide: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| silu(*g) * u).collect();
                add(row, &self.linear(&format!("{prefix}mlp.down_proj"), &wide));
            }
        }
        let head = if self.recipe.is_tied { "model.embed_tokens" } else { "lm_head" };
        rows.iter().map(|row| self.linear(head, &self.norm("model.norm", row))).collect()
    }

    /// Negative log-likelihood of each token after the first.
    pub(crate) fn nats(&self, tokens: &[u32]) -> Vec<f64> {
        let logits = self.logits(tokens);
        let nats = |(logits, target): (&Vec<f64>, &u32)| {
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - top).exp()).sum();
            top + sum.ln() - logits[*target as usize]
        };
        logits.iter().zip(&tokens[1..]).map(nats).collect()
    }

    fn attention(&self, prefix: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let Recipe { n_heads, n_kv_heads, head_dim, .. } = *self.recipe;
        let project = |name: &str, row: &[f64]| {
            let normed = self.norm(&format!("{prefix}input_layernorm"), row);
            self.linear(&format!("{prefix}self_attn.{name}"), &normed)
        };
        let all = |name| rows.iter().map(move |row| project(name, row));
        let mut queries: Vec<_> = all("q_proj").collect();
        let mut keys: Vec<_> = all("k_proj").collect();
        let values: Vec<_> = all("v_proj").collect();
        for (position, (query, key)) in queries.iter_mut().zip(&mut keys).enumerate() {
            for head in query.chunks_mut(head_dim).chain(key.chunks_mut(head_dim)) {
                self.rotate(head, position);
            }
        }
        let mut out = vec![vec![0.0; n_heads * head_dim]; rows.len()];
        for (position, out) in out.iter_mut().enumerate() {
            for head in 0..n_heads {
                let shared = head / (n_heads / n_kv_heads) * head_dim;
                let query = &queries[position][head * head_dim..][..head_dim];
                let scores = keys[..=position]
                    .iter()
                    .map(|key| dot(query, &key[shared..][..head_dim]) / (head_dim as f64).sqrt());
                let scores: Vec<f64> = scores.collect();
                let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let shares: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
                let sum: f64 = shares.iter().sum();
                for (share, value) in shares.iter().zip(&values) {
                    for (index, value) in value[shared..][..head_dim].iter().enumerate() {
                        out[head * head_dim + index] += share / sum * value;
                    }
                }
            }
        }
        out
    }

    fn rotate(&self, head: &mut [f64], position: usize) {
        let half = head.len() / 2;
        for pair in 0..half {
            let angle = position as f64 * self.frequency(pair);
            let (a, b) = (head[pair], head[pair + half]);
            head[pair] = a * angle.cos() - b * angle.sin();
            head[pair + half] = b * angle.cos() + a * angle.sin();
        }
    }

    fn frequency(&self, pair: usize) -> f64 {
        let rope = &self.recipe.rope;
        let get = |key: &str| rope[key].as_f64().unwrap();
        let plain = get("rope_theta").powf(-2.0 * pair as f64 / self.recipe.head_dim as f64);
        match rope["rope_type"].as_str().unwrap() {
            "linear" => plain / get("factor"),
            "llama3" => {
                let wavelength = 2.0 * PI / plain;
                let context = get("original_max_position_embeddings");
                let (low, high) = (get("low_freq_factor"), get("high_freq_factor"));
                if wavelength < context / high {
                    plain
                } else if wavelength > context / low {
                    plain / get("factor")
                } else {
                    let smooth = (context / wavelength - low) / (high - low);
                    (1.0 - smooth) * plain / get("factor") + smooth * plain
                }
            }
            _ => plain,
        }
    }

    fn norm(&self, name: &str, row: &[f64]) -> Vec<f64> {
        let mean = dot(row, row) / row.len() as f64;
        let gains = &self.tensors[&format!("{name}.weight")];
        row.iter().zip(gains).map(|(x, gain)| x / (mean + 1e-5).sqrt() * gain).collect()
    }

    fn linear(&self, name: &str, row: &[f64]) -> Vec<f64> {
        let weight = &self.tensors[&format!("{name}.weight")];
        let mut out: Vec<f64> = weight.chunks(row.len()).map(|weight| dot(weight, row)).collect();
        if let Some(bias) = self.tensors.get(&format!("{name}.bias")) {
            add(&mut out, bias);
        }
        out
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

fn assert_agrees(recipe: &Recipe, lengths: &[usize]) {
    let mut random = Random(recipe.seed + 100);
    let sequences: Vec<_> =
        lengths.iter().map(|&length| random.tokens(length, recipe.vocabulary)).collect();
    let model = load(folder(recipe).path());
    let losses = evaluate(&model, &sequences, &EvaluateOptions::default());
    let reference = Reference::new(recipe);
    for (tokens, loss) in sequences.iter().zip(losses) {
        let expected = reference.nats(tokens);
        let found = loss.token_nll.unwrap();
        for (position, (expected, found)) in expected.iter().zip(found).enumerate() {
            let difference = (expected - f64::from(found)).abs();
            assert!(difference < TOLERANCE, "{recipe:?} {position}: {expected} {found}");
        }
        let mean = expected.iter().sum::<f64>() / expected.len() as f64;
        assert!((mean - loss.cross_entropy.value()).abs() < TOLERANCE / 5.0);
    }
}

fn llama3() -> Value {
    json!({
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    })
}

#[test]
fn losses_agree_with_a_second_implementation() {
    let small = Recipe::small(24, 2, 50);
    let lengths = [2, 3, 33, 64];
    assert_agrees(&small, &lengths);
    assert_agrees(&Recipe { n_kv_heads: 2, seed: 2, ..small.clone() }, &lengths);
    assert_agrees(&Recipe { n_kv_heads: 1, has_biases: true, ..small.clone() }, &lengths);
    assert_agrees(&Recipe { is_tied: true, rope: llama3(), ..small }, &[100]);
    let linear = json!({"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0});
    assert_agrees(&Recipe { rope: linear, head_dim: 18, ..small }, &lengths);
    assert_agrees(&Recipe { dtype: "BF16", is_tied: true, ..small.clone() }, &lengths);
    assert_agrees(&Recipe { dtype: "F16", has_biases: true, ..small }, &lengths);
}

#[test]
fn losses_agree_where_products_and_attention_are_cut_into_blocks() {
    let wide = Recipe { intermediate: 300, n_kv_heads: 2, ..Recipe::small(264, 1, 530) };
    assert_agrees(&wide, &[260]);
    let long = Recipe { head_dim: 6, ..Recipe::small(16, 1, 20) };
    assert_agrees(&long, &[600, 5]);
}
