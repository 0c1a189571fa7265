//! Answers, each made once for all who ask for the same while nothing has changed.

use crate::page::{Answer, SVG};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use protocol::Digest;
use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Bytes from which on an answer is packed.
const PACKED_FROM: usize = 1_024;
/// Most bytes of an answer that is kept.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// Most bytes of all that are kept.
const ALL_BYTES_MAX: usize = 32 << 20;
/// Bytes of an answer besides its content and its address.
const ENTRY_BYTES: usize = 256;

/// What pages may do in a browser: show themselves and pictures of ours, and run our one script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
/// The same of a picture that stands alone: it has its colours in it.
const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Kinds of answers that other pages may read: those for programs.
const OPEN: [&str; 3] = ["application/", "text/csv", "image/"];
/// Seconds after which whoever finds no room may ask again.
const AGAIN: &str = "5";

/// How the content of an answer may be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

/// An answer as it is sent.
#[derive(Debug)]
pub(super) struct Made {
    status: StatusCode,
    kind: &'static str,
    body: Bytes,
    is_packed: bool,
    /// Names the content: who has it need not be sent it.
    tag: String,
}

impl Made {
    pub(super) fn new(answer: Answer, packing: Packing) -> Self {
        let Answer { status, kind, mut body } = answer;
        let mut is_packed = false;
        if packing == Packing::Gzip
            && body.len() >= PACKED_FROM
            && let Some(packed) = packed(&body)
        {
            (body, is_packed) = (packed, true);
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let digits = Digest::of(&body).hex();
        let tag = format!("\"{}\"", digits.get(..32).unwrap_or(&digits));
        Self { status, kind, body: Bytes::from(body), is_packed, tag }
    }

    /// One that is not to be kept.
    pub(super) fn refusal(status: StatusCode, said: &str) -> Self {
        let body = said.to_owned().into_bytes();
        let kind = "text/plain; charset=utf-8";
        Self::new(Answer { status: status.as_u16(), kind, body }, Packing::None)
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.status.is_server_error()
    }

    /// The answer with all that a browser is told besides, or that it has it already.
    pub(super) fn response(&self, asked: &HeaderMap) -> Response {
        let mut tags = asked.get_all(header::IF_NONE_MATCH).iter();
        let is_there = self.status == StatusCode::OK
            && tags.any(|tags| tags.to_str().is_ok_and(|tags| tags.contains(&self.tag)));
        let mut response = match is_there {
            true => Response::new(Body::empty()),
            false => Response::new(Body::from(self.body.clone())),
        };
        *response.status_mut() = if is_there { StatusCode::NOT_MODIFIED } else { self.status };
        let headers = response.headers_mut();
        guard(headers, if self.kind == SVG { PICTURE_POLICY } else { POLICY });
        for (name, value) in [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept, accept-encoding"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        if self.is_packed && !is_there {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if OPEN.iter().any(|kind| self.kind.starts_with(kind)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(AGAIN));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET,HEAD"));
        }
        response
    }
}

/// Tells a browser what an answer may do, whatever it is.
fn guard(headers: &mut HeaderMap, policy: &'static str) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// An answer without end, of which nothing is kept.
pub(super) fn unending(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    guard(headers, POLICY);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn packed(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// An answer, once it is made; whoever else asks for it waits.
pub(super) type Slot = Arc<OnceCell<Arc<Made>>>;

/// Answers that were made since something changed.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// How often something had changed.
    version: u64,
    slots: BTreeMap<String, Slot>,
    n_bytes: usize,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of an answer by what is asked for; none that was made before the last change.
    pub(super) fn slot(&self, version: u64, asked: &str) -> Slot {
        let mut kept = self.lock();
        if kept.version != version {
            *kept = Kept { version, ..Kept::default() };
        }
        if let Some(slot) = kept.slots.get(asked) {
            return Arc::clone(slot);
        }
        kept.add(asked.len() + ENTRY_BYTES);
        let slot = Slot::default();
        kept.slots.insert(asked.to_owned(), Arc::clone(&slot));
        slot
    }

    /// Counts an answer that was made in a place; one that is too large is not kept.
    pub(super) fn count(&self, asked: &str, slot: &Slot, made: &Made) {
        let mut kept = self.lock();
        if !kept.slots.get(asked).is_some_and(|there| Arc::ptr_eq(there, slot)) {
            return;
        }
        if made.body.len() > ANSWER_BYTES_MAX {
            kept.slots.remove(asked);
        } else {
            kept.add(made.body.len());
        }
    }
}

impl Kept {
    /// Counts more bytes; where they are too many, nothing is kept of what was there.
    fn add(&mut self, n_bytes: usize) {
        self.n_bytes += n_bytes;
        if self.n_bytes > ALL_BYTES_MAX {
            *self = Self { version: self.version, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests;
