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
        let outer = fields.real("rope_theta", 1.0..=THETA_MAX)?;
        Self::read_rest(fields, outer, head_size)
    }

    /// The same for models that turn a share of each head, in GPT-NeoX's spelling.
    ///
    /// `partial_rotary_factor` stands among the parameters, `rotary_pct` where older files have it.
    pub(crate) fn read_partial(
        fields: &mut Fields,
        head_size: usize,
        usual: f64,
    ) -> Result<Self, Reason> {
        let outer = fields.real("rotary_emb_base", 1.0..=THETA_MAX)?;
        let old = fields.real("rotary_pct", 0.0..=1.0)?;
        let new = match fields.peek_object("rope_parameters") {
            Some(inner) => inner.real("partial_rotary_factor", 0.0..=1.0)?,
            None => None,
        };
        if let (Some(new), Some(old)) = (new, old)
            && new != old
        {
            return inconsistent(format!("`rotary_pct` is {old} in one place, {new} in another"));
        }
        let share = new.or(old).unwrap_or(usual);
        let width = (head_size as f64 * share) as usize;
        if width < 2 || !width.is_multiple_of(2) {
            return inconsistent(format!("{width} of {head_size} numbers of a head are turned"));
        }
        Self::read_rest(fields, outer, width)
    }

    fn read_rest(
        fields: &mut Fields,
        outer: Option<f64>,
        head_size: usize,
    ) -> Result<Self, Reason> {
        let new = fields.object("rope_parameters")?;
        let old = fields.object("rope_scaling")?;
        if new.is_some() && old.is_some() {
            return inconsistent("`rope_parameters` and `rope_scaling` are both there");
        }
        let (inner, scaling) = match new.or(old) {
            Some(fields) => read_scaling(fields)?,
            None => (None, Scaling::None),
        };
        if let (Some(outer), Some(inner)) = (outer, inner)
            && outer != inner
        {
            return inconsistent(format!(
                "`rope_theta` is {outer} in one place, {inner} in another"
            ));
        }
        Ok(Self::new(inner.or(outer).unwrap_or(10_000.0), head_size, &scaling))
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

fn read_scaling(mut fields: Fields) -> Result<(Option<f64>, Scaling), Reason> {
    let theta = fields.real("rope_theta", 1.0..=THETA_MAX)?;
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
    Ok((theta, scaling))
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
