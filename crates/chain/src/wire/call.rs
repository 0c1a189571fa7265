//! Calls of the runtime, by pallet; names and arguments are those of Bittensor's.

mod admin;

pub use admin::AdminUtilsCall;

use super::primitives::{AccountId32, Address, H256};
use crate::{Call, CallError};
use parity_scale_codec::{Compact, Decode, Encode, Error as CodecError, Input, Output};
use protocol::{NetUid, Uid};
use scale_info::{Path, Type, TypeInfo, build::Fields, build::Variants};

/// Any call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RuntimeCall {
    /// Of the system.
    #[codec(index = 0)]
    System(SystemCall),
    /// Of money.
    #[codec(index = 5)]
    Balances(BalancesCall),
    /// Of subnets.
    #[codec(index = 7)]
    SubtensorModule(SubtensorCall),
    /// Of commitments.
    #[codec(index = 18)]
    Commitments(CommitmentsCall),
    /// Of owners of subnets.
    #[codec(index = 19)]
    AdminUtils(AdminUtilsCall),
}

/// Calls of the pallet System.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SystemCall {
    /// Does nothing, but stands in a block.
    #[codec(index = 0)]
    remark {
        /// Any bytes.
        remark: Vec<u8>,
    },
}

/// Calls of the pallet Balances.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum BalancesCall {
    /// Moves balance to another account.
    #[codec(index = 0)]
    transfer_allow_death {
        /// Receiver.
        dest: Address,
        /// Amount in rao.
        #[codec(compact)]
        value: u64,
    },
    /// The same; accounts do not die here.
    #[codec(index = 3)]
    transfer_keep_alive {
        /// Receiver.
        dest: Address,
        /// Amount in rao.
        #[codec(compact)]
        value: u64,
    },
}

/// Calls of the pallet SubtensorModule.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum SubtensorCall {
    /// Sets the weights of the signing hotkey.
    #[codec(index = 0)]
    set_weights {
        /// Subnet.
        netuid: u16,
        /// Miners.
        dests: Vec<u16>,
        /// Their weights, same order.
        weights: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// Moves balance of the signing coldkey into stake.
    #[codec(index = 2)]
    add_stake {
        /// Key that gets the stake.
        hotkey: AccountId32,
        /// Subnet, or 0 for the root network; stake counts on all of them here.
        netuid: u16,
        /// Amount in rao.
        amount_staked: u64,
    },
    /// Takes stake back into balance.
    #[codec(index = 3)]
    remove_stake {
        /// Key that loses the stake.
        hotkey: AccountId32,
        /// Subnet, as in `add_stake`.
        netuid: u16,
        /// Amount in rao.
        amount_unstaked: u64,
    },
    /// Buys a slot.
    #[codec(index = 7)]
    burned_register {
        /// Subnet.
        netuid: u16,
        /// Key that gets the slot.
        hotkey: AccountId32,
    },
    /// Opens a subnet.
    #[codec(index = 59)]
    register_network {
        /// Key that gets its first slot.
        hotkey: AccountId32,
    },
    /// The same as `add_stake`, at no worse a price than named; there is one price here.
    #[codec(index = 88)]
    add_stake_limit {
        /// Key that gets the stake.
        hotkey: AccountId32,
        /// Subnet, as in `add_stake`.
        netuid: u16,
        /// Amount in rao.
        amount_staked: u64,
        /// Highest price, in rao.
        limit_price: u64,
        /// Whether a part may be staked where all is not to be had at this price.
        allow_partial: bool,
    },
    /// The same as `remove_stake`, at no worse a price than named; there is one price here.
    #[codec(index = 89)]
    remove_stake_limit {
        /// Key that loses the stake.
        hotkey: AccountId32,
        /// Subnet, as in `add_stake`.
        netuid: u16,
        /// Amount in rao.
        amount_unstaked: u64,
        /// Lowest price, in rao.
        limit_price: u64,
        /// Whether a part may be taken where all is not to be had at this price.
        allow_partial: bool,
    },
    /// Commits to weights by their hash.
    #[codec(index = 96)]
    commit_weights {
        /// Subnet.
        netuid: u16,
        /// Hash of the weights and a salt.
        commit_hash: H256,
    },
    /// Reveals weights that were committed to.
    #[codec(index = 97)]
    reveal_weights {
        /// Subnet.
        netuid: u16,
        /// Miners.
        uids: Vec<u16>,
        /// Their weights, same order.
        values: Vec<u16>,
        /// The salt of the commit.
        salt: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
    /// Buys a slot at no higher a price than named.
    #[codec(index = 134)]
    register_limit {
        /// Subnet.
        netuid: u16,
        /// Key that gets the slot.
        hotkey: AccountId32,
        /// Highest price, in rao.
        limit_price: u64,
    },
    /// Sets weights of one mechanism; a subnet has one here, number 0.
    #[codec(index = 119)]
    set_mechanism_weights {
        /// Subnet.
        netuid: u16,
        /// Number of the mechanism.
        mecid: u8,
        /// Miners.
        dests: Vec<u16>,
        /// Their weights, same order.
        weights: Vec<u16>,
        /// Version of the rules the validator runs.
        version_key: u64,
    },
}

/// Calls of the pallet Commitments.
#[allow(non_camel_case_types)]
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum CommitmentsCall {
    /// Publishes bytes under the signing hotkey.
    #[codec(index = 0)]
    set_commitment {
        /// Subnet.
        netuid: u16,
        /// What to publish.
        info: CommitmentInfo,
    },
}

/// What a hotkey publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, TypeInfo)]
pub struct CommitmentInfo {
    /// One field of bytes; more are refused.
    pub fields: Vec<Data>,
}

/// Most fields that are read; Bittensor's runtime takes as many.
const FIELDS_MAX: u32 = 3;

impl Decode for CommitmentInfo {
    fn decode<I: Input>(input: &mut I) -> Result<Self, CodecError> {
        // A field can be a single byte on the wire and is much more in memory.
        let n_fields = Compact::<u32>::decode(input)?.0;
        if n_fields > FIELDS_MAX {
            return Err("more than three fields in a commitment".into());
        }
        let fields = (0..n_fields).map(|_| Data::decode(input)).collect::<Result<_, _>>()?;
        Ok(Self { fields })
    }
}

/// A field of a commitment.
///
/// One byte in front says kind and length: 0 nothing, n + 1 for n bytes up to 128, then two kinds
/// that Bittensor's runtime got later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// Up to 128 bytes, each length a variant of its own.
    Raw(Vec<u8>),
    /// Up to 512 bytes; refused as too long.
    BigRaw(Vec<u8>),
}

