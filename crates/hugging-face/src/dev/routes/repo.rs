//! Repos: making, finding, describing, hiding, moving and deleting them.

use super::{
    Answer, Asked, Hub, Kind, Path, Refusal, Repo, RepoPath, RevisionPath, Shared, blocking, clock,
    json, names,
};
use crate::dev::{
    Role,
    database::{Commit, Entry, Page},
    objects::pointer,
};
use axum::{
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Redirect},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where clients that choose Xet end.
pub(super) const NO_XET: &str = "/this-hub-has-no-xet/set-HF_HUB_DISABLE_XET=1-and-try-again";
/// What lists of Hugging Face's hub are chosen by, and ours are not.
const UNKNOWN_FILTERS: [&str; 6] =
    ["filter", "pipeline_tag", "apps", "inference", "inference_provider", "num_parameters"];
/// Most repos of a page.
const PAGE_MAX: usize = 1_000;

/// The repo that a body names.
#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    private: Option<bool>,
    visibility: Option<String>,
}

impl Named {
    /// Owner and name; the caller's own where the body names no owner.
    fn parts(&self, asked: &Asked) -> Result<(String, String), Refusal> {
        let (owner, name) = match self.name.split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (self.organization.as_deref(), self.name.as_str()),
        };
        let owner = match owner {
            Some(owner) => owner.to_owned(),
            None => asked.caller.account()?.name.clone(),
        };
        Ok((owner, name.to_owned()))
    }
}

/// Whether a repo is to be private; `None` where nothing is said.
fn privacy(private: Option<bool>, visibility: Option<&str>) -> Result<Option<bool>, Refusal> {
    match visibility {
        None => Ok(private),
        Some("public") => Ok(Some(false)),
        Some("private") => Ok(Some(true)),
        Some(_) => Err(Refusal::bad("a repo is `public` or `private`")),
    }
}

pub(super) async fn create(State(hub): Shared, asked: Asked, body: Body) -> Answer {
    asked.caller.account()?;
    let named: Named = asked.json(&hub, body).await?;
    let kind = Kind::of_word(named.kind.as_deref())?;
    let (owner, name) = named.parts(&asked)?;
    if !names::is_owner(&owner) || !names::is_name(&name) {
        return Err(Refusal::bad(
            "names have 1 to 96 letters, digits and `._-`, begin with a letter or digit, and have \
             neither `--` nor `..`",
        ));
    }
    asked.caller.check_write(&owner)?;
    let is_private = privacy(named.private, named.visibility.as_deref())?.unwrap_or(false);
    let repo = Repo { id: 0, kind, owner, name, is_private, created: 0 };
    let id = repo.full_name();
    let url = format!("{}/{}{id}", asked.base, kind.prefix());
    let made =
        blocking(&hub, move |hub| hub.database.create(&repo, hub.limits.repos_per_owner_max));
    match made.await {
        Ok(repo) => Ok(json(&json!({
            "url": url, "name": id, "id": id, "private": repo.is_private,
        }))),
        Err(refusal) if refusal.status() == StatusCode::CONFLICT => {
            let message = "You already created this repo";
            let body = json!({ "error": message, "url": url, "name": id, "id": id });
            let headers = [("x-error-message", message), ("content-type", "application/json")];
            Ok((StatusCode::CONFLICT, headers, body.to_string()).into_response())
        }
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn delete(State(hub): Shared, asked: Asked, body: Body) -> Answer {
    let named: Named = asked.json(&hub, body).await?;
    let kind = Kind::of_word(named.kind.as_deref())?;
    let (owner, name) = named.parts(&asked)?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        hub.database.delete(&repo)
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rename {
    from_repo: String,
    to_repo: String,
    #[serde(rename = "type")]
    kind: Option<String>,
}

pub(super) async fn rename(State(hub): Shared, asked: Asked, body: Body) -> Answer {
    let named: Rename = asked.json(&hub, body).await?;
    let kind = Kind::of_word(named.kind.as_deref())?;
    let split = |text: &str| {
        let parts = text.split_once('/').map(|(owner, name)| (owner.to_owned(), name.to_owned()));
        parts
            .filter(|(owner, name)| names::is_owner(owner) && names::is_name(name))
            .ok_or_else(|| Refusal::bad("a repo is named `owner/name`"))
    };
    let ((owner, name), (to_owner, to_name)) = (split(&named.from_repo)?, split(&named.to_repo)?);
    asked.caller.check_write(&to_owner)?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        let bytes_max = hub.limits.bytes_per_owner_max;
        hub.database.rename(&repo, (&to_owner, &to_name), bytes_max)
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}

#[derive(Deserialize)]
pub(super) struct Settings {
    private: Option<bool>,
    visibility: Option<String>,
}

pub(super) async fn settings(
    State(hub): Shared,
    Path { 0: (kind, owner, name) }: RepoPath,
    asked: Asked,
    body: Body,
) -> Answer {
    let settings: Settings = asked.json(&hub, body).await?;
    let is_private = privacy(settings.private, settings.visibility.as_deref())?
        .ok_or_else(|| Refusal::bad("this hub has one setting, `private`"))?;
    let kind = Kind::of_plural(&kind)?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        hub.database.set_private(&repo, is_private)
    })
    .await?;
    Ok(json(&json!({ "private": is_private })))
}

pub(super) async fn whoami(asked: Asked) -> Answer {
    let account = asked.caller.account()?;
    let organisations: Vec<Value> = account
        .organisations
        .iter()
        .map(|name| json!({ "type": "org", "id": name, "name": name, "fullname": name }))
        .collect();
    let role = if account.role == Role::Write { "write" } else { "read" };
    Ok(json(&json!({
        "type": "user", "id": account.name, "name": account.name, "fullname": account.name,
        "email": null, "emailVerified": true, "isPro": false, "canPay": false, "avatarUrl": "",
        "orgs": organisations,
        "auth": { "type": "access_token", "accessToken": {
            "displayName": "agon", "role": role, "createdAt": clock::date(0),
        }},
    })))
}

/// Says nothing but that the caller may see a repo.
pub(super) async fn auth_check(
    State(hub): Shared,
    Path { 0: (kind, owner, name) }: RepoPath,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    blocking(&hub, move |hub| asked.repo(hub, kind, &owner, &name)).await?;
    Ok(json(&json!({})))
}

/// Says nothing but that the caller may write to a repo.
pub(super) async fn auth_check_write(
    State(hub): Shared,
    Path { 0: (kind, owner, name) }: RepoPath,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    blocking(&hub, move |hub| asked.own_repo(hub, kind, &owner, &name)).await?;
    Ok(json(&json!({})))
}

/// Cards are not judged here.
pub(super) async fn validate_yaml(State(hub): Shared, asked: Asked, body: Body) -> Answer {
    asked.small_body(&hub, body).await?;
    Ok(json(&json!({ "errors": [], "warnings": [] })))
}

/// What all have sent and received tells of what is private, so only who runs the hub hears it.
pub(super) async fn stats(State(hub): Shared, asked: Asked) -> Answer {
    hub.access.check_operator(&asked.caller)?;
    Ok(json(&json!(hub.stats())))
}

/// The client chooses Xet by itself, and of an answer that it does not like it shows nothing but
/// the address where it ended: so that is what tells how to choose otherwise.
pub(super) async fn to_no_xet(_asked: Asked) -> Redirect {
    Redirect::temporary(NO_XET)
}

pub(super) async fn no_xet(_asked: Asked) -> Refusal {
    Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "this hub has no Xet storage: set HF_HUB_DISABLE_XET=1 and try again",
    )
}

