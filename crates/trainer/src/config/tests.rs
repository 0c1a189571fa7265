//! Shapes that are refused, and the one spelling in which a shape is written.

use super::*;
use crate::tests::Random;
use std::fs;

fn config() -> ModelConfig {
    ModelConfig {
        vocabulary: 10,
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

fn refusal(config: &ModelConfig) -> String {
    let error = config.check().unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    error.to_string()
}

#[test]
fn every_size_out_of_its_range_is_refused_by_its_name() {
    type Field = fn(&mut ModelConfig) -> &mut usize;
    let fields: [(&str, Field, usize); 7] = [
        ("vocabulary", |config| &mut config.vocabulary, DIMENSION_MAX),
        ("hidden", |config| &mut config.hidden, DIMENSION_MAX),
        ("intermediate", |config| &mut config.intermediate, DIMENSION_MAX),
        ("n_layers", |config| &mut config.n_layers, N_LAYERS_MAX),
        ("n_heads", |config| &mut config.n_heads, DIMENSION_MAX),
        ("n_kv_heads", |config| &mut config.n_kv_heads, DIMENSION_MAX),
        ("context", |config| &mut config.context, DIMENSION_MAX),
    ];
    for (name, field, max) in fields {
        for value in [0, max + 1, usize::MAX] {
            let mut config = config();
            *field(&mut config) = value;
            let expected = format!("`{name}` is {value}, not between 1 and {max}");
            assert!(refusal(&config).contains(&expected), "{}", refusal(&config));
        }
    }
}

#[test]
fn every_number_out_of_its_range_is_refused_by_its_name() {
    let (infinite, nan) = (f64::INFINITY, f64::NAN);
    for rope_theta in [0.0, 0.999, -10_000.0, infinite, nan] {
        let refusal = refusal(&ModelConfig { rope_theta, ..config() });
        assert!(refusal.contains(&format!("`rope_theta` is {rope_theta},")), "{refusal}");
    }
    for rms_norm_eps in [0.0, -1e-5, 0.100_001, infinite, nan] {
        let refusal = refusal(&ModelConfig { rms_norm_eps, ..config() });
        assert!(refusal.contains(&format!("`rms_norm_eps` is {rms_norm_eps},")), "{refusal}");
    }
    for (rope_theta, rms_norm_eps) in [(1.0, 0.1), (f64::MAX, 5e-324)] {
        ModelConfig { rope_theta, rms_norm_eps, ..config() }.check().unwrap();
    }
}

#[test]
fn a_model_of_more_parameters_than_any_memory_is_refused_without_counting_over() {
    // Every size within its range, and all of them together far beyond.
    let huge = ModelConfig {
        vocabulary: DIMENSION_MAX,
        hidden: DIMENSION_MAX,
        intermediate: DIMENSION_MAX,
        n_layers: N_LAYERS_MAX,
        ..config()
    };
    assert!(refusal(&huge).contains(&format!("more than {N_PARAMETERS_MAX} parameters")));
    // Two tables of 2^35 numbers, and some: one table and little else is allowed.
    let tables = ModelConfig { vocabulary: 1 << 24, hidden: 1 << 11, ..config() };
    assert!(refusal(&tables).contains("parameters"));
    ModelConfig { tied: true, ..tables }.check().unwrap();
    for unchecked in [
        ModelConfig { hidden: usize::MAX, ..config() },
        ModelConfig { vocabulary: usize::MAX, ..config() },
        ModelConfig { n_heads: 0, ..config() },
    ] {
        assert_eq!(unchecked.n_parameters(), None, "{unchecked:?}");
    }
}

#[test]
fn any_config_is_read_back_as_it_was_written() {
    let home = tempfile::tempdir().unwrap();
    for seed in 0..100 {
        let config = Random::new(seed).config();
        fs::write(home.path().join(CONFIG), config.to_json()).unwrap();
        assert_eq!(ModelConfig::read(home.path()).unwrap(), config, "seed {seed}");
    }
}

#[test]
fn no_cut_of_a_config_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(CONFIG);
    let text = config().to_json();
    for n in 0..text.trim_end().len() {
        fs::write(&path, &text[..n]).unwrap();
        match ModelConfig::read(home.path()).unwrap_err() {
            Error::Malformed { path: named, .. } => assert_eq!(named, path, "{n} bytes"),
            other => panic!("{n} bytes: {other:?}"),
        }
    }
    fs::remove_file(&path).unwrap();
    let error = ModelConfig::read(home.path()).unwrap_err().to_string();
    assert!(error.contains(CONFIG) && error.contains("missing"), "{error}");
}

#[test]
fn a_config_of_our_own_has_no_fields_that_nobody_knows() {
    let text = serde_json::to_string(&config()).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config());
    let more = text.replacen('{', "{\"n_experts\":2,", 1);
    let error = serde_json::from_str::<ModelConfig>(&more).unwrap_err();
    assert!(error.to_string().contains("n_experts"), "{error}");
    let fewer = text.replacen("\"context\":4,", "", 1);
    let error = serde_json::from_str::<ModelConfig>(&fewer).unwrap_err();
    assert!(error.to_string().contains("context"), "{error}");
}
