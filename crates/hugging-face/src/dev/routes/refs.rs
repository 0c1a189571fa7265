//! Branches, tags and history.

use super::{Answer, Asked, Kind, Refusal, RepoPath, RevisionPath, Shared, blocking, clock, json};
use crate::dev::database::Commit;
use axum::{body::Body, extract::State, http::StatusCode, response::IntoResponse as _};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Path;

/// Most commits of a page.
const PAGE_MAX: usize = 1_000;

fn value(commit: &Commit) -> Value {
    json!({
        "id": commit.id, "title": commit.title, "message": commit.message,
        "authors": [{ "user": commit.author }], "date": clock::date(commit.time),
    })
}

pub(super) async fn commits(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let limit = asked.query.limit(PAGE_MAX)?;
    let cursor = asked.query.get("cursor").unwrap_or("0");
    let skip: usize = cursor.parse().map_err(|_| Refusal::bad("the cursor is none of ours"))?;
    let (page, n_all, next) = blocking(&hub, move |hub| {
        let repo = asked.repo(hub, kind, &owner, &name)?;
        let commit = hub.database.resolve(&repo, &revision)?;
        let (page, n_all) = hub.database.history(&commit, skip, limit)?;
        let next = skip.saturating_add(page.len());
        let next = (next < n_all).then(|| asked.next_page(&next.to_string()));
        Ok((page, n_all, next))
    })
    .await?;
    let answer = json(&Value::Array(page.iter().map(value).collect()));
    let answer = ([("x-total-count", n_all.to_string())], answer);
    Ok(match next {
        Some(next) => ([next], answer).into_response(),
        None => answer.into_response(),
    })
}

pub(super) async fn list(
    State(hub): Shared,
    Path { 0: (kind, owner, name) }: RepoPath,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let with_requests = asked.query.is_on("include_prs");
    let (branches, tags) = blocking(&hub, move |hub| {
        let repo = asked.repo(hub, kind, &owner, &name)?;
        Ok((hub.database.refs(&repo, "heads")?, hub.database.refs(&repo, "tags")?))
    })
    .await?;
    let values = |kind: &str, refs: Vec<(String, String)>| -> Vec<Value> {
        let value = |(name, commit): (String, String)| json!({ "name": name, "ref": format!("refs/{kind}/{name}"), "targetCommit": commit });
        refs.into_iter().map(value).collect()
    };
    let mut found = json!({
        "branches": values("heads", branches), "tags": values("tags", tags), "converts": [],
    });
    if with_requests && let Some(object) = found.as_object_mut() {
        object.insert("pullRequests".to_owned(), json!([]));
    }
    Ok(json(&found))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewBranch {
    starting_point: Option<String>,
}

pub(super) async fn create_branch(
    State(hub): Shared,
    Path { 0: (kind, owner, name, branch) }: RevisionPath,
    asked: Asked,
    body: Body,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let new: NewBranch = asked.json(&hub, body).await?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        let from = new.starting_point.as_deref().unwrap_or("main");
        hub.database.create_ref(&repo, "heads", &branch, from)
    })
    .await?;
    Ok(StatusCode::CREATED.into_response())
}

pub(super) async fn delete_branch(
    State(hub): Shared,
    Path { 0: (kind, owner, name, branch) }: RevisionPath,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        hub.database.delete_ref(&repo, "heads", &branch)
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}

#[derive(Deserialize)]
pub(super) struct NewTag {
    tag: String,
}

pub(super) async fn create_tag(
    State(hub): Shared,
    Path { 0: (kind, owner, name, revision) }: RevisionPath,
    asked: Asked,
    body: Body,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    let new: NewTag = asked.json(&hub, body).await?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        hub.database.create_ref(&repo, "tags", &new.tag, &revision)
    })
    .await?;
    Ok(StatusCode::CREATED.into_response())
}

pub(super) async fn delete_tag(
    State(hub): Shared,
    Path { 0: (kind, owner, name, tag) }: RevisionPath,
    asked: Asked,
) -> Answer {
    let kind = Kind::of_plural(&kind)?;
    blocking(&hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        hub.database.delete_ref(&repo, "tags", &tag)
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}
