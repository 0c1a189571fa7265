//! Where the client goes, and where it does not let itself be sent.

use super::Proxies;
use hub::Error;
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
};

/// Last labels of names that stand for something else in each network.
const LOCAL_NAMES: [&str; 7] =
    ["localhost", "local", "localdomain", "internal", "lan", "intranet", "home"];

/// The hub, and the hosts that it may send us to.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    endpoint: Url,
    others: Vec<String>,
}

impl Hosts {
    pub(super) fn new(endpoint: &str, others: &[String]) -> Result<Self, Error> {
        let refuse = |reason| Error::Endpoint { endpoint: endpoint.to_owned(), reason };
        let mut url = Url::parse(endpoint).map_err(|_| refuse("it is no address"))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err(refuse("it does not begin with `http://` or `https://` and a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("a token belongs into a variable or file, not into the address"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("nothing may follow host and path"));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let others = others.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { endpoint: url, others })
    }

    /// The path below which the hub lies, without a slash at its end; mostly empty.
    fn prefix(&self) -> &str {
        self.endpoint.path().trim_end_matches('/')
    }

    /// The address of a path of the hub.
    pub(super) fn url(&self, path: &str) -> Result<Url, Error> {
        let refuse = || Error::Unavailable(format!("`{}` is no address", path.escape_default()));
        if !path.starts_with('/') || path.starts_with("//") {
            return Err(refuse());
        }
        let url = self.endpoint.join(&format!("{}{path}", self.prefix()));
        let url = url.map_err(|_| refuse())?;
        if self.is_hub(&url) { Ok(url) } else { Err(refuse()) }
    }

    /// The path of the hub that a link of its own leads to; `None` if it leads elsewhere.
    ///
    /// A hub behind something that speaks TLS for it may name itself by another scheme or port, and
    /// one below a path may leave that out: what counts is that the host is the hub's.
    pub(super) fn path_of(&self, link: &str) -> Option<String> {
        let url = self.endpoint.join(link).ok()?;
        if url.host_str() != self.endpoint.host_str() {
            return None;
        }
        let path = url.path();
        let inner = path.strip_prefix(self.prefix()).filter(|inner| inner.starts_with('/'));
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        Some(format!("{}{query}", inner.unwrap_or(path)))
    }

    /// Whether whoever listens on the way could not read what we send to the hub.
    pub(super) fn keeps_secrets(&self) -> bool {
        self.endpoint.scheme() == "https" || self.is_this_machine()
    }

    /// Whether the hub runs on this machine.
    pub(super) fn is_this_machine(&self) -> bool {
        match self.endpoint.host_str().unwrap_or_default() {
            "localhost" => true,
            host => host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback()),
        }
    }

    /// Whether an address is the hub's: the token goes nowhere else.
    pub(super) fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// Why we do not go where we are sent, if we do not.
    pub(super) fn refusal(&self, url: &Url) -> Option<&'static str> {
        if !url.username().is_empty() || url.password().is_some() {
            return Some("the address has a password in it");
        }
        if self.is_hub(url) {
            return None;
        }
        if url.scheme() != "https" {
            return Some("only the hub itself may be spoken to without encryption");
        }
        if url.port().is_some() {
            return Some("it is not the usual port");
        }
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let is_known = |known: &String| match known.strip_prefix('.') {
            Some(_) => host.ends_with(known.as_str()),
            None => host == *known,
        };
        (!self.others.iter().any(is_known)).then_some("the host is not among those known")
    }

