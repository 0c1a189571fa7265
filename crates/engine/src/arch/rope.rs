//! Rotary positions: the angle by which each pair of a head turns from one position to the next.

use super::{inconsistent, limits};
use crate::{config::Fields, json::shorten, kernel::math};
use protocol::Reason;
use std::f64::consts::TAU;

/// Largest base of the frequencies.
const THETA_MAX: f64 = 1e12;
/// Largest stretch of the context.
const FACTOR_MAX: f64 = 1e5;
/// Base of the frequencies where a config does not say.
const THETA: f64 = 10_000.0;
/// Parameters that other programs write and no class of transformers reads.
const HARMLESS: [&str; 2] = ["attn_factor", "finetuned"];

/// Turns per position of the pairs (i, i + half) of a head, in radians.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    /// Base of the frequencies before they were stretched.
    pub(crate) theta: f64,
    pub(crate) frequencies: Vec<f32>,
    /// What turned numbers are multiplied with.
    pub(crate) factor: f32,
    /// Longest sequence that these frequencies are meant for.
    pub(crate) context_max: Option<usize>,
}

/// How a family spells what its heads turn by.
#[derive(Clone, Copy)]
pub(super) struct Spelling {
    /// Key of the base where it does not stand among the parameters.
    pub(super) theta: &'static str,
    /// Key of the share of a head that is turned, and the share where a config does not say.
    pub(super) share: Option<(&'static str, f64)>,
    /// Longest sequence in pretraining where a config does not say; without a number, the context.
    pub(super) original: Option<f64>,
}

impl Spelling {
    /// All of a head turns.
    pub(super) const WHOLE: Self = Self { theta: "rope_theta", share: None, original: None };

