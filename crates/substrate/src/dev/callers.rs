//! Who is connected: some of each address, and a newcomer takes the place of the idlest.

use super::limits;
use futures_util::task::AtomicWaker;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Fewest bytes of a request: what is shorter is the answer to a ping.
const REQUEST_BYTES_MIN: usize = 32;

/// Whom requests are counted with: those of one address, or of one network of version 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller(IpAddr);

impl Caller {
    /// Whoever asks from an address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self(network(address))
    }
}

/// The connections of now.
#[derive(Clone)]
pub(super) struct Callers(Arc<Table>);

struct Table {
    started: Instant,
    total_max: usize,
    per_address_max: usize,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
}

/// The place of one connection.
struct Seat {
    address: IpAddr,
    /// When it last asked for something, in milliseconds since the start.
    asked_ms: AtomicU64,
    is_lost: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Callers {
    pub(super) fn new(total_max: u32, per_address_max: u32) -> Self {
        Self(Arc::new(Table {
            started: Instant::now(),
            total_max: total_max as usize,
            per_address_max: per_address_max as usize,
            seats: Mutex::default(),
            next: AtomicU64::new(0),
        }))
    }

    /// Gives a connection a place; `None` if there is none, because all others are busy.
    pub(super) fn seat<S>(&self, stream: S, address: IpAddr) -> Option<Seated<S>> {
        let now = self.0.started.elapsed();
        let address = network(address);
        let mut seats = self.0.seats();
        let n_own = seats.values().filter(|seat| seat.address == address).count();
        let crowd = if n_own >= self.0.per_address_max {
            Some(address)
        } else if seats.len() >= self.0.total_max {
            largest(&seats)
        } else {
            None
        };
        if let Some(crowd) = crowd {
            let n_crowd = seats.values().filter(|seat| seat.address == crowd).count();
            // Who has far fewer places than a crowd need not wait until one of the crowd is idle:
            // whoever fills the node keeps all of its connections busy.
            let idle_min = if n_own + 1 < n_crowd && crowd != address {
                Duration::ZERO
            } else {
                limits::IDLE_MIN
            };
            let idlest = idlest(&seats, crowd, (now, idle_min))?;
            if let Some(seat) = seats.remove(&idlest) {
                seat.lose();
            }
        }
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            address,
            asked_ms: AtomicU64::new(ms(now)),
            is_lost: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        });
        seats.insert(number, Arc::clone(&seat));
        Some(Seated { stream, seat, number, table: Arc::clone(&self.0) })
    }
}

