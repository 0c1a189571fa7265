//! `chain_…`: blocks, their hashes, and news of them.

use super::{Answer, Context, Module, Registered, bad_parameter, forward, header_value, hex, raw};
use crate::dev::{author::Request, store::StoredBlock};
use jsonrpsee::{Extensions, server::PendingSubscriptionSink, types::Params};
use serde_json::{Value, json};
use std::sync::Arc;

/// Subscriptions to new blocks: name, name of the news, name of the end, other names.
const HEADS: [[&str; 3]; 3] = [
    ["chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads"],
    ["chain_subscribeFinalizedHeads", "chain_finalizedHead", "chain_unsubscribeFinalizedHeads"],
    ["chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads"],
];

pub(super) fn register(module: &mut Module) -> Registered {
    module
        .register_method("chain_getBlockHash", |params, context, _| block_hash(&params, context))?;
    module.register_alias("chain_getHead", "chain_getBlockHash")?;
    // A block is final when it is made.
    module.register_method("chain_getFinalizedHead", |_, context, _| {
        hex::show(&context.read().head.hash.0)
    })?;
    module.register_alias("chain_getFinalisedHead", "chain_getFinalizedHead")?;
    module.register_async_method("chain_getHeader", |params, context, _| async move {
        let block = block(&params, &context).await?;
        Answer::Ok(block.map(|(block, _)| header_value(&block.header)))
    })?;
    module.register_async_method("chain_getBlock", |params, context, _| async move {
        let block = block(&params, &context).await?;
        Answer::Ok(block.map(|(block, _)| {
            let extrinsics: Vec<String> =
                block.extrinsics.iter().map(|bytes| hex::show(bytes)).collect();
            let header = header_value(&block.header);
            json!({
                "block": { "header": header, "extrinsics": extrinsics },
                "justifications": null,
            })
        }))
    })?;
    for [subscribe, news, unsubscribe] in HEADS {
        module.register_subscription(subscribe, news, unsubscribe, heads)?;
    }
    for (alias, name) in [
        ("chain_subscribeNewHead", "chain_subscribeNewHeads"),
        ("chain_unsubscribeNewHead", "chain_unsubscribeNewHeads"),
        ("chain_subscribeFinalisedHeads", "chain_subscribeFinalizedHeads"),
        ("chain_unsubscribeFinalisedHeads", "chain_unsubscribeFinalizedHeads"),
    ] {
        module.register_alias(alias, name)?;
    }
    Ok(())
}

/// Hash of a block by number, of several by a list, of the newest without one.
fn block_hash(params: &Params<'_>, context: &Context) -> Answer<Value> {
    let shared = context.read();
    let of = |number: &Value| -> Answer<Value> {
        let number = match number {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => {
                u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
            }
            _ => None,
        };
        let number = number.ok_or_else(|| bad_parameter("Invalid params: not a block number"))?;
        let hash = usize::try_from(number).ok().and_then(|number| shared.hashes.get(number));
        Ok(hash.map_or(Value::Null, |hash| Value::String(hex::show(&hash.0))))
    };
    match params.sequence().optional_next::<Value>()? {
        None | Some(Value::Null) => Ok(Value::String(hex::show(&shared.head.hash.0))),
        Some(Value::Array(numbers)) if numbers.len() > super::limits::KEYS_MAX => {
            Err(bad_parameter("Invalid params: too many block numbers"))
        }
        Some(Value::Array(numbers)) => {
            numbers.iter().map(of).collect::<Answer<Vec<Value>>>().map(Value::Array)
        }
        Some(number) => of(&number),
    }
}

/// The block that the first parameter names by hash, or the newest; with its number.
async fn block(params: &Params<'_>, context: &Context) -> Answer<Option<(Arc<StoredBlock>, u32)>> {
    let hash = hex::block_hash(params.sequence().optional_next::<String>()?)?;
    let number = {
        let shared = context.read();
        let number = match hash {
            None => shared.head.block.0 as u32,
            Some(hash) => match shared.numbers.get(&hash) {
                Some(number) => *number,
                None => return Ok(None),
            },
        };
        let oldest = shared.blocks.front().map_or(0, |block| block.header.number);
        let recent = number.checked_sub(oldest).and_then(|i| shared.blocks.get(i as usize));
        if let Some(block) = recent {
            return Ok(Some((Arc::clone(block), number)));
        }
        number
    };
    let block = context.ask_aside(|reply| Request::Block(number.into(), reply)).await?;
    Ok(block.map(|block| (Arc::new(block), number)))
}

/// News of blocks, the newest first.
async fn heads(
    _: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    _: Extensions,
) {
    let notices = context.notices.subscribe();
    let newest = context.read().blocks.back().map(|block| raw(&header_value(&block.header)));
    forward(pending, newest, notices, |notice| Some(notice.header.as_ref().to_owned())).await;
}
