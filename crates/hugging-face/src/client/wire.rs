//! What crosses the network, as Hugging Face writes it; fields that we do not need are skipped.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    num::{NonZeroU64, ParseIntError},
};

/// Who a token belongs to.
#[derive(Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    /// What it may do, as it came: hubs tell this in many ways, or not at all.
    pub(super) auth: Option<Box<RawValue>>,
}

/// What says what a token may do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Auth {
    pub(super) access_token: AccessToken,
}

/// A token, as its hub describes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessToken {
    pub(super) role: String,
    pub(super) fine_grained: Option<FineGrained>,
}

/// What a token may do that is for some places alone.
#[derive(Deserialize)]
pub(super) struct FineGrained {
    pub(super) scoped: Vec<Scoped>,
}

/// What it may do in one of them.
#[derive(Deserialize)]
pub(super) struct Scoped {
    pub(super) entity: Entity,
    pub(super) permissions: Vec<String>,
}

/// One of the places.
#[derive(Deserialize)]
pub(super) struct Entity {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
}

/// A revision of a repo.
#[derive(Deserialize)]
pub(super) struct Commit {
    pub(super) sha: String,
}

/// What a hub says of a repo.
#[derive(Deserialize)]
pub(super) struct RepoInfo {
    #[serde(default)]
    pub(super) private: bool,
}

/// A file or a folder in a list.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) size: u64,
    /// What git calls the file, or of a large file its pointer.
    #[serde(default)]
    pub(super) oid: String,
    pub(super) lfs: Option<LargeFile>,
}

/// What a list says of a large file.
#[derive(Deserialize)]
pub(super) struct LargeFile {
    pub(super) oid: String,
}

/// Files that something is asked of.
#[derive(Serialize)]
pub(super) struct Paths<'a> {
    pub(super) paths: &'a [&'a str],
    pub(super) expand: bool,
}

/// What a hub says that went wrong.
#[derive(Default, Deserialize)]
pub(super) struct Fault {
    #[serde(default)]
    pub(super) error: String,
}

/// A repo to be made.
#[derive(Serialize)]
pub(super) struct NewRepo<'a> {
    pub(super) name: &'a str,
    pub(super) organization: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) private: bool,
    pub(super) visibility: &'a str,
}

/// Whether a repo can be seen by everybody.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    pub(super) private: bool,
    pub(super) visibility: &'a str,
}

/// Files about to be uploaded.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Preupload<'a> {
    pub(super) files: Vec<PreuploadFile<'a>>,
    /// The text of the folder's `.gitignore`, by which the hub says what to leave out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) git_ignore: Option<&'a str>,
}

/// One of them.
#[derive(Serialize)]
pub(super) struct PreuploadFile<'a> {
    pub(super) path: &'a str,
    /// The first bytes, in base64.
    pub(super) sample: String,
    pub(super) size: u64,
}

/// How they are to be uploaded.
#[derive(Deserialize)]
pub(super) struct Modes {
    pub(super) files: Vec<Mode>,
}

/// How one of them is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mode {
    pub(super) path: String,
    pub(super) upload_mode: String,
    #[serde(default)]
    pub(super) should_ignore: bool,
}

/// Large files about to be uploaded.
#[derive(Serialize)]
pub(super) struct Batch<'a> {
    pub(super) operation: &'a str,
    pub(super) transfers: [&'a str; 2],
    pub(super) objects: Vec<Object>,
    pub(super) hash_algo: &'a str,
}

/// A large file.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Object {
    pub(super) oid: String,
    pub(super) size: u64,
}

/// Where they go.
#[derive(Deserialize)]
pub(super) struct Targets {
    /// By what transfer, where the hub says so.
    pub(super) transfer: Option<String>,
    pub(super) objects: Vec<Target>,
}

/// Where one of them goes; without actions the hub has it.
#[derive(Deserialize)]
pub(super) struct Target {
    pub(super) oid: String,
    pub(super) actions: Option<Actions>,
    pub(super) error: Option<TargetFault>,
}

/// Why one of them cannot go anywhere.
#[derive(Deserialize)]
pub(super) struct TargetFault {
    pub(super) message: String,
}

/// What is to be done with a large file.
#[derive(Deserialize)]
pub(super) struct Actions {
    pub(super) upload: Option<Action>,
    pub(super) verify: Option<Action>,
}

/// One thing to be done.
#[derive(Deserialize)]
pub(super) struct Action {
    pub(super) href: String,
    /// Headers, or for uploads in parts the size and the addresses of the parts; as they came, for
    /// values that nobody asks for may be large.
    #[serde(default)]
    header: BTreeMap<String, Box<RawValue>>,
}

impl Action {
    /// The headers that are text.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.header.iter().filter_map(|(name, value)| Some((name.as_str(), read(value)?)))
    }

    /// Bytes of a part, where the file is to go in parts.
    pub(super) fn part_bytes(&self) -> Option<Result<NonZeroU64, ParseIntError>> {
        let value = self.header.get("chunk_size")?;
        // Some hubs write numbers as text.
        let text = read(value).unwrap_or_else(|| value.get().to_owned());
        Some(text.parse())
    }

    /// Where a part goes; parts count from 1, and some hubs write them with leading zeros.
    pub(super) fn part(&self, part_number: usize) -> Option<String> {
        let part = self.header.iter().find(|(name, _)| name.parse() == Ok(part_number));
        part.and_then(|(_, href)| read(href))
    }
}

fn read(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The parts of a large file that were uploaded.
#[derive(Serialize)]
pub(super) struct Parts {
    pub(super) oid: String,
    pub(super) parts: Vec<Part>,
}

/// One of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) part_number: usize,
    pub(super) etag: String,
}

/// A line of a commit.
#[derive(Serialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
pub(super) enum Line<'a> {
    #[serde(rename_all = "camelCase")]
    Header {
        summary: &'a str,
        description: &'a str,
        parent_commit: Option<&'a str>,
    },
    File {
        path: &'a str,
        content: String,
        encoding: &'a str,
    },
    LfsFile {
        path: &'a str,
        algo: &'a str,
        oid: String,
        size: u64,
    },
    DeletedFile {
        path: &'a str,
    },
}

/// What came of a commit.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Committed {
    pub(super) commit_oid: String,
}
