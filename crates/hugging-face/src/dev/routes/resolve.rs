//! Reading files: whole, in part, or only asking what they are.

use super::{Answer, Asked, Hub, Kind, Path, Refusal, Shared, blocking, names};
use crate::dev::database::{Commit, Entry};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::{Arc, atomic::Ordering},
};

/// Bytes that are read from disk and sent at a time.
const CHUNK_BYTES: u64 = 256 << 10;
/// Most bytes of a `Range` header; one range needs fewer.
const RANGE_BYTES_MAX: usize = 64;

type FilePath = Path<(String, String, String, String)>;

pub(super) async fn model(
    State(hub): Shared,
    Path { 0: place }: FilePath,
    method: Method,
    asked: Asked,
) -> Answer {
    resolve(&hub, asked, Kind::Model, place, method).await
}

pub(super) async fn dataset(
    State(hub): Shared,
    Path { 0: place }: FilePath,
    method: Method,
    asked: Asked,
) -> Answer {
    resolve(&hub, asked, Kind::Dataset, place, method).await
}

async fn resolve(
    hub: &Arc<Hub>,
    asked: Asked,
    kind: Kind,
    (owner, name, revision, path): (String, String, String, String),
    method: Method,
) -> Answer {
    names::check_path(&path)?;
    let headers = asked.headers.clone();
    let (commit, entry, file) = blocking(hub, move |hub| {
        let repo = asked.repo(hub, kind, &owner, &name)?;
        let commit = hub.database.resolve(&repo, &revision)?;
        let entry = hub.database.tree_entry(&commit, &path)?;
        let missing = || Refusal::no_entry(&path).with_header("x-repo-commit", &commit.id);
        let entry = entry.ok_or_else(missing)?;
        // Open before the answer begins: garbage collection takes only the name away.
        let file = File::open(hub.objects.path(&entry.object.sha256))?;
        Ok((commit, entry, file))
    })
    .await?;
    let etag = format!("\"{}\"", entry.object.sha256);
    let size = entry.object.size_bytes;
    if is_known(&headers, &etag) {
        return Ok(described(StatusCode::NOT_MODIFIED, &commit, &entry, Body::empty()));
    }
    let range = match asked_range(&headers, &etag) {
        None => None,
        Some(text) => Some(range(text, size).ok_or_else(|| unsatisfiable(size))?),
    };
    let (start, length) = range.unwrap_or((0, size));
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(read(Arc::clone(hub), file, start, length))
    };
    let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = described(status, &commit, &entry, body);
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    if range.is_some() {
        let last = start.saturating_add(length).saturating_sub(1);
        set(&mut response, header::CONTENT_RANGE, &format!("bytes {start}-{last}/{size}"));
    }
    Ok(response)
}

fn unsatisfiable(size: u64) -> Refusal {
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "one range inside the file, please")
        .with_header("content-range", format!("bytes */{size}"))
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// An answer with what clients want to know of a file.
fn described(status: StatusCode, commit: &Commit, entry: &Entry, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let etag = format!("\"{}\"", entry.object.sha256);
    set(&mut response, header::ETAG, &etag);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::CONTENT_DISPOSITION, "attachment");
    set(&mut response, HeaderName::from_static("x-repo-commit"), &commit.id);
    if entry.is_large {
        let size = entry.object.size_bytes.to_string();
        set(&mut response, HeaderName::from_static("x-linked-etag"), &etag);
        set(&mut response, HeaderName::from_static("x-linked-size"), &size);
    }
    response
}

/// Whether the client says that it has these bytes.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        // Proxies that pack bytes make tags weak, which says nothing against them here.
        let is_this = |one: &str| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag;
        known.split(',').any(|one| is_this(one.trim()))
    })
}

/// The range that the client wants, unless it wants it of other bytes.
fn asked_range<'a>(headers: &'a HeaderMap, etag: &str) -> Option<&'a str> {
    let range = headers.get(header::RANGE)?;
    if headers.get(header::IF_RANGE).is_some_and(|condition| condition != etag) {
        return None;
    }
    Some(range.to_str().unwrap_or_default())
}

/// First byte and length of one range; `None` for several, for none, and for one outside.
fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    if text.len() > RANGE_BYTES_MAX {
        return None;
    }
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse::<u64>().ok() } else { None }
    };
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let (start, end) = match (first.is_empty(), last.is_empty()) {
        (true, _) => (size.saturating_sub(number(last).filter(|n| *n > 0)?), size),
        (false, true) => (number(first)?, size),
        (false, false) => (number(first)?, number(last)?.checked_add(1)?.min(size)),
    };
    (start < end).then(|| (start, end - start))
}

/// The bytes of a file, read as they are sent.
fn read(
    hub: Arc<Hub>,
    file: File,
    start: u64,
    length: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((file, start, length), move |(mut file, start, left)| {
        let hub = Arc::clone(&hub);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let work = move || -> io::Result<(File, Vec<u8>)> {
                file.seek(SeekFrom::Start(start))?;
                let n = left.min(CHUNK_BYTES);
                let mut bytes = Vec::with_capacity(usize::try_from(n).unwrap_or_default());
                (&mut file).take(n).read_to_end(&mut bytes)?;
                Ok((file, bytes))
            };
            let (file, bytes) =
                tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let n = bytes.len() as u64;
            hub.counters.sent_bytes.fetch_add(n, Ordering::Relaxed);
            let next = (file, start.saturating_add(n), left.saturating_sub(n));
            Ok(Some((Bytes::from(bytes), next)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn one_range_inside_the_file_is_understood_and_nothing_else() {
        for (text, found) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-", (0, 10)),
            ("bytes=3-5", (3, 3)),
            ("bytes=3-99", (3, 7)),
            ("bytes=-4", (6, 4)),
            ("bytes=-99", (0, 10)),
            ("bytes=9-18446744073709551614", (9, 1)),
        ] {
            assert_eq!(range(text, 10), Some(found), "{text}");
        }
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=-0",
            "bytes=10-",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "bytes=+1-2",
            "bytes=0x1-2",
            "items=0-1",
            "bytes=0-18446744073709551615",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(range(text, 10), None, "{text}");
        }
        assert_eq!(range("bytes=0-", 0), None);
    }
}
