//! The items, pallet by pallet, under the names of Bittensor's runtime.

use super::{Hasher, Item};
use crate::wire::{
    api::metagraph::{FixedI128, FixedU128},
    call::{CommitmentInfo, SealedBytes},
    event,
    primitives::{AccountData, AccountId32, AccountInfo, H256},
};
use frame_metadata::v14::StorageEntryMetadata;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// A commitment with its block, in one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Registration {
    /// Money kept for the place; none here.
    pub deposit: u64,
    /// Block of the commitment.
    pub block: u32,
    /// What was published.
    pub info: CommitmentInfo,
}

/// Hash, epoch and block of a commit to weights, and a number without a meaning any more.
pub type WeightCommitRow = (H256, u64, u64, u64);

/// Hotkey, block, encrypted weights and round of a time-locked commit.
pub type TimelockedRow = (AccountId32, u64, SealedBytes, u64);

/// What a client has to know of a beacon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct BeaconConfiguration {
    /// Public key, a point of G2 in 96 bytes.
    pub public_key: Vec<u8>,
    /// Seconds between two rounds.
    pub period: u32,
    /// Unix time of the first round, in seconds.
    pub genesis_time: u32,
    /// Hash of the beacon's description.
    pub hash: Vec<u8>,
    /// Hash of the group that runs it.
    pub group_hash: Vec<u8>,
    /// Name of the scheme.
    pub scheme_id: Vec<u8>,
    /// Its name.
    pub metadata: BeaconMetadata,
}

/// Name of a beacon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct BeaconMetadata {
    /// The name.
    pub beacon_id: Vec<u8>,
}

/// What a beacon made in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Pulse {
    /// The round.
    pub round: u64,
    /// SHA-256 of the signature.
    pub randomness: Vec<u8>,
    /// The signature, a point of G1 in 48 bytes.
    pub signature: Vec<u8>,
}

/// Bytes and block of a commitment that was revealed by time.
pub type RevealedRow = (Vec<u8>, u64);

/// Whether a subnet's epochs run Yuma Consensus; here all do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum ConsensusMode {
    /// They do.
    #[default]
    Yuma,
    /// Nothing is computed nor paid.
    Null,
}

/// What the owner says of a subnet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[expect(missing_docs, reason = "the fields are Bittensor's, one by one")]
pub struct SubnetIdentityV3 {
    pub subnet_name: Vec<u8>,
    pub github_repo: Vec<u8>,
    pub subnet_contact: Vec<u8>,
    pub subnet_url: Vec<u8>,
    pub discord: Vec<u8>,
    pub description: Vec<u8>,
    pub logo_url: Vec<u8>,
    pub additional: Vec<u8>,
}

/// What somebody says of itself; nobody does here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[expect(missing_docs, reason = "the fields are Bittensor's, one by one")]
pub struct ChainIdentityV2 {
    pub name: Vec<u8>,
    pub url: Vec<u8>,
    pub github_repo: Vec<u8>,
    pub image: Vec<u8>,
    pub discord: Vec<u8>,
    pub description: Vec<u8>,
    pub additional: Vec<u8>,
}

/// Stake that its owner may not take back for a while; nobody locks any here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct LockState {
    /// How much, in rao.
    pub locked_mass: u64,
    /// What it counts for.
    pub conviction: FixedU128,
    /// Block in which the two were reckoned.
    pub last_update: u64,
}

