//! `state_…`: storage, metadata and runtime APIs, at any block whose state is held.

use super::{Answer, Context, Module, Registered, bad_parameter, error, forward, hex, limits, raw};
use crate::wire::{
    api::{self, ApiError},
    primitives::RuntimeVersion,
    storage::State as _,
};
use jsonrpsee::{Extensions, server::PendingSubscriptionSink, types::Params};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_method("state_getRuntimeVersion", |_, _, _| runtime_version())?;
    module.register_alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?;
    module.register_method("state_getMetadata", |_, context, _| {
        hex::show(&context.read().history.metadata().version_14)
    })?;
    module.register_async_method("state_call", |params, context, request| async move {
        call(&params, &context, &request).await
    })?;
    module.register_async_method("state_getStorage", |params, context, request| async move {
        let value = value(&params, &context, &request).await?;
        Answer::Ok(value.map(|value| hex::show(&value)))
    })?;
    module.register_alias("state_getStorageAt", "state_getStorage")?;
    module.register_async_method(
        "state_getStorageSize",
        |params, context, request| async move {
            let value = value(&params, &context, &request).await?;
            Answer::Ok(value.map(|value| value.len()))
        },
    )?;
    module.register_async_method(
        "state_getStorageHash",
        |params, context, request| async move {
            let value = value(&params, &context, &request).await?;
            Answer::Ok(value.map(|value| hex::show(&chain::hash::blake2_256(&value))))
        },
    )?;
    module.register_async_method("state_getKeysPaged", |params, context, request| async move {
        keys(&params, &context, &request).await
    })?;
    module.register_alias("state_getKeysPagedAt", "state_getKeysPaged")?;
    module
        .register_async_method("state_queryStorageAt", |params, context, request| async move {
            query(&params, &context, &request).await
        })?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, pending, context, _| async move {
            // It never changes while the node runs.
            let notices = context.notices.subscribe();
            forward(pending, Some(raw(&runtime_version())), notices, |_| None).await;
        },
    )?;
    module.register_alias("chain_subscribeRuntimeVersion", "state_subscribeRuntimeVersion")?;
    module.register_alias("chain_unsubscribeRuntimeVersion", "state_unsubscribeRuntimeVersion")?;
    module.register_subscription(
        "state_subscribeStorage",
        "state_storage",
        "state_unsubscribeStorage",
        changes,
    )?;
    Ok(())
}

fn runtime_version() -> Value {
    let version: RuntimeVersion = api::runtime_version();
    let apis: Vec<Value> =
        version.apis.iter().map(|(name, number)| json!([hex::show(name), number])).collect();
    json!({
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": apis,
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    })
}

/// `state_call(method, arguments, at)`.
async fn call(params: &Params<'_>, context: &Context, request: &Extensions) -> Answer<String> {
    let (method, arguments, at) = {
        let mut params = params.sequence();
        let method: String = params.next()?;
        let arguments = hex::read(&params.next::<String>()?)?;
        (method, arguments, hex::block_hash(params.optional_next()?)?)
    };
    let found = context.find(at, request).await?;
    let shared = context.read();
    let state = found.state(&shared)?;
    let answer = api::call(&method, &arguments, &state);
    answer.map(|bytes| hex::show(&bytes)).map_err(|failure| match failure {
        ApiError::NotFound(_) => error(4003, format!("Client error: Execution failed: {failure}")),
        ApiError::Arguments { .. } => bad_parameter(format!("Invalid params: {failure}")),
    })
}

/// The value that `state_getStorage(key, at)` is about.
async fn value(
    params: &Params<'_>,
    context: &Context,
    request: &Extensions,
) -> Answer<Option<Vec<u8>>> {
    let (key, at) = {
        let mut params = params.sequence();
        let key = hex::read(&params.next::<String>()?)?;
        (key, hex::block_hash(params.optional_next()?)?)
    };
    let found = context.find(at, request).await?;
    let shared = context.read();
    Ok(found.state(&shared)?.get(&key))
}

