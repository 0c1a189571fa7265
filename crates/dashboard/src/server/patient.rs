//! A connection whose reader must take what is sent.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Sleep, sleep},
};

/// Bytes of a connection that wait in the system, and not here, to be taken: with more of them,
/// news would wait for hours before it shows that nobody takes them.
const SEND_BYTES: u32 = 64 << 10;
/// Connections that wait to be accepted.
const WAITING_MAX: u32 = 1_024;

/// What a reader must take while bytes wait for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// In how long.
    time: Duration,
    /// How much at least: a reader that takes a byte now and then is one that takes nothing.
    n_bytes: usize,
}

/// The usual patience.
const USUAL: Patience = Patience { time: Duration::from_secs(15), n_bytes: 16 << 10 };

/// Listens at an address; whatever is accepted has little room for what waits.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` has it: elsewhere it would let others take the address.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BYTES)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

/// A connection that ends where its reader takes too little for long.
pub(super) struct Patient {
    stream: TcpStream,
    patience: Patience,
    /// Since bytes wait: until when enough of them have to be taken.
    until: Option<Pin<Box<Sleep>>>,
    /// How many were taken since.
    n_taken: usize,
}

impl Patient {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self::within(stream, USUAL)
    }

    fn within(stream: TcpStream, patience: Patience) -> Self {
        Self { stream, patience, until: None, n_taken: 0 }
    }

    /// Nothing waits any more, or enough was taken.
    fn rest(&mut self) {
        (self.until, self.n_taken) = (None, 0);
    }

    /// What became of a write: progress, or another moment of a patience that ends.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else {
            let time = self.patience.time;
            let until = self.until.get_or_insert_with(|| Box::pin(sleep(time)));
            ready!(until.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        if let (Ok(n), true) = (&written, self.until.is_some()) {
            self.n_taken += n;
            if self.n_taken >= self.patience.n_bytes {
                self.rest();
            }
        }
        Poll::Ready(written)
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    /// Asked for once all that was to be written is: nothing waits here then.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.rest();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Instant};
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(400);

    /// A connection as the server has it, and its other end.
    async fn pair(n_bytes: usize) -> (Patient, TcpStream) {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connect, listener.accept());
        let patience = Patience { time: SHORT, n_bytes };
        (Patient::within(accepted.unwrap().0, patience), client.unwrap())
    }

    /// Takes at most 16 KiB at a time until the connection ends.
    async fn take(client: TcpStream, pause: Duration) {
        let mut buffer = vec![0; 16 << 10];
        while client.readable().await.is_ok() {
            match client.try_read(&mut buffer) {
                Ok(1..) => sleep(pause).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    async fn write(stream: &mut Patient, bytes: &[u8]) -> io::Result<usize> {
        let n = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
        if n == bytes.len() {
            poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await?;
        }
        Ok(n)
    }

    #[tokio::test]
    async fn attack_who_reads_no_news_is_let_go_as_soon_as_some_wait() {
        let (mut stream, _unread) = pair(1_024).await;
        let (began, mut n_sent) = (Instant::now(), 0);
        let error = loop {
            match write(&mut stream, &[b'x'; 150]).await {
                Ok(n) => n_sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(n_sent < 1 << 20, "{n_sent} bytes wait in the system");
        assert!(began.elapsed() < 20 * SHORT);
    }

    /// How a connection ends on which there is always more to send, to one who takes 16 KiB each
    /// 10 ms; `None` if it does not within three patiences.
    async fn flooded(n_bytes: usize) -> Option<io::ErrorKind> {
        let (mut stream, client) = pair(n_bytes).await;
        let reading = tokio::spawn(take(client, Duration::from_millis(10)));
        let more = vec![b'x'; 64 << 20];
        let flood = async {
            loop {
                if let Err(error) = write(&mut stream, &more).await {
                    return error.kind();
                }
            }
        };
        let ended = timeout(3 * SHORT, flood).await.ok();
        drop(stream);
        reading.await.unwrap();
        ended
    }

    #[tokio::test]
    async fn attack_who_takes_a_little_now_and_then_is_let_go() {
        assert_eq!(flooded(1 << 30).await, Some(io::ErrorKind::TimedOut));
        assert_eq!(flooded(4 << 10).await, None, "who takes enough is served");
    }

    #[tokio::test]
    async fn who_was_behind_and_caught_up_is_served() {
        let (mut stream, client) = pair(1 << 30).await;
        // Until something waits.
        while timeout(SHORT / 8, write(&mut stream, &[b'x'; 150])).await.is_ok() {}
        let reading = tokio::spawn(take(client, Duration::ZERO));
        for _ in 0..3 {
            assert_eq!(write(&mut stream, &[b'x'; 150]).await.unwrap(), 150);
            sleep(2 * SHORT).await;
        }
        drop(stream);
        reading.await.unwrap();
    }
}
