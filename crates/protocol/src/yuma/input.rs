//! What an epoch is computed from, as it comes from a ledger or from JSON, and its checks.

use serde::{Deserialize, Serialize, de::IgnoredAny};

/// Most slots a subnet can have.
pub const MAX_NEURONS: usize = 4_096;

/// What the owner of the subnet leaves of each block's 1 TAO: `floor(1e9 * (1 - 11796/65535))`.
pub const EMISSION_RAO_PER_BLOCK: u64 = 820_004_577;

/// Everything that one epoch of Yuma Consensus reads, slot by slot.
///
/// The optional fields default to what a subnet of the paper's time had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Number of slots.
    pub n: usize,
    /// Block of the epoch.
    pub block: u64,
    /// Blocks between two epochs.
    pub tempo: u16,
    /// A slot whose last update is older than so many blocks is inactive.
    pub activity_cutoff: u64,
    /// Share of stake, of 65,535, that consensus needs.
    pub kappa: u16,
    /// Weight of the old bonds, in millionths.
    pub bonds_moving_average: u64,
    /// How many slots may set weights.
    pub max_allowed_validators: u16,
    /// Stake behind each slot, in rao.
    pub stake_rao: Vec<u64>,
    /// Who held a permit when the epoch began; the new permits count from the next epoch on.
    pub validator_permit_before: Vec<bool>,
    /// Block of the last `set_weights`, or of the registration.
    pub last_update: Vec<u64>,
    /// Block at which each slot was taken.
    pub block_at_registration: Vec<u64>,
    /// Rows of (target, weight); only ratios within a row count.
    pub weights_u16: Vec<Vec<(u16, u16)>>,
    /// Rows of (target, bond) as the last epoch stored them.
    pub bonds_before_u16: Vec<Vec<(u16, u16)>>,
    /// Rao to pay out; if absent, `tempo + 1` blocks of [`EMISSION_RAO_PER_BLOCK`].
    #[serde(default)]
    pub emission_rao: Option<u64>,
    /// Whether bonds follow Yuma3; the paper's time had Yuma2.
    #[serde(default)]
    pub yuma3: bool,
    /// How far clipping also cuts the weights that make bonds, of 65,535.
    #[serde(default = "full_penalty")]
    pub bonds_penalty: u16,
    /// Which of two generations of small rules hold; if absent, 2024, or latest with `yuma3`.
    #[serde(default)]
    pub era: Option<Era>,
    /// Slot of the subnet's owner: always permitted, may weigh itself, exempt from the threshold.
    #[serde(default)]
    pub owner_uid: Option<u16>,
    /// Stake below this counts as none.
    #[serde(default)]
    pub stake_threshold_rao: u64,
    /// Block of the epoch before; zero if unknown. Read in the latest era only.
    #[serde(default)]
    pub last_epoch: u64,
    /// Block of the earliest live commit of each slot, on subnets with commit-reveal.
    #[serde(default)]
    pub commit_blocks: Option<Vec<Option<u64>>>,
    /// Bond rates that depend on weight and consensus; needs `yuma3`.
    #[serde(default)]
    pub liquid_alpha: Option<LiquidAlpha>,
    /// Ignored, so that a published case can be given as it is.
    #[serde(default, skip_serializing)]
    pub expect: Ignored,
}

/// A generation of the chain's small rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Era {
    /// Spring and summer of 2024: slots without stake may hold permits, and a bond lapses when its
    /// target registered after its holder's last update.
    #[serde(rename = "2024")]
    Y2024,
    /// Now: permits need stake, and a bond lapses when its target registered since the last epoch.
    #[serde(rename = "latest")]
    Latest,
}

/// Bounds and steepness of the sigmoid that gives each bond its own rate (Yuma3 only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiquidAlpha {
    /// Lowest rate, of 65,535.
    #[serde(default = "LiquidAlpha::default_low")]
    pub low: u16,
    /// Highest rate, of 65,535.
    #[serde(default = "LiquidAlpha::default_high")]
    pub high: u16,
    /// Hundred times the slope of the sigmoid.
    #[serde(default = "LiquidAlpha::default_steepness")]
    pub steepness: i16,
}

/// Holds nothing; reads anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

