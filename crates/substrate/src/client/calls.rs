//! Calls as values that the metadata of a runtime turns into bytes.

use crate::wire::call::on_chain;
use chain::{Call, Mechanism, SubnetIdentity};
use protocol::{AccountId, NetUid, Uid};
use subxt::dynamic::Value;

/// A call by the names of the pallet and the call, with its arguments by name.
pub(super) struct NamedCall {
    pub(super) pallet: &'static str,
    pub(super) name: &'static str,
    /// What older runtimes call it, the newest first.
    pub(super) older_names: &'static [&'static str],
    arguments: Vec<(&'static str, Value)>,
}

fn account(account: AccountId) -> Value {
    Value::from_bytes(account.0)
}

fn number(number: impl Into<u128>) -> Value {
    Value::u128(number.into())
}

fn list<T: Into<u128>>(numbers: impl IntoIterator<Item = T>) -> Value {
    Value::unnamed_composite(numbers.into_iter().map(number))
}

fn uids(uids: &[Uid]) -> Value {
    list(uids.iter().map(|uid| uid.0))
}

/// What hides the weights of a mechanism.
fn hidden(
    (netuid, mechanism): (NetUid, Mechanism),
    sealed: &[u8],
    round: u64,
    version: u16,
) -> Vec<(&'static str, Value)> {
    vec![
        ("netuid", number(netuid.0)),
        ("mecid", number(mechanism.0)),
        ("commit", Value::from_bytes(sealed)),
        ("reveal_round", number(round)),
        ("commit_reveal_version", number(version)),
    ]
}

fn identity(netuid: NetUid, identity: &SubnetIdentity) -> Vec<(&'static str, Value)> {
    vec![
        ("netuid", number(netuid.0)),
        ("subnet_name", Value::from_bytes(&identity.name)),
        ("github_repo", Value::from_bytes(&identity.github)),
        ("subnet_contact", Value::from_bytes(&identity.contact)),
        ("subnet_url", Value::from_bytes(&identity.url)),
        ("discord", Value::from_bytes(&identity.discord)),
        ("description", Value::from_bytes(&identity.description)),
        ("logo_url", Value::from_bytes(&identity.logo_url)),
        ("additional", Value::from_bytes(&identity.additional)),
    ]
}

