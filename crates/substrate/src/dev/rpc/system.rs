//! `system_…`: what node this is, and the nonces of accounts.

use super::{Answer, Context, Module, Registered, bad_parameter};
use crate::wire::{SS58_PREFIX, TOKEN_DECIMALS, TOKEN_SYMBOL};
use jsonrpsee::types::Params;
use protocol::AccountId;
use serde_json::json;

/// Name of the chain, where clients show one.
const CHAIN: &str = "Agon Development";

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_method("system_chain", |_, _, _| CHAIN)?;
    module.register_method("system_name", |_, _, _| "agon")?;
    module.register_method("system_version", |_, _, _| env!("CARGO_PKG_VERSION"))?;
    module.register_method("system_chainType", |_, _, _| "Development")?;
    module.register_method("system_properties", |_, _, _| {
        json!({
            "ss58Format": SS58_PREFIX,
            "tokenDecimals": TOKEN_DECIMALS,
            "tokenSymbol": TOKEN_SYMBOL,
        })
    })?;
    module.register_method(
        "system_health",
        |_, _, _| json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
    )?;
    module.register_method("system_accountNextIndex", |params, context, _| {
        next_index(&params, context)
    })?;
    module.register_alias("account_nextIndex", "system_accountNextIndex")
}

/// The nonce of the account's next call, past those that wait.
fn next_index(params: &Params<'_>, context: &Context) -> Answer<u32> {
    let account: String = params.sequence().next()?;
    let account: AccountId =
        account.parse().map_err(|_| bad_parameter("Invalid params: not an SS58 address"))?;
    let shared = context.read();
    Ok(shared.next_nonce(account))
}
