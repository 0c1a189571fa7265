//! Requests and answers, each within its limits.

use super::{
    ClientOptions, Pinned, Proxies,
    address::{self, Hosts},
    budget::{Budgets, Kind},
    fault::{checked, is_absent},
    patience::{Clock, Failure, Patience, SystemClock, Term, Wait},
    send::Sender,
};
use hub::{Error, content::is_safe_path};
use reqwest::{
    Certificate, Method, StatusCode, Url,
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
/// How the JSON of Git LFS is announced.
pub(super) const LFS_JSON: &str = "application/vnd.git-lfs+json";
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
    pub(super) budgets: Budgets,
    pub(super) clock: Box<dyn Clock>,
    pub(super) on_wait: fn(Wait<'_>) -> bool,
    pub(super) on_answer: fn(),
    pub(super) on_piece: fn() -> bool,
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
        Self::with(options, Box::new(SystemClock::start()), None)
    }

    /// The same by another clock; and by TLS believing one certificate instead of those that the
    /// system believes.
    pub(super) fn with(
        options: &ClientOptions,
        clock: Box<dyn Clock>,
        believed: Option<&Certificate>,
    ) -> Result<Self, Error> {
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
        if let Some(believed) = believed {
            client = client.tls_certs_only([believed.clone()]);
            sender = sender.tls_certs_only([believed.clone()]);
        }
        for proxy in proxies.all()? {
            client = client.proxy(proxy.clone());
            sender = sender.proxy(proxy);
        }
        let client = client.build().map_err(|error| Error::Unavailable(error.to_string()))?;
        let sender = Sender::new(sender)?;
        let budgets = Budgets::new(patience.wait_max, patience.wait);
        let ClientOptions { on_wait, on_answer, on_piece, .. } = *options;
        Ok(Self {
            client,
            sender,
            hosts,
            proxies,
            endpoint,
            authorization,
            patience,
            budgets,
            clock,
            on_wait,
            on_answer,
            on_piece,
        })
    }

    /// What a hub counts a request for one of its addresses as.
    pub(super) fn kind_of(&self, url: &Url) -> Kind {
        Kind::of(&self.hosts.path_of(url.as_str()).unwrap_or_default())
    }

    /// When all of a list must have come, however many pages it has.
    pub(super) fn term_of_list(&self) -> Term {
        Term::after(self.patience.time_for_list(), self.patience.wait_max)
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

    /// What a path of the hub holds; `None` if there is no such thing, or not for us.
    pub(super) fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let term = self.term_of_list();
        self.get_page(path, &term).map(|page| page.map(|(value, _)| value))
    }

    /// The same, with the path of the next page, and no later than `term`.
    pub(super) fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
        term: &Term,
    ) -> Result<Option<(T, Option<String>)>, Error> {
        self.patiently_until(Some(term), || {
            let mut ask = Ask::get(self.hosts.url(path)?);
            ask.term = Some(term);
            let answer = self.send(&ask)?;
            if is_absent(&answer) {
                return Ok(None);
            }
            let mut answer = checked(answer)?;
            let next = self.next_page(path, answer.headers())?;
            let bytes = read_all(&mut answer, JSON_BYTES_MAX, term)?;
            let bytes = bytes.ok_or_else(|| self.nonsense(path, "answers without end"))?;
            let value = serde_json::from_slice(&bytes);
            let value = value.map_err(|_| self.nonsense(path, "answers nonsense"))?;
            Ok(Some((value, next)))
        })
    }

    /// All bytes of a small file, no later than `term`; `None` if there are more than
    /// `n_bytes_max`.
    pub(super) fn small_file(
        &self,
        (pinned, path): (Pinned<'_>, &str),
        n_bytes_max: u64,
        term: &Term,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.patiently_until(Some(term), || {
            let Answer { mut body, .. } = self.file((pinned, path), None, Some(term))?;
            read_all(&mut body, n_bytes_max, term)
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
                term: None,
            };
            let answer = self.send(&ask)?;
            if is_absent(&answer) {
                return Ok(None);
            }
            let mut answer = checked(answer)?;
            let term = self.term_of_list();
            let bytes = read_all(&mut answer, JSON_BYTES_MAX, &term)?;
            let bytes = bytes.ok_or_else(|| self.nonsense(path, "answers without end"))?;
            let value = serde_json::from_slice(&bytes);
            value.map(Some).map_err(|_| self.nonsense(path, "answers nonsense").into())
        })
    }

    /// Begins to get a file, or the bytes from one offset to another of it.
    pub(super) fn file(
        &self,
        (pinned, path): (Pinned<'_>, &str),
        range: Option<(u64, Option<u64>)>,
        term: Option<&Term>,
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
        let mut ask = Ask { term, ..Ask::get(self.hosts.url(&url)?) };
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

    /// Sends JSON to an address of the hub that it named for it.
    pub(super) fn post_to(&self, href: &str, body: &impl Serialize) -> Result<(), Error> {
        let body = json(body)?;
        let kind = HeaderValue::from_static(LFS_JSON);
        let url = self.joined(href)?;
        if !self.hosts.is_hub(&url) {
            let reason = "what was uploaded is told to the hub alone";
            return Err(Error::Redirect { host: host_of(&url), reason });
        }
        self.patiently(|| {
            let ask = Ask {
                method: Method::POST,
                url: url.clone(),
                headers: vec![(header::CONTENT_TYPE, kind.clone()), (header::ACCEPT, kind.clone())],
                body: Some(&body),
                time: self.patience.time_for(body.len() as u64),
                term: None,
            };
            checked(self.send(&ask)?).map(drop)
        })
    }

    /// Where the hub says that bytes of ours are to be stored, if we may go there.
    pub(super) fn storage(&self, href: &str) -> Result<Url, Error> {
        let url = self.joined(href)?;
        match self.hosts.storage_refusal(&url, &self.proxies) {
            None => Ok(url),
            Some(reason) => Err(Error::Redirect { host: host_of(&url), reason }),
        }
    }

    fn joined(&self, href: &str) -> Result<Url, Error> {
        let url = self.hosts.url("/")?.join(href);
        url.map_err(|_| self.nonsense("", "names an address that is none"))
    }

    /// Whether an address is the hub's own.
    pub(super) fn is_hub(&self, url: &Url) -> bool {
        self.hosts.is_hub(url)
    }

    /// What says who we are, which is for the hub alone.
    pub(super) fn authorization_for(&self, url: &Url) -> Option<&HeaderValue> {
        self.authorization.as_ref().filter(|_| self.hosts.is_hub(url))
    }

    /// Sends a request, and follows where it leads.
    fn send(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=N_REDIRECTS_MAX {
            let answer = self.send_once(ask, &url)?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let nowhere = || self.nonsense(url.path(), "redirects to nowhere");
            let next = next_address(&url, answer.headers()).ok_or_else(nowhere)?;
            let has_body = ask.body.is_some() && !self.hosts.is_hub(&next);
            let reason = match self.hosts.refusal(&next) {
                None if has_body => Some("what was sent to the hub is not sent on"),
                refusal => refusal,
            };
            if let Some(reason) = reason {
                return Err(Error::Redirect { host: host_of(&next), reason }.into());
            }
            url = next;
        }
        Err(self.nonsense(ask.url.path(), "redirects without end").into())
    }

    /// Sends a request to one address, as soon as the hub allows it.
    fn send_once(&self, ask: &Ask<'_>, url: &Url) -> Result<Response, Failure> {
        let is_hub = self.hosts.is_hub(url);
        if is_hub {
            self.wait_for_place(url, ask.term)?;
        }
        let mut request = Request::new(ask.method.clone(), url.clone());
        let time = ask.time.max(self.patience.silence);
        let left = ask.term.map(Term::left);
        *request.timeout_mut() = Some(left.map_or(time, |left| time.min(left)));
        let headers = ask.headers.iter().cloned().map(|(name, value)| (Some(name), value));
        request.headers_mut().extend(headers);
        if let Some(value) = self.authorization_for(url) {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        }
        *request.body_mut() = ask.body.map(|body| Body::from(body.to_vec()));
        let answer = self.client.execute(request);
        let answer = answer.map_err(|error| self.unreachable(url, &error))?;
        if is_hub {
            self.budgets.learn(self.kind_of(url), answer.headers(), self.clock.now());
        }
        Ok(answer)
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
    term: Option<&'a Term>,
}

impl Ask<'_> {
    fn get(url: Url) -> Self {
        let (method, time) = (Method::GET, Duration::ZERO);
        Self { method, url, headers: Vec::new(), body: None, time, term: None }
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

/// Where a redirect leads.
pub(super) fn next_address(from: &Url, headers: &HeaderMap) -> Option<Url> {
    from.join(headers.get(header::LOCATION)?.to_str().ok()?).ok()
}

pub(super) fn host_of(url: &Url) -> String {
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
    term: &Term,
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
        if term.is_over() {
            return Err(Error::Unavailable("an answer comes too slowly".to_owned()).into());
        }
    }
}

/// As many bytes of an answer as were asked for.
pub(super) fn read_exact(answer: &mut Response, buffer: &mut [u8]) -> Result<(), Failure> {
    answer.read_exact(buffer).map_err(|error| broken(&error))
}
