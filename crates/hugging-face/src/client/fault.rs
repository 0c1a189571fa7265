//! What a hub says that went wrong, and whether asking again may help.

use super::{http::number, patience::Failure, wire};
use hub::Error;
use protocol::text::shown;
use reqwest::{
    StatusCode,
    blocking::Response,
    header::{self, HeaderMap, HeaderValue},
};
use std::{io::Read as _, time::Duration};

/// Most bytes of an explanation.
const FAULT_BYTES_MAX: u64 = 4 << 10;

/// Most characters of it that are shown.
const SAID_MAX: usize = 200;

/// Whether the thing is not there. Hubs also say so to strangers of what is private.
pub(super) fn is_absent(answer: &Response) -> bool {
    let header =
        |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match answer.status() {
        // It is there, and may be seen by those who have agreed to its terms.
        _ if header("x-error-code") == Some("GatedRepo") => false,
        StatusCode::NOT_FOUND => true,
        StatusCode::UNAUTHORIZED => {
            header("x-error-code") == Some("RepoNotFound")
                || header("x-error-message")
                    .is_none_or(|text| !text.contains("Invalid credentials"))
        }
        _ => false,
    }
}

/// The answer, if it is one to go on with.
pub(super) fn checked(mut answer: Response) -> Result<Response, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let mut bytes = Vec::new();
    // Half of an explanation is better than none.
    let _ = (&mut answer).take(FAULT_BYTES_MAX).read_to_end(&mut bytes);
    Err(checked_fault(status, answer.headers(), &bytes))
}

/// Why an answer is none to go on with, and whether the next may be.
pub(super) fn checked_fault(status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Failure {
    let asked = retry_after(headers);
    let said = said(headers, bytes);
    let error = if matches!(status.as_u16(), 401 | 403) {
        Error::Denied { status: status.as_u16(), said }
    } else if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
        Error::Unavailable(format!("it answers {status}: {said}"))
    } else {
        Error::Refused { status: status.as_u16(), said }
    };
    let may_pass = error.is_transient();
    Failure { error, may_pass, asked }
}

/// What the hub says that went wrong, made fit to be shown.
fn said(headers: &HeaderMap, bytes: &[u8]) -> String {
    let header = headers.get("x-error-message").and_then(|text| text.to_str().ok());
    let text = match header {
        Some(text) => text.to_owned(),
        None => serde_json::from_slice::<wire::Fault>(bytes).unwrap_or_default().error,
    };
    let shown = shown(&text, SAID_MAX);
    if shown.trim().is_empty() { "it does not say why".to_owned() } else { shown }
}

/// How long a hub asks us to wait, in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER).and_then(number).or_else(|| {
        // "resolvers";r=0;t=55
        let limit = headers.get("ratelimit")?.to_str().ok()?;
        limit.split(';').find_map(|part| part.trim().strip_prefix("t="))?.parse().ok()
    })?;
    Some(Duration::from_secs(seconds))
}
