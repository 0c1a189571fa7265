//! Substrate's own types, under its names; [`metadata`](super::metadata) gives them its paths.

use parity_scale_codec::{Compact, Decode, Encode};
use protocol::{AccountId, BlockHash};
use scale_info::TypeInfo;

/// An account: a public key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, TypeInfo)]
pub struct AccountId32(pub [u8; 32]);

/// A hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct H256(pub [u8; 32]);

/// Ways to name an account; only `Id` is taken here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum MultiAddress<AccountId, AccountIndex> {
    /// The public key.
    Id(AccountId),
    /// A number.
    Index(Compact<AccountIndex>),
    /// Bytes of another kind of account.
    Raw(Vec<u8>),
    /// 32 bytes of another kind of account.
    Address32([u8; 32]),
    /// 20 bytes of another kind of account.
    Address20([u8; 20]),
}

/// How a call names an account.
pub type Address = MultiAddress<AccountId32, ()>;

/// Kinds of signatures; only `Sr25519` is taken here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum MultiSignature {
    /// Ed25519.
    Ed25519([u8; 64]),
    /// Schnorr signatures on Ristretto.
    Sr25519([u8; 64]),
    /// Ecdsa on secp256k1.
    Ecdsa([u8; 65]),
}

/// How much of a block something takes; nothing is metered here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Weight {
    /// Picoseconds.
    #[codec(compact)]
    pub ref_time: u64,
    /// Bytes of a proof.
    #[codec(compact)]
    pub proof_size: u64,
}

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DispatchClass {
    /// Of users.
    Normal,
    /// Of operators.
    Operational,
    /// Of the system.
    Mandatory,
}

/// Whether a call pays a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Pays {
    /// It does.
    Yes,
    /// It does not, as all calls here.
    No,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct DispatchInfo {
    /// How much of a block it took.
    pub weight: Weight,
    /// Its kind.
    pub class: DispatchClass,
    /// Whether it paid.
    pub pays_fee: Pays,
}

impl DispatchInfo {
    /// Of a call that pays nothing.
    pub const FREE: Self = Self {
        weight: Weight { ref_time: 0, proof_size: 0 },
        class: DispatchClass::Normal,
        pays_fee: Pays::No,
    };
}

/// An error of a pallet, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ModuleError {
    /// Number of the pallet.
    pub index: u8,
    /// Number of the error, and room for more.
    pub error: [u8; 4],
}

/// Errors of moving tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TokenError {
    /// The balance does not cover it.
    FundsUnavailable,
}

/// Why a call in a block was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DispatchError {
    /// For a reason without a number.
    #[codec(index = 0)]
    Other,
    /// An account is not there.
    #[codec(index = 1)]
    CannotLookup,
    /// The signer may not do this.
    #[codec(index = 2)]
    BadOrigin,
    /// A pallet says why.
    #[codec(index = 3)]
    Module(ModuleError),
    /// Something about tokens.
    #[codec(index = 7)]
    Token(TokenError),
}

/// When in a block an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum Phase {
    /// In the extrinsic of this number.
    ApplyExtrinsic(u32),
    /// After the last extrinsic.
    Finalization,
    /// Before the first extrinsic.
    Initialization,
}

/// An event with its place in the block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct EventRecord<E, T> {
    /// When it happened.
    pub phase: Phase,
    /// What happened.
    pub event: E,
    /// What it is filed under.
    pub topics: Vec<T>,
}

/// An account of the pallet System.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AccountInfo<Nonce, AccountData> {
    /// Calls in blocks so far.
    pub nonce: Nonce,
    /// What keeps the account alive.
    pub consumers: u32,
    /// What else does.
    pub providers: u32,
    /// What else does without money.
    pub sufficients: u32,
    /// Money.
    pub data: AccountData,
}

/// Money of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct AccountData<Balance> {
    /// Free to spend, in rao.
    pub free: Balance,
    /// Reserved, in rao; nothing reserves here.
    pub reserved: Balance,
    /// Frozen, in rao; nothing freezes here.
    pub frozen: Balance,
    /// Flags without a meaning here.
    pub flags: ExtraFlags,
}

/// Flags of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ExtraFlags(pub u128);

/// Version of a runtime.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct RuntimeVersion {
    /// Name of the runtime.
    pub spec_name: String,
    /// Name of the implementation.
    pub impl_name: String,
    /// Version of block authoring.
    pub authoring_version: u32,
    /// Version of calls and storage.
    pub spec_version: u32,
    /// Version of the implementation.
    pub impl_version: u32,
    /// Runtime APIs with their versions.
    pub apis: Vec<([u8; 8], u32)>,
    /// Version of extrinsics.
    pub transaction_version: u32,
    /// Version of the storage of the system.
    pub system_version: u8,
}

impl From<AccountId> for AccountId32 {
    fn from(account: AccountId) -> Self {
        Self(account.0)
    }
}

impl From<AccountId32> for AccountId {
    fn from(account: AccountId32) -> Self {
        Self(account.0)
    }
}

impl From<BlockHash> for H256 {
    fn from(hash: BlockHash) -> Self {
        Self(hash.0)
    }
}
