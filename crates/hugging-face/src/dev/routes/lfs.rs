//! Large files: Git LFS, whole or in parts, by links that carry their own permission.

use super::{
    Answer, Asked, Hub, Kind, Pairs, Path, Refusal, Shared, blocking, clock, commit::is_sha256,
    json, json_body,
};
use crate::dev::{
    database::{Repo, no_room},
    lock,
    objects::{Git, Incoming, Received},
    pace::Paced,
    parts::{Parts, Piece, tag},
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse as _,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs::File,
    io, mem,
    sync::{Arc, Mutex, atomic::Ordering},
};

/// Most objects of a batch.
const BATCH_MAX: usize = 1_000;
/// Bytes that are hashed and written to disk at a time.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes after which the system is told to bring to disk what was written.
const SYNC_BYTES: u64 = 64 << 20;

/// What is on its way in.
#[derive(Default)]
pub(in crate::dev) struct Uploads {
    active: Mutex<HashMap<String, Load>>,
    pub(in crate::dev) parts: Parts,
}

/// What an owner is sending.
#[derive(Default)]
struct Load {
    n: u32,
    bytes: u64,
}

impl Uploads {
    /// Room for an upload, given back when the reservation is dropped.
    pub(super) async fn reserve(
        &self,
        hub: &Arc<Hub>,
        owner: &str,
        bytes: u64,
    ) -> Result<Reservation, Refusal> {
        let name = owner.to_owned();
        let asked = move |hub: &Hub| {
            hub.check_room(bytes)?;
            hub.database.used_bytes(&name)
        };
        let used = blocking(hub, asked).await?;
        let waiting = self.parts.waiting_bytes(owner);
        let mut active = lock(&self.active);
        let load = active.entry(owner.to_owned()).or_default();
        if load.n >= hub.limits.uploads_per_owner_max {
            return Err(Refusal::busy(5));
        }
        let max = hub.limits.bytes_per_owner_max;
        let all = [waiting, load.bytes, bytes].into_iter().fold(used, u64::saturating_add);
        if all > max {
            return Err(no_room(owner, max));
        }
        load.n += 1;
        load.bytes = load.bytes.saturating_add(bytes);
        Ok(Reservation { hub: Arc::clone(hub), owner: owner.to_owned(), bytes })
    }
}

