//! A proxy that breaks connections at random: what a bad network does to a client.
//!
//! Bytes pass unchanged until the connection has carried its share, drawn from the seed; then it is
//! cut, in the middle of whatever was on its way, in either direction.

use protocol::{Seed, seed::uniform_below};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// Bytes that a connection carries before it breaks, at least: a client gets the metadata.
const BYTES_MIN: u64 = 60_000;

/// Bytes on top of that, at most.
const BYTES_MORE: u64 = 60_000;

/// Listens on a port of its own and forwards to the node.
pub(crate) struct Proxy {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn start(node: SocketAddr, seed: Seed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            let mut random = seed.derive("proxy").stream();
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let share = BYTES_MIN + uniform_below(&mut random, BYTES_MORE);
                let (Ok(client), Ok(node)) = (client, TcpStream::connect(node)) else { continue };
                carry(client, node, share);
            }
        });
        Self { address, stop }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// Forwards both ways until `share` bytes have passed.
fn carry(client: TcpStream, node: TcpStream, share: u64) {
    let carried = Arc::new(AtomicU64::new(0));
    for (mut from, mut to) in
        [(client.try_clone().unwrap(), node.try_clone().unwrap()), (node, client)]
    {
        let carried = Arc::clone(&carried);
        thread::spawn(move || {
            let mut buffer = [0; 1_024];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let before = carried.fetch_add(n as u64, Ordering::Relaxed);
                let left = share.saturating_sub(before).min(n as u64) as usize;
                if to.write_all(&buffer[..left]).is_err() || left < n {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
