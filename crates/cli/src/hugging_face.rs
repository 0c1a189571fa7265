//! The environment of Hugging Face's tools: where the hub is, and who we are there.

use crate::{
    args::PlaceArgs,
    failure::{HintExt as _, Interrupted, hinted},
};
use anyhow::Context as _;
use hub::{
    ClientOptions, HubClient,
    client::{HUGGING_FACE, Patience, RepoKind},
};
use protocol::{Repo, Revision};
use std::{
    env, fs,
    io::{self, Read as _},
    path::PathBuf,
};

/// Most bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 4 << 10;

/// A client of the hub of this address, or of the one that the environment names.
pub fn client(endpoint: Option<&str>) -> anyhow::Result<HubClient> {
    patient_client(endpoint, Patience::default())
}

/// The same, with another patience than usual.
pub fn patient_client(endpoint: Option<&str>, patience: Patience) -> anyhow::Result<HubClient> {
    let options = ClientOptions { token: token()?, patience, ..options(endpoint) };
    HubClient::new(&options).map_err(anyhow::Error::from)
}

/// A client of the same hub without a token: it sees what everybody sees.
pub fn stranger(endpoint: Option<&str>) -> anyhow::Result<HubClient> {
    HubClient::new(&options(endpoint)).map_err(anyhow::Error::from)
}

fn options(endpoint: Option<&str>) -> ClientOptions {
    let endpoint = endpoint.map(str::to_owned).or_else(|| variable("HF_ENDPOINT"));
    ClientOptions::new(&endpoint.unwrap_or_else(|| HUGGING_FACE.to_owned()))
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
    found
        .with_context(|| format!("`{repo}` has no revision `{name}` on {endpoint}"))
        .hint("check the spelling; of private repos only their owners hear")
}

/// A hub's error with what can be done about it.
pub fn explained(error: hub::Error) -> anyhow::Error {
    match error {
        hub::Error::Stopped => Interrupted.into(),
        hub::Error::Denied { .. } => hinted(error, "set HF_TOKEN to a token that may do this"),
        hub::Error::Unavailable(_) => {
            hinted(error, "check HF_ENDPOINT or `--hub`; what was sent or received is kept")
        }
        error => error.into(),
    }
}

/// The token, from where Hugging Face's tools take it, in their order.
fn token() -> anyhow::Result<Option<String>> {
    if let Some(token) = variable("HF_TOKEN") {
        return Ok(Some(token.trim().to_owned()));
    }
    let Some(path) = token_path() else { return Ok(None) };
    let mut text = String::new();
    match fs::File::open(&path) {
        Ok(file) => {
            let read = file.take(TOKEN_BYTES_MAX).read_to_string(&mut text);
            read.with_context(|| format!("cannot read `{}`", path.display()))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read `{}`", path.display()))
                .hint("set HF_TOKEN, or HF_TOKEN_PATH to another file");
        }
    }
    let token = text.trim();
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

fn token_path() -> Option<PathBuf> {
    let home = || variable("HF_HOME").map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").map(|cache| PathBuf::from(cache).join("huggingface"));
    let usual = || env::home_dir().map(|home| home.join(".cache/huggingface"));
    let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
    path.or_else(|| home().or_else(cache).or_else(usual).map(|home| home.join("token")))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}
