//! What the ledger does for each call of the runtime, and the other way.

use super::{
    AdminUtilsCall, BalancesCall, CommitmentInfo, CommitmentsCall, Data, RuntimeCall, SealedBytes,
    SubtensorCall, SystemCall,
};
use crate::wire::primitives::{Address, H256};
use chain::{Call, CallError, Mechanism, SubnetIdentity};
use protocol::{NetUid, Uid};

impl From<Call> for RuntimeCall {
    #[expect(clippy::too_many_lines, reason = "one entry for each call")]
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
            Call::TransferAll { to } => {
                let dest = Address::Id(to.into());
                return Self::Balances(BalancesCall::transfer_all { dest, keep_alive: false });
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
            Call::UnstakeAll { hotkey } => SubtensorCall::unstake_all { hotkey: hotkey.into() },
            Call::SwapHotkey { hotkey, new_hotkey, netuid } => SubtensorCall::swap_hotkey {
                hotkey: hotkey.into(),
                new_hotkey: new_hotkey.into(),
                netuid: netuid.map(|netuid| netuid.0),
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
            Call::CommitTimelockedWeights { netuid, sealed, round, version } => {
                SubtensorCall::commit_timelocked_mechanism_weights {
                    netuid: netuid.0,
                    mecid: 0,
                    commit: SealedBytes::new(sealed),
                    reveal_round: round,
                    commit_reveal_version: version,
                }
            }
            Call::SetWeights { netuid, uids, weights, version_key } => {
                let (netuid, dests) = (netuid.0, plain(uids));
                SubtensorCall::set_weights { netuid, dests, weights, version_key }
            }
            Call::StartSubnet { netuid } => SubtensorCall::start_call { netuid: netuid.0 },
            Call::SetSubnetIdentity { netuid, identity } => SubtensorCall::set_subnet_identity {
                netuid: netuid.0,
                subnet_name: identity.name,
                github_repo: identity.github,
                subnet_contact: identity.contact,
                subnet_url: identity.url,
                discord: identity.discord,
                description: identity.description,
                logo_url: identity.logo_url,
                additional: identity.additional,
            },
            Call::SetMechanismWeights { netuid, mechanism, uids, weights, version_key } => {
                SubtensorCall::set_mechanism_weights {
                    netuid: netuid.0,
                    mecid: mechanism.0,
                    dests: plain(uids),
                    weights,
                    version_key,
                }
            }
            Call::CommitTimelockedMechanismWeights {
                netuid,
                mechanism,
                sealed,
                round,
                version,
            } => SubtensorCall::commit_timelocked_mechanism_weights {
                netuid: netuid.0,
                mecid: mechanism.0,
                commit: SealedBytes::new(sealed),
                reveal_round: round,
                commit_reveal_version: version,
            },
            Call::CommitWeights { netuid, hash } => {
                SubtensorCall::commit_weights { netuid: netuid.0, commit_hash: H256(hash) }
            }
            Call::RevealWeights { netuid, uids, weights: values, salt, version_key } => {
                let (netuid, uids) = (netuid.0, plain(uids));
                SubtensorCall::reveal_weights { netuid, uids, values, salt, version_key }
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
            RuntimeCall::Balances(BalancesCall::transfer_all { dest, .. }) => match dest {
                Address::Id(to) => Ok(Self::TransferAll { to: to.into() }),
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

    #[expect(clippy::too_many_lines, reason = "one entry for each call")]
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
            SubtensorCall::commit_timelocked_weights {
                netuid,
                commit,
                reveal_round,
                commit_reveal_version,
            }
            | SubtensorCall::commit_timelocked_mechanism_weights {
                netuid,
                mecid: 0,
                commit,
                reveal_round,
                commit_reveal_version,
            } => Self::CommitTimelockedWeights {
                netuid: NetUid(netuid),
                sealed: commit.into_bytes(),
                round: reveal_round,
                version: commit_reveal_version,
            },
            SubtensorCall::set_mechanism_weights { netuid, mecid, dests, weights, version_key } => {
                Self::SetMechanismWeights {
                    netuid: NetUid(netuid),
                    mechanism: Mechanism(mecid),
                    uids: named(dests),
                    weights,
                    version_key,
                }
            }
            SubtensorCall::commit_timelocked_mechanism_weights {
                netuid,
                mecid,
                commit,
                reveal_round,
                commit_reveal_version,
            } => Self::CommitTimelockedMechanismWeights {
                netuid: NetUid(netuid),
                mechanism: Mechanism(mecid),
                sealed: commit.into_bytes(),
                round: reveal_round,
                version: commit_reveal_version,
            },
            SubtensorCall::start_call { netuid } => Self::StartSubnet { netuid: NetUid(netuid) },
            SubtensorCall::set_subnet_identity {
                netuid,
                subnet_name,
                github_repo,
                subnet_contact,
                subnet_url,
                discord,
                description,
                logo_url,
                additional,
            } => Self::SetSubnetIdentity {
                netuid: NetUid(netuid),
                identity: SubnetIdentity {
                    name: subnet_name,
                    github: github_repo,
                    contact: subnet_contact,
                    url: subnet_url,
                    discord,
                    description,
                    logo_url,
                    additional,
                },
            },
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
            SubtensorCall::unstake_all { hotkey } => Self::UnstakeAll { hotkey: hotkey.into() },
            SubtensorCall::swap_hotkey { hotkey, new_hotkey, netuid } => Self::SwapHotkey {
                hotkey: hotkey.into(),
                new_hotkey: new_hotkey.into(),
                netuid: netuid.map(NetUid),
            },
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
