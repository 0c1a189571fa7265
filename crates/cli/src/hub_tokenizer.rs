//! Tokenizers of hub repos: found once by an organiser, and had by everybody who knows the pins.

use crate::{
    args::AddressArgs,
    competition_file::with_own_hint,
    data_files,
    failure::HintExt as _,
    hugging_face::{self, explained, resolved},
};
use ::hugging_face::{
    HubClient,
    client::{Pinned, RepoKind},
};
use anyhow::Context as _;
use dataset::Tokenizer;
use protocol::{Digest, Repo, Revision};
use std::{env, fs, path::PathBuf};

/// The file of a repo that a tokenizer is.
const FILE: &str = "tokenizer.json";
/// What tokenizers are called among the things that are kept.
const KIND: &str = "tokenizers";

/// A tokenizer as a repo has it.
pub struct Found {
    /// The revision of the repo.
    pub revision: Revision,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
}

/// The tokenizer of a repo at a branch, a tag or a revision on the hub that the environment names.
pub fn find(repo: &str, name: &str, end_of_text: u32) -> anyhow::Result<Found> {
    let (client, repo): (_, Repo) = (hugging_face::client(&AddressArgs::default())?, repo.parse()?);
    let revision = resolved(&client, RepoKind::Model, &repo, name)?;
    let bytes = fetched(&client, &repo, &revision)?;
    let sha256 = Digest::of(&bytes);
    keep(sha256, &bytes)?;
    let tokenizer = load(sha256, &repo, &revision, end_of_text)?;
    Ok(Found { revision, tokenizer })
}

/// The pinned tokenizer of a repo, from what is kept, or else from the hub that the environment
/// names.
pub fn open(
    repo: &str,
    revision: &Revision,
    sha256: Digest,
    end_of_text: u32,
) -> anyhow::Result<Tokenizer> {
    let repo: Repo = repo.parse()?;
    if !fs::read(path_of(sha256)).is_ok_and(|bytes| Digest::of(&bytes) == sha256) {
        let client = hugging_face::client(&AddressArgs::default())?;
        let bytes = fetched(&client, &repo, revision)?;
        let found = Digest::of(&bytes);
        if found != sha256 {
            let name = format!("{FILE} of {repo}@{revision}");
            return with_own_hint(Err(dataset::Error::DigestMismatch {
                name,
                expected: sha256,
                found,
            }));
        }
        keep(sha256, &bytes)?;
    }
    load(sha256, &repo, revision, end_of_text)
}

/// The bytes of the tokenizer of a revision.
fn fetched(client: &HubClient, repo: &Repo, revision: &Revision) -> anyhow::Result<Vec<u8>> {
    let pinned = Pinned { kind: RepoKind::Model, repo, revision };
    let listed = client.file(pinned, FILE).map_err(explained)?;
    let listed = listed
        .with_context(|| format!("`{repo}@{revision}` has no `{FILE}` on {}", client.endpoint()))
        .hint("take a repo that has one: `tokenizer.model` of SentencePiece is not read")?;
    client.read(pinned, &listed).map_err(explained)
}

/// Where the tokenizer of this digest is kept.
fn path_of(sha256: Digest) -> PathBuf {
    let folder = data_files::cache(KIND).unwrap_or_else(env::temp_dir);
    folder.join(format!("{}.json", sha256.hex()))
}

fn keep(sha256: Digest, bytes: &[u8]) -> anyhow::Result<()> {
    let path = path_of(sha256);
    disk::write(&path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
}

/// What is kept, as the tokenizer of its repo.
fn load(
    sha256: Digest,
    repo: &Repo,
    revision: &Revision,
    end_of_text: u32,
) -> anyhow::Result<Tokenizer> {
    let loaded = Tokenizer::load(&path_of(sha256), Some(sha256), Some(end_of_text));
    with_own_hint(loaded).with_context(|| format!("the tokenizer of {repo}@{revision}"))
}
