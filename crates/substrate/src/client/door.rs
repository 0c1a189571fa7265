//! The way in: a WebSocket to an endpoint, and what it says where it lets nobody in.

use super::{limiter::Patience, link::Failure, lock};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use subxt::{
    ext::jsonrpsee::client_transport::ws::{Url, WsHandshakeError, WsTransportClientBuilder},
    rpcs::client::JsonrpseeRpcClient,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, crypto::ring, pki_types::ServerName},
};

/// Bytes of an answer to a handshake that are kept to be read.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Bytes that an endpoint may send before the handshake is over.
const HANDSHAKE_BYTES_MAX: usize = 64 << 10;

/// Bytes of one answer.
const ANSWER_BYTES_MAX: u32 = 16 << 20;

/// Bytes of one request: a call, or the keys of some hundred values.
const REQUEST_BYTES_MAX: u32 = 2 << 20;

/// News of blocks that wait to be taken in.
const NEWS_MAX: usize = 64;

/// How often an endpoint may send us elsewhere.
const REDIRECTS_MAX: usize = 3;

/// An endpoint that lets nobody in for now.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint refuses connections for now, with HTTP status {status}")]
pub(super) struct TurnedAway {
    status: u16,
    /// What it asks for.
    pub(super) patience: Patience,
}

/// Connects to an endpoint; a [`TurnedAway`] where it asks to come later.
pub(super) async fn connect(
    url: &str,
    request_timeout: Duration,
) -> Result<JsonrpseeRpcClient, Failure> {
    let mut url = Url::parse(url)?;
    for _ in 0..=REDIRECTS_MAX {
        let (stream, head) = Tap::new(open(&url).await?);
        let builder = WsTransportClientBuilder::default()
            .max_request_size(REQUEST_BYTES_MAX)
            .max_response_size(ANSWER_BYTES_MAX);
        let status = match builder.build_with_stream(url.clone(), stream).await {
            Ok((sender, receiver)) => {
                // From here on nothing is kept, and nothing is limited but single answers.
                *lock(&head) = None;
                return Ok(JsonrpseeRpcClient::builder()
                    .request_timeout(request_timeout)
                    .max_buffer_capacity_per_subscription(NEWS_MAX)
                    .build_with_tokio(sender, receiver));
            }
            Err(WsHandshakeError::Redirected { location, .. }) => {
                let next = url.join(&location)?;
                if url.scheme() == "wss" && next.scheme() != "wss" {
                    return Err("the endpoint sends us to an address without TLS".into());
                }
                url = next;
                continue;
            }
            Err(WsHandshakeError::Rejected { status_code }) => status_code,
            Err(failure) => return Err(failure.into()),
        };
        let head = lock(&head).take().unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        return Err(match Patience::asked_in(status, &head.bytes, now.as_secs()) {
            Some(patience) => TurnedAway { status, patience }.into(),
            None => WsHandshakeError::Rejected { status_code: status }.into(),
        });
    }
    Err("the endpoint sends us from address to address".into())
}

/// What carries bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to the host of an address, secured where the address says so.
async fn open(url: &Url) -> Result<Box<dyn Stream>, Failure> {
    let is_secured = match url.scheme() {
        "ws" => false,
        "wss" => true,
        other => return Err(format!("`{other}` is no way to a chain: ws or wss is").into()),
    };
    let host = url.host_str().ok_or("the address names no host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().ok_or("the address names no port")?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if !is_secured {
        return Ok(Box::new(stream));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

/// What came in before the handshake was over.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    n_bytes: usize,
}

/// A stream of which the first bytes are kept: the WebSocket library throws away what an endpoint
/// says beside the status.
struct Tap {
    stream: Box<dyn Stream>,
    head: Arc<Mutex<Option<Head>>>,
}

impl Tap {
    fn new(stream: Box<dyn Stream>) -> (Self, Arc<Mutex<Option<Head>>>) {
        let head = Arc::new(Mutex::new(Some(Head::default())));
        (Self { stream, head: Arc::clone(&head) }, head)
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(head) = lock(&self.head).as_mut() {
            let read = buffer.filled().get(before..).unwrap_or_default();
            let room = HEAD_BYTES_MAX.saturating_sub(head.bytes.len());
            head.bytes.extend(read.iter().take(room));
            head.n_bytes = head.n_bytes.saturating_add(read.len());
            if head.n_bytes > HANDSHAKE_BYTES_MAX {
                return Poll::Ready(Err(io::Error::other(
                    "the answer to the handshake is endless",
                )));
            }
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
