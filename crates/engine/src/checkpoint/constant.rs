//! Tensors that older programs saved although they follow from the config.
//!
//! They are no parameters: nothing reads their numbers, so that they may have any type, and they
//! count for the size of the files alone. A name and a shape of these kinds have no other use in
//! any type of model.

/// What a constant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constant {
    /// How fast each pair of a head turns.
    Frequencies,
    /// The sines or cosines of all positions.
    Angles,
    /// Which positions each position sees.
    Mask,
    /// What stands for a score that is masked.
    MaskedScore,
}

/// Endings of names, and what has them.
const ENDINGS: [(&str, Constant); 9] = [
    ("rotary_emb.inv_freq", Constant::Frequencies),
    ("maybe_rotary.inv_freq", Constant::Frequencies),
    ("rotary_emb.cos_cached", Constant::Angles),
    ("rotary_emb.sin_cached", Constant::Angles),
    ("maybe_rotary.cos_cached", Constant::Angles),
    ("maybe_rotary.sin_cached", Constant::Angles),
    // One of these is a bias elsewhere, which has no four dimensions.
    ("bias", Constant::Mask),
    ("masked_bias", Constant::MaskedScore),
    ("rotary_emb.original_inv_freq", Constant::Frequencies),
];

impl Constant {
    /// The constant of this name and shape, and the module that has it.
    pub(crate) fn of<'a>(name: &'a str, shape: &[u64]) -> Option<(Self, &'a str)> {
        let (constant, module) = ENDINGS.iter().find_map(|(ending, constant)| {
            let module = name.strip_suffix(ending)?;
            // Of the outermost module without its prefix nothing is left.
            let module = if module.is_empty() { module } else { module.strip_suffix('.')? };
            Some((*constant, module))
        })?;
        let is_attention = matches!(module.rsplit('.').next(), Some("attn" | "attention"));
        let is_constant = match constant {
            Self::Frequencies => shape.len() == 1,
            Self::Angles => matches!(shape.len(), 2 | 4),
            Self::Mask => is_attention && shape.len() == 4,
            Self::MaskedScore => is_attention && shape.iter().product::<u64>() == 1,
        };
        is_constant.then_some((constant, module))
    }

    /// Whether it is no larger than a model of this context with heads of this size has it.
    pub(crate) fn fits(self, shape: &[u64], context: u64, head_size: u64) -> bool {
        match (self, shape) {
            (Self::Frequencies, [n]) => *n <= head_size / 2,
            (Self::Angles, [1, 1, n, width] | [n, width]) => *n <= context && *width <= head_size,
            (Self::Mask, [1, 1, rows, columns]) => rows == columns && *rows <= context,
            (Self::MaskedScore, _) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_told_by_name_and_shape() {
        let found = |name: &'static str, shape: &[u64]| Constant::of(name, shape);
        let (layer, attention) = ("model.layers.0.self_attn", "gpt_neox.layers.0.attention");
        for (name, shape, expected) in [
            ("model.layers.0.self_attn.rotary_emb.inv_freq", &[8][..], layer),
            ("model.rotary_emb.inv_freq", &[8], "model"),
            ("rotary_emb.inv_freq", &[8], ""),
            ("gpt_neox.layers.0.attention.bias", &[1, 1, 16, 16], attention),
            ("gpt_neox.layers.0.attention.masked_bias", &[], attention),
        ] {
            assert_eq!(found(name, shape).map(|(_, module)| module), Some(expected), "{name}");
        }
        for (name, shape) in [
            ("transformer.h.0.attn.c_attn.bias", &[16][..]),
            ("transformer.h.0.attn.c_attn.bias", &[1, 1, 16, 16]),
            ("transformer.h.0.attn.bias", &[16, 16]),
            ("transformer.h.0.mlp.bias", &[1, 1, 16, 16]),
            ("model.layers.0.self_attn.q_proj.bias", &[1, 1, 16, 16]),
            ("transformer.h.0.attn.masked_bias", &[16]),
            ("model.layers.0.my_rotary_emb.inv_freq", &[8]),
            ("model.layers.0.self_attn.rotary_emb.inv_freq.weight", &[8]),
        ] {
            assert_eq!(found(name, shape), None, "{name}");
        }
    }

    #[test]
    fn attack_a_constant_larger_than_its_model_has_it_does_not_fit() {
        let fits = |constant: Constant, shape: &[u64]| constant.fits(shape, 16, 8);
        assert!(fits(Constant::Mask, &[1, 1, 16, 16]) && fits(Constant::Frequencies, &[4]));
        assert!(fits(Constant::Angles, &[1, 1, 16, 8]) && fits(Constant::Angles, &[16, 4]));
        for shape in [&[1, 1, 17, 17][..], &[1, 1, 16, 15], &[2, 1, 16, 16], &[1, 1, 16]] {
            assert!(!fits(Constant::Mask, shape), "{shape:?}");
        }
        assert!(!fits(Constant::Frequencies, &[5]) && !fits(Constant::Angles, &[17, 8]));
        assert!(!fits(Constant::Angles, &[1, 2, 16, 8]) && !fits(Constant::Angles, &[16, 9]));
    }
}
