//! Who lets connections in to an endpoint, turns them away, or does not answer at all.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

#[derive(Default)]
struct Door {
    is_shut: bool,
    /// What the next comers are told instead of being let in.
    refusals: VecDeque<String>,
    /// When somebody came.
    came: Vec<Instant>,
    inside: Vec<TcpStream>,
    is_over: bool,
}

/// Listens on a port of its own, and forwards whom it lets in.
pub(crate) struct Porter {
    address: SocketAddr,
    door: Arc<Mutex<Door>>,
}

impl Porter {
    pub(crate) fn start(endpoint: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = Arc::new(Mutex::new(Door::default()));
        let of_thread = Arc::clone(&door);
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut door = of_thread.lock().unwrap();
                if door.is_over {
                    return;
                }
                let Ok(client) = client else { continue };
                door.came.push(Instant::now());
                if door.is_shut {
                    continue;
                }
                if let Some(refusal) = door.refusals.pop_front() {
                    drop(door);
                    refuse(client, &refusal);
                    continue;
                }
                let Ok(endpoint) = TcpStream::connect(endpoint) else { continue };
                door.inside.push(client.try_clone().unwrap());
                carry(&client, &endpoint);
            }
        });
        Self { address, door }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Lets nobody in any more, and puts out who is in.
    pub(crate) fn shut(&self) {
        let mut door = self.door.lock().unwrap();
        door.is_shut = true;
        for client in door.inside.drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Lets everybody in again.
    pub(crate) fn open(&self) {
        self.door.lock().unwrap().is_shut = false;
    }

    /// Answers the next who comes with this, and does not let it in.
    pub(crate) fn refuse_next(&self, answer: &str) {
        self.door.lock().unwrap().refusals.push_back(answer.to_owned());
    }

    /// When somebody came.
    pub(crate) fn came(&self) -> Vec<Instant> {
        self.door.lock().unwrap().came.clone()
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.shut();
        self.door.lock().unwrap().is_over = true;
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn refuse(mut client: TcpStream, answer: &str) {
    let mut buffer = [0; 4_096];
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        match client.read(&mut buffer) {
            Ok(n @ 1..) => asked.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let _ = client.write_all(answer.as_bytes());
    let _ = client.shutdown(Shutdown::Both);
}

fn carry(client: &TcpStream, endpoint: &TcpStream) {
    for (from, to) in [(client, endpoint), (endpoint, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        // Each message at once: time is measured here.
        to.set_nodelay(true).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 16_384];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