/// Why an epoch cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More slots than a subnet can have.
    #[error("`n` is {0}, more than the {MAX_NEURONS} slots a subnet can have")]
    TooManyNeurons(usize),
    /// A list has not one entry per slot.
    #[error("`{field}` has {found} entries, but `n` is {n}")]
    Length {
        /// Name of the list.
        field: &'static str,
        /// Its length.
        found: usize,
        /// Number of slots.
        n: usize,
    },
    /// A row names a slot that is not there.
    #[error("row {row} of `{field}` names uid {uid}, but `n` is {n}")]
    NoSuchUid {
        /// Name of the list of rows.
        field: &'static str,
        /// Number of the row.
        row: usize,
        /// The slot it names.
        uid: u16,
        /// Number of slots.
        n: usize,
    },
    /// A row names a slot twice.
    #[error("row {row} of `{field}` names uid {uid} twice")]
    DuplicateUid {
        /// Name of the list of rows.
        field: &'static str,
        /// Number of the row.
        row: usize,
        /// The slot it names twice.
        uid: u16,
    },
    /// The chain's numbers cannot hold the sum of the stakes.
    #[error("`stake_rao` sums to more than {}", i64::MAX)]
    TooMuchStake,
    /// The owner is not on the subnet.
    #[error("`owner_uid` is {uid}, but `n` is {n}")]
    NoSuchOwner {
        /// The slot named.
        uid: u16,
        /// Number of slots.
        n: usize,
    },
    /// A share of the old bonds above one.
    #[error("`bonds_moving_average` is {0}, more than a million (which is 1)")]
    MovingAverage(u64),
    /// Liquid alpha without Yuma3, or with bounds the wrong way round.
    #[error("`liquid_alpha` needs `yuma3` and `low` at most `high`")]
    LiquidAlpha,
}

fn full_penalty() -> u16 {
    u16::MAX
}

impl LiquidAlpha {
    fn default_low() -> u16 {
        45_875
    }

    fn default_high() -> u16 {
        58_982
    }

    fn default_steepness() -> i16 {
        1_000
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Input {
    /// The era that holds: the one given, or the one that fits `yuma3`.
    pub fn era(&self) -> Era {
        self.era.unwrap_or(if self.yuma3 { Era::Latest } else { Era::Y2024 })
    }

    /// Rao to pay out: as given, or what a subnet with all emission collects in `tempo + 1` blocks.
    pub fn emission_rao(&self) -> u64 {
        let blocks = u64::from(self.tempo) + 1;
        self.emission_rao.unwrap_or_else(|| blocks.saturating_mul(EMISSION_RAO_PER_BLOCK))
    }

    /// Everything that the computation relies on; it indexes freely afterwards.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let n = self.n;
        if n > MAX_NEURONS {
            return Err(Error::TooManyNeurons(n));
        }
        let commits = self.commit_blocks.as_ref().map_or(n, Vec::len);
        let lengths = [
            ("stake_rao", self.stake_rao.len()),
            ("validator_permit_before", self.validator_permit_before.len()),
            ("last_update", self.last_update.len()),
            ("block_at_registration", self.block_at_registration.len()),
            ("weights_u16", self.weights_u16.len()),
            ("bonds_before_u16", self.bonds_before_u16.len()),
            ("commit_blocks", commits),
        ];
        if let Some((field, found)) = lengths.into_iter().find(|(_, found)| *found != n) {
            return Err(Error::Length { field, found, n });
        }
        check_rows("weights_u16", &self.weights_u16)?;
        check_rows("bonds_before_u16", &self.bonds_before_u16)?;
        let total: u128 = self.stake_rao.iter().map(|stake| u128::from(*stake)).sum();
        if total > i64::MAX as u128 {
            return Err(Error::TooMuchStake);
        }
        if let Some(uid) = self.owner_uid.filter(|uid| usize::from(*uid) >= n) {
            return Err(Error::NoSuchOwner { uid, n });
        }
        if self.bonds_moving_average > 1_000_000 {
            return Err(Error::MovingAverage(self.bonds_moving_average));
        }
        match self.liquid_alpha {
            Some(alpha) if !self.yuma3 || alpha.low > alpha.high => Err(Error::LiquidAlpha),
            _ => Ok(()),
        }
    }
}

fn check_rows(field: &'static str, rows: &[Vec<(u16, u16)>]) -> Result<(), Error> {
    let n = rows.len();
    let mut seen_in = vec![usize::MAX; n];
    for (row, cells) in rows.iter().enumerate() {
        for (uid, _) in cells {
            let seen = seen_in.get_mut(usize::from(*uid)).ok_or(Error::NoSuchUid {
                field,
                row,
                uid: *uid,
                n,
            })?;
            if std::mem::replace(seen, row) == row {
                return Err(Error::DuplicateUid { field, row, uid: *uid });
            }
        }
    }
    Ok(())
}
