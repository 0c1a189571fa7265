//! Requests and answers, each within its limits.

use super::{
    ClientOptions, Pinned,
    address::{self, Hosts},
    patience::{Failure, Patience},
    send::Sender,
    wire,
};
use crate::{Error, content::is_plain_path};
use reqwest::{
    Method, StatusCode, Url,
    blocking::{Body, Client, Request, Response},
    header::{self, HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

/// How JSON is announced.
pub(super) const JSON: &str = "application/json";
/// Most bytes of an answer that is read whole, but for files.
const JSON_BYTES_MAX: u64 = 32 << 20;
/// Most bytes of what a hub says that went wrong.
const FAULT_BYTES_MAX: u64 = 4 << 10;
/// Most characters of it that are passed on.
const FAULT_CHARS_MAX: usize = 200;
/// Most redirects one after the other.
const N_REDIRECTS_MAX: usize = 5;

/// A connection to a hub.
pub(super) struct Http {
    client: Client,
    pub(super) sender: Sender,
    hosts: Hosts,
    endpoint: String,
    authorization: Option<HeaderValue>,
    pub(super) patience: Patience,
}

/// An answer that holds a file or a part of one.
pub(super) struct Answer {
    /// Offset of the first byte.
    pub(super) first: u64,
    /// Bytes of the whole file, where the hub says so.
    pub(super) size_bytes: Option<u64>,
    pub(super) body: Response,
}

impl Http {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, Error> {
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        let hosts = Hosts::new(&endpoint, &options.redirect_hosts)?;
        let authorization = match &options.token {
            None => None,
            Some(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut value = value.map_err(|_| Error::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        // Whoever came first has chosen: another part of the program speaks TLS too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let patience = options.patience;
        let agent = concat!("agon/", env!("CARGO_PKG_VERSION"));
        let client = Client::builder()
            .user_agent(agent)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(hosts.resolver()))
            .connect_timeout(patience.silence)
            .timeout(patience.silence)
            .build();
        let client = client.map_err(|error| Error::Unavailable(error.to_string()))?;
        let sender = reqwest::Client::builder()
            .user_agent(agent)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(hosts.resolver()))
            .connect_timeout(patience.silence);
        let sender = Sender::new(sender)?;
        Ok(Self { client, sender, hosts, endpoint, authorization, patience })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// An answer that no hub gives.
    pub(super) fn nonsense(&self, path: &str, what: &str) -> Error {
        Error::Unavailable(format!("{}{path} {what}", self.endpoint))
    }

    /// Tries until it succeeds, until trying has no sense, or until patience ends.
    pub(super) fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut n_failed = 0;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    n_failed += 1;
                    self.wait_or_give_up(failure, n_failed)?;
                }
            }
        }
    }

    /// Waits before the next try, unless there is none, and says for how long.
    pub(super) fn wait_or_give_up(
        &self,
        failure: Failure,
        n_failed: u32,
    ) -> Result<Duration, Error> {
        if !failure.may_pass || n_failed >= self.patience.n_tries {
            return Err(failure.error);
        }
        let wait = self.patience.wait_after(n_failed, failure.asked);
        std::thread::sleep(wait);
        Ok(wait)
    }

    /// What a path of the hub holds; `None` if there is no such thing, or not for us.
    pub(super) fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        self.get_page(path).map(|page| page.map(|(value, _)| value))
    }

    /// The same, with the path of the next page.
    pub(super) fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<(T, Option<String>)>, Error> {
        self.patiently(|| {
            let url = self.hosts.url(path)?;
            let answer = self.send(&Ask::get(url))?;
            if is_absent(&answer) {
                return Ok(None);
            }
            let mut answer = checked(answer)?;
            let next = self.next_page(answer.headers());
            let bytes = read_all(&mut answer, JSON_BYTES_MAX)?;
            let bytes = bytes.ok_or_else(|| self.nonsense(path, "answers without end"))?;
            let value = serde_json::from_slice(&bytes);
            let value = value.map_err(|_| self.nonsense(path, "answers nonsense"))?;
            Ok(Some((value, next)))
        })
    }

    /// Sends JSON to a path of the hub and gives its answer.
    pub(super) fn post_json<T: DeserializeOwned>(
        &self,
        (method, path): (&Method, &str),
        body: (&'static str, &[u8]),
    ) -> Result<T, Error> {
        let answer = self.post_json_if_there((method, path), body)?;
        answer.ok_or_else(|| Error::Refused {
            status: StatusCode::NOT_FOUND.as_u16(),
            said: format!("there is no {path}, or not for us"),
        })
    }

    /// The same; `None` if there is no such path, or not for us.
    pub(super) fn post_json_if_there<T: DeserializeOwned>(
        &self,
        (method, path): (&Method, &str),
        (kind, body): (&'static str, &[u8]),
    ) -> Result<Option<T>, Error> {
        self.patiently(|| {
            let ask = Ask {
                method: method.clone(),
                url: self.hosts.url(path)?,
                headers: vec![
                    (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
                    (header::ACCEPT, HeaderValue::from_static(kind)),
                ],
                body: Some(body),
                time: self.patience.time_for(body.len() as u64),
            };
            let answer = self.send(&ask)?;
            if is_absent(&answer) {
                return Ok(None);
            }
            let mut answer = checked(answer)?;
            let bytes = read_all(&mut answer, JSON_BYTES_MAX)?;
            let bytes = bytes.ok_or_else(|| self.nonsense(path, "answers without end"))?;
            let value = serde_json::from_slice(&bytes);
            value.map(Some).map_err(|_| self.nonsense(path, "answers nonsense").into())
        })
    }

    /// Begins to get a file, or the bytes from one offset to another of it.
    pub(super) fn file(
        &self,
        pinned: Pinned<'_>,
        path: &str,
        range: Option<(u64, Option<u64>)>,
    ) -> Result<Answer, Failure> {
        let Pinned { kind, repo, revision } = pinned;
        let no_file = || Error::NoFile {
            repo: repo.clone(),
            revision: revision.clone(),
            path: path.to_owned(),
        };
        if !is_plain_path(path) {
            return Err(no_file().into());
        }
        let before = kind.before_files();
        let url = format!("/{before}{repo}/resolve/{revision}/{}", address::path(path));
        let mut ask = Ask::get(self.hosts.url(&url)?);
        // Compressed bytes would count otherwise than the limits do.
        ask.headers.push((header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        if let Some((first, last)) = range {
            let last = last.map_or(String::new(), |last| last.to_string());
            let value = HeaderValue::from_str(&format!("bytes={first}-{last}"));
            ask.headers.push((header::RANGE, value.map_err(|_| no_file())?));
        }
        let answer = self.send(&ask)?;
        if is_absent(&answer) {
            return Err(no_file().into());
        }
        let damaged = |reason| Failure::from(Error::Damaged { name: pinned.name(path), reason });
        let body = checked(answer)?;
        if body.headers().get(header::CONTENT_ENCODING).is_some_and(|e| e != "identity") {
            return Err(damaged("the hub compresses what was asked for as it is"));
        }
        let length = body.headers().get(header::CONTENT_LENGTH).and_then(number);
        if body.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(Answer { first: 0, size_bytes: length, body });
        }
        let part = body.headers().get(header::CONTENT_RANGE).and_then(content_range);
        let (first, size_bytes) = part.ok_or_else(|| damaged("the hub names no range"))?;
        Ok(Answer { first, size_bytes, body })
    }

    /// Sends JSON to an address that the hub named for it.
    pub(super) fn post_to(&self, href: &str, body: &impl Serialize) -> Result<(), Error> {
        let body = json(body)?;
        let kind = HeaderValue::from_static("application/vnd.git-lfs+json");
        self.patiently(|| {
            let ask = Ask {
                method: Method::POST,
                url: self.target(href)?,
                headers: vec![(header::CONTENT_TYPE, kind.clone()), (header::ACCEPT, kind.clone())],
                body: Some(&body),
                time: self.patience.time_for(body.len() as u64),
            };
            checked(self.send(&ask)?).map(drop)
        })
    }

    /// An address that the hub named, if we may go there.
    pub(super) fn target(&self, href: &str) -> Result<Url, Error> {
        let url = self.hosts.url("/")?.join(href);
        let url = url.map_err(|_| self.nonsense("", "names an address that is none"))?;
        match self.hosts.refusal(&url) {
            None => Ok(url),
            Some(reason) => Err(Error::Redirect { host: host_of(&url), reason }),
        }
    }

    /// What says who we are, which is for the hub alone.
    pub(super) fn authorization_for(&self, url: &Url) -> Option<&HeaderValue> {
        self.authorization.as_ref().filter(|_| self.hosts.is_hub(url))
    }

    /// Sends a request, and follows where it leads.
    fn send(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=N_REDIRECTS_MAX {
            let mut request = Request::new(ask.method.clone(), url.clone());
            *request.timeout_mut() = Some(ask.time.max(self.patience.silence));
            let headers = ask.headers.iter().cloned().map(|(name, value)| (Some(name), value));
            request.headers_mut().extend(headers);
            if let Some(value) = self.authorization_for(&url) {
                request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            }
            *request.body_mut() = ask.body.map(|body| Body::from(body.to_vec()));
            let answer = self.client.execute(request).map_err(|error| unreachable(&error))?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            let nowhere = || self.nonsense(url.path(), "redirects to nowhere");
            let next = location.and_then(|location| url.join(location).ok()).ok_or_else(nowhere)?;
            if let Some(reason) = self.hosts.refusal(&next) {
                return Err(Error::Redirect { host: host_of(&next), reason }.into());
            }
            url = next;
        }
        Err(self.nonsense(ask.url.path(), "redirects without end").into())
    }

    /// The path of the next page, which must be the hub's.
    fn next_page(&self, headers: &HeaderMap) -> Option<String> {
        let link = headers.get(header::LINK)?.to_str().ok()?;
        let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
        let address = part.trim().strip_prefix('<')?.split_once('>')?.0;
        let url = self.hosts.url(address).ok()?;
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        Some(format!("{}{query}", url.path()))
    }
}

/// What a request says, as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Unavailable(error.to_string()))
}

/// A request that can be sent more than once.
struct Ask<'a> {
    method: Method,
    url: Url,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    body: Option<&'a [u8]>,
    time: Duration,
}

impl Ask<'_> {
    fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: None, time: Duration::ZERO }
    }
}