impl Table {
    fn seats(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom a connection is counted with: an address, or in version 6 the network that one customer
/// is usually given.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// The address with the most connections.
fn largest(seats: &HashMap<u64, Arc<Seat>>) -> Option<IpAddr> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for seat in seats.values() {
        *counts.entry(seat.address).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(address, count)| (*count, *address)).map(|(address, _)| address)
}

/// The connection of an address that has asked for nothing the longest, if that is long enough.
fn idlest(
    seats: &HashMap<u64, Arc<Seat>>,
    address: IpAddr,
    (now, idle_min): (Duration, Duration),
) -> Option<u64> {
    let asked = |seat: &Seat| seat.asked_ms.load(Ordering::Relaxed);
    let own = seats.iter().filter(|(_, seat)| seat.address == address);
    let (number, seat) = own.min_by_key(|(number, seat)| (asked(seat), **number))?;
    (ms(now).saturating_sub(asked(seat)) >= ms(idle_min)).then_some(*number)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Seat {
    /// Ends the connection: whoever reads or writes on it is woken and finds it closed.
    fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }
}

/// A connection in its place, which it gives back when it is dropped.
pub(super) struct Seated<S> {
    stream: S,
    seat: Arc<Seat>,
    number: u64,
    table: Arc<Table>,
}

impl<S> Drop for Seated<S> {
    fn drop(&mut self) {
        self.table.seats().remove(&self.number);
    }
}

fn lost<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for Seated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.seat.reader.register(context.waker());
        if self.seat.is_lost() {
            return lost();
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len().saturating_sub(before) >= REQUEST_BYTES_MIN {
            let now = ms(self.table.started.elapsed());
            self.seat.asked_ms.store(now, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.seat.writer.register(context.waker());
        if self.seat.is_lost() {
            return lost();
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seat.writer.register(context.waker());
        if self.seat.is_lost() {
            return lost();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Makes a connection look as if it had been idle since the start.
    fn tire(seated: &Seated<()>, by: Duration) {
        let asked = seated.seat.asked_ms.load(Ordering::Relaxed);
        seated.seat.asked_ms.store(asked.saturating_sub(ms(by)), Ordering::Relaxed);
    }

    /// A table that has been there for a minute.
    fn callers(total_max: u32, per_address_max: u32) -> Callers {
        let mut callers = Callers::new(total_max, per_address_max);
        let table = Arc::get_mut(&mut callers.0).unwrap();
        table.started = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        callers
    }

    #[test]
    fn attack_an_address_that_holds_many_connections_loses_its_own_idlest() {
        let callers = callers(10, 3);
        let (a, b) = (at("10.0.0.1"), at("10.0.0.2"));
        let mine: Vec<_> = (0..3).map(|_| callers.seat((), a).unwrap()).collect();
        assert!(callers.seat((), a).is_none(), "none of them is idle");
        let other = callers.seat((), b).unwrap();
        tire(&mine[1], Duration::from_secs(30));
        tire(&other, Duration::from_secs(50));
        let _newcomer = callers.seat((), a).unwrap();
        assert!(mine[1].seat.is_lost() && !other.seat.is_lost());
        assert!(!mine[0].seat.is_lost() && !mine[2].seat.is_lost());
    }

    #[test]
    fn attack_a_crowd_that_fills_the_node_makes_room_for_a_stranger() {
        let callers = callers(4, 3);
        let crowd: Vec<_> = (0..3).map(|_| callers.seat((), at("10.0.0.1")).unwrap()).collect();
        let lonely = callers.seat((), at("10.0.0.2")).unwrap();
        crowd.iter().for_each(|seat| tire(seat, Duration::from_secs(9)));
        tire(&lonely, Duration::from_secs(50));
        let newcomer = callers.seat((), at("10.0.0.3")).unwrap();
        assert!(!lonely.seat.is_lost(), "the largest crowd makes room");
        assert_eq!(crowd.iter().filter(|seat| seat.seat.is_lost()).count(), 1);
        drop((crowd, lonely, newcomer));
        assert!(callers.0.seats().is_empty(), "places are given back");
    }

    #[test]
    fn attack_crowds_that_are_busy_all_the_time_make_room_for_a_stranger() {
        let callers = callers(8, 4);
        let crowds = ["10.0.0.1", "10.0.0.2"].map(at);
        let busy: Vec<_> =
            crowds.iter().flat_map(|a| (0..4).map(|_| callers.seat((), *a).unwrap())).collect();
        let stranger = callers.seat((), at("10.0.0.3")).unwrap();
        assert_eq!(busy.iter().filter(|seat| seat.seat.is_lost()).count(), 1);
        // Those of the crowds gain nothing by it, and cannot take the place back.
        assert!(callers.seat((), crowds[0]).is_none() || callers.seat((), crowds[1]).is_none());
        assert!(!stranger.seat.is_lost());
    }

    #[test]
    fn one_network_of_version_6_is_one_caller() {
        assert_eq!(network(at("2001:db8:1:2:3::4")), network(at("2001:db8:1:2::9")));
        assert_ne!(network(at("2001:db8:1:2::9")), network(at("2001:db8:1:3::9")));
        assert_eq!(network(at("::ffff:10.0.0.1")), at("10.0.0.1"));
    }
}