/// Names of the variants of [`Data`] by length.
#[rustfmt::skip]
const RAW_NAMES: [&str; 129] = [
    "Raw0", "Raw1", "Raw2", "Raw3", "Raw4", "Raw5", "Raw6", "Raw7", "Raw8", "Raw9", "Raw10",
    "Raw11", "Raw12", "Raw13", "Raw14", "Raw15", "Raw16", "Raw17", "Raw18", "Raw19", "Raw20",
    "Raw21", "Raw22", "Raw23", "Raw24", "Raw25", "Raw26", "Raw27", "Raw28", "Raw29", "Raw30",
    "Raw31", "Raw32", "Raw33", "Raw34", "Raw35", "Raw36", "Raw37", "Raw38", "Raw39", "Raw40",
    "Raw41", "Raw42", "Raw43", "Raw44", "Raw45", "Raw46", "Raw47", "Raw48", "Raw49", "Raw50",
    "Raw51", "Raw52", "Raw53", "Raw54", "Raw55", "Raw56", "Raw57", "Raw58", "Raw59", "Raw60",
    "Raw61", "Raw62", "Raw63", "Raw64", "Raw65", "Raw66", "Raw67", "Raw68", "Raw69", "Raw70",
    "Raw71", "Raw72", "Raw73", "Raw74", "Raw75", "Raw76", "Raw77", "Raw78", "Raw79", "Raw80",
    "Raw81", "Raw82", "Raw83", "Raw84", "Raw85", "Raw86", "Raw87", "Raw88", "Raw89", "Raw90",
    "Raw91", "Raw92", "Raw93", "Raw94", "Raw95", "Raw96", "Raw97", "Raw98", "Raw99", "Raw100",
    "Raw101", "Raw102", "Raw103", "Raw104", "Raw105", "Raw106", "Raw107", "Raw108", "Raw109",
    "Raw110", "Raw111", "Raw112", "Raw113", "Raw114", "Raw115", "Raw116", "Raw117", "Raw118",
    "Raw119", "Raw120", "Raw121", "Raw122", "Raw123", "Raw124", "Raw125", "Raw126", "Raw127",
    "Raw128",
];

impl Data {
    const RAW_BYTES_MAX: usize = 128;
    const BIG_RAW: u8 = 136;
    const BIG_RAW_BYTES_MAX: usize = 512;

    /// The shortest field that holds `bytes`.
    pub fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() > Self::RAW_BYTES_MAX { Self::BigRaw(bytes) } else { Self::Raw(bytes) }
    }

    /// The bytes of the field.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Raw(bytes) | Self::BigRaw(bytes) => bytes,
        }
    }
}

