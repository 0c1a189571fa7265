//! Which request means what.

mod absent;
mod commit;
mod lfs;
mod refs;
mod repo;
mod resolve;
mod tree;

pub(super) use lfs::Uploads;

use super::{
    Hub,
    access::Caller,
    clock,
    database::Repo,
    names::{self, Kind, Pairs},
    pace::Paced,
    refusal::Refusal,
    serve::Peer,
};
use axum::{
    Extension, Router,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::{any, delete, get, post, put},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::{Arc, atomic::Ordering};

/// Most bytes of a body of whoever has no token: there may be as many of them as connections.
const STRANGERS_BODY_BYTES_MAX: u64 = 256 << 10;

type Shared = State<Arc<Hub>>;
type Answer = Result<Response, Refusal>;
type Path<T> = axum::extract::Path<T>;
/// Kind, owner and name, as the API's URLs have them.
type RepoPath = Path<(String, String, String)>;
/// The same with a revision, or another word, behind them.
type RevisionPath = Path<(String, String, String, String)>;

/// All routes.
pub(super) fn router(hub: Arc<Hub>) -> Router {
    const REPO: &str = "/api/{kind}/{owner}/{name}";
    let at = |rest: &str| format!("{REPO}{rest}");
    Router::new()
        .route("/api/repos/create", post(repo::create))
        .route("/api/repos/delete", delete(repo::delete))
        .route("/api/repos/move", post(repo::rename))
        .route("/api/whoami-v2", get(repo::whoami))
        .route("/api/validate-yaml", post(repo::validate_yaml))
        .route(&at("/auth-check"), get(repo::auth_check))
        .route(&at("/auth-check/write"), get(repo::auth_check_write))
        .route("/api/stats", get(repo::stats))
        .route("/api/{kind}", get(repo::list))
        .route(REPO, get(repo::info))
        .route(&at("/settings"), put(repo::settings))
        .route(&at("/revision/{revision}"), get(repo::info_at))
        .route(&at("/tree/{revision}"), get(tree::top))
        .route(&at("/tree/{revision}/{*path}"), get(tree::below))
        .route(&at("/paths-info/{revision}"), post(tree::paths_info))
        .route(&at("/commits/{revision}"), get(refs::commits))
        .route(&at("/refs"), get(refs::list))
        .route(&at("/branch/{branch}"), post(refs::create_branch).delete(refs::delete_branch))
        .route(&at("/tag/{revision}"), post(refs::create_tag).delete(refs::delete_tag))
        .route(&at("/preupload/{revision}"), post(commit::preupload))
        .route(&at("/commit/{revision}"), post(commit::commit))
        .route(&at("/xet-write-token/{revision}"), get(repo::to_no_xet))
        .route(&at("/xet-read-token/{revision}"), get(repo::to_no_xet))
        .route(repo::NO_XET, get(repo::no_xet))
        .route("/{owner}/{git}/info/lfs/objects/batch", post(lfs::batch_model))
        .route("/datasets/{owner}/{git}/info/lfs/objects/batch", post(lfs::batch_dataset))
        .route("/lfs/{repo}/{sha256}", put(lfs::upload).post(lfs::complete))
        .route("/lfs/{repo}/{sha256}/verify", post(lfs::verify))
        .route("/lfs/{repo}/{sha256}/{part}", put(lfs::upload_part))
        .route("/{owner}/{name}/resolve/{revision}/{*path}", get(resolve::model))
        .route("/datasets/{owner}/{name}/resolve/{revision}/{*path}", get(resolve::dataset))
        .fallback(any(absent::nothing))
        .method_not_allowed_fallback(no_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&hub), finish))
        .with_state(hub)
}

async fn no_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the method is none for this address")
}

/// What every answer has, and the count of them.
async fn finish(State(hub): Shared, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    hub.counters.requests.fetch_add(1, Ordering::Relaxed);
    let headers = response.headers_mut();
    // No browser may take a file of a stranger for a page of ours.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("sandbox"));
    response
}

/// Who asks for what, beside the path: every handler begins with it.
pub(super) struct Asked {
    pub(super) caller: Caller,
    pub(super) query: Pairs,
    pub(super) headers: HeaderMap,
    /// What our own URLs begin with, as the client reaches us.
    base: String,
    path: String,
    uri_query: Option<String>,
}