/// Room for one upload.
pub(super) struct Reservation {
    hub: Arc<Hub>,
    owner: String,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut active = lock(&self.hub.uploads.active);
        if let Some(load) = active.get_mut(&self.owner) {
            load.n = load.n.saturating_sub(1);
            load.bytes = load.bytes.saturating_sub(self.bytes);
            if load.n == 0 {
                active.remove(&self.owner);
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Batch {
    operation: String,
    objects: Vec<Wanted>,
    #[serde(default)]
    transfers: Vec<String>,
    hash_algo: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    oid: String,
    size: u64,
}

pub(super) async fn batch_model(
    State(hub): Shared,
    Path { 0: (owner, git) }: Path<(String, String)>,
    asked: Asked,
    body: Body,
) -> Answer {
    batch(&hub, asked, Kind::Model, (owner, git), body).await
}

pub(super) async fn batch_dataset(
    State(hub): Shared,
    Path { 0: (owner, git) }: Path<(String, String)>,
    asked: Asked,
    body: Body,
) -> Answer {
    batch(&hub, asked, Kind::Dataset, (owner, git), body).await
}

async fn batch(
    hub: &Arc<Hub>,
    asked: Asked,
    kind: Kind,
    (owner, git): (String, String),
    body: Body,
) -> Answer {
    let batch: Batch = asked.json(hub, body).await?;
    let Some(name) = git.strip_suffix(".git").map(str::to_owned) else {
        return Err(Refusal::not_found("there is nothing at this address"));
    };
    if batch.operation != "upload" {
        return Err(Refusal::bad("large files are fetched through `resolve`"));
    }
    if batch.hash_algo.is_some_and(|name| name != "sha256") {
        return Err(Refusal::conflict("files are named by their SHA-256"));
    }
    if batch.objects.len() > BATCH_MAX {
        return Err(Refusal::too_large(format!("at most {BATCH_MAX} objects in a batch")));
    }
    let may_part = batch.transfers.iter().any(|name| name == "multipart");
    let objects = blocking(hub, move |hub| {
        let repo = asked.own_repo(hub, kind, &owner, &name)?;
        let owners = asked.caller.owners();
        let client = Client { asked: &asked, repo: &repo, owners: &owners, may_part };
        let offers = batch.objects.iter().map(|wanted| client.offer(hub, wanted));
        offers.collect::<Result<Vec<Value>, Refusal>>()
    })
    .await?;
    let is_parted = |object: &Value| object.pointer("/actions/upload/header/chunk_size").is_some();
    let transfer = if objects.iter().any(is_parted) { "multipart" } else { "basic" };
    let body = json!({ "transfer": transfer, "objects": objects }).to_string();
    Ok(([(header::CONTENT_TYPE, "application/vnd.git-lfs+json")], body).into_response())
}

/// A client that asks what it may send of a repo.
struct Client<'a> {
    asked: &'a Asked,
    repo: &'a Repo,
    /// Whose objects it may use.
    owners: &'a [String],
    /// Whether it can send an object in parts.
    may_part: bool,
}

impl Client<'_> {
    /// What it may do for one object; nothing where it is there already.
    fn offer(&self, hub: &Hub, wanted: &Wanted) -> Result<Value, Refusal> {
        let Self { asked, repo, owners, may_part } = *self;
        let (oid, size) = (wanted.oid.as_str(), wanted.size);
        let error = |code: u16, message: &str| {
            let failure = json!({ "code": code, "message": message });
            json!({ "oid": oid, "size": size, "error": failure })
        };
        if !is_sha256(oid) {
            return Ok(error(422, "the object is not named by a SHA-256"));
        }
        if size > hub.limits.file_bytes_max {
            return Ok(error(413, "the file is larger than this hub takes"));
        }
        if let Some(object) = hub.database.usable(repo, oid, owners)? {
            if object.size_bytes == size {
                return Ok(json!({ "oid": oid, "size": size }));
            }
            return Ok(error(422, "the object has another size"));
        }
        let lifetime = i64::try_from(hub.limits.link_lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires = clock::now().saturating_add(lifetime);
        let link = Link { repo: repo.id, oid: oid.to_owned(), size, expires, part: None };
        let mut upload = json!({ "href": link.url(hub, &asked.base) });
        if may_part && size > hub.limits.part_bytes {
            let part_bytes = hub.limits.part_bytes.max(1);
            let mut header = serde_json::Map::new();
            header.insert("chunk_size".to_owned(), json!(part_bytes.to_string()));
            for (number, start) in (1..).zip((0..size).step_by(step(part_bytes))) {
                let part_size = part_bytes.min(size.saturating_sub(start));
                let link = Link { part: Some((number, part_size)), oid: oid.to_owned(), ..link };
                header.insert(number.to_string(), json!(link.url(hub, &asked.base)));
            }
            upload = json!({ "href": link.url(hub, &asked.base), "header": header });
        }
        let verify = format!("{}/lfs/{}/{oid}/verify", asked.base, repo.id);
        Ok(json!({
            "oid": oid, "size": size, "authenticated": true,
            "actions": { "upload": upload, "verify": { "href": verify } },
        }))
    }
}

fn step(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Permission to send certain bytes to a repo, until some time.
struct Link {
    repo: i64,
    oid: String,
    size: u64,
    expires: i64,
    /// Number and size of a part.
    part: Option<(u32, u64)>,
}

impl Link {
    fn signature_fields(&self) -> [String; 6] {
        let part = self.part.map_or(String::new(), |(number, size)| format!("{number}:{size}"));
        let (size, expires) = (self.size.to_string(), self.expires.to_string());
        ["upload".to_owned(), self.repo.to_string(), self.oid.clone(), size, expires, part]
    }

    fn url(&self, hub: &Hub, base: &str) -> String {
        let fields = self.signature_fields();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let signature = hub.access.sign(&fields);
        let Self { repo, oid, size, expires, part } = self;
        let (path, extra) = match part {
            None => (String::new(), String::new()),
            Some((number, bytes)) => (format!("/{number}"), format!("&part_size={bytes}")),
        };
        format!(
            "{base}/lfs/{repo}/{oid}{path}?size={size}&expires={expires}{extra}&signature={signature}"
        )
    }

    /// A link that we gave, and that is still good.
    fn check(
        hub: &Hub,
        (repo, oid, part): (&str, &str, Option<&str>),
        query: &Pairs,
    ) -> Result<Self, Refusal> {
        let refuse = || Refusal::forbidden("the upload link is not good, or not any more");
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let part = match part {
            None => None,
            Some(part) => Some((
                part.parse().map_err(|_| refuse())?,
                number(query.get("part_size")).ok_or_else(refuse)?,
            )),
        };
        let expires = number(query.get("expires")).and_then(|time| i64::try_from(time).ok());
        let link = Self {
            repo: repo.parse().map_err(|_| refuse())?,
            oid: oid.to_owned(),
            size: number(query.get("size")).ok_or_else(refuse)?,
            expires: expires.ok_or_else(refuse)?,
            part,
        };
        let fields = link.signature_fields();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let is_ours = hub.access.is_signed(&fields, query.get("signature").unwrap_or_default());
        if is_ours && clock::now() < link.expires { Ok(link) } else { Err(refuse()) }
    }

    fn repo(&self, hub: &Hub) -> Result<Repo, Refusal> {
        hub.database.by_number(self.repo)?.ok_or_else(|| Refusal::no_repo(true))
    }
}

/// Refuses a body of another size before anything of it is read.
fn check_announced(asked: &Asked, size_bytes: u64) -> Result<(), Refusal> {
    let announced = asked.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length != size_bytes) {
        return Err(Refusal::bad("the body has another size than was announced"));
    }
    Ok(())
}

/// Takes a body to disk.
async fn receive(hub: &Arc<Hub>, body: Body, mut incoming: Incoming) -> Result<Incoming, Refusal> {
    let mut body = Paced::new(body, &hub.limits, incoming.size_bytes);
    let mut chunks: Arc<[Bytes]> = Arc::default();
    let (mut synced_bytes, mut syncing) = (0, tokio::spawn(async { Ok(()) }));
    loop {
        let (mut hashes, to_hash) = (mem::take(&mut incoming.hashes), Arc::clone(&chunks));
        let hash = move |_: &Hub| {
            to_hash.iter().for_each(|chunk| hashes.update(chunk));
            Ok(hashes)
        };
        let write = move |hub: &Hub| {
            // Again, for others may have taken the room that there was.
            hub.check_room(chunks.iter().map(|chunk| chunk.len() as u64).sum())?;
            for chunk in chunks.iter() {
                incoming.store(chunk)?;
                let n = chunk.len() as u64;
                hub.counters.received_bytes.fetch_add(n, Ordering::Relaxed);
            }
            Ok(incoming)
        };
        // While these are hashed and written, the next ones come.
        let (next, hashed, written) =
            tokio::join!(some_chunks(&mut body), blocking(hub, hash), blocking(hub, write));
        (chunks, incoming) = (next?.into(), written?);
        incoming.hashes = hashed?;
        if chunks.is_empty() {
            break;
        }
        // Else the disk would have nothing to do until the end, and all of it then. One that is
        // busy is not waited for.
        let unsynced_bytes = incoming.n_bytes.saturating_sub(synced_bytes);
        if unsynced_bytes >= SYNC_BYTES && syncing.is_finished() {
            synced_bytes = incoming.n_bytes;
            // Opened anew: the system tells each end of a file once that bytes were lost, and the
            // end that is synced last must hear it.
            let file = File::open(incoming.file.path())?;
            syncing.await.map_err(|_| Refusal::broken())??;
            syncing = tokio::task::spawn_blocking(move || file.sync_data());
        }
    }
    syncing.await.map_err(|_| Refusal::broken())??;
    Ok(incoming)
}

/// The next bytes of a body, enough of them to be worth writing; none at its end.
async fn some_chunks(body: &mut Paced) -> Result<Vec<Bytes>, Refusal> {
    let (mut chunks, mut n_bytes) = (Vec::new(), 0);
    while n_bytes < WRITE_BYTES {
        let Some(bytes) = body.next().await? else { break };
        n_bytes += bytes.len();
        chunks.push(bytes);
    }
    Ok(chunks)
}

/// Enters a received object, if its bytes are what its name says.
fn admit(hub: &Hub, repo: &Repo, received: Received, oid: &str) -> Result<(), Refusal> {
    if received.sha256 != oid {
        return Err(Refusal::bad("the bytes have another SHA-256 than was announced"));
    }
    let bytes_max = hub.limits.bytes_per_owner_max;
    hub.database.admit(&hub.objects, repo, received, bytes_max).map(|_| ())
}

pub(super) async fn upload(
    State(hub): Shared,
    Path { 0: (repo, oid) }: Path<(String, String)>,
    asked: Asked,
    body: Body,
) -> Answer {
    let link = Link::check(&hub, (&repo, &oid, None), &asked.query)?;
    let _permit = hub.upload_permits.try_acquire().map_err(|_| Refusal::busy(5))?;
    let (repo, link) = blocking(&hub, move |hub| Ok((link.repo(hub)?, link))).await?;
    let reservation = hub.uploads.reserve(&hub, &repo.owner, link.size).await?;
    check_announced(&asked, link.size)?;
    // What is too large for a commit is never asked for by Git's name of its bytes.
    let is_large = link.size > hub.limits.inline_bytes_max;
    let git = if is_large { Git::Pointer } else { Git::Blob };
    let incoming = blocking(&hub, move |hub| Ok(hub.objects.receive(link.size, git)?)).await?;
    let incoming = receive(&hub, body, incoming).await?;
    let received = blocking(&hub, move |_| {
        incoming.finish().map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::bad("the body is shorter than announced"),
            _ => error.into(),
        })
    })
    .await?;
    blocking(&hub, move |hub| admit(hub, &repo, received, &link.oid)).await?;
    drop(reservation);
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn upload_part(
    State(hub): Shared,
    Path { 0: (repo, oid, part) }: Path<(String, String, String)>,
    asked: Asked,
    body: Body,
) -> Answer {
    let link = Link::check(&hub, (&repo, &oid, Some(&part)), &asked.query)?;
    let Some((number, size_bytes)) = link.part else { return Err(Refusal::broken()) };
    let _permit = hub.upload_permits.try_acquire().map_err(|_| Refusal::busy(5))?;
    let (repo, link) = blocking(&hub, move |hub| Ok((link.repo(hub)?, link))).await?;
    let reservation = hub.uploads.reserve(&hub, &repo.owner, size_bytes).await?;
    check_announced(&asked, size_bytes)?;
    let start = u64::from(number.saturating_sub(1)).saturating_mul(hub.limits.part_bytes);
    let piece = Piece { number, start, size_bytes };
    let key = (repo.id, link.oid);
    let (shared, begun) = (Arc::clone(&hub), key.clone());
    let begin = move |_: &Hub| Parts::begin(&shared, &begun, &repo.owner, piece);
    let incoming = blocking(&hub, begin).await?;
    let incoming = receive(&hub, body, incoming).await?;
    hub.uploads.parts.end(&key, number, incoming)?;
    drop(reservation);
    let etag = format!("\"{}\"", tag(number));
    Ok(([(header::ETAG, etag)], StatusCode::OK).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentPart {
    part_number: u32,
    etag: String,
}

#[derive(Deserialize)]
pub(super) struct Completion {
    parts: Vec<SentPart>,
}

/// Puts the parts together.
pub(super) async fn complete(
    State(hub): Shared,
    Path { 0: (repo, oid) }: Path<(String, String)>,
    asked: Asked,
    body: Body,
) -> Answer {
    let link = Link::check(&hub, (&repo, &oid, None), &asked.query)?;
    let completion: Completion = json_body(&hub, body).await?;
    let _permit = hub.upload_permits.try_acquire().map_err(|_| Refusal::busy(5))?;
    let parts = completion.parts.into_iter().map(|part| (part.part_number, part.etag));
    let parts: Vec<_> = parts.collect();
    blocking(&hub, move |hub| {
        let repo = link.repo(hub)?;
        let received = hub.uploads.parts.complete(&(link.repo, oid), &parts, link.size)?;
        admit(hub, &repo, received, &link.oid)
    })
    .await?;
    Ok(json(&json!({ "success": true })))
}

/// Says whether an upload has arrived.
pub(super) async fn verify(
    State(hub): Shared,
    Path { 0: (repo, oid) }: Path<(String, String)>,
    asked: Asked,
    body: Body,
) -> Answer {
    let wanted: Wanted = asked.json(&hub, body).await?;
    blocking(&hub, move |hub| {
        let missing = || Refusal::not_found("the object was not uploaded");
        let number: i64 = repo.parse().map_err(|_| missing())?;
        let repo = hub.database.by_number(number)?.ok_or_else(missing)?;
        if !asked.caller.acts_for(&repo.owner) {
            return Err(missing());
        }
        let object = hub.database.usable(&repo, &oid, &asked.caller.owners())?;
        let is_there = object.is_some_and(|object| object.size_bytes == wanted.size);
        if is_there && wanted.oid == oid { Ok(()) } else { Err(missing()) }
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}
