//! Who has to go when there is no room for another connection: whoever asks for nothing longest.
//!
//! Else a few thousand connections that begin a request and never end it would keep everybody out.

use super::lock;
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::sync::Notify;

/// Connections without a request under way, whoever waits longest first.
#[derive(Default)]
pub(super) struct Seats {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    by_turn: BTreeMap<u64, Arc<Notify>>,
}

impl Seats {
    /// Tells whoever waits longest to leave; `false` if nobody waits.
    pub(super) fn free_one(&self) -> bool {
        let longest = lock(&self.waiting).by_turn.pop_first();
        longest.map(|(_, leave)| leave.notify_one()).is_some()
    }
}

/// The place of one connection, which waits for its first request.
pub(super) struct Seat {
    seats: Arc<Seats>,
    turn: Mutex<Option<u64>>,
    leave: Arc<Notify>,
}

impl Seat {
    pub(super) fn take(seats: &Arc<Seats>) -> Arc<Self> {
        let (seats, turn) = (Arc::clone(seats), Mutex::default());
        let seat = Arc::new(Self { seats, turn, leave: Arc::default() });
        seat.wait();
        seat
    }

    /// Ends when the place is needed.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    fn wait(&self) {
        let mut waiting = lock(&self.seats.waiting);
        let turn = waiting.next;
        waiting.next = turn.wrapping_add(1);
        waiting.by_turn.insert(turn, Arc::clone(&self.leave));
        *lock(&self.turn) = Some(turn);
    }

    fn work(&self) {
        let turn = lock(&self.turn).take();
        if let Some(turn) = turn {
            lock(&self.seats.waiting).by_turn.remove(&turn);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.work();
    }
}

/// Lets a connection keep its place from the end of a request's head to the end of the answer.
pub(super) async fn at_work(
    State(seat): State<Arc<Seat>>,
    request: Request,
    next: Next,
) -> Response {
    seat.work();
    let work = Work(seat);
    let response = next.run(request).await;
    keep_until_sent(response, work)
}

/// Holds a value until the body of an answer has been sent, or given up.
pub(super) fn keep_until_sent<T: Send + Unpin + 'static>(response: Response, kept: T) -> Response {
    response.map(|body| Body::new(Working { body, _kept: kept }))
}

/// A request under way.
struct Work(Arc<Seat>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The body of an answer, during which something is kept.
struct Working<T> {
    body: Body,
    _kept: T,
}

impl<T: Unpin> HttpBody for Working<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
