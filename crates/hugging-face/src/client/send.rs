//! Bytes of files that go out, in pieces so large that handing them on costs nothing.

use super::{
    TICK,
    fault::{FAULT_BYTES_MAX, checked_fault, storage_fault},
    http::{Http, host_of, next_address},
    patience::Failure,
};
use futures_util::stream;
use hub::{Error, Progress};
use reqwest::{
    Body, Client, Method, Request, Response, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, time::timeout};

/// Bytes that are read and sent at a time. The blocking client of the library sends 8 KiB, each
/// of which wakes another thread.
const PIECE_BYTES: u64 = 1 << 19;

/// What sends files: a client, and a runtime that runs in the thread that sends.
pub(super) struct Sender {
    client: Client,
    runtime: Runtime,
}

/// Some bytes of a file.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) path: &'a Path,
    pub(super) start: u64,
    pub(super) n_bytes: u64,
}

impl Outgoing<'_> {
    /// The bytes, and how many of them have been read.
    fn body(self) -> Result<(Body, Arc<AtomicU64>), Error> {
        let opened = File::open(self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.start))?;
            Ok(file)
        });
        let file = opened.map_err(Error::io("read", self.path))?;
        let n_read = Arc::new(AtomicU64::new(0));
        let pieces = Pieces { file: file.take(self.n_bytes), n_read: Arc::clone(&n_read) };
        Ok((Body::wrap_stream(stream::iter(pieces)), n_read))
    }
}

/// A part of a file, piece by piece.
struct Pieces {
    file: io::Take<File>,
    n_read: Arc<AtomicU64>,
}

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let n = self.file.limit().min(PIECE_BYTES);
        if n == 0 {
            return None;
        }
        let mut piece = Vec::with_capacity(usize::try_from(n).unwrap_or_default());
        let read = (&mut self.file).take(n).read_to_end(&mut piece);
        self.n_read.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Some(match read {
            Ok(there) if there as u64 == n => Ok(piece),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error),
        })
    }
}

impl Sender {
    pub(super) fn new(client: reqwest::ClientBuilder) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Unavailable(error.to_string()))?;
        let client = client.build().map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { client, runtime })
    }
}

impl Http {
    /// Sends bytes to an address that the hub named for them, and gives the tag of what arrived.
    pub(super) fn put(
        &self,
        href: &str,
        headers: &[(HeaderName, HeaderValue)],
        outgoing: Outgoing<'_>,
        progress: Progress<'_>,
    ) -> Result<Option<String>, Failure> {
        let url = self.storage(href)?;
        let mut request = Request::new(Method::PUT, url.clone());
        *request.timeout_mut() = Some(self.patience.time_for(outgoing.n_bytes));
        request.headers_mut().extend(headers.iter().cloned());
        request.headers_mut().insert(header::CONTENT_LENGTH, outgoing.n_bytes.into());
        if let Some(value) = self.authorization_for(&url) {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        }
        let (body, n_read) = outgoing.body()?;
        *request.body_mut() = Some(body);
        let Sender { client, runtime } = &self.sender;
        let answer: Response = runtime.block_on(async {
            let mut answer = pin!(client.execute(request));
            loop {
                match timeout(TICK, answer.as_mut()).await {
                    Ok(answer) => return answer.map_err(|error| self.unreachable(&url, &error)),
                    Err(_) if progress(n_read.load(Ordering::Relaxed)) => {}
                    Err(_) => return Err(Error::Stopped.into()),
                }
            }
        })?;
        if !progress(outgoing.n_bytes) {
            return Err(Error::Stopped.into());
        }
        if answer.status().is_redirection() {
            // Bytes go where the hub has named, or nowhere.
            let next = next_address(&url, answer.headers());
            let host = next.as_ref().map_or_else(|| "nowhere".to_owned(), host_of);
            return Err(Error::Redirect { host, reason: "bytes that were sent stay there" }.into());
        }
        if !answer.status().is_success() {
            let fault = if self.is_hub(&url) { checked_fault } else { storage_fault };
            return Err(runtime.block_on(explained(answer, self.patience.silence, fault)));
        }
        let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        Ok(tag.map(str::to_owned))
    }
}

/// What an answer says that went wrong.
async fn explained(
    mut answer: Response,
    silence: Duration,
    fault: fn(StatusCode, &HeaderMap, &[u8]) -> Failure,
) -> Failure {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut said = Vec::new();
    // Half of an explanation is better than none; storage sends its first line by itself.
    while said.len() < FAULT_BYTES_MAX
        && let Ok(Ok(Some(piece))) = timeout(silence, answer.chunk()).await
    {
        let room = FAULT_BYTES_MAX - said.len();
        said.extend_from_slice(piece.get(..room).unwrap_or(&piece));
    }
    fault(status, &headers, &said)
}