impl Encode for Data {
    fn size_hint(&self) -> usize {
        self.bytes().len() + 6
    }

    fn encode_to<T: Output + ?Sized>(&self, output: &mut T) {
        match self {
            Self::None => output.push_byte(0),
            Self::Raw(bytes) => {
                // At most 128 by construction and by decoding.
                output.push_byte((bytes.len().min(Self::RAW_BYTES_MAX) + 1) as u8);
                output.write(bytes);
            }
            Self::BigRaw(bytes) => {
                output.push_byte(Self::BIG_RAW);
                bytes.encode_to(output);
            }
        }
    }
}

impl Decode for Data {
    fn decode<I: Input>(input: &mut I) -> Result<Self, CodecError> {
        match input.read_byte()? {
            0 => Ok(Self::None),
            kind @ 1..=129 => {
                let mut bytes = vec![0; usize::from(kind) - 1];
                input.read(&mut bytes)?;
                Ok(Self::Raw(bytes))
            }
            Self::BIG_RAW => {
                let bytes = Vec::<u8>::decode(input)?;
                if bytes.len() > Self::BIG_RAW_BYTES_MAX {
                    return Err("more than 512 bytes in a field of a commitment".into());
                }
                Ok(Self::BigRaw(bytes))
            }
            _ => Err("a kind of field of a commitment that is not supported".into()),
        }
    }
}

impl TypeInfo for Data {
    type Identity = Self;

    fn type_info() -> Type {
        /// `Raw0` to `Raw128`, an array of that many bytes each.
        fn raw<const N: usize>(variants: Variants) -> Variants {
            let name: &'static str = RAW_NAMES[N];
            variants.variant(name, |variant| {
                variant
                    .index((N + 1) as u8)
                    .fields(Fields::unnamed().field(|field| field.ty::<[u8; N]>()))
            })
        }
        macro_rules! all {
            ($variants:expr; $($n:literal)*) => {{
                let variants = $variants;
                $( let variants = raw::<$n>(variants); )*
                variants
            }};
        }
        let variants = Variants::new().variant("None", |variant| variant.index(0));
        let variants = all!(variants; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23
            24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52
            53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81
            82 83 84 85 86 87 88 89 90 91 92 93 94 95 96 97 98 99 100 101 102 103 104 105 106 107
            108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128);
        let variants = variants.variant("BigRaw", |variant| {
            variant
                .index(Self::BIG_RAW)
                .fields(Fields::unnamed().field(|field| field.ty::<Vec<u8>>()))
        });
        Type::builder().path(Path::new("Data", module_path!())).variant(variants)
    }
}

impl From<Call> for RuntimeCall {
    fn from(call: Call) -> Self {
        let plain = |uids: Vec<Uid>| uids.into_iter().map(|uid| uid.0).collect::<Vec<u16>>();
        let subtensor = match call {
            Call::Remark { data } => return Self::System(SystemCall::remark { remark: data }),
            Call::Transfer { to, amount_rao } => {
                let dest = Address::Id(to.into());
                return Self::Balances(BalancesCall::transfer_keep_alive {
                    dest,
                    value: amount_rao,
                });
            }
            Call::SetCommitment { netuid, data } => {
                let info = CommitmentInfo { fields: vec![Data::of(data)] };
                let call = CommitmentsCall::set_commitment { netuid: netuid.0, info };
                return Self::Commitments(call);
            }
            Call::SetHyperparameter { netuid, change } => {
                return Self::AdminUtils(AdminUtilsCall::of(netuid, change));
            }
            Call::BurnedRegister { netuid, hotkey } => {
                SubtensorCall::burned_register { netuid: netuid.0, hotkey: hotkey.into() }
            }
            Call::RegisterLimit { netuid, hotkey, limit_rao } => SubtensorCall::register_limit {
                netuid: netuid.0,
                hotkey: hotkey.into(),
                limit_price: limit_rao,
            },
            Call::AddStake { hotkey, netuid, amount_rao } => SubtensorCall::add_stake {
                hotkey: hotkey.into(),
                netuid: netuid.0,
                amount_staked: amount_rao,
            },
            Call::RemoveStake { hotkey, netuid, amount_rao } => SubtensorCall::remove_stake {
                hotkey: hotkey.into(),
                netuid: netuid.0,
                amount_unstaked: amount_rao,
            },
            Call::RegisterNetwork { hotkey } => {
                SubtensorCall::register_network { hotkey: hotkey.into() }
            }
            Call::SetWeights { netuid, uids, weights, version_key } => SubtensorCall::set_weights {
                netuid: netuid.0,
                dests: plain(uids),
                weights,
                version_key,
            },
            Call::CommitWeights { netuid, hash } => {
                SubtensorCall::commit_weights { netuid: netuid.0, commit_hash: H256(hash) }
            }
            Call::RevealWeights { netuid, uids, weights, salt, version_key } => {
                SubtensorCall::reveal_weights {
                    netuid: netuid.0,
                    uids: plain(uids),
                    values: weights,
                    salt,
                    version_key,
                }
            }
        };
        Self::SubtensorModule(subtensor)
    }
}