impl NamedCall {
    #[expect(clippy::too_many_lines, reason = "one entry for each call")]
    pub(super) fn of(call: &Call) -> Self {
        let in_pallet =
            |pallet, name, arguments| Self { pallet, name, older_names: &[], arguments };
        let subtensor = |name, arguments| in_pallet("SubtensorModule", name, arguments);
        match call {
            Call::Remark { data } => {
                in_pallet("System", "remark", vec![("remark", Value::from_bytes(data))])
            }
            Call::Transfer { to, amount_rao } => {
                let to = Value::unnamed_variant("Id", [account(*to)]);
                let arguments = vec![("dest", to), ("value", number(*amount_rao))];
                in_pallet("Balances", "transfer_keep_alive", arguments)
            }
            Call::BurnedRegister { netuid, hotkey } => subtensor(
                "burned_register",
                vec![("netuid", number(netuid.0)), ("hotkey", account(*hotkey))],
            ),
            Call::RegisterLimit { netuid, hotkey, limit_rao } => subtensor(
                "register_limit",
                vec![
                    ("netuid", number(netuid.0)),
                    ("hotkey", account(*hotkey)),
                    ("limit_price", number(*limit_rao)),
                ],
            ),
            Call::AddStake { hotkey, netuid, amount_rao } => subtensor(
                "add_stake",
                vec![
                    ("hotkey", account(*hotkey)),
                    ("netuid", number(netuid.0)),
                    ("amount_staked", number(*amount_rao)),
                ],
            ),
            Call::RemoveStake { hotkey, netuid, amount_rao } => subtensor(
                "remove_stake",
                vec![
                    ("hotkey", account(*hotkey)),
                    ("netuid", number(netuid.0)),
                    ("amount_unstaked", number(*amount_rao)),
                ],
            ),
            Call::TransferAll { to } => {
                let to = Value::unnamed_variant("Id", [account(*to)]);
                let arguments = vec![("dest", to), ("keep_alive", Value::bool(false))];
                in_pallet("Balances", "transfer_all", arguments)
            }
            Call::UnstakeAll { hotkey } => {
                subtensor("unstake_all", vec![("hotkey", account(*hotkey))])
            }
            Call::SwapHotkey { hotkey, new_hotkey, netuid } => {
                let netuid = match netuid {
                    Some(netuid) => Value::unnamed_variant("Some", [number(netuid.0)]),
                    None => Value::unnamed_variant("None", []),
                };
                let (old, new) = (account(*hotkey), account(*new_hotkey));
                let arguments = vec![("hotkey", old), ("new_hotkey", new), ("netuid", netuid)];
                subtensor("swap_hotkey", arguments)
            }
            Call::RegisterNetwork { hotkey } => {
                subtensor("register_network", vec![("hotkey", account(*hotkey))])
            }
            Call::SetCommitment { netuid, data } => {
                let raw =
                    Value::unnamed_variant(format!("Raw{}", data.len()), [Value::from_bytes(data)]);
                let fields = Value::unnamed_composite([raw]);
                let info = Value::named_composite([("fields", fields)]);
                let arguments = vec![("netuid", number(netuid.0)), ("info", info)];
                in_pallet("Commitments", "set_commitment", arguments)
            }
            Call::SetWeights { netuid, uids: miners, weights, version_key } => subtensor(
                "set_weights",
                vec![
                    ("netuid", number(netuid.0)),
                    ("dests", uids(miners)),
                    ("weights", list(weights.iter().copied())),
                    ("version_key", number(*version_key)),
                ],
            ),
            Call::CommitWeights { netuid, hash } => subtensor(
                "commit_weights",
                vec![("netuid", number(netuid.0)), ("commit_hash", Value::from_bytes(hash))],
            ),
            Call::RevealWeights { netuid, uids: miners, weights, salt, version_key } => subtensor(
                "reveal_weights",
                vec![
                    ("netuid", number(netuid.0)),
                    ("uids", uids(miners)),
                    ("values", list(weights.iter().copied())),
                    ("salt", list(salt.iter().copied())),
                    ("version_key", number(*version_key)),
                ],
            ),
            Call::CommitTimelockedWeights { netuid, sealed, round, version } => {
                let place = (*netuid, Mechanism::FIRST);
                let arguments = hidden(place, sealed, *round, *version);
                // Not `commit_crv3_weights` of early 2025: it takes no version, and whether its
                // runtime holds the hotkey in what is sealed against the signer nobody can ask.
                let older_names = &["commit_timelocked_weights"];
                let call = subtensor("commit_timelocked_mechanism_weights", arguments);
                Self { older_names, ..call }
            }
            Call::SetMechanismWeights { netuid, mechanism, uids: miners, weights, version_key } => {
                let arguments = vec![
                    ("netuid", number(netuid.0)),
                    ("mecid", number(mechanism.0)),
                    ("dests", uids(miners)),
                    ("weights", list(weights.iter().copied())),
                    ("version_key", number(*version_key)),
                ];
                subtensor("set_mechanism_weights", arguments)
            }
            Call::CommitTimelockedMechanismWeights {
                netuid,
                mechanism,
                sealed,
                round,
                version,
            } => {
                let arguments = hidden((*netuid, *mechanism), sealed, *round, *version);
                subtensor("commit_timelocked_mechanism_weights", arguments)
            }
            Call::StartSubnet { netuid } => {
                subtensor("start_call", vec![("netuid", number(netuid.0))])
            }
            Call::SetSubnetIdentity { netuid, identity: said } => {
                subtensor("set_subnet_identity", identity(*netuid, said))
            }
            Call::SetHyperparameter { netuid, change } => {
                let (name, argument, value) = on_chain(*change);
                let value = match value {
                    Ok(number) => Value::u128(number.into()),
                    Err(flag) => Value::bool(flag),
                };
                let arguments = vec![("netuid", number(netuid.0)), (argument, value)];
                in_pallet("AdminUtils", name, arguments)
            }
        }
    }

    /// The names by which a runtime may know the call, the newest first.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.older_names.iter().copied())
    }

    /// The arguments that a runtime takes, in its order; the name of one that we do not have.
    ///
    /// What a runtime does not know is left out: the chain of 2024 stakes without a subnet.
    pub(super) fn arguments_for(self, fields: &[String]) -> Result<Vec<(String, Value)>, String> {
        let mut ours = self.arguments;
        let mut taken = Vec::with_capacity(fields.len());
        for field in fields {
            match ours.iter().position(|(name, _)| name == field) {
                Some(i) => taken.push((field.clone(), ours.swap_remove(i).1)),
                None => return Err(field.clone()),
            }
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::HyperparameterChange;

    fn fields(call: &Call, of_runtime: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<String> = of_runtime.iter().map(|name| (*name).to_owned()).collect();
        let taken = NamedCall::of(call).arguments_for(&names)?;
        Ok(taken.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn a_call_takes_the_shape_that_the_runtime_has() {
        let (hotkey, netuid) = (AccountId([1; 32]), NetUid(1));
        let stake = Call::AddStake { hotkey, netuid, amount_rao: 5 };
        let open = Call::RegisterNetwork { hotkey };
        for (call, of_runtime) in [
            // 2024: stake in TAO, for all subnets at once; a subnet without a first hotkey.
            (&stake, &["hotkey", "amount_staked"][..]),
            (&open, &[]),
            // Today.
            (&stake, &["hotkey", "netuid", "amount_staked"]),
            (&open, &["hotkey"]),
            // In whatever order.
            (&stake, &["amount_staked", "netuid", "hotkey"]),
        ] {
            assert_eq!(fields(call, of_runtime).unwrap(), of_runtime);
        }
        let missing = fields(&stake, &["hotkey", "amount_staked", "limit_price"]);
        assert_eq!(missing.unwrap_err(), "limit_price", "never made up");
    }

    #[test]
    fn rules_are_set_by_the_calls_of_the_runtime() {
        let change = HyperparameterChange::Tempo(5);
        let call = NamedCall::of(&Call::SetHyperparameter { netuid: NetUid(1), change });
        assert_eq!((call.pallet, call.name), ("AdminUtils", "sudo_set_tempo"));
    }
}