impl FromRequestParts<Arc<Hub>> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Refusal> {
        let Extension(Peer(peer)) =
            Extension::from_request_parts(parts, hub).await.map_err(|_| Refusal::broken())?;
        let caller = hub.access.caller(&parts.headers);
        let (max, now) = (hub.limits.requests_per_window_max, clock::now());
        let client = hub.front.client(peer, &parts.headers);
        hub.access.count(caller.as_ref().ok(), client, max, now)?;
        Ok(Self {
            caller: caller?,
            query: Pairs::parse(parts.uri.query().unwrap_or_default())?,
            headers: parts.headers.clone(),
            base: hub.front.base(peer, &parts.headers, hub.address),
            path: parts.uri.path().to_owned(),
            uri_query: parts.uri.query().map(str::to_owned),
        })
    }
}

impl Asked {
    /// A repo that the caller may see; what it may not see is as if it were not there.
    fn repo(&self, hub: &Hub, kind: Kind, owner: &str, name: &str) -> Result<Repo, Refusal> {
        let missing = || Refusal::no_repo(self.caller.is_known());
        if !names::is_owner(owner) || !names::is_name(name) {
            return Err(missing());
        }
        let may_see = |repo: &Repo| !repo.is_private || self.caller.acts_for(&repo.owner);
        if let Some(repo) = hub.database.find(kind, owner, name)? {
            return if may_see(&repo) { Ok(repo) } else { Err(missing()) };
        }
        let moved = hub.database.moved(kind, owner, name)?.filter(may_see);
        let there = moved.and_then(|repo| self.location(owner, name, &repo));
        Err(there.map_or_else(missing, Refusal::moved))
    }

    /// Where this request is good, of a repo that was called `owner/name` and is not any more.
    fn location(&self, owner: &str, name: &str, repo: &Repo) -> Option<String> {
        let (before, after) = self.path.split_once(&format!("/{owner}/{name}"))?;
        let is_whole = after.is_empty() || after.starts_with('/') || after.starts_with(".git/");
        // Without scheme and host: some clients follow no other.
        let prefix =
            self.base.splitn(4, '/').nth(3).map_or(String::new(), |path| format!("/{path}"));
        let query = self.uri_query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        is_whole.then(|| format!("{prefix}{before}/{}{after}{query}", repo.full_name()))
    }

    /// A repo that the caller may write to.
    fn own_repo(&self, hub: &Hub, kind: Kind, owner: &str, name: &str) -> Result<Repo, Refusal> {
        let repo = self.repo(hub, kind, owner, name)?;
        self.caller.check_write(&repo.owner)?;
        Ok(repo)
    }

    /// The whole of a body that must be small, and smaller if nobody knows who asks.
    async fn small_body(&self, hub: &Hub, body: Body) -> Result<Vec<u8>, Refusal> {
        let known = hub.limits.body_bytes_max;
        let max = if self.caller.is_known() { known } else { known.min(STRANGERS_BODY_BYTES_MAX) };
        Paced::new(body, &hub.limits, max).all().await
    }

    /// The same as JSON; nothing at all is an empty object.
    async fn json<T: DeserializeOwned>(&self, hub: &Hub, body: Body) -> Result<T, Refusal> {
        parse(&self.small_body(hub, body).await?)
    }

    /// The header that leads to the next page.
    fn next_page(&self, cursor: &str) -> (header::HeaderName, String) {
        let query = self.query.with_cursor(cursor);
        (header::LINK, format!("<{}{}?{query}>; rel=\"next\"", self.base, self.path))
    }
}

/// Runs what reads the disk or the database on a thread that may wait.
async fn blocking<T: Send + 'static>(
    hub: &Arc<Hub>,
    work: impl FnOnce(&Hub) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let hub = Arc::clone(hub);
    tokio::task::spawn_blocking(move || work(&hub)).await.map_err(|_| Refusal::broken())?
}

/// A small body as JSON, of whoever has been let in by a link of ours.
async fn json_body<T: DeserializeOwned>(hub: &Hub, body: Body) -> Result<T, Refusal> {
    parse(&Paced::new(body, &hub.limits, hub.limits.body_bytes_max).all().await?)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|_| Refusal::bad("the body is not the JSON expected"))
}

/// An answer in JSON.
fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
