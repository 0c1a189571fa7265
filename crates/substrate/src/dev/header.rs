//! Headers as JSON.

use crate::wire::{header::Header, primitives::H256};
use serde_json::{Value, json, value::RawValue};
use std::sync::Arc;

/// A header as JSON.
pub(super) fn header_value(header: &Header) -> Value {
    let show = |hash: &H256| format!("0x{}", hex::encode(hash.0));
    json!({
        "parentHash": show(&header.parent_hash),
        "number": format!("{:#x}", header.number),
        "stateRoot": show(&header.state_root),
        "extrinsicsRoot": show(&header.extrinsics_root),
        "digest": { "logs": [] },
    })
}

/// A header as JSON text, made once for all who get it.
pub(super) fn header_json(header: &Header) -> Arc<RawValue> {
    raw(&header_value(header)).into()
}

/// A value as JSON text; values of texts and numbers always serialize.
pub(super) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}
