//! Pinned rows over HTTP range requests.

mod http;