    /// A share of each head turns.
    pub(super) const fn partial(share: f64) -> Self {
        Self { share: Some(("partial_rotary_factor", share)), ..Self::WHOLE }
    }
}

/// How frequencies are stretched for a longer context.
enum Scaling {
    None,
    Linear { factor: f64 },
    Llama3 { factor: f64, low: f64, high: f64, context: f64 },
    Yarn(Yarn),
    Long(Vec<f64>),
}

/// YaRN: slow pairs are stretched, fast ones are not, those between in part.
struct Yarn {
    factor: f64,
    /// Number of pairs between which the stretch grows.
    range: (f64, f64),
}

impl Rope {
    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling` as older files spell it.
    pub(super) fn read(
        fields: &mut Fields,
        (head_size, context): (usize, usize),
        spelling: Spelling,
    ) -> Result<Self, Reason> {
        let written = Written {
            theta: fields.real(spelling.theta, 1.0..=THETA_MAX),
            share: spelling.share.and_then(|(key, _)| fields.real(key, 0.0..=1.0)),
            original: fields
                .unsigned("original_max_position_embeddings", 1..=limits::CONTEXT_MAX)
                .map(|original| original as f64)
                .or(spelling.original),
            head_size,
            context: context as f64,
            spelling,
        };
        let new = fields.object("rope_parameters");
        let old = fields.object("rope_scaling");
        let (rope, theta) = match (new, old) {
            (Some(new), Some(old)) => {
                // Which of them counts depends on who reads it, so they must mean the same.
                let (new, old) = (written.read(Some(new))?, written.read(Some(old))?);
                if new != old {
                    return inconsistent(
                        "`rope_parameters` and `rope_scaling` contradict each other",
                    );
                }
                new
            }
            (new, old) => written.read(new.or(old))?,
        };
        repeated(fields, spelling, (theta, 2 * rope.frequencies.len(), head_size));
        Ok(rope)
    }

    /// The definition is transformers': each step below rounds to `f32` once.
    fn new(theta: f64, width: usize, scaling: &Scaling) -> Self {
        let base = math::ln(theta);
        let frequency = |pair: usize| {
            let plain = math::exp(-base * (2 * pair) as f64 / width as f64) as f32;
            scaling.apply(pair, f64::from(plain)) as f32
        };
        let frequencies = (0..width / 2).map(frequency).collect();
        Self { theta, frequencies, factor: 1.0, context_max: None }
    }

    /// Whether nothing is stretched.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::new(self.theta, 2 * self.frequencies.len(), &Scaling::None)
    }

    /// Plain frequencies for a number of each head's numbers.
    pub(super) fn plain(width: usize) -> Self {
        Self::new(THETA, width, &Scaling::None)
    }
}

/// What a config says outside of the parameters of the rotation.
struct Written {
    theta: Option<f64>,
    share: Option<f64>,
    original: Option<f64>,
    head_size: usize,
    context: f64,
    spelling: Spelling,
}

impl Written {
    /// The rotation with these parameters, and the base of its frequencies.
    fn read(&self, mut inner: Option<Fields>) -> Result<(Rope, f64), Reason> {
        let inner_theta = inner.as_mut().and_then(|i| i.real("rope_theta", 1.0..=THETA_MAX));
        let theta = agreed(self.spelling.theta, self.theta, inner_theta)?.unwrap_or(THETA);
        let width = self.width(inner.as_mut())?;
        let plain = Rope::new(theta, width, &Scaling::None);
        let Some(inner) = inner else { return Ok((plain, theta)) };
        let (context, original) = (self.context, self.original);
        Ok((Scales { theta, width, context, original }.read(inner, plain)?, theta))
    }

    /// How many numbers of a head are turned.
    fn width(&self, inner: Option<&mut Fields>) -> Result<usize, Reason> {
        let head_size = self.head_size;
        let Some((key, usual)) = self.spelling.share else {
            inner.into_iter().for_each(|inner| inner.repeats("partial_rotary_factor", 1.0));
            return even(head_size, head_size);
        };
        let inner = inner.and_then(|inner| inner.real("partial_rotary_factor", 0.0..=1.0));
        let share = agreed(key, self.share, inner)?.unwrap_or(usual);
        even(turned(head_size, share), head_size)
    }
}

fn turned(head_size: usize, share: f64) -> usize {
    (head_size as f64 * share) as usize
}

/// Takes the other names of the base and of the share, which must say the same.
fn repeated(
    fields: &mut Fields,
    spelling: Spelling,
    (theta, width, head_size): (f64, usize, usize),
) {
    for key in ["rope_theta", "rotary_emb_base"] {
        if key != spelling.theta {
            fields.repeats(key, theta);
        }
    }
    for key in ["partial_rotary_factor", "rotary_pct"] {
        if spelling.share.is_none_or(|(own, _)| own != key)
            && let Some(share) = fields.real(key, 0.0..=1.0)
            && turned(head_size, share) != width
        {
            fields.fault(format_args!("`{key}` is {share}, but {width} of {head_size} turn"));
        }
    }
    fields.repeats("rotary_dim", width as f64);
}

/// A number of a head's numbers that can be turned.
pub(super) fn even(width: usize, head_size: usize) -> Result<usize, Reason> {
    if width < 2 || !width.is_multiple_of(2) || width > head_size {
        return inconsistent(format!("{width} of {head_size} numbers of a head are turned"));
    }
    Ok(width)
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

/// What a stretch is computed from.
struct Scales {
    theta: f64,
    width: usize,
    /// The longest sequence now.
    context: f64,
    /// The longest sequence in pretraining, where it stands outside of the parameters.
    original: Option<f64>,
}

impl Scales {
    /// Reads what remains of the parameters of the rotation.
    fn read(&self, mut fields: Fields, plain: Rope) -> Result<Rope, Reason> {
        let kind = match (fields.text("rope_type"), fields.text("type")) {
            (Some(new), Some(old)) if new != old => {
                return inconsistent("`rope_type` and `type` contradict each other");
            }
            (new, old) => new.or(old).unwrap_or_else(|| "default".into()),
        };
        let rope = match kind.as_str() {
            "default" => plain,
            "linear" => {
                let factor = at_least_one(&mut fields, "factor");
                Rope::new(self.theta, self.width, &Scaling::Linear { factor })
            }
            // Stretches what is longer than the context, and nothing is.
            "dynamic" => {
                at_least_one(&mut fields, "factor");
                plain
            }
            "llama3" => Rope::new(self.theta, self.width, &self.llama3(&mut fields)?),
            "yarn" => self.yarn(&mut fields)?,
            "longrope" | "su" => self.longrope(&mut fields)?,
            _ => {
                let kind = shorten(&kind);
                return inconsistent(format!("the rope type `{kind}` is not supported"));
            }
        };
        fields.close_inner(&HARMLESS);
        Ok(rope)
    }

    /// The longest sequence in pretraining.
    fn original(&self, fields: &mut Fields) -> Result<f64, Reason> {
        let key = "original_max_position_embeddings";
        let inner = fields.unsigned(key, 1..=limits::CONTEXT_MAX).map(|inner| inner as f64);
        Ok(agreed(key, self.original, inner)?.unwrap_or(self.context))
    }

    fn llama3(&self, fields: &mut Fields) -> Result<Scaling, Reason> {
        let factor = at_least_one(fields, "factor");
        let low = at_least_one(fields, "low_freq_factor");
        let high = at_least_one(fields, "high_freq_factor");
        let context = self.original(fields)?;
        if high <= low {
            return inconsistent("`high_freq_factor` is not above `low_freq_factor`");
        }
        Ok(Scaling::Llama3 { factor, low, high, context })
    }

    fn yarn(&self, fields: &mut Fields) -> Result<Rope, Reason> {
        let original = self.original(fields)?;
        let factor = fields.real("factor", 1.0..=FACTOR_MAX);
        let factor = factor.unwrap_or(self.context / original);
        let mut positive = |key| fields.real(key, 1e-6..=FACTOR_MAX);
        let (fast, slow) = (positive("beta_fast").unwrap_or(32.0), positive("beta_slow"));
        let (own, all) = (positive("mscale"), positive("mscale_all_dim"));
        let given = positive("attention_factor");
        // Python takes a null for no.
        let is_whole = fields.boolean("truncate").unwrap_or(!fields.is_null("truncate"));

        let width = self.width as f64;
        let pair = |n_turns: f64| {
            let ratio = original / (n_turns * TAU);
            width * math::ln(ratio) / (2.0 * math::ln(self.theta))
        };
        let (mut low, mut high) = (pair(fast), pair(slow.unwrap_or(1.0)));
        if is_whole {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if low == high {
            high += 0.001;
        }
        let grown = |scale: f64| {
            if factor <= 1.0 { 1.0 } else { 0.1 * scale * math::ln(factor) + 1.0 }
        };
        let usual = match (own, all) {
            (Some(own), Some(all)) => grown(own) / grown(all),
            _ => grown(1.0),
        };
        let scaling = Scaling::Yarn(Yarn { factor, range: (low, high) });
        let plain = Rope::new(self.theta, self.width, &scaling);
        Ok(Rope { factor: given.unwrap_or(usual) as f32, ..plain })
    }

    /// `LongRoPE` has other frequencies for longer sequences, so that a token's loss would depend
    /// on what follows it: only sequences of the original length are measured.
    fn longrope(&self, fields: &mut Fields) -> Result<Rope, Reason> {
        let original = self.original(fields)?;
        let mut factors = |key: &str| match fields.reals(key, 1e-3..=FACTOR_MAX) {
            Some(factors) if factors.len() == self.width / 2 => Ok(factors),
            Some(factors) => {
                let (n, n_pairs) = (factors.len(), self.width / 2);
                inconsistent(format!("`{key}` has {n} numbers for {n_pairs} pairs"))
            }
            None => inconsistent(format!("the rope scaling lacks `{key}`")),
        };
        let short = factors("short_factor")?;
        factors("long_factor")?;
        let factor = fields.real("factor", 1.0..=FACTOR_MAX);
        let factor = factor.unwrap_or(self.context / original);
        let usual =
            if factor <= 1.0 { 1.0 } else { (1.0 + math::ln(factor) / math::ln(original)).sqrt() };
        let given = fields.real("attention_factor", 1e-6..=FACTOR_MAX);
        let plain = Rope::new(self.theta, self.width, &Scaling::Long(short));
        let factor = given.unwrap_or(usual) as f32;
        Ok(Rope { factor, context_max: Some(original as usize), ..plain })
    }
}

/// Takes a number that must be there; one stands in for it.
fn at_least_one(fields: &mut Fields, key: &str) -> f64 {
    if !fields.has(key) {
        fields.fault(format_args!("the rope scaling lacks `{key}`"));
    }
    fields.real(key, 1.0..=FACTOR_MAX).unwrap_or(1.0)
}

impl Scaling {
    fn apply(&self, pair: usize, frequency: f64) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, context } => {
                let turns = context * frequency / TAU;
                if turns > *high {
                    frequency
                } else if turns < *low {
                    frequency / factor
                } else {
                    let share = (turns - low) / (high - low);
                    (1.0 - share) * frequency / factor + share * frequency
                }
            }
            Self::Yarn(Yarn { factor, range: (low, high) }) => {
                let share = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
                share * frequency / factor + (1.0 - share) * frequency
            }
            Self::Long(factors) => factors.get(pair).map_or(frequency, |factor| frequency / factor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str, spelling: Spelling) -> Result<Rope, Reason> {
        let mut fields = Fields::parse(config.as_bytes()).unwrap();
        Rope::read(&mut fields, (16, 64), spelling)
    }

    #[test]
    fn plain_frequencies_are_powers_of_the_base() {
        let rope = Rope::new(10_000.0, 8, &Scaling::None);
        assert_eq!(rope.frequencies, [1.0, 0.1, 0.01, 0.001]);
    }

    #[test]
    fn the_share_that_is_turned_counts_wherever_a_config_names_it() {
        let spelling = Spelling {
            theta: "rotary_emb_base",
            share: Some(("rotary_pct", 0.25)),
            original: None,
        };
        let n_pairs = |config: &str| read(config, spelling).map(|rope| rope.frequencies.len());
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
    fn a_null_switches_yarns_rounding_off_as_python_reads_it() {
        let spelling = Spelling { theta: "rope_theta", share: None, original: None };
        let frequencies = |more: &str| {
            let config = format!(
                r#"{{"rope_scaling": {{"rope_type": "yarn", "factor": 4.0,
                    "original_max_position_embeddings": 32{more}}}}}"#
            );
            read(&config, spelling).unwrap().frequencies
        };
        let off = frequencies(r#", "truncate": false"#);
        assert_eq!(frequencies(r#", "truncate": null"#), off);
        assert_eq!(frequencies(r#", "truncate": true"#), frequencies(""));
        assert_ne!(frequencies(""), off);
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

    #[test]
    fn dynamic_scaling_changes_nothing_within_the_context() {
        let config = r#"{"rope_scaling": {"type": "dynamic", "factor": 4.0}}"#;
        let (scaled, plain) = (read(config, Spelling::WHOLE), read("{}", Spelling::WHOLE));
        assert_eq!(scaled.unwrap(), plain.unwrap());
    }

    #[test]
    fn longrope_holds_for_sequences_of_the_original_length() {
        let config = r#"{"original_max_position_embeddings": 16, "rope_scaling": {"type": "su",
            "short_factor": [1, 2, 1, 1, 1, 1, 1, 1], "long_factor": [9, 9, 9, 9, 9, 9, 9, 9]}}"#;
        let (long, plain) = (read(config, Spelling::WHOLE).unwrap(), Rope::plain(16));
        assert_eq!(long.context_max, Some(16));
        assert_eq!(long.frequencies[1], plain.frequencies[1] / 2.0);
        assert_eq!(long.frequencies[2..], plain.frequencies[2..]);
        assert_eq!(long.factor, 1.5_f32.sqrt());
        let short = config.replace("[1, 2, 1, 1, 1, 1, 1, 1]", "[1]");
        assert!(read(&short, Spelling::WHOLE).unwrap_err().detail.contains("short_factor"));
    }
}
