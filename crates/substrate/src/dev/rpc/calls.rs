//! `author_…`: calls on their way into a block.

use super::{Answer, Context, FINALITY_PAUSE, Module, Registered, error, hex, limits, raw};
use crate::{
    SignedCall,
    dev::{
        author::{Notice, Request},
        pool::Turned,
    },
};
use chain::CallId;
use jsonrpsee::{
    Extensions,
    server::{PendingSubscriptionSink, SubscriptionMessage, SubscriptionSink},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};

pub(super) fn register(module: &mut Module) -> Registered {
    module.register_async_method("author_submitExtrinsic", |params, context, _| async move {
        let id = submit(&params, &context).await?;
        Answer::Ok(hex::show(&id.0))
    })?;
    module.register_async_method("author_pendingExtrinsics", |_, context, _| async move {
        let pending = context.ask_aside(Request::Pending).await?;
        Answer::Ok(pending.iter().map(|bytes| hex::show(bytes)).collect::<Vec<String>>())
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        submit_and_watch,
    )?;
    Ok(())
}

/// Takes the call of the first parameter into the pool.
async fn submit(params: &Params<'_>, context: &Context) -> Answer<CallId> {
    let bytes = hex::read(&params.sequence().next::<String>()?)?;
    let call = SignedCall::from_bytes(&bytes)
        .map_err(|failure| error(1001, format!("Extrinsic has invalid format: {failure}")))?;
    context.ask(|reply| Request::Submit(Box::new(call), reply)).await?.map_err(|why| turned(&why))
}

/// Why a call was turned away, with the codes and texts that Substrate's clients know.
fn turned(why: &Turned) -> ErrorObjectOwned {
    let invalid = "Invalid Transaction";
    match why {
        Turned::Known => error(1013, why.to_string()),
        Turned::Taken => error(1014, why.to_string()),
        Turned::Full | Turned::Far { .. } => error(1016, why.to_string()),
        Turned::Stale | Turned::Refused(_) => {
            ErrorObjectOwned::owned(1010, invalid, Some(why.to_string()))
        }
    }
}

async fn submit_and_watch(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    _: Extensions,
) {
    // Before the call goes in, so that no block is missed.
    let notices = context.notices.subscribe();
    let id = match submit(&params, &context).await {
        Ok(id) => id,
        Err(failure) => return pending.reject(failure).await,
    };
    if let Ok(sink) = pending.accept().await {
        // Whoever stops reading is not told any more.
        let _ = watch(id, &sink, notices).await;
    }
}

/// Follows a call until it is in a final block or gone; `None` when nobody reads any more.
async fn watch(
    id: CallId,
    sink: &SubscriptionSink,
    mut notices: Receiver<Arc<Notice>>,
) -> Option<()> {
    send(sink, json!("ready")).await?;
    loop {
        let notice = tokio::select! {
            () = sink.closed() => return None,
            notice = notices.recv() => notice,
        };
        let notice = match notice {
            Ok(notice) => notice,
            // Too slow to know what became of the call: it may be asked for.
            Err(RecvError::Lagged(_)) => return send(sink, json!("dropped")).await,
            Err(RecvError::Closed) => return None,
        };
        if notice.calls.contains(&id) {
            let hash = hex::show(&notice.head.hash.0);
            send(sink, json!({ "inBlock": hash })).await?;
            tokio::time::sleep(FINALITY_PAUSE).await;
            return send(sink, json!({ "finalized": hash })).await;
        }
        if notice.dropped.contains(&id) {
            return send(sink, json!("invalid")).await;
        }
    }
}

async fn send(sink: &SubscriptionSink, value: Value) -> Option<()> {
    sink.send_timeout(SubscriptionMessage::from(raw(&value)), limits::SLOW_READER_LIMIT).await.ok()
}