    /// Why bytes of ours do not go where the hub says that they are stored, if they do not.
    ///
    /// A link to storage comes in an answer of the hub, which nobody between us could have written,
    /// and lets in by itself: it is followed to hosts that no list knows, without a token. So it
    /// may name any public host by TLS, and a hub on this machine another port of its own host.
    pub(super) fn storage_refusal(&self, url: &Url, proxies: &Proxies) -> Option<&'static str> {
        let refused = self.refusal(url)?;
        if !url.username().is_empty() || url.password().is_some() || !self.keeps_secrets() {
            return Some(refused);
        }
        let is_web = ["http", "https"].contains(&url.scheme());
        if self.is_this_machine() && is_web && url.host_str() == self.endpoint.host_str() {
            return None;
        }
        if url.scheme() != "https" {
            return Some("storage is spoken to with encryption alone");
        }
        if url.port().is_some() {
            return Some("it is not the usual port");
        }
        if proxies
            .addresses()
            .filter_map(|proxy| host_name(proxy))
            .any(|host| Some(&*host) == url.host_str())
        {
            // Of a proxy we look up private addresses, too.
            return Some("it is a proxy, and no storage");
        }
        (!is_public_host(url)).then_some("it is no public host")
    }

    /// Looks hosts up; but for the hub and the proxies, which we were told to trust, none may be a
    /// private one.
    pub(super) fn resolver(&self, proxies: &Proxies) -> PublicResolver {
        let mut trusted: Vec<String> =
            proxies.addresses().filter_map(|proxy| host_name(proxy)).collect();
        trusted.extend(self.endpoint.host_str().map(str::to_owned));
        PublicResolver { trusted }
    }
}

fn host_name(address: &str) -> Option<String> {
    Some(Url::parse(address).ok()?.host_str()?.to_owned())
}

/// Whether a host may be one that everybody can reach, by its address alone: what a name stands
/// for tells when it is looked up.
fn is_public_host(url: &Url) -> bool {
    let Some(name) = url.domain() else {
        let address = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        return address.parse().is_ok_and(is_public);
    };
    // A proxy looks names up by itself: those that never leave a network are none to ask it for.
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_local = |last: &str| LOCAL_NAMES.contains(&last);
    name.rsplit_once('.').is_some_and(|(_, last)| !is_local(last)) && !name.ends_with(".home.arpa")
}

/// Whether two addresses of hubs are one hub.
pub fn is_same_hub(one: &str, other: &str) -> bool {
    let hosts = |endpoint: &str| Hosts::new(endpoint.trim().trim_end_matches('/'), &[]).ok();
    match (hosts(one), hosts(other)) {
        (Some(one), Some(other)) => one.endpoint == other.endpoint,
        _ => false,
    }
}

/// A resolver that never gives a private address for a host that a stranger named.
pub(super) struct PublicResolver {
    trusted: Vec<String>,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let is_trusted = self.trusted.iter().any(|host| host == name.as_str());
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok::<_, std::io::Error>(if is_trusted { found.collect() } else { public(found) })
            });
            let found = found.await??;
            if found.is_empty() {
                return Err("the host has no public address".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The addresses that a name which a stranger gave us may stand for.
fn public(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    found.filter(|address| is_public(address.ip())).collect()
}

/// Whether an address is one that everybody can reach.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Addresses that stand for others: mapped, translated, tunnelled.
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some((high, low))
        }
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = embedded {
        return is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    }
    // Global unicast alone; of it, neither examples nor tunnels.
    (segments[0] & 0xe000) == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] == 0xdb8 || segments[1] < 0x200))
}