/// `state_getKeysPaged(prefix, count, start, at)`.
async fn keys(params: &Params<'_>, context: &Context, request: &Extensions) -> Answer<Vec<String>> {
    let (prefix, count, start, at) = {
        let mut params = params.sequence();
        let prefix = hex::read(&params.optional_next::<String>()?.unwrap_or_default())?;
        let count: usize = params.next()?;
        if count > limits::KEYS_MAX {
            let message =
                format!("count exceeds maximum value. value: {count}, max: {}", limits::KEYS_MAX);
            return Err(error(4002, message));
        }
        let start = params.optional_next::<String>()?.map(|start| hex::read(&start)).transpose()?;
        (prefix, count, start, hex::block_hash(params.optional_next()?)?)
    };
    let found = context.find(at, request).await?;
    let shared = context.read();
    let state = found.state(&shared)?;
    let keys = state.keys_after(&prefix, start.as_deref(), count);
    Ok(keys.iter().map(|key| hex::show(key)).collect())
}

fn key_list(keys: &[String]) -> Answer<Vec<Vec<u8>>> {
    if keys.len() > limits::KEYS_MAX {
        return Err(bad_parameter(format!("Invalid params: more than {} keys", limits::KEYS_MAX)));
    }
    let mut seen = BTreeSet::new();
    let mut read = keys.iter().map(|key| hex::read(key)).collect::<Answer<Vec<Vec<u8>>>>()?;
    // A key twice would be a value twice.
    read.retain(|key| seen.insert(key.clone()));
    Ok(read)
}

/// `state_queryStorageAt(keys, at)`.
async fn query(params: &Params<'_>, context: &Context, request: &Extensions) -> Answer<Value> {
    let (keys, at) = {
        let mut params = params.sequence();
        let keys = key_list(&params.next::<Vec<String>>()?)?;
        (keys, hex::block_hash(params.optional_next()?)?)
    };
    let found = context.find(at, request).await?;
    let shared = context.read();
    let state = found.state(&shared)?;
    let mut n_bytes = 0;
    let mut changes: Vec<(String, Option<String>)> = Vec::with_capacity(keys.len());
    for key in &keys {
        let value = state.get(key);
        n_bytes += value.as_ref().map_or(0, Vec::len);
        if n_bytes > limits::VALUES_BYTES_MAX {
            let most = limits::VALUES_BYTES_MAX;
            return Err(error(4002, format!("the values have more than {most} bytes")));
        }
        changes.push((hex::show(key), value.map(|value| hex::show(&value))));
    }
    Ok(json!([{ "block": hex::show(&found.hash.0), "changes": changes }]))
}

/// News of the values under some keys, the values of now first.
async fn changes(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    _: Extensions,
) {
    let keys = params.sequence().optional_next::<Vec<String>>();
    let keys = match keys.and_then(|keys| key_list(&keys.unwrap_or_default())) {
        Ok(keys) if keys.len() <= limits::KEYS_WATCHED_MAX => keys,
        Ok(_) => return pending.reject(bad_parameter("Invalid params: too many keys")).await,
        Err(failure) => return pending.reject(failure).await,
    };
    let notices = context.notices.subscribe();
    let newest = context.read().head.block.0 as u32;
    let mut watch = Watch { context, seen: vec![None; keys.len()], keys };
    let first = watch.changes(newest, true).as_ref().map(raw);
    forward(pending, first, notices, |notice| {
        watch.changes(notice.head.block.0 as u32, false).as_ref().map(raw)
    })
    .await;
}

/// Keys that somebody watches.
struct Watch {
    context: Arc<Context>,
    keys: Vec<Vec<u8>>,
    /// Hashes of the values that were sent last.
    seen: Vec<Option<[u8; 32]>>,
}

impl Watch {
    /// The values at a block that differ from those sent before; `all` sends every one.
    fn changes(&mut self, number: u32, all: bool) -> Option<Value> {
        let shared = self.context.read();
        let state = shared.history.at(number)?;
        let block = hex::show(&shared.hashes.get(number as usize)?.0);
        let mut changes = Vec::new();
        for (key, seen) in self.keys.iter().zip(&mut self.seen) {
            let value = state.get(key);
            let hash = value.as_deref().map(chain::hash::blake2_256);
            if all || hash != *seen {
                *seen = hash;
                changes.push((hex::show(key), value.as_deref().map(hex::show)));
            }
        }
        (!changes.is_empty()).then(|| json!({ "block": block, "changes": changes }))
    }
}
