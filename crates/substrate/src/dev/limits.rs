//! What a stranger may ask for at most.

use std::time::Duration;

/// Bytes of a request.
pub const REQUEST_BYTES_MAX: u32 = 2 << 20;
/// Bytes of an answer.
pub const ANSWER_BYTES_MAX: u32 = 16 << 20;
/// Connections at a time.
pub const CONNECTIONS_MAX: u32 = 1_024;
/// Connections of one address at a time; of one network of /64 in the version 6.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 256;
/// For how long a connection has asked for nothing before a newcomer may take its place.
pub const IDLE_MIN: Duration = Duration::from_secs(2);
/// Pause after a connection that could not be taken.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Subscriptions of a connection.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: u32 = 64;
/// Requests sent together.
pub const BATCH_REQUESTS_MAX: u32 = 100;
/// Messages that wait for a slow reader.
pub const MESSAGES_WAITING_MAX: u32 = 1_024;
/// How long a subscriber may leave a message unread before it is dropped.
pub const SLOW_READER_LIMIT: Duration = Duration::from_secs(30);
/// How often a connection is asked whether it is still there.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may be silent.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(90);
/// Requests that the author answers besides making blocks, at a time.
pub const AUTHOR_REQUESTS_MAX: usize = 16;
/// Stretches of blocks that wait to be made again by an archive, at a time.
pub const ARCHIVE_WAITING_MAX: usize = 16;
/// Stretches among them that requests of one address wait for; of one network of /64 in the
/// version 6.
pub const ARCHIVE_WAITING_PER_ADDRESS_MAX: usize = ARCHIVE_WAITING_MAX / 2;
/// Bytes of values that one request may ask for.
pub const VALUES_BYTES_MAX: usize = 4 << 20;
/// Keys in one request for storage.
pub const KEYS_MAX: usize = 1_000;
/// Keys in one subscription to storage.
pub const KEYS_WATCHED_MAX: usize = 128;