/// A part of a path between two slashes, with everything that is not plain encoded.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A path inside a repo, each part encoded.
pub(super) fn path(text: &str) -> String {
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        Hosts::new("https://hub.example", &[".hf.co".to_owned(), "cdn.example".to_owned()]).unwrap()
    }

    #[test]
    fn attack_redirects_lead_to_known_hosts_over_encryption_alone() {
        let hosts = hosts();
        let refusal = |url: &str| hosts.refusal(&Url::parse(url).unwrap());
        for url in [
            "https://hub.example/x",
            "https://cdn-lfs.hf.co/a?b",
            "https://cdn.example/",
            "https://CDN.example/",
        ] {
            assert_eq!(refusal(url), None, "{url}");
        }
        for url in [
            "http://cdn.example/",
            "http://hub.example/",
            "https://hub.example:8443/",
            "https://cdn.example:444/",
            "https://cdn.example.evil.org/",
            "https://evilcdn.example/",
            "https://evil-hf.co/",
            "https://hf.co.evil.org/",
            "https://hf.co/",
            "https://user:secret@cdn.example/",
            "https://user@hub.example/",
            "https://127.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://localhost/",
            "ftp://cdn.example/",
            "file:///etc/passwd",
            "data:text/plain,x",
            "gopher://cdn.example/",
        ] {
            assert!(refusal(url).is_some(), "{url} was admitted");
        }
    }

    /// A link to storage as the real hub writes it.
    const S3: &str = "https://hf-hub-lfs-us-east-1.s3-accelerate.amazonaws.com/repos/a/b?X-Amz-A=b";

    /// Whether a hub may have us send bytes there.
    fn may_store(endpoint: &str, url: &str) -> bool {
        let hosts = Hosts::new(endpoint, &[".hf.co".to_owned()]).unwrap();
        let proxies =
            Proxies { https: Some("http://proxy.example:3128".to_owned()), ..Proxies::default() };
        hosts.storage_refusal(&Url::parse(url).unwrap(), &proxies).is_none()
    }

    #[test]
    fn a_hub_that_is_spoken_to_in_secret_names_storage_on_any_public_host() {
        for endpoint in ["https://hub.example", "https://hub.example/below", "http://127.0.0.1:9"] {
            for url in [
                S3,
                "https://storage.googleapis.com/bucket/x?X-Goog-Signature=y",
                "https://cdn-lfs.hf.co/a?b",
                "https://1.1.1.1/x",
                "https://[2606:4700:4700::1111]/x",
                "https://storage.example:443/x",
            ] {
                assert!(may_store(endpoint, url), "{endpoint}: {url}");
            }
        }
        assert!(may_store("https://hub.example", "https://hub.example/api/complete_multipart?a"));
        // One's own hub, and storage beside it.
        for (endpoint, url) in [
            ("http://127.0.0.1:9950", "http://127.0.0.1:9950/x"),
            ("http://127.0.0.1:9950", "http://127.0.0.1:9000/x"),
            ("http://127.0.0.1:9950", "https://127.0.0.1:9000/x"),
            ("http://localhost:9950/hf", "http://localhost:9000/x"),
            ("http://[::1]:9950", "http://[::1]:9000/x"),
            ("http://10.1.2.3:9950", "http://10.1.2.3:9950/x"),
        ] {
            assert!(may_store(endpoint, url), "{endpoint}: {url}");
        }
    }

    #[test]
    fn attack_links_to_storage_lead_to_public_hosts_over_encryption_alone() {
        for url in [
            "http://storage.example/x",
            "http://hub.example/x",
            "https://storage.example:8443/x",
            "https://hub.example:8443/x",
            "https://user:secret@storage.example/x",
            "https://user@hub.example/x",
            "ftp://storage.example/x",
            "file:///etc/passwd",
            "data:text/plain,x",
            "https://127.0.0.1/x",
            "https://2130706433/x",
            "https://0x7f000001/x",
            "https://0177.0.0.1/x",
            "https://127.1/x",
            "https://10.1.2.3/x",
            "https://172.16.0.1/x",
            "https://192.168.1.1/x",
            "https://100.64.0.1/x",
            "https://169.254.169.254/latest/meta-data",
            "https://0.0.0.0/x",
            "https://[::1]/x",
            "https://[::ffff:169.254.169.254]/x",
            "https://[fe80::1]/x",
            "https://[fd00:ec2::254]/latest/meta-data",
            "https://localhost/x",
            "https://localhost./x",
            "https://a.localhost/x",
            "https://metadata.google.internal/computeMetadata/v1",
            "https://METADATA.google.Internal./x",
            "https://printer.local/x",
            "https://vault/x",
            "https://router.lan/x",
            "https://nas.home.arpa/x",
            "https://proxy.example/x",
        ] {
            assert!(!may_store("https://hub.example", url), "{url} was admitted");
        }
        for (endpoint, url) in [
            // Whoever listens on the way may have written these.
            ("http://hub.example", S3),
            ("http://10.1.2.3:9950", S3),
            ("http://10.1.2.3:9950", "http://10.1.2.3:9000/x"),
            // Another host than its own.
            ("http://127.0.0.1:9950", "http://127.0.0.2:9950/x"),
            ("http://127.0.0.1:9950", "http://localhost:9950/x"),
            ("http://127.0.0.1:9950", "http://10.1.2.3/x"),
            ("http://127.0.0.1:9950", "https://10.1.2.3/x"),
            ("http://127.0.0.1:9950", "http://storage.example/x"),
            ("http://127.0.0.1:9950", "ftp://127.0.0.1:9950/x"),
            ("http://127.0.0.1:9950", "http://a@127.0.0.1:9950/x"),
            ("https://10.1.2.3", "https://10.1.2.4/x"),
        ] {
            assert!(!may_store(endpoint, url), "{endpoint}: {url} was admitted");
        }
    }

    #[test]
    fn attack_a_name_that_turns_out_to_be_a_private_address_is_no_host() {
        let found = |addresses: &[&str]| {
            let found = addresses.iter().map(|address| format!("{address}:443").parse().unwrap());
            public(found.collect::<Vec<_>>().into_iter())
        };
        for private in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00:ec2::254]"] {
            assert!(found(&[private]).is_empty(), "{private}");
            let mixed = found(&[private, "1.1.1.1"]);
            assert_eq!(mixed, ["1.1.1.1:443".parse().unwrap()], "{private}");
        }
    }

    #[test]
    fn attack_private_addresses_are_none_that_a_stranger_may_name() {
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.5",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address} counts as public");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address} counts as private");
        }
    }

    #[test]
    fn endpoints_are_a_scheme_a_host_and_perhaps_a_path() {
        for endpoint in [
            "hub.example",
            "ftp://hub.example",
            "https://",
            "https://t@hub.example",
            "",
            "https://hub.example/?a",
            "https://hub.example/x#b",
        ] {
            assert!(Hosts::new(endpoint, &[]).is_err(), "{endpoint} was taken");
        }
        assert!(Hosts::new("http://127.0.0.1:8000/", &[]).is_ok());
        for endpoint in ["https://hub.example/api/hf", "https://hub.example/api/hf/"] {
            let hosts = Hosts::new(endpoint, &[]).unwrap();
            let url = hosts.url("/api/models?x=1").unwrap();
            assert_eq!(url.as_str(), "https://hub.example/api/hf/api/models?x=1");
            for link in
                ["https://hub.example/api/hf/a?b=1", "http://hub.example:80/a?b=1", "/a?b=1"]
            {
                assert_eq!(hosts.path_of(link).as_deref(), Some("/a?b=1"), "{link}");
            }
            assert_eq!(hosts.path_of("https://evil.example/a"), None);
        }
    }

    #[test]
    fn one_hub_may_be_written_in_several_ways() {
        assert!(is_same_hub("https://hub.example", "https://HUB.example:443/"));
        for other in ["http://hub.example", "https://hub.example/x", "https://hub.example:8443", ""]
        {
            assert!(!is_same_hub("https://hub.example", other), "{other}");
        }
    }

    #[test]
    fn attack_secrets_go_over_encryption_or_stay_on_this_machine() {
        let keeps = |endpoint: &str| Hosts::new(endpoint, &[]).unwrap().keeps_secrets();
        for endpoint in [
            "https://hub.example",
            "http://127.0.0.1:9950",
            "http://127.1.2.3",
            "http://[::1]:9950",
            "http://localhost:9950/x",
        ] {
            assert!(keeps(endpoint), "{endpoint}");
        }
        for endpoint in [
            "http://hub.example",
            "http://10.0.0.1:9950",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://[::2]",
        ] {
            assert!(!keeps(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn paths_cannot_leave_the_hub_or_their_place() {
        let hosts = hosts();
        assert!(hosts.url("//evil.org/x").is_err());
        assert!(hosts.url("https://evil.org/x").is_err());
        assert!(hosts.url("@evil.org/x").is_err() && hosts.url(".evil.org/x").is_err());
        assert_eq!(path("a b/../c?d#e%2e"), "a%20b/../c%3Fd%23e%252e");
        assert_eq!(segment("refs/pr/1"), "refs%2Fpr%2F1");
    }
}
