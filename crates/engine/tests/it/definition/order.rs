//! The order of operations as a value: that of the definition, and others that must be told apart.

use super::functions::Fused;

/// How partial sums become one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    /// `s_i + s_(i + half)`, again and again.
    Halves,
    /// `s_(2i) + s_(2i + 1)`, again and again.
    Neighbours,
    /// `s_0 + s_1 + s_2` and so on.
    InOrder,
}

/// Something that is done otherwise than the definition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// Terms of products are rounded before they are added.
    ProductRounded,
    /// Chains of a product are added in descending order.
    ChainsDescending,
    /// The first chain of a product starts from the bias.
    ChainFromBias,
    /// Squares are rounded before they are added.
    SquaresRounded,
    /// `(x · gain) · r`.
    GainFirst,
    /// `x · (r · gain)`.
    GainTimesScale,
    /// `(x / root) · gain`.
    DivisionByRoot,
    /// The sum times one over the width, not divided by the width.
    MeanByInverse,
    /// `((x − m) · r) · gain`, rounded, then the bias.
    NormBiasRounded,
    /// The mean square less the square of the mean.
    VarianceOfSquares,
    /// `fma(x · r, gain, x · r)` with Gemma's gain as published.
    OneOfGainFused,
    /// `fma(−b, sin, a · cos)`, `fma(a, sin, b · cos)`.
    RotationOtherWay,
    /// All products of the rotation are rounded.
    RotationRounded,
    /// Cosine and sine of an angle that has not been rounded.
    AngleInDouble,
    /// Scores are scaled, not queries.
    ScoresScaled,
    /// Queries are scaled before they are turned.
    ScaledBeforeTurned,
    /// One over the root of the head size in double, of Gemma 2's scalar in single precision.
    ScaleInOtherPrecision,
    /// What has been gathered is divided by the sum of the shares.
    DivisionBySum,
    /// Shares are scaled before they gather.
    SharesScaled,
    /// Blocks of positions start where the window does.
    BlocksFromWindow,
    /// A score times one over the cap, not divided by the cap.
    CapByInverse,
    /// `x · (1 / (1 + e^(0 − x)))`.
    SiluByInverse,
    /// `x³ · 0.044715` is rounded before x is added.
    CubeRounded,
    /// `x / 2 · (1 + erf)`.
    ErfRounded,
    /// `(x + product) + bias`.
    ResidualBeforeBias,
    /// The first chain of what is added starts from the residual.
    ChainFromResidual,
    /// Where a layer is parallel, attention's and the perceptron's results are added first.
    BranchesFirst,
    /// The sum of exponentials over the vocabulary is kept in single precision.
    BlocksInSingle,
    /// `(t + ln(sum)) − logit`.
    LogarithmFirst,
    /// The polynomial of e^x rounds its products.
    ExponentialRounded,
}

/// An order of operations.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Inputs of one chain of a product.
    pub(super) product_block: usize,
    /// Numbers of a head of one chain of a score.
    pub(super) score_block: usize,
    /// Positions of one chain of what a query gathers.
    pub(super) position_block: usize,
    /// Tokens of the vocabulary that have a greatest logit and a sum of their own.
    pub(super) vocabulary_block: usize,
    /// Partial sums of a sum over a vector.
    pub(super) n_sums: usize,
    pub(super) tree: Tree,
    pub(super) departure: Option<Departure>,
}

impl Order {
    /// The order of `docs/protocol.md`.
    pub(super) const DEFINITION: Self = Self {
        product_block: 256,
        score_block: usize::MAX,
        position_block: 256,
        vocabulary_block: 256,
        n_sums: 16,
        tree: Tree::Halves,
        departure: None,
    };

    const fn departing(departure: Departure) -> Self {
        Self { departure: Some(departure), ..Self::DEFINITION }
    }

    pub(super) fn departs(self, departure: Departure) -> bool {
        self.departure == Some(departure)
    }

    pub(super) fn fused_unless(self, departure: Departure) -> Fused {
        if self.departs(departure) { Fused::No } else { Fused::Yes }
    }
}

