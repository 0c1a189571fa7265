//! What stands between the hub and its clients: the address that they use, and the proxies that
//! speak for them.

use axum::http::{HeaderMap, Uri, header};
use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// Most bytes of a host in a header.
const HOST_BYTES_MAX: usize = 255;
/// Most bytes of a public address.
const URL_BYTES_MAX: usize = 1_024;

/// Where clients reach the hub, as its operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some(rest) = rest else { return Err("expected http:// or https:// and a host") };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_path = path.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~/%".contains(&c));
        let uri = text.parse::<Uri>().ok();
        let is_address = uri.as_ref().and_then(Uri::authority).is_some_and(|authority| {
            let port = authority.as_str().rsplit_once(':').map(|(_, port)| port);
            // What stands behind the last colon of an address in brackets is no port.
            port.is_none_or(|port| port.ends_with(']') || authority.port_u16().is_some())
        });
        if !is_address || !is_host(host) || !is_path || text.len() > URL_BYTES_MAX {
            return Err("expected a host, maybe a port, and maybe a path behind the scheme");
        }
        Ok(Self(text.to_owned()))
    }
}

impl PublicUrl {
    /// The address without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the operator says of the way to the hub.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// Address that upload links and next pages begin with; without one, what the client called.
    pub url: Option<PublicUrl>,
    /// Proxies that say honestly who asks them, and by which address; nobody else is asked.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Front {
    /// Whether a peer speaks for others.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|proxy| proxy.to_canonical() == peer.to_canonical())
    }

    /// Whoever asks: the peer, or whom a proxy names.
    ///
    /// Of a chain of proxies it is the last address that is none of ours: what stands before it
    /// was written by a stranger. A proxy writes one of two headers and may pass the other on from
    /// its client, so where they differ neither counts.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let usual = elements(headers, "x-forwarded-for").map(str::to_owned).collect::<Vec<_>>();
        let standard: Vec<String> = elements(headers, header::FORWARDED.as_str())
            .map(|element| parameter(element, "for").unwrap_or_default())
            .collect();
        match (usual.is_empty(), standard.is_empty()) {
            (true, true) => peer,
            (false, true) => self.last_stranger(&usual).unwrap_or(peer),
            (true, false) => self.last_stranger(&standard).unwrap_or(peer),
            (false, false) => {
                let (usual, standard) = (self.last_stranger(&usual), self.last_stranger(&standard));
                if usual == standard { usual.unwrap_or(peer) } else { peer }
            }
        }
    }

    fn last_stranger(&self, hops: &[String]) -> Option<IpAddr> {
        for hop in hops.iter().rev() {
            let address = address(hop)?;
            if !self.trusts(address) {
                return Some(address.to_canonical());
            }
        }
        None
    }

    /// What our own links begin with, as the client reaches us.
    pub(super) fn base(&self, peer: IpAddr, headers: &HeaderMap, own: SocketAddr) -> String {
        if let Some(url) = &self.url {
            return url.0.clone();
        }
        let (mut scheme, mut host) = ("http", None);
        if self.trusts(peer) {
            let last = |name| elements(headers, name).last().map(str::to_owned);
            let forwarded = last(header::FORWARDED.as_str());
            let of_forwarded = |name| parameter(forwarded.as_deref()?, name);
            let proto = last("x-forwarded-proto").or_else(|| of_forwarded("proto"));
            if proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https")) {
                scheme = "https";
            }
            host = last("x-forwarded-host").or_else(|| of_forwarded("host"));
        }
        let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.filter(|host| is_host(host));
        let host = host.or_else(|| asked.filter(|host| is_host(host)).map(str::to_owned));
        format!("{scheme}://{}", host.unwrap_or_else(|| own.to_string()))
    }
}

/// Whether a text can be a host with a port, and nothing that would end a link.
fn is_host(text: &str) -> bool {
    (1..=HOST_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b".-:[]".contains(&c))
}

/// The elements of a header that is a list, over all its lines; heads have few bytes.
fn elements<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name.to_owned()).into_iter();
    // A line that is no text is an element that is no address.
    lines.flat_map(|line| line.to_str().unwrap_or("?").split(',')).map(str::trim)
}

/// A parameter of an element of `Forwarded`, without its quotes.
fn parameter(element: &str, name: &str) -> Option<String> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(with_port) = text.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn front(proxies: &[&str]) -> Front {
        let trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Front { url: None, trusted_proxies }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_client_behind_proxies_is_the_last_address_that_is_none_of_theirs() {
        let (front, proxy) = (front(&["10.0.0.1", "10.0.0.2"]), "10.0.0.1".parse().unwrap());
        for (pairs, client) in [
            (&[][..], "10.0.0.1"),
            (&[("x-forwarded-for", "203.0.113.9")][..], "203.0.113.9"),
            (&[("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.2")][..], "203.0.113.9"),
            (
                &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9:4711")][..],
                "203.0.113.9",
            ),
            (&[("x-forwarded-for", "10.0.0.2")][..], "10.0.0.1"),
            (&[("x-forwarded-for", "1.1.1.1, unknown")][..], "10.0.0.1"),
            (
                &[("forwarded", "for=1.1.1.1, For=\"[2001:db8::7]:80\";proto=https")][..],
                "2001:db8::7",
            ),
            (
                &[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")][..],
                "203.0.113.9",
            ),
            (&[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=1.1.1.1")][..], "10.0.0.1"),
        ] {
            let client: IpAddr = client.parse().unwrap();
            assert_eq!(front.client(proxy, &headers(pairs)), client, "{pairs:?}");
        }
        let stranger = "203.0.113.1".parse().unwrap();
        let lie = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")]);
        assert_eq!(front.client(stranger, &lie), stranger);
    }

    #[test]
    fn links_begin_with_what_the_operator_or_a_trusted_proxy_says() {
        let (own, proxy) = ("127.0.0.1:9950".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let forwarded = headers(&[
            ("host", "inner:9950"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "hub.example"),
        ]);
        let mut front = front(&["10.0.0.1"]);
        assert_eq!(front.base(proxy, &forwarded, own), "https://hub.example");
        assert_eq!(front.base("10.0.0.9".parse().unwrap(), &forwarded, own), "http://inner:9950");
        let standard = headers(&[("forwarded", "for=1.1.1.1;proto=https;host=hub.example:8443")]);
        assert_eq!(front.base(proxy, &standard, own), "https://hub.example:8443");
        let odd = headers(&[("x-forwarded-host", "evil>; rel=\"x\""), ("host", "hub")]);
        assert_eq!(front.base(proxy, &odd, own), "http://hub");
        assert_eq!(front.base(proxy, &HeaderMap::new(), own), "http://127.0.0.1:9950");
        front.url = Some("https://hub.example/agon/".parse().unwrap());
        assert_eq!(front.base(proxy, &odd, own), "https://hub.example/agon");
    }

    #[test]
    fn a_public_address_is_a_scheme_a_host_and_maybe_a_path() {
        for good in ["http://a", "https://hub.example:8443", "https://[::1]:80/x/y/"] {
            assert!(good.parse::<PublicUrl>().is_ok(), "{good}");
        }
        for bad in
            ["", "hub.example", "ftp://a", "https://", "https://a b", "https://a/?x", "https://u@a"]
        {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