/// Whether the thing is not there. Hubs also say so to strangers of what is private.
fn is_absent(answer: &Response) -> bool {
    let header =
        |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match answer.status() {
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
fn checked(mut answer: Response) -> Result<Response, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let mut bytes = Vec::new();
    // Half of an explanation is better than none.
    let _ = Read::take(&mut answer, FAULT_BYTES_MAX).read_to_end(&mut bytes);
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
    let shown = text.chars().take(FAULT_CHARS_MAX);
    let shown: String = shown.map(|c| if is_plain(c) { c } else { ' ' }).collect();
    if shown.trim().is_empty() { "it does not say why".to_owned() } else { shown }
}

/// Whether a character is shown where it stands and does nothing else.
fn is_plain(c: char) -> bool {
    // What turns the direction of a text, or has no width, could make it say something else.
    const DECEIVING: [std::ops::RangeInclusive<char>; 4] = [
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
    ];
    !c.is_control() && !DECEIVING.iter().any(|range| range.contains(&c))
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

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.trim().parse().ok()
}

/// Offset and size of `bytes 5-9/10`.
fn content_range(value: &HeaderValue) -> Option<(u64, Option<u64>)> {
    let (range, size) = value.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()))
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("nowhere").to_owned()
}

/// No answer came: the next try may have one.
pub(super) fn unreachable(error: &reqwest::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Failure::passing(Error::Unavailable(text))
}

/// A connection broke: the next try may have more.
pub(super) fn broken(error: &io::Error) -> Failure {
    Failure::passing(Error::Unavailable(format!("the connection broke: {error}")))
}

/// All bytes of an answer; `None` if there are more than `n_bytes_max`.
pub(super) fn read_all(
    answer: &mut Response,
    n_bytes_max: u64,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    let capped = Read::take(&mut *answer, n_bytes_max.saturating_add(1)).read_to_end(&mut bytes);
    capped.map_err(|error| broken(&error))?;
    Ok((bytes.len() as u64 <= n_bytes_max).then_some(bytes))
}

/// As many bytes of an answer as were asked for.
pub(super) fn read_exact(answer: &mut Response, buffer: &mut [u8]) -> Result<(), Failure> {
    answer.read_exact(buffer).map_err(|error| broken(&error))
}