pub(super) async fn info(
    State(hub): Shared,
    Path { 0: (kind, owner, name) }: RepoPath,
    asked: Asked,
) -> Answer {
    describe(&hub, asked, kind, (owner, name), "main".to_owned()).await
}

pub(super) async fn info_at(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
) -> Answer {
    describe(&hub, asked, kind, (owner, name), revision).await
}

async fn describe(
    hub: &Arc<Hub>,
    asked: Asked,
    kind: String,
    (owner, name): (String, String),
    revision: String,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let found = blocking(hub, move |hub| {
        let repo = asked.repo(hub, kind, &owner, &name)?;
        let commit = hub.database.resolve(&repo, &revision)?;
        let tree = hub.database.tree(&commit)?;
        let used = hub.database.used_bytes_of(&repo)?;
        let with_blobs = asked.query.is_on("blobs");
        let siblings: Vec<Value> = tree.values().map(|entry| sibling(entry, with_blobs)).collect();
        let mut value = summary(&repo, &commit);
        if let Some(object) = value.as_object_mut() {
            object.insert("siblings".to_owned(), Value::Array(siblings));
            object.insert("usedStorage".to_owned(), json!(used));
        }
        Ok(value)
    });
    Ok(json(&found.await?))
}

fn sibling(entry: &Entry, with_blobs: bool) -> Value {
    if !with_blobs {
        return json!({ "rfilename": entry.path });
    }
    let object = &entry.object;
    if !entry.is_large {
        return json!({
            "rfilename": entry.path, "size": object.size_bytes, "blobId": object.git,
        });
    }
    let (git, pointer_size) = pointer(&object.sha256, object.size_bytes);
    json!({
        "rfilename": entry.path, "size": object.size_bytes, "blobId": git,
        "lfs": {
            "sha256": object.sha256, "size": object.size_bytes, "pointerSize": pointer_size,
        },
    })
}

/// What lists and descriptions say of a repo.
fn summary(repo: &Repo, commit: &Commit) -> Value {
    let id = repo.full_name();
    let mut value = json!({
        "_id": format!("{:024x}", repo.id), "id": id, "author": repo.owner, "sha": commit.id,
        "lastModified": clock::date(commit.time), "createdAt": clock::date(repo.created),
        "private": repo.is_private, "gated": false, "disabled": false, "downloads": 0, "likes": 0,
        "tags": [],
    });
    if repo.kind == Kind::Model
        && let Some(object) = value.as_object_mut()
    {
        object.insert("modelId".to_owned(), json!(id));
    }
    value
}

pub(super) async fn list(
    State(hub): Shared,
    Path { 0: kind }: Path<String>,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    // A list that is not filtered would be taken for one that is.
    if let Some(word) = UNKNOWN_FILTERS.iter().find(|word| asked.query.get(word).is_some()) {
        let message = format!("this hub keeps no tags and cannot choose repos by `{word}`");
        return Err(Refusal::not_implemented(message));
    }
    let limit = asked.query.limit(PAGE_MAX)?;
    let cursor = asked.query.get("cursor").unwrap_or("0");
    let after: i64 = cursor.parse().map_err(|_| Refusal::bad("the cursor is none of ours"))?;
    let seen_by = asked.caller.owners();
    let query = asked.query.clone();
    let found = blocking(&hub, move |hub| {
        let (owner, search) = (query.get("author"), query.get("search"));
        hub.database.list(kind, &Page { owner, search, seen_by: &seen_by, after, limit })
    })
    .await?;
    let values = found.iter().map(|(repo, commit)| summary(repo, commit)).collect();
    let answer = json(&Value::Array(values));
    match found.last() {
        Some((last, _)) if found.len() == limit => {
            Ok(([asked.next_page(&last.id.to_string())], answer).into_response())
        }
        _ => Ok(answer),
    }
}
