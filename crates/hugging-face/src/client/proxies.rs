//! Machines that stand between us and a hub, as the environment names them.

use hub::Error;
use reqwest::{NoProxy, Proxy};

/// Proxies for hubs that are not on this machine; each as `http://[user:password@]host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For what is asked for without encryption.
    pub http: Option<String>,
    /// For what is asked for by TLS, which the proxy hands on without reading it.
    pub https: Option<String>,
    /// Hosts that are asked directly, with commas between them.
    pub except: Option<String>,
}

impl Proxies {
    /// Their addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &String> {
        [&self.http, &self.https].into_iter().flatten()
    }

    /// As the library takes them.
    pub(super) fn all(&self) -> Result<Vec<Proxy>, Error> {
        let except = || self.except.as_deref().and_then(NoProxy::from_string);
        let http = self.http.as_deref().map(|address| (address, Proxy::http(address)));
        let https = self.https.as_deref().map(|address| (address, Proxy::https(address)));
        let all = [http, https].into_iter().flatten().map(|(address, proxy)| {
            let is_known = ["http://", "https://"].iter().any(|known| address.starts_with(known));
            match proxy {
                Ok(proxy) if is_known => Ok(proxy.no_proxy(except())),
                _ => Err(Error::Endpoint {
                    endpoint: without_password(address),
                    reason: "a proxy is `http://HOST:PORT` or `https://HOST:PORT`",
                }),
            }
        });
        all.collect()
    }
}

/// An address as it may be shown.
fn without_password(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_named_without_its_password() {
        let proxies =
            |address: &str| Proxies { https: Some(address.to_owned()), ..Proxies::default() };
        assert_eq!(proxies("http://proxy.example:3128").all().unwrap().len(), 1);
        for wrong in ["socks5://ann:secret@proxy.example", "proxy example", "ann:secret@:x"] {
            let error = proxies(wrong).all().unwrap_err().to_string();
            assert!(!error.contains("secret") && error.contains("a proxy is"), "{error}");
        }
    }
}
