//! Which hub is meant, and who we are there.
//!
//! The environment of Hugging Face's tools names a hub and a token that belongs to it. Another hub
//! is named by `--hub`, and has a token of its own: a token goes to nobody that it is not for.

mod environment;

use crate::{
    args::{AddressArgs, PlaceArgs},
    failure::{HintExt as _, Interrupted, hinted},
    terminal::{self, is_stopping},
};
use anyhow::{Context as _, bail};
use environment::{Environment, Token, token_of};
use hugging_face::{
    ClientOptions, HubClient,
    client::{Patience, RepoKind, Wait, is_same_hub},
};
use protocol::{Repo, Revision};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The variable with the token for the hub that `--hub` names.
const OWN_TOKEN: &str = "AGON_HUB_TOKEN";
/// How to say who one is.
const TOKENS: &str = "set HF_TOKEN or run `hf auth login`; for a hub named by `--hub`, set \
                      AGON_HUB_TOKEN or give --token-file";

/// Shorter waits are nobody's business.
const TOLD_FROM: Duration = Duration::from_secs(2);

/// A client of the hub that is named, or of the one that the environment names.
pub fn client(address: &AddressArgs) -> anyhow::Result<HubClient> {
    let environment = Environment::own();
    let options = options(environment, address)?;
    let token = chosen(environment, address, &options.endpoint)?;
    connect(&ClientOptions { token: token.map(|token| token.value), ..options })
}

/// A client of the hub that the environment names, which tries so many times.
pub fn usual_client(n_tries: u32) -> anyhow::Result<HubClient> {
    let environment = Environment::own();
    let mut options = options(environment, &AddressArgs::default())?;
    options.patience.n_tries = n_tries;
    let token = environment.token()?.map(|token| token.value);
    connect(&ClientOptions { token, ..options })
}

/// A client of the same hub without a token: it sees what everybody sees.
pub fn stranger(address: &AddressArgs) -> anyhow::Result<HubClient> {
    HubClient::new(&options(Environment::own(), address)?).map_err(anyhow::Error::from)
}

/// Whether the environment wants nothing to be asked of hubs.
pub fn is_offline() -> bool {
    Environment::own().offline().is_some()
}

fn connect(options: &ClientOptions) -> anyhow::Result<HubClient> {
    let client = HubClient::new(options)?;
    if options.token.is_some() && !client.has_token() {
        eprintln!(
            "no token is sent to `{}`: it would go unencrypted, and not stay on this machine",
            client.endpoint()
        );
    }
    Ok(client)
}

fn options(environment: Environment<'_>, address: &AddressArgs) -> anyhow::Result<ClientOptions> {
    if let Some(name) = environment.offline() {
        return Err(anyhow::anyhow!("{name} is set: nothing is asked of a hub"))
            .hint(format!("unset {name} to go online"));
    }
    let endpoint = address.hub.clone().unwrap_or_else(|| environment.endpoint());
    let mut options = ClientOptions::new(&endpoint);
    options.proxies = environment.proxies();
    options.on_wait = told;
    options.on_answer = answered;
    options.on_piece = moved;
    if let Some(silence) = environment.silence()? {
        options.patience = Patience { silence, ..options.patience };
    }
    Ok(options)
}

/// How often it was told of a piece of a file that came from a hub or went there.
static N_PIECES: AtomicU64 = AtomicU64::new(0);

/// Grows while files of models come from hubs or go there, which has a time that their size allows.
pub fn n_pieces() -> u64 {
    N_PIECES.load(Ordering::Relaxed)
}

/// Hears of a piece of a file; false when a signal wants the process to end.
fn moved() -> bool {
    N_PIECES.fetch_add(1, Ordering::Relaxed);
    !is_stopping()
}