impl TryFrom<RuntimeCall> for Call {
    type Error = CallError;

    /// What the ledger is to do; refused where Bittensor has something that is not here.
    fn try_from(call: RuntimeCall) -> Result<Self, CallError> {
        match call {
            RuntimeCall::System(SystemCall::remark { remark }) => Ok(Self::Remark { data: remark }),
            RuntimeCall::Balances(
                BalancesCall::transfer_allow_death { dest, value }
                | BalancesCall::transfer_keep_alive { dest, value },
            ) => match dest {
                Address::Id(to) => Ok(Self::Transfer { to: to.into(), amount_rao: value }),
                _ => Err(CallError::Other("CannotLookup".to_owned())),
            },
            RuntimeCall::SubtensorModule(call) => call.try_into(),
            RuntimeCall::Commitments(CommitmentsCall::set_commitment { netuid, info }) => {
                let mut fields = info.fields.into_iter();
                match (fields.next(), fields.next()) {
                    (Some(Data::Raw(data) | Data::BigRaw(data)), None) => {
                        Ok(Self::SetCommitment { netuid: NetUid(netuid), data })
                    }
                    (None | Some(Data::None), None) => {
                        Ok(Self::SetCommitment { netuid: NetUid(netuid), data: Vec::new() })
                    }
                    _ => Err(CallError::Other("TooManyFieldsInCommitmentInfo".to_owned())),
                }
            }
            RuntimeCall::AdminUtils(call) => Ok(call.into()),
        }
    }
}

impl TryFrom<SubtensorCall> for Call {
    type Error = CallError;

    fn try_from(call: SubtensorCall) -> Result<Self, CallError> {
        let named = |uids: Vec<u16>| uids.into_iter().map(Uid).collect::<Vec<Uid>>();
        Ok(match call {
            SubtensorCall::set_weights { netuid, dests, weights, version_key }
            | SubtensorCall::set_mechanism_weights {
                netuid,
                mecid: 0,
                dests,
                weights,
                version_key,
            } => Self::SetWeights {
                netuid: NetUid(netuid),
                uids: named(dests),
                weights,
                version_key,
            },
            SubtensorCall::set_mechanism_weights { .. } => {
                return Err(CallError::Other("MechanismDoesNotExist".to_owned()));
            }
            SubtensorCall::add_stake { hotkey, netuid, amount_staked }
            | SubtensorCall::add_stake_limit { hotkey, netuid, amount_staked, .. } => {
                Self::AddStake {
                    hotkey: hotkey.into(),
                    netuid: NetUid(netuid),
                    amount_rao: amount_staked,
                }
            }
            SubtensorCall::remove_stake { hotkey, netuid, amount_unstaked }
            | SubtensorCall::remove_stake_limit { hotkey, netuid, amount_unstaked, .. } => {
                Self::RemoveStake {
                    hotkey: hotkey.into(),
                    netuid: NetUid(netuid),
                    amount_rao: amount_unstaked,
                }
            }
            SubtensorCall::burned_register { netuid, hotkey } => {
                Self::BurnedRegister { netuid: NetUid(netuid), hotkey: hotkey.into() }
            }
            SubtensorCall::register_limit { netuid, hotkey, limit_price } => Self::RegisterLimit {
                netuid: NetUid(netuid),
                hotkey: hotkey.into(),
                limit_rao: limit_price,
            },
            SubtensorCall::register_network { hotkey } => {
                Self::RegisterNetwork { hotkey: hotkey.into() }
            }
            SubtensorCall::commit_weights { netuid, commit_hash } => {
                Self::CommitWeights { netuid: NetUid(netuid), hash: commit_hash.0 }
            }
            SubtensorCall::reveal_weights { netuid, uids, values, salt, version_key } => {
                Self::RevealWeights {
                    netuid: NetUid(netuid),
                    uids: named(uids),
                    weights: values,
                    salt,
                    version_key,
                }
            }
        })
    }
}
