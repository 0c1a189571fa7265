//! The hosts that the real hub sends its clients to, behind a proxy of the test: names, TLS and
//! redirects are as they are out there, and no byte leaves the machine.
//!
//! The tests of the command line take this file in as well, so it knows nothing of the client.

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

pub(super) const CERTIFICATE: &[u8] = include_bytes!("../../../../../testdata/tls/cert.pem");
const KEY: &[u8] = include_bytes!("../../../../../testdata/tls/key.pem");
/// Most bytes of a head in the tests.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The head of a request that arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: Vec<String>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A request that arrived at one of the hosts.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request: Request,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a host answers.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self::of(200, value.to_string())
    }

    pub(super) fn to(status: u16, location: &str) -> Self {
        Self::of(status, "").with("location", location)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// All hosts there are.
pub(super) struct World {
    /// The way to all of them.
    pub(super) proxy: String,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    pub(super) clock: TestClock,
}

impl World {
    /// `answer` gets each request to any host; where it has none to give, the connection breaks.
    pub(super) fn start(
        clock: TestClock,
        answer: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*answer));
            }
        });
        Self { proxy, asked, clock }
    }

    /// The requests to hosts whose name begins so.
    pub(super) fn to(&self, host: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.host.starts_with(host)).cloned().collect()
    }

    pub(super) fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    /// Fails if the token has gone anywhere but to the hub, or a cookie to anybody.
    pub(super) fn expect_secrets_kept(&self) {
        for asked in &*self.asked.lock().unwrap() {
            let has_token = asked.header("authorization").is_some();
            assert!(!has_token || asked.host == "huggingface.co", "{}{}", asked.host, asked.path);
            assert!(asked.header("cookie").is_none(), "{}{}", asked.host, asked.path);
            let is_shown = asked.path.contains("hf_") || asked.body.windows(3).any(|w| w == b"hf_");
            assert!(!is_shown, "{}{}", asked.host, asked.path);
        }
    }
}

fn config() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        Arc::new(config.with_single_cert(chain, key).unwrap())
    };
    Arc::clone(CONFIG.get_or_init(make))
}

/// Lets a client through to one host, and answers for it.
fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked) -> Option<Reply>,
) {
    let Some(connect) = head(&mut stream) else { return };
    let place = connect.line.split(' ').nth(1).unwrap_or_default();
    let Some(host) = place.strip_suffix(":443").map(str::to_owned) else { return };
    if !connect.line.starts_with("CONNECT ")
        || stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err()
    {
        return;
    }
    stream.set_nodelay(true).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config()).unwrap(), stream);
    while let Some(request) = head(&mut stream) {
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let mut words = request.line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let asked = Asked { host: host.clone(), method, path, request, body };
        seen.lock().unwrap().push(asked.clone());
        let Some(Reply { status, headers, body }) = answer(&asked) else { return };
        let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let bytes = [format!("{text}\r\n").into_bytes(), body].concat();
        if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// Line and headers of the next request, if there is one.
fn head(stream: &mut impl std::io::Read) -> Option<Request> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < HEAD_BYTES_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        bytes.extend(byte);
    }
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines().map(str::to_owned);
    Some(Request { line: lines.next()?, headers: lines.collect() })
}

/// A clock that goes on when somebody has it go on, and only then.
#[derive(Clone)]
pub(super) struct TestClock {
    passed: Arc<Mutex<Duration>>,
}

impl TestClock {
    pub(super) fn new() -> Self {
        Self { passed: Arc::default() }
    }

    pub(super) fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    pub(super) fn pass(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }
}
