//! Transfers that keep moving: who sends or reads too slowly is let go.

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt as _;
use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout_at},
};

use super::{Limits, refusal::Refusal};

/// A body that comes at the least rate, and has a least and a most size.
pub(super) struct Paced {
    stream: BodyDataStream,
    started: Instant,
    patience: Duration,
    bytes_per_second_min: u64,
    n_bytes: u64,
    bytes_max: u64,
}

impl Paced {
    pub(super) fn new(body: Body, limits: &Limits, bytes_max: u64) -> Self {
        Self {
            stream: body.into_data_stream(),
            started: Instant::now(),
            patience: limits.patience,
            bytes_per_second_min: limits.bytes_per_second_min.max(1),
            n_bytes: 0,
            bytes_max,
        }
    }

    /// The next bytes; `None` at the end of the body.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let earned = Duration::from_secs(self.n_bytes / self.bytes_per_second_min);
        let late = self.started + self.patience + earned;
        let deadline = late.min(Instant::now() + self.patience);
        let next = timeout_at(deadline, self.stream.next()).await;
        let Some(bytes) = next.map_err(|_| Refusal::too_slow())? else { return Ok(None) };
        let bytes = bytes.map_err(|_| Refusal::bad("the body broke off"))?;
        self.n_bytes = self.n_bytes.saturating_add(bytes.len() as u64);
        if self.n_bytes > self.bytes_max {
            return Err(Refusal::too_large(format!(
                "the body has more than the {} bytes allowed",
                self.bytes_max
            )));
        }
        Ok(Some(bytes))
    }

    /// All bytes at once.
    pub(super) async fn all(mut self) -> Result<Vec<u8>, Refusal> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}

/// A connection whose reader must take bytes at the least rate.
pub(super) struct Connection {
    stream: TcpStream,
    patience: Duration,
    bytes_min: u64,
    /// While bytes wait to be taken: until when, and how many were.
    waiting: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, limits: &Limits) -> Self {
        let seconds = limits.patience.as_secs().max(1);
        let bytes_min = limits.bytes_per_second_min.saturating_mul(seconds);
        Self { stream, patience: limits.patience, bytes_min, waiting: None }
    }

    /// What became of a write: progress, or another moment of a patience that ends.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => {
                let patience = self.patience;
                let (until, _) = self.waiting.get_or_insert_with(|| (Box::pin(sleep(patience)), 0));
                ready!(until.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(Ok(n)) => {
                if let Some((_, n_bytes)) = &mut self.waiting {
                    *n_bytes = n_bytes.saturating_add(n as u64);
                    if *n_bytes >= self.bytes_min {
                        self.waiting = None;
                    }
                }
                Poll::Ready(Ok(n))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Everything was taken: whoever comes next has its own patience.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
