//! What a hub says that went wrong, and whether asking again may help.

use super::{
    budget::Limit,
    http::number,
    patience::{Failure, time_until},
    wire,
};
use hub::Error;
use protocol::text::shown;
use reqwest::{
    StatusCode,
    blocking::Response,
    header::{self, HeaderMap, HeaderValue},
};
use std::{io::Read as _, time::Duration};

/// Most bytes of an explanation.
pub(super) const FAULT_BYTES_MAX: usize = 4 << 10;

/// Most characters of it that are shown.
pub(super) const SAID_MAX: usize = 200;

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
    let _ = (&mut answer).take(FAULT_BYTES_MAX as u64).read_to_end(&mut bytes);
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

/// The same of storage that is not the hub's own, which answers as S3 does.
///
/// It knows no tokens, so that nobody is denied anything there; and what came too slowly or broke
/// off is answered with 400, although the next try may succeed.
pub(super) fn storage_fault(status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Failure {
    const AGAIN: [&str; 2] = ["RequestTimeout", "IncompleteBody"];
    let text = String::from_utf8_lossy(bytes);
    let (code, message) = (element(&text, "Code"), element(&text, "Message"));
    let is_busy = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    let may_pass = is_busy || (status == StatusCode::BAD_REQUEST && AGAIN.contains(&code));
    let said = match shown(format!("{code} {message}").trim(), SAID_MAX) {
        said if said.is_empty() => "it does not say why".to_owned(),
        said => said,
    };
    let error = match may_pass {
        true => Error::Unavailable(format!("its storage answers {status}: {said}")),
        false => Error::Refused { status: status.as_u16(), said: format!("its storage: {said}") },
    };
    Failure { error, may_pass, asked: retry_after(headers) }
}

/// What stands in an element of an XML text; empty if there is none.
fn element<'a>(text: &'a str, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let rest = text.split_once(&open).map_or("", |(_, rest)| rest);
    rest.split_once(&close).map_or("", |(inner, _)| inner).trim()
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

/// How long a hub asks us to wait: so many seconds, until a date, or until its next window.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let seconds = headers.get(header::RETRY_AFTER).and_then(number).map(Duration::from_secs);
    let asked = seconds.or_else(|| time_until(text(header::RETRY_AFTER)?, text(header::DATE)));
    // A window that has something left is not what this request was refused for.
    asked.or_else(|| Limit::of(headers).filter(|limit| limit.n_left == 0).map(|limit| limit.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>Your \
             socket was idle.\u{202e}</Message><RequestId>X</RequestId></Error>"
        )
    }

    #[test]
    fn storage_that_was_not_sent_enough_in_time_is_tried_again_and_one_that_refuses_is_not() {
        let fault = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            storage_fault(status, &HeaderMap::new(), body.as_bytes())
        };
        let again = [
            (400, xml("RequestTimeout")),
            (400, xml("IncompleteBody")),
            (503, xml("SlowDown")),
            (500, xml("InternalError")),
            (429, String::new()),
        ];
        for (status, body) in again {
            let fault = fault(status, &body);
            assert!(fault.may_pass && fault.error.is_transient(), "{status}: {}", fault.error);
        }
        let never = [
            (400, xml("EntityTooLarge")),
            (400, xml("BadDigest")),
            (403, xml("AccessDenied")),
            (403, xml("RequestTimeout")),
            (400, "RequestTimeout".to_owned()),
            (400, "<Code>RequestTimeout".to_owned()),
            (404, String::new()),
        ];
        for (status, body) in never {
            let fault = fault(status, &body);
            assert!(!fault.may_pass && !fault.error.is_transient(), "{status}: {body}");
            assert!(matches!(fault.error, Error::Refused { .. }), "{status}: {}", fault.error);
        }
        let said = fault(403, &xml("AccessDenied")).error.to_string();
        assert!(
            said.ends_with("(403): its storage: AccessDenied Your socket was idle.\u{fffd}"),
            "{said}"
        );
    }

    #[test]
    fn a_wait_is_what_retry_after_says_or_the_rest_of_a_window_with_nothing_left() {
        let asked = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            retry_after(&headers).map(|asked| asked.as_secs())
        };
        assert_eq!(asked(&[("retry-after", "7")]), Some(7));
        assert_eq!(asked(&[("ratelimit", "\"api\";r=0;t=55")]), Some(55));
        assert_eq!(asked(&[("ratelimit", "\"api\";r=0;t=55"), ("retry-after", "7")]), Some(7));
        assert_eq!(asked(&[("ratelimit", "\"api\";r=3;t=55")]), None, "another limit was hit");
        assert_eq!(asked(&[("ratelimit", "\"api\";r=3;t=55"), ("retry-after", "7")]), Some(7));
        let date = ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT");
        assert_eq!(asked(&[date, ("date", "Wed, 21 Oct 2026 07:27:15 GMT")]), Some(45));
        assert_eq!(asked(&[date, ("date", "Wed, 21 Oct 2026 09:00:00 GMT")]), Some(0));
        let odd = ("retry-after", "after lunch");
        assert_eq!(asked(&[odd]), None);
        assert_eq!(asked(&[odd, ("ratelimit", "\"api\";r=0;t=55")]), Some(55));
    }
}
