//! What a new chain starts with, as a person writes it.

use crate::{failure::HintExt as _, input};
use anyhow::Context as _;
use chain::{Genesis, Hyperparameters, Keypair, SubnetGenesis, ledger::RAO_PER_TAO};
use protocol::AccountId;
use serde::Deserialize;
use std::path::Path;

/// Accounts for a whole subnet with its rules fit easily.
const SIZE_BYTES_MAX: u64 = 4 << 20;

/// Development keys that hold money where no spec says otherwise.
const USUAL: [&str; 6] = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"];

/// What each of them holds.
const USUAL_TAO: u64 = 100_000;

/// A spec file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(default)]
    seed: u64,
    network_price_tao: Option<u64>,
    #[serde(default)]
    accounts: Vec<Account>,
    #[serde(default)]
    subnets: Vec<Subnet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    account: String,
    tao: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subnet {
    owner: String,
    #[serde(default)]
    hyperparameters: Hyperparameters,
}

/// A chain with the usual accounts and no subnet.
pub fn usual() -> anyhow::Result<Genesis> {
    let fund = |uri: &&str| Ok((account(uri)?, USUAL_TAO * RAO_PER_TAO));
    let accounts = USUAL.iter().map(fund).collect::<anyhow::Result<_>>()?;
    Ok(Genesis { accounts, ..Genesis::default() })
}

/// Reads a spec file.
pub fn read(path: &Path) -> anyhow::Result<Genesis> {
    parse(&input::read_text(path, SIZE_BYTES_MAX)?)
        .with_context(|| format!("{} is no spec of a chain", input::name(path)))
        .hint("`agon node --help` shows what a spec holds")
}

fn parse(text: &str) -> anyhow::Result<Genesis> {
    let spec: Spec = toml::from_str(text)?;
    let rao = |tao: u64| {
        tao.checked_mul(RAO_PER_TAO)
            .with_context(|| format!("{tao} TAO are more than there can be"))
    };
    let fund = |entry: Account| Ok((account(&entry.account)?, rao(entry.tao)?));
    let open = |subnet: Subnet| {
        let (owner, hyperparameters) = (account(&subnet.owner)?, subnet.hyperparameters);
        Ok(SubnetGenesis { owner, hyperparameters })
    };
    let usual = Genesis::default();
    Ok(Genesis {
        seed: spec.seed,
        accounts: spec.accounts.into_iter().map(fund).collect::<anyhow::Result<_>>()?,
        subnets: spec.subnets.into_iter().map(open).collect::<anyhow::Result<_>>()?,
        network_price_rao: spec.network_price_tao.map_or(Ok(usual.network_price_rao), rao)?,
    })
}

/// The account of an SS58 address or a development key.
fn account(text: &str) -> anyhow::Result<AccountId> {
    if text.starts_with("//") {
        return Ok(Keypair::from_uri(text)?.public());
    }
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_names_accounts_subnets_and_rules() {
        let genesis = parse(
            "seed = 7
            network_price_tao = 5
            [[accounts]]
            account = \"//Alice\"
            tao = 3
            [[accounts]]
            account = \"5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty\"
            tao = 4
            [[subnets]]
            owner = \"//Bob\"
            hyperparameters = { tempo = 20 }",
        )
        .unwrap();
        assert_eq!((genesis.seed, genesis.network_price_rao), (7, 5 * RAO_PER_TAO));
        let alice = account("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY").unwrap();
        let bob = account("//Bob").unwrap();
        assert_eq!(genesis.accounts, [(alice, 3 * RAO_PER_TAO), (bob, 4 * RAO_PER_TAO)]);
        assert_eq!(genesis.subnets[0].owner, bob);
        assert_eq!(genesis.subnets[0].hyperparameters.tempo, 20);
        assert_eq!(genesis.subnets[0].hyperparameters.kappa, 32_767);
    }

    #[test]
    fn what_is_wrong_with_a_spec_is_named() {
        for (text, part) in [
            ("sed = 1", "sed"),
            ("[[accounts]]\naccount = \"5F\"\ntao = 1", "SS58"),
            ("[[accounts]]\naccount = \"//Alice\"\ntao = 99999999999999", "99999999999999 TAO"),
            ("[[subnets]]\nowner = \"//Alice\"\nhyperparameters = { temp = 1 }", "temp"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_usual_accounts_leave_room_below_the_first_halving() {
        let genesis = usual().unwrap();
        let total: u64 = genesis.accounts.iter().map(|(_, rao)| rao).sum();
        assert_eq!(total, 600_000 * RAO_PER_TAO);
    }
}