/// The items of a pallet as constants, and a function that describes them all.
macro_rules! items {
    ($(
        $(#[$about:meta])*
        $all:ident = $pallet:literal {$(
            #[doc = $doc:literal]
            $name:ident: $keys:ty => $value:ty =
                $item:literal [$($hasher:ident),*] $($optional:ident)?;
        )*}
    )*) => {$(
        $(
            #[doc = $doc]
            pub const $name: Item<$keys, $value> =
                Item::new(($pallet, $item), &[$(Hasher::$hasher),*], $doc)$(.$optional())?;
        )*

        $(#[$about])*
        pub fn $all() -> Vec<StorageEntryMetadata> {
            vec![$($name.metadata()),*]
        }
    )*};
}

items! {
    /// Items of the pallet System.
    system = "System" {
        /// Nonce and money of an account.
        ACCOUNT: (AccountId32,) => AccountInfo<u32, AccountData<u64>> = "Account" [Blake2];

        /// Number of the newest block.
        NUMBER: () => u32 = "Number" [];

        /// Events of the newest block.
        EVENTS: () => Vec<event::Record> = "Events" [];

        /// Calls in the newest block.
        EXTRINSIC_COUNT: () => u32 = "ExtrinsicCount" [] optional;
    }

    /// Items of the pallet Timestamp.
    timestamp = "Timestamp" {
        /// When the newest block was made, in milliseconds; zero where blocks are made by hand.
        NOW: () => u64 = "Now" [];
    }

    /// Items of the pallet Balances.
    balances = "Balances" {
        /// All that came into being and is not gone, in rao.
        BALANCES_TOTAL_ISSUANCE: () => u64 = "TotalIssuance" [];
    }

    /// Items of the pallet SubtensorModule.
    subtensor = "SubtensorModule" {
        /// Symbol of the token of a subnet; here all have the chain's.
        TOKEN_SYMBOL: (u16,) => Vec<u8> = "TokenSymbol" [Identity];

        /// Whether the subnet is there.
        NETWORKS_ADDED: (u16,) => bool = "NetworksAdded" [Identity];

        /// Slots taken.
        SUBNETWORK_N: (u16,) => u16 = "SubnetworkN" [Identity];

        /// Blocks between two epochs.
        TEMPO: (u16,) => u16 = "Tempo" [Identity];

        /// Who set weights recently enough, by uid.
        ACTIVE: (u16,) => Vec<bool> = "Active" [Identity];

        /// Consensus of the last epoch, by uid.
        CONSENSUS: (u16,) => Vec<u16> = "Consensus" [Identity];

        /// Incentive of the last epoch, by uid.
        INCENTIVE: (u16,) => Vec<u16> = "Incentive" [Identity];

        /// Dividends of the last epoch, by uid.
        DIVIDENDS: (u16,) => Vec<u16> = "Dividends" [Identity];

        /// Validator trust of the last epoch, by uid.
        VALIDATOR_TRUST: (u16,) => Vec<u16> = "ValidatorTrust" [Identity];

        /// Rao paid by the last epoch, by uid.
        EMISSION: (u16,) => Vec<u64> = "Emission" [Identity];

        /// Block of the last weights, by uid.
        LAST_UPDATE: (u16,) => Vec<u64> = "LastUpdate" [Identity];

        /// Who may set weights, by uid.
        VALIDATOR_PERMIT: (u16,) => Vec<bool> = "ValidatorPermit" [Identity];

        /// Who loses its slot first: the smallest, by uid.
        PRUNING_SCORES: (u16,) => Vec<u16> = "PruningScores" [Identity];

        /// What a slot costs now, in rao.
        BURN: (u16,) => u64 = "Burn" [Identity];

        /// Lowest price of a slot, in rao.
        MIN_BURN: (u16,) => u64 = "MinBurn" [Identity];

        /// Highest price of a slot, in rao.
        MAX_BURN: (u16,) => u64 = "MaxBurn" [Identity];

        /// Most slots.
        MAX_ALLOWED_UIDS: (u16,) => u16 = "MaxAllowedUids" [Identity];

        /// Most permits.
        MAX_ALLOWED_VALIDATORS: (u16,) => u16 = "MaxAllowedValidators" [Identity];

        /// Blocks for which a new slot is not pruned.
        IMMUNITY_PERIOD: (u16,) => u16 = "ImmunityPeriod" [Identity];

        /// Blocks between two adjustments of the price.
        ADJUSTMENT_INTERVAL: (u16,) => u16 = "AdjustmentInterval" [Identity];

        /// Share of the old price in the adjusted one, of 2^64 - 1.
        ADJUSTMENT_ALPHA: (u16,) => u64 = "AdjustmentAlpha" [Identity];

        /// Registrations at which the price stays.
        TARGET_REGISTRATIONS_PER_INTERVAL: (u16,) => u16 =
            "TargetRegistrationsPerInterval" [Identity];

        /// Most registrations in one block.
        MAX_REGISTRATIONS_PER_BLOCK: (u16,) => u16 = "MaxRegistrationsPerBlock" [Identity];

        /// Registrations since the last adjustment.
        REGISTRATIONS_THIS_INTERVAL: (u16,) => u16 = "RegistrationsThisInterval" [Identity];

        /// Registrations in the newest block.
        REGISTRATIONS_THIS_BLOCK: (u16,) => u16 = "RegistrationsThisBlock" [Identity];

        /// Blocks between two settings of weights.
        WEIGHTS_SET_RATE_LIMIT: (u16,) => u64 = "WeightsSetRateLimit" [Identity];

        /// Fewest weights in one call.
        MIN_ALLOWED_WEIGHTS: (u16,) => u16 = "MinAllowedWeights" [Identity];

        /// Largest share of one weight.
        MAX_WEIGHTS_LIMIT: (u16,) => u16 = "MaxWeightsLimit" [Identity];

        /// Version that validators must run at least.
        WEIGHTS_VERSION_KEY: (u16,) => u64 = "WeightsVersionKey" [Identity];

        /// Share of stake that consensus needs.
        KAPPA: (u16,) => u16 = "Kappa" [Identity];

        /// Share of the old bonds, in millionths.
        BONDS_MOVING_AVERAGE: (u16,) => u64 = "BondsMovingAverage" [Identity];

        /// How far clipping cuts the weights that make bonds.
        BONDS_PENALTY: (u16,) => u16 = "BondsPenalty" [Identity];

        /// Whether bonds follow Yuma3.
        YUMA3_ON: (u16,) => bool = "Yuma3On" [Blake2];

        /// Whether bond rates depend on weight and consensus.
        LIQUID_ALPHA_ON: (u16,) => bool = "LiquidAlphaOn" [Blake2];

        /// Blocks after which a silent validator has no say.
        ACTIVITY_CUTOFF: (u16,) => u16 = "ActivityCutoff" [Identity];

        /// The same in thousandths of the tempo, rounded up.
        ACTIVITY_CUTOFF_FACTOR_MILLI: (u16,) => u32 = "ActivityCutoffFactorMilli" [Identity];

        /// Lowest and highest rate of bonds where they depend on weight and consensus.
        ALPHA_VALUES: (u16,) => (u16, u16) = "AlphaValues" [Identity];

        /// Hundred times the slope between the two.
        ALPHA_SIGMOID_STEEPNESS: (u16,) => i16 = "AlphaSigmoidSteepness" [Identity];

        /// Whether a commitment takes bonds away; it does not.
        BONDS_RESET_ON: (u16,) => bool = "BondsResetOn" [Identity];

        /// Whether slots can be had for work; they cannot.
        NETWORK_POW_REGISTRATION_ALLOWED: (u16,) => bool =
            "NetworkPowRegistrationAllowed" [Identity];

        /// Highest price of a slot in work.
        MAX_DIFFICULTY: (u16,) => u64 = "MaxDifficulty" [Identity];

        /// Whether stake can be given to another coldkey; it cannot.
        TRANSFER_TOGGLE: (u16,) => bool = "TransferToggle" [Identity];

        /// Whether the owner gets a part of what a block mints.
        OWNER_CUT_ENABLED: (u16,) => bool = "OwnerCutEnabled" [Identity];

        /// Whether that part is locked; it is not.
        OWNER_CUT_AUTO_LOCK_ENABLED: (u16,) => bool = "OwnerCutAutoLockEnabled" [Identity];

        /// How many slots of the owner are spared when one is pruned.
        IMMUNE_OWNER_UIDS_LIMIT: (u16,) => u16 = "ImmuneOwnerUidsLimit" [Identity];

        /// Lowest part that a hotkey takes of stake lent to it; none is lent here.
        MIN_CHILDKEY_TAKE_PER_SUBNET: (u16,) => u16 = "MinChildkeyTakePerSubnet" [Identity];

        /// Slope of trust by consensus; consensus here has no such rule.
        RHO: (u16,) => u16 = "Rho" [Identity] optional;

        /// Blocks between two announcements of a service; nobody announces one here.
        SERVING_RATE_LIMIT: (u16,) => u64 = "ServingRateLimit" [Identity] optional;

        /// What one registration does to the price; here it is adjusted by interval.
        BURN_INCREASE_MULT: (u16,) => FixedU128 = "BurnIncreaseMult" [Identity] optional;

        /// Blocks in which the price halves; here it is adjusted by interval.
        BURN_HALF_LIFE: (u16,) => u16 = "BurnHalfLife" [Identity] optional;

        /// Whether slots can be bought.
        NETWORK_REGISTRATION_ALLOWED: (u16,) => bool = "NetworkRegistrationAllowed" [Identity];

        /// Whether weights are committed to first.
        COMMIT_REVEAL_WEIGHTS_ENABLED: (u16,) => bool = "CommitRevealWeightsEnabled" [Identity];

        /// Epochs between commit and reveal.
        REVEAL_PERIOD_EPOCHS: (u16,) => u64 = "RevealPeriodEpochs" [Twox64];

        /// Whether epochs run Yuma Consensus.
        SUBNET_EPOCH_CONSENSUS: (u16,) => ConsensusMode = "SubnetEpochConsensus" [Identity];

        /// Block at which the subnet was opened.
        NETWORK_REGISTERED_AT: (u16,) => u64 = "NetworkRegisteredAt" [Identity];

        /// First block that pays: the one after the subnet was started.
        FIRST_EMISSION_BLOCK_NUMBER: (u16,) => u64 = "FirstEmissionBlockNumber" [Identity] optional;

        /// Blocks before a new subnet can be started; here all are started as they are opened.
        START_CALL_DELAY: () => u64 = "StartCallDelay" [];

        /// Mechanisms of a subnet; one here.
        MECHANISM_COUNT_CURRENT: (u16,) => u8 = "MechanismCountCurrent" [Twox64];

        /// Block in which a coldkey last swapped a hotkey of the subnet.
        LAST_HOTKEY_SWAP_ON_NETUID: (u16, AccountId32) => u64 =
            "LastHotkeySwapOnNetuid" [Identity, Blake2];

        /// Block of the last epoch.
        LAST_EPOCH_BLOCK: (u16,) => u64 = "LastEpochBlock" [Identity];

        /// Block at which the owner wants an epoch; owners do not ask for one here.
        PENDING_EPOCH_AT: (u16,) => u64 = "PendingEpochAt" [Identity];

        /// Number of the epoch now.
        SUBNET_EPOCH_INDEX: (u16,) => u64 = "SubnetEpochIndex" [Identity];

        /// Share of the price of a slot that is locked, not burned; none here.
        COLLATERAL_LOCK_SHARE: (u16,) => u16 = "CollateralLockShare" [Identity];

        /// How fast what is locked comes free; nothing is locked here.
        COLLATERAL_DRAIN_RATIO: (u16,) => FixedU128 = "CollateralDrainRatio" [Identity] optional;

        /// What the owner says of the subnet.
        SUBNET_IDENTITIES: (u16,) => SubnetIdentityV3 = "SubnetIdentitiesV3" [Blake2] optional;

        /// What the owner locked, in rao.
        SUBNET_LOCKED: (u16,) => u64 = "SubnetLocked" [Identity];

        /// Rao that wait for the next epoch.
        PENDING_EMISSION: (u16,) => u64 = "PendingEmission" [Identity];

        /// Block of the last epoch; the spelling is the chain's.
        LAST_MECHANSIM_STEP_BLOCK: (u16,) => u64 = "LastMechansimStepBlock" [Identity];

        /// Blocks since the last epoch.
        BLOCKS_SINCE_LAST_STEP: (u16,) => u64 = "BlocksSinceLastStep" [Identity];

        /// Coldkey of the owner.
        SUBNET_OWNER: (u16,) => AccountId32 = "SubnetOwner" [Identity];

        /// Hotkey of the owner, where the owner has a slot; all zeros where it has none.
        SUBNET_OWNER_HOTKEY: (u16,) => AccountId32 = "SubnetOwnerHotkey" [Identity];

        /// Hotkey in a slot.
        KEYS: (u16, u16) => AccountId32 = "Keys" [Identity, Identity];

        /// Slot of a hotkey.
        UIDS: (u16, AccountId32) => u16 = "Uids" [Identity, Blake2] optional;

        /// Block at which a slot was taken.
        BLOCK_AT_REGISTRATION: (u16, u16) => u64 = "BlockAtRegistration" [Identity, Identity];

        /// Weights that a validator set.
        WEIGHTS: (u16, u16) => Vec<(u16, u16)> = "Weights" [Identity, Identity];

        /// Bonds that a validator holds.
        BONDS: (u16, u16) => Vec<(u16, u16)> = "Bonds" [Identity, Identity];

        /// Whether a hotkey has a slot.
        IS_NETWORK_MEMBER: (AccountId32, u16) => bool = "IsNetworkMember" [Blake2, Identity];

        /// Commits that wait for their reveal: hash, epoch, block, nothing.
        WEIGHT_COMMITS: (u16, AccountId32) => Vec<WeightCommitRow> =
            "WeightCommits" [Twox64, Twox64] optional;

        /// Time-locked commits that wait, by epoch of the commit: hotkey, block, weights, round.
        TIMELOCKED_WEIGHT_COMMITS: (u16, u64) => Vec<TimelockedRow> =
            "TimelockedWeightCommits" [Twox64, Twox64];

        /// Version of time-locked commits that is taken.
        COMMIT_REVEAL_WEIGHTS_VERSION: () => u16 = "CommitRevealWeightsVersion" [];

        /// Coldkey of a hotkey.
        OWNER: (AccountId32,) => AccountId32 = "Owner" [Blake2];

        /// Hotkeys of a coldkey.
        OWNED_HOTKEYS: (AccountId32,) => Vec<AccountId32> = "OwnedHotkeys" [Blake2];

        /// Rao that a coldkey staked behind a hotkey.
        STAKE: (AccountId32, AccountId32) => u64 = "Stake" [Blake2, Identity];

        /// Stake of a coldkey on a subnet that cannot be taken back; there is none here.
        LOCK: (AccountId32, u16, AccountId32) => LockState =
            "Lock" [Blake2, Identity, Blake2] optional;

        /// What a coldkey says of itself.
        IDENTITIES: (AccountId32,) => ChainIdentityV2 = "IdentitiesV2" [Blake2] optional;

        /// Rao staked behind a hotkey.
        TOTAL_HOTKEY_STAKE: (AccountId32,) => u64 = "TotalHotkeyStake" [Identity];

        /// Number of subnets, the root network included.
        TOTAL_NETWORKS: () => u16 = "TotalNetworks" [];

        /// All stake, in rao.
        TOTAL_STAKE: () => u64 = "TotalStake" [];

        /// All that came into being and is not gone, in rao.
        TOTAL_ISSUANCE: () => u64 = "TotalIssuance" [];

        /// What opening a subnet costs, in rao.
        NETWORK_MIN_LOCK_COST: () => u64 = "NetworkMinLockCost" [];

        /// Rao that went into the pool of a subnet in the newest block; no subnet has a pool here.
        SUBNET_TAO_IN_EMISSION: (u16,) => u64 = "SubnetTaoInEmission" [Identity];

        /// Block and average of what flows into the pool of a subnet; nothing here.
        SUBNET_EMA_TAO_FLOW: (u16,) => (u64, FixedI128) = "SubnetEmaTaoFlow" [Identity] optional;

        /// Blocks between two calls of a key; there is no such limit here.
        TX_RATE_LIMIT: () => u64 = "TxRateLimit" [];

        /// Stake below which nobody sets weights: the lowest of all subnets.
        STAKE_THRESHOLD: () => u64 = "StakeThreshold" [];
    }

    /// Items of the pallet Commitments.
    commitments = "Commitments" {
        /// What a hotkey published, with the block in which it did.
        COMMITMENT_OF: (u16, AccountId32) => Registration =
            "CommitmentOf" [Identity, Twox64] optional;

        /// Block of the last commitment of a hotkey.
        LAST_COMMITMENT: (u16, AccountId32) => u32 = "LastCommitment" [Identity, Twox64] optional;

        /// Blocks between two commitments of a hotkey; the chain has no such item by subnet.
        COMMITMENT_RATE_LIMIT: (u16,) => u64 = "CommitmentRateLimit" [Identity];

        /// Commitments revealed by time; none here.
        REVEALED_COMMITMENTS: (u16, AccountId32) => Vec<RevealedRow> =
            "RevealedCommitments" [Identity, Twox64] optional;
    }

    /// Items of the pallet Drand.
    drand = "Drand" {
        /// The beacon whose pulses open time-locked weights: a test key of this chain.
        BEACON_CONFIG: () => BeaconConfiguration = "BeaconConfig" [];

        /// The newest pulse; the chain of Bittensor keeps those of some days.
        PULSES: (u64,) => Pulse = "Pulses" [Blake2] optional;

        /// Round of the newest pulse.
        LAST_STORED_ROUND: () => u64 = "LastStoredRound" [];
    }

    /// Items of the pallet MevShield.
    mev_shield = "MevShield" {
        /// Key for calls that are sent encrypted; never given here, so clients send them openly.
        NEXT_KEY: () => Vec<u8> = "NextKey" [] optional;
    }
}
