//! Rotary positions: the angle by which each pair of a head turns from one position to the next.

use super::inconsistent;
use crate::{config::Fields, json::shorten, kernel::math};
use protocol::Reason;
use std::f64::consts::TAU;

/// Largest base of the frequencies.
const THETA_MAX: f64 = 1e12;
/// Largest stretch of the context.
const FACTOR_MAX: f64 = 1e5;

/// Turns per position of the pairs (i, i + half) of a head, in radians.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) frequencies: Vec<f32>,
}

/// How frequencies are stretched for a longer context.
enum Scaling {
    None,
    Linear { factor: f64 },
    Llama3 { factor: f64, low: f64, high: f64, context: f64 },
}

impl Rope {
    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling` as older files spell it.
    pub(crate) fn read(fields: &mut Fields, head_size: usize) -> Result<Self, Reason> {
        let theta = fields.real("rope_theta", 1.0..=THETA_MAX)?;
        let parameters = Parameters::read(fields, theta, false)?;
        Ok(Self::new(parameters.theta, head_size, &parameters.scaling))
    }

    /// The same for models that turn a share of each head, in GPT-NeoX's spelling.
    ///
    /// `partial_rotary_factor` stands among the parameters, `rotary_pct` where older files have it.
    pub(crate) fn read_partial(
        fields: &mut Fields,
        head_size: usize,
        usual: f64,
    ) -> Result<Self, Reason> {
        let theta = fields.real("rotary_emb_base", 1.0..=THETA_MAX)?;
        let outer = fields.real("rotary_pct", 0.0..=1.0)?;
        let parameters = Parameters::read(fields, theta, true)?;
        let share = agreed("rotary_pct", outer, parameters.share)?.unwrap_or(usual);
        let width = (head_size as f64 * share) as usize;
        if width < 2 || !width.is_multiple_of(2) {
            return inconsistent(format!("{width} of {head_size} numbers of a head are turned"));
        }
        Ok(Self::new(parameters.theta, width, &parameters.scaling))
    }

    /// The definition is transformers': each step below rounds to `f32` once.
    fn new(theta: f64, head_size: usize, scaling: &Scaling) -> Self {
        let base = math::ln(theta);
        let frequency = |pair: usize| {
            let plain = math::exp(-base * (2 * pair) as f64 / head_size as f64) as f32;
            scaling.apply(f64::from(plain)) as f32
        };
        Self { frequencies: (0..head_size / 2).map(frequency).collect() }
    }
}

/// What a config says of the rotation.
struct Parameters {
    theta: f64,
    /// Share of a head that is turned, where the parameters themselves name one.
    share: Option<f64>,
    scaling: Scaling,
}

impl Parameters {
    /// Reads the object of parameters in either spelling; `theta` is what stands outside of it.
    fn read(fields: &mut Fields, theta: Option<f64>, is_partial: bool) -> Result<Self, Reason> {
        let new = fields.object("rope_parameters")?;
        let old = fields.object("rope_scaling")?;
        if new.is_some() && old.is_some() {
            return inconsistent("`rope_parameters` and `rope_scaling` are both there");
        }
        let (mut inner, mut share, mut scaling) = (None, None, Scaling::None);
        if let Some(mut fields) = new.or(old) {
            inner = fields.real("rope_theta", 1.0..=THETA_MAX)?;
            if is_partial {
                share = fields.real("partial_rotary_factor", 0.0..=1.0)?;
            }
            scaling = read_scaling(fields)?;
        }
        let theta = agreed("rope_theta", theta, inner)?.unwrap_or(10_000.0);
        Ok(Self { theta, share, scaling })
    }
}

/// A number that may stand in two places, which must then agree.
fn agreed(key: &str, outer: Option<f64>, inner: Option<f64>) -> Result<Option<f64>, Reason> {
    if let (Some(outer), Some(inner)) = (outer, inner)
        && outer != inner
    {
        return inconsistent(format!("`{key}` is {outer} in one place, {inner} in another"));
    }
    Ok(inner.or(outer))
}

fn read_scaling(mut fields: Fields) -> Result<Scaling, Reason> {
    let kind = match (fields.text("rope_type")?, fields.text("type")?) {
        (Some(new), Some(old)) if new != old => {
            return inconsistent("`rope_type` and `type` contradict each other");
        }
        (new, old) => new.or(old).unwrap_or_else(|| "default".into()),
    };
    let scaling = match kind.as_str() {
        "default" => Scaling::None,
        "linear" => Scaling::Linear { factor: real(&mut fields, "factor", FACTOR_MAX)? },
        "llama3" => read_llama3(&mut fields)?,
        _ => return inconsistent(format!("the rope type `{}` is not supported", shorten(&kind))),
    };
    fields.finish()?;
    Ok(scaling)
}

fn read_llama3(fields: &mut Fields) -> Result<Scaling, Reason> {
    let factor = real(fields, "factor", FACTOR_MAX)?;
    let low = real(fields, "low_freq_factor", FACTOR_MAX)?;
    let high = real(fields, "high_freq_factor", FACTOR_MAX)?;
    let context = fields.required("original_max_position_embeddings", 1..=1 << 24)? as f64;
    if high <= low {
        return inconsistent("`high_freq_factor` is not above `low_freq_factor`");
    }
    Ok(Scaling::Llama3 { factor, low, high, context })
}

fn real(fields: &mut Fields, key: &str, most: f64) -> Result<f64, Reason> {
    match fields.real(key, 1.0..=most)? {
        Some(number) => Ok(number),
        None => inconsistent(format!("the rope scaling lacks `{key}`")),
    }
}

impl Scaling {
    fn apply(&self, frequency: f64) -> f64 {
        match *self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, context } => {
                let turns = context * frequency / TAU;
                if turns > high {
                    frequency
                } else if turns < low {
                    frequency / factor
                } else {
                    let share = (turns - low) / (high - low);
                    (1.0 - share) * frequency / factor + share * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_frequencies_are_powers_of_the_base() {
        let rope = Rope::new(10_000.0, 8, &Scaling::None);
        assert_eq!(rope.frequencies, [1.0, 0.1, 0.01, 0.001]);
    }

    #[test]
    fn the_share_that_is_turned_counts_wherever_a_config_names_it() {
        let n_pairs = |config: &str| {
            let mut fields = Fields::parse(config.as_bytes()).unwrap();
            Rope::read_partial(&mut fields, 16, 0.25).map(|rope| rope.frequencies.len())
        };
        assert_eq!(n_pairs("{}").unwrap(), 2, "as usual");
        assert_eq!(n_pairs(r#"{"rotary_pct": 0.5}"#).unwrap(), 4);
        for key in ["rope_parameters", "rope_scaling"] {
            let config = format!(r#"{{"{key}": {{"partial_rotary_factor": 1.0}}}}"#);
            assert_eq!(n_pairs(&config).unwrap(), 8, "{key}");
        }
        let torn = r#"{"rotary_pct": 0.5, "rope_parameters": {"partial_rotary_factor": 1.0}}"#;
        assert!(n_pairs(torn).unwrap_err().detail.contains("rotary_pct"));
    }

    #[test]
    fn llama3_keeps_fast_pairs_and_slows_slow_ones() {
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, context: 8192.0 };
        let plain = Rope::new(500_000.0, 128, &Scaling::None).frequencies;
        let scaled = Rope::new(500_000.0, 128, &scaling).frequencies;
        assert_eq!(scaled[..29], plain[..29]);
        assert_eq!(scaled[63], plain[63] / 8.0);
        let blended = scaled.iter().zip(&plain).filter(|(s, p)| s != p && **s != **p / 8.0);
        assert_eq!(blended.count(), 6);
    }
}
