//! Requests and answers, each within its limits.

use super::{
    ClientOptions, Pinned, Proxies,
    address::{self, Hosts},
    fault::{checked, is_absent},
    patience::{Failure, Patience},
    send::Sender,
};
use hub::{Error, content::is_safe_path, deadline::Deadline};
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
/// Bytes of an answer that are read at a time.
const CHUNK_BYTES: usize = 1 << 16;
/// Most redirects one after the other.
const N_REDIRECTS_MAX: usize = 5;

/// A connection to a hub.
pub(super) struct Http {
    client: Client,
    pub(super) sender: Sender,
    hosts: Hosts,
    proxies: Proxies,
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
            Some(token) if hosts.keeps_secrets() => {
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut value = value.map_err(|_| Error::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            // Whoever listens on the way would have it.
            _ => None,
        };
        // Whoever came first has chosen: another part of the program speaks TLS too.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let patience = options.patience;
        let agent = concat!("agon/", env!("CARGO_PKG_VERSION"));
        // What runs on this machine is not asked for through another.
        let proxies = match hosts.is_this_machine() {
            true => Proxies::default(),
            false => options.proxies.clone(),
        };
        let mut client = Client::builder()
            .user_agent(agent)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(hosts.resolver(&proxies)))
            .connect_timeout(patience.silence)
            .timeout(patience.silence);
        let mut sender = reqwest::Client::builder()
            .user_agent(agent)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(hosts.resolver(&proxies)))
            .connect_timeout(patience.silence);
        for proxy in proxies.all()? {
            client = client.proxy(proxy.clone());
            sender = sender.proxy(proxy);
        }
        let client = client.build().map_err(|error| Error::Unavailable(error.to_string()))?;
        let sender = Sender::new(sender)?;
        Ok(Self { client, sender, hosts, proxies, endpoint, authorization, patience })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Fails where something needs a token and none would be sent.
    pub(super) fn needs_token(&self) -> Result<(), Error> {
        match self.authorization {
            Some(_) => Ok(()),
            None => Err(Error::NoToken { endpoint: self.endpoint.clone() }),
        }
    }

    /// An answer that no hub gives.
    pub(super) fn nonsense(&self, path: &str, what: &str) -> Error {
        Error::Unavailable(format!("{}{path} {what}", self.endpoint))
    }

    /// Tries until it succeeds, until trying has no sense, or until patience ends.
    pub(super) fn patiently<T>(
        &self,
        attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.patiently_until(None, attempt)
    }

    /// The same; no try begins after `until`.
    fn patiently_until<T>(
        &self,
        until: Option<Deadline>,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut n_failed = 0;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    n_failed += 1;
                    let wait = self.patience.wait_after(n_failed, failure.asked);
                    if until.is_some_and(|until| wait >= until.left()) {
                        return Err(failure.error);
                    }
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
        let until = Deadline::after(self.patience.time_for_list());
        self.get_page(path, until).map(|page| page.map(|(value, _)| value))
    }

    /// The same, with the path of the next page, and no later than `until`.
    pub(super) fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
        until: Deadline,
    ) -> Result<Option<(T, Option<String>)>, Error> {
        self.patiently_until(Some(until), || {
            let mut ask = Ask::get(self.hosts.url(path)?);
            ask.until = Some(until);
            let answer = self.send(&ask)?;
            if is_absent(&answer) {
                return Ok(None);
            }
            let mut answer = checked(answer)?;
            let next = self.next_page(path, answer.headers())?;
            let bytes = read_all(&mut answer, JSON_BYTES_MAX, until)?;
            let bytes = bytes.ok_or_else(|| self.nonsense(path, "answers without end"))?;
            let value = serde_json::from_slice(&bytes);
            let value = value.map_err(|_| self.nonsense(path, "answers nonsense"))?;
            Ok(Some((value, next)))
        })
    }

    /// All bytes of a small file, no later than `until`; `None` if there are more than
    /// `n_bytes_max`.
    pub(super) fn small_file(
        &self,
        (pinned, path): (Pinned<'_>, &str),
        n_bytes_max: u64,
        until: Deadline,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.patiently_until(Some(until), || {
            let Answer { mut body, .. } = self.file(pinned, path, None)?;
            read_all(&mut body, n_bytes_max, until)
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
                until: None,
            };
            let answer = self.send(&ask)?;
            if is_absent(&answer) {
                return Ok(None);
            }
            let mut answer = checked(answer)?;
            let until = Deadline::after(self.patience.time_for_list());
            let bytes = read_all(&mut answer, JSON_BYTES_MAX, until)?;
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
        if !is_safe_path(path) {
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
                until: None,
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
            let time = ask.time.max(self.patience.silence);
            let left = ask.until.map(Deadline::left);
            *request.timeout_mut() = Some(left.map_or(time, |left| time.min(left)));
            let headers = ask.headers.iter().cloned().map(|(name, value)| (Some(name), value));
            request.headers_mut().extend(headers);
            if let Some(value) = self.authorization_for(&url) {
                request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            }
            *request.body_mut() = ask.body.map(|body| Body::from(body.to_vec()));
            let answer = self.client.execute(request);
            let answer = answer.map_err(|error| self.unreachable(&url, &error))?;
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

    /// No answer came: the next try may have one. What stands between is named.
    pub(super) fn unreachable(&self, url: &Url, error: &reqwest::Error) -> Failure {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        if let Some(proxy) = self.proxies.before(url).filter(|_| error.is_connect()) {
            text += &format!("; the way there is the proxy `{proxy}`");
        }
        Failure::passing(Error::Unavailable(text))
    }

    /// The path of the next page, which must be the hub's: without it the list is no whole one.
    fn next_page(&self, path: &str, headers: &HeaderMap) -> Result<Option<String>, Error> {
        let Some(link) = headers.get(header::LINK) else { return Ok(None) };
        let odd = || self.nonsense(path, "names a next page that is not its own");
        let link = link.to_str().map_err(|_| odd())?;
        let Some(part) = link.split(',').find(|part| part.contains("rel=\"next\"")) else {
            return Ok(None);
        };
        let address = part.trim().strip_prefix('<').and_then(|part| part.split_once('>'));
        let next = address.and_then(|(address, _)| self.hosts.path_of(address));
        next.map(Some).ok_or_else(odd)
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
    /// When all must be over.
    until: Option<Deadline>,
}

impl Ask<'_> {
    fn get(url: Url) -> Self {
        let (method, time) = (Method::GET, Duration::ZERO);
        Self { method, url, headers: Vec::new(), body: None, time, until: None }
    }
}

pub(super) fn number(value: &HeaderValue) -> Option<u64> {
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

/// A connection broke: the next try may have more.
pub(super) fn broken(error: &io::Error) -> Failure {
    Failure::passing(Error::Unavailable(format!("the connection broke: {error}")))
}

/// All bytes of an answer; `None` if there are more than `n_bytes_max`.
pub(super) fn read_all(
    answer: &mut Response,
    n_bytes_max: u64,
    until: Deadline,
) -> Result<Option<Vec<u8>>, Failure> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        let n = answer.read(&mut chunk).map_err(|error| broken(&error))?;
        let Some(read) = chunk.get(..n).filter(|read| !read.is_empty()) else {
            return Ok(Some(bytes));
        };
        if bytes.len() as u64 + n as u64 > n_bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(read);
        if until.is_over() {
            return Err(Error::Unavailable("an answer comes too slowly".to_owned()).into());
        }
    }
}

/// As many bytes of an answer as were asked for.
pub(super) fn read_exact(answer: &mut Response, buffer: &mut [u8]) -> Result<(), Failure> {
    answer.read_exact(buffer).map_err(|error| broken(&error))
}
