//! What the hub answers when it does not do what it is asked, as its clients understand it.

use super::names;
use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A request that is not granted: status, code and a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
    header: Option<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into(), header: None }
    }

    fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// What is private is as if it were not there: a stranger is asked for a token, either way.
    pub(super) fn no_repo(is_known: bool) -> Self {
        if is_known {
            Self::not_found("Repository not found").with_code("RepoNotFound")
        } else {
            Self::new(StatusCode::UNAUTHORIZED, "Invalid username or password.")
                .with_code("RepoNotFound")
        }
    }

    pub(super) fn no_revision(revision: &str) -> Self {
        let revision: String = revision.chars().take(64).collect();
        Self::not_found(format!("Invalid rev id: {}", revision.escape_default()))
            .with_code("RevisionNotFound")
    }

    pub(super) fn no_entry(path: &str) -> Self {
        let message = format!("Entry not found: `{}`", names::shown(path));
        Self::not_found(message).with_code("EntryNotFound")
    }

    /// A repo that has another name now: the same request is good there.
    pub(super) fn moved(location: String) -> Self {
        Self::new(StatusCode::TEMPORARY_REDIRECT, "the repo has another name now")
            .with_header("location", location)
    }

    /// What the protocol has and this hub has not.
    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// Says which file is refused.
    pub(super) fn about(mut self, path: &str) -> Self {
        if self.status.is_client_error() {
            self.message = format!("`{}`: {}", names::shown(path), self.message);
        }
        self
    }

    /// Says which line of a commit is refused; trouble of our own is no line's.
    pub(super) fn in_line(mut self, number: usize) -> Self {
        if self.status.is_client_error() {
            self.message = format!("line {number} of the commit: {}", self.message);
        }
        self
    }

    pub(super) fn bad_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid credentials in Authorization header")
    }

    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid username or password.")
    }

    /// Nobody can have a token that is any good.
    pub(super) fn no_users() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "this hub has no users, so no token is good here: whoever runs it adds some",
        )
    }

    pub(super) fn busy(seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests: ask again later")
            .with_header("retry-after", seconds.to_string())
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")
    }

    /// Trouble of our own; nothing of the machine is told to strangers.
    pub(super) fn broken() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the hub is in trouble: ask again later")
    }

    pub(super) fn disk_full() -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "the hub has no more room on its disk")
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(_: rusqlite::Error) -> Self {
        Self::broken()
    }
}

impl From<hub::Error> for Refusal {
    fn from(_: hub::Error) -> Self {
        Self::broken()
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            return Self::disk_full();
        }
        Self::broken()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.message }).to_string();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(code) = self.code {
            headers.insert("x-error-code", HeaderValue::from_static(code));
        }
        if let Ok(message) = HeaderValue::from_str(&self.message) {
            headers.insert("x-error-message", message);
        }
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            headers.insert(name, value);
        }
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the body is not waited for.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