/// Tells people of a wait that begins; false when a signal wants the process to end.
fn told(wait: Wait<'_>) -> bool {
    if let Some(text) = sentence(wait) {
        terminal::tell(&text);
        *AWAITED.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
    !is_stopping()
}

/// What people were told of the last wait, until a hub answers.
static AWAITED: Mutex<Option<String>> = Mutex::new(None);

/// Hears that a hub has answered.
fn answered() {
    *AWAITED.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Why a hub is waited for, or was when it was given up; `None` once a hub has answered.
pub fn awaited() -> Option<String> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What people are told of a wait, if it is for them to know.
fn sentence(Wait { reason, left, begins }: Wait<'_>) -> Option<String> {
    let seconds = left.as_secs_f64().ceil();
    (begins && left >= TOLD_FROM).then(|| format!("{reason}: waiting for {seconds} s"))
}

/// The token for a hub. One that is for another stays here, and whoever has it is told.
fn chosen(
    environment: Environment<'_>,
    address: &AddressArgs,
    endpoint: &str,
) -> anyhow::Result<Option<Token>> {
    if let Some(path) = &address.token_file {
        return match token_of(path)? {
            Some(token) if !token.value.is_empty() => Ok(Some(token)),
            Some(_) => bail!("`{}` is empty", path.display()),
            None => bail!("there is no file `{}`", path.display()),
        };
    }
    if address.hub.is_some()
        && let Some(token) = environment.named(OWN_TOKEN)
    {
        return Ok(Some(token));
    }
    let home = environment.endpoint();
    if address.hub.is_none() || is_same_hub(&home, endpoint) {
        return environment.token();
    }
    // A token that cannot be read is none of this hub's business.
    if let Ok(Some(Token { from, .. })) = environment.token() {
        eprintln!(
            "no token is sent to `{endpoint}`: that of {from} is for `{home}`; AGON_HUB_TOKEN or \
             --token-file give one for this hub"
        );
    }
    Ok(None)
}

/// What the repo holds.
pub fn kind(args: &PlaceArgs) -> RepoKind {
    if args.dataset { RepoKind::Dataset } else { RepoKind::Model }
}

/// The revision of a repo that a branch, a tag or its own name names.
pub fn resolved(
    client: &HubClient,
    kind: RepoKind,
    repo: &Repo,
    name: &str,
) -> anyhow::Result<Revision> {
    let found = client.resolve(kind, repo, name).map_err(explained)?;
    let endpoint = client.endpoint();
    let hint = match client.has_token() {
        true => {
            "check the spelling; a private repo is visible only with a token of its owner".into()
        }
        false => format!(
            "check the spelling; no token was sent, and a private repo is visible only with one: \
             {TOKENS}"
        ),
    };
    found.with_context(|| format!("`{repo}` has no revision `{name}` on {endpoint}")).hint(hint)
}

/// A hub's error with what can be done about it.
pub fn explained(error: hub::Error) -> anyhow::Error {
    match error {
        hub::Error::Stopped => Interrupted.into(),
        hub::Error::NoToken { .. } => hinted(error, TOKENS),
        hub::Error::Denied { .. } => {
            hinted(error, format!("give a token that may do this: {TOKENS}"))
        }
        hub::Error::Unavailable(_) => {
            hinted(error, "check HF_ENDPOINT or `--hub`; what was sent or received is kept")
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_a_hub_is_told_why_and_for_how_long_once() {
        let wait = |seconds: f64, begins| Wait {
            reason: "the hub allows no more requests of its kind `api` for now",
            left: Duration::from_secs_f64(seconds),
            begins,
        };
        let told = "the hub allows no more requests of its kind `api` for now: waiting for 56 s";
        assert_eq!(sentence(wait(55.2, true)).as_deref(), Some(told));
        assert_eq!(sentence(wait(55.2, false)), None);
        assert_eq!(sentence(wait(1.0, true)), None);
    }

    #[test]
    fn a_hub_is_awaited_from_a_wait_until_it_answers() {
        let wait = |seconds| Wait {
            reason: "the hub is not available",
            left: Duration::from_secs(seconds),
            begins: true,
        };
        assert!(told(wait(1)));
        assert_eq!(awaited(), None, "a short wait is nobody's business");
        assert!(told(wait(2)));
        assert_eq!(awaited().as_deref(), Some("the hub is not available: waiting for 2 s"));
        assert!(told(wait(1)));
        assert!(awaited().is_some(), "it has not answered yet");
        answered();
        assert_eq!(awaited(), None);
    }
}