/// Other orders, each with the rule that it breaks. No small golden model tells these from the
/// definition: none has a second block of anything.
pub(super) const UNSEEN_BY_SMALL_MODELS: [(&str, Order); 11] = {
    let order = Order::DEFINITION;
    let all = usize::MAX;
    [
        ("rule 2: chains of 128 inputs", Order { product_block: 128, ..order }),
        ("rule 2: chains of 512 inputs", Order { product_block: 512, ..order }),
        ("rule 2: one chain for all inputs", Order { product_block: all, ..order }),
        ("rule 2: chains added descending", Order::departing(Departure::ChainsDescending)),
        ("rule 6: scores in chains of 256", Order { score_block: 256, ..order }),
        ("rule 6: chains of 128 positions", Order { position_block: 128, ..order }),
        ("rule 6: chains of 512 positions", Order { position_block: 512, ..order }),
        (
            "rule 6: blocks counted from the window's start",
            Order::departing(Departure::BlocksFromWindow),
        ),
        ("rule 8: blocks of 128 tokens", Order { vocabulary_block: 128, ..order }),
        ("rule 8: blocks of 512 tokens", Order { vocabulary_block: 512, ..order }),
        ("rule 8: all of the vocabulary at once", Order { vocabulary_block: all, ..order }),
    ]
};

/// More of them.
pub(super) const OTHERS: [(&str, Order); 32] = {
    use Departure::*;
    let order = Order::DEFINITION;
    const fn departing(departure: Departure) -> Order {
        Order::departing(departure)
    }
    [
        ("rule 2: products rounded before they are added", departing(ProductRounded)),
        ("rule 2: the bias starts the first chain", departing(ChainFromBias)),
        ("rule 3: 8 partial sums", Order { n_sums: 8, ..order }),
        ("rule 3: 32 partial sums", Order { n_sums: 32, ..order }),
        ("rule 3: neighbours added first", Order { tree: Tree::Neighbours, ..order }),
        ("rule 3: partial sums added in order", Order { tree: Tree::InOrder, ..order }),
        ("rule 4: squares rounded before they are added", departing(SquaresRounded)),
        ("rule 4: gain before scale", departing(GainFirst)),
        ("rule 4: gain times scale first", departing(GainTimesScale)),
        ("rule 4: division by the root", departing(DivisionByRoot)),
        ("rule 4: sum times one over the width", departing(MeanByInverse)),
        ("rule 4: product rounded before the bias", departing(NormBiasRounded)),
        ("rule 4: variance as a difference of squares", departing(VarianceOfSquares)),
        ("rule 4: Gemma's one added to the product", departing(OneOfGainFused)),
        ("rule 5: rotation contracted the other way", departing(RotationOtherWay)),
        ("rule 5: rotation rounded", departing(RotationRounded)),
        ("rule 5: angles in double", departing(AngleInDouble)),
        ("rule 5: scores scaled, not queries", departing(ScoresScaled)),
        ("rule 5: queries scaled before they are turned", departing(ScaledBeforeTurned)),
        ("rule 5: the scale in the other precision", departing(ScaleInOtherPrecision)),
        ("rule 6: division by the sum of shares", departing(DivisionBySum)),
        ("rule 6: shares scaled before they gather", departing(SharesScaled)),
        ("rule 6: score times one over the cap", departing(CapByInverse)),
        ("rule 7: SiLU by one over its divisor", departing(SiluByInverse)),
        ("rule 7: the cube of GELU rounded", departing(CubeRounded)),
        ("rule 7: GELU as a product", departing(ErfRounded)),
        ("rule 7: residual before bias", departing(ResidualBeforeBias)),
        ("rule 7: the residual starts the first chain", departing(ChainFromResidual)),
        ("rule 7: parallel results added to one another first", departing(BranchesFirst)),
        ("rule 8: blocks combined in single precision", departing(BlocksInSingle)),
        ("rule 8: the logit taken off last", departing(LogarithmFirst)),
        ("rule 9: the polynomial of e^x rounded", departing(ExponentialRounded)),
    ]
};
