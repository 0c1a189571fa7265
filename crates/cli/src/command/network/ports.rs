//! The ports of a network: chosen once, and looked at before each start.

use super::file::{Config, Network};
use crate::failure::HintExt as _;
use anyhow::Context as _;
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

/// Where ports are taken from: below those that the system gives to whoever asks for any.
const FIRST: u16 = 20_000;
const N_PORTS: u16 = 10_000;
/// How often another place is tried.
const N_TRIES: usize = 200;

/// How long a port may still be held by a process of an earlier run that is ending.
const N_PAUSES: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// So many ports in a row that nobody listens on now; gives the first of them.
pub fn choose(n_ports: u16) -> anyhow::Result<u16> {
    let room = N_PORTS.checked_sub(n_ports).context("a network has no room for so many ports")?;
    for _ in 0..N_TRIES {
        // Another place for each network, so that two of them can run side by side.
        let chance = RandomState::new().build_hasher().finish() % u64::from(room + 1);
        let first = FIRST + u16::try_from(chance).unwrap_or(0);
        let is_free =
            |port: u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok();
        if (first..first + n_ports).all(is_free) {
            return Ok(first);
        }
    }
    anyhow::bail!("there are no {n_ports} free ports in a row on this machine")
}

/// Refuses to start where somebody else listens on a port of the network.
pub fn expect_free(network: &Network, configs: &[Config]) -> anyhow::Result<()> {
    let own = |table: &str| format!("`listen` under [{table}] in network.toml");
    let mut ports = vec![(network.chain.listen, own("chain")), (network.hub.listen, own("hub"))];
    ports.extend(network.pages().map(|part| (part.listen, own("dashboard"))));
    for (participant, config) in network.participants().zip(configs) {
        let key = format!("`listen` in `{}`", network.path(&participant.config).display());
        ports.extend(config.listen().map(|listen| (listen, key)));
    }
    ports.retain(|(listen, _)| listen.port() != 0);
    expect_apart(&ports)?;
    for (listen, key) in ports {
        await_free(listen, &key, N_PAUSES)?;
    }
    Ok(())
}

/// Refuses two processes that would listen on one port: each is free until the other has it.
fn expect_apart(ports: &[(SocketAddr, String)]) -> anyhow::Result<()> {
    for (number, (listen, key)) in ports.iter().enumerate() {
        let is_same = |other: &SocketAddr| {
            let everywhere = listen.ip().is_unspecified() || other.ip().is_unspecified();
            listen.port() == other.port() && (everywhere || listen.ip() == other.ip())
        };
        if let Some((_, other)) = ports.iter().take(number).find(|(other, _)| is_same(other)) {
            return Err(anyhow::anyhow!("{other} and {key} name one port, {}", listen.port()))
                .hint("each process of a network listens on a port of its own");
        }
    }
    Ok(())
}

/// Waits a little for whoever listens at an address to go.
fn await_free(listen: SocketAddr, key: &str, n_pauses: usize) -> anyhow::Result<()> {
    let mut tried = TcpListener::bind(listen);
    for _ in 0..n_pauses {
        if tried.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
        tried = TcpListener::bind(listen);
    }
    tried
        .map(drop)
        .with_context(|| format!("port {} of {} is not free", listen.port(), listen.ip()))
        .hint(format!("end what listens there, or choose another port: {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_chosen_in_a_row_and_too_many_are_refused() {
        let first = choose(9).unwrap();
        assert!((FIRST..FIRST + N_PORTS - 8).contains(&first));
        assert!(choose(N_PORTS + 1).is_err());
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listen = other.local_addr().unwrap();
        let error = await_free(listen, "`listen`", 1).unwrap_err();
        assert!(error.to_string().contains(&format!("port {}", listen.port())), "{error}");
        drop(other);
        await_free(listen, "`listen`", 20).unwrap();
    }

    #[test]
    fn two_processes_that_would_listen_on_one_port_are_both_named() {
        let at = |address: &str, key: &str| -> (SocketAddr, String) {
            (address.parse().unwrap(), key.to_owned())
        };
        let apart = [at("127.0.0.1:9", "one"), at("127.0.0.1:8", "two"), at("[::1]:9", "three")];
        expect_apart(&apart).unwrap();
        expect_apart(&[]).unwrap();
        for other in ["127.0.0.1:9", "0.0.0.0:9", "[::]:9"] {
            let both = [at("127.0.0.1:9", "one"), at("127.0.0.1:8", "two"), at(other, "three")];
            let error = expect_apart(&both).unwrap_err().to_string();
            assert_eq!(error, "one and three name one port, 9", "{other}");
        }
    }
}
