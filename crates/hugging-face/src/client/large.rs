//! Large files on their way to where a hub stores them, by the protocol of Git LFS.
//!
//! The hub names an address for each file that it does not have, or one for each part of it. These
//! let in by themselves: no token goes there, and nothing that goes there is sent on.

use super::{
    HubClient, Step, Upload, fault::SAID_MAX, http::LFS_JSON, send::Outgoing,
    upload::FILES_PER_REQUEST, wire,
};
use hub::{Error, FileEntry, Progress};
use protocol::text::shown;
use reqwest::{
    Method,
    header::{self, HeaderName, HeaderValue},
};
use std::{collections::BTreeSet, path::Path};

/// Most parts of a file.
const N_PARTS_MAX: usize = 10_000;
/// Most headers that a hub may want with the bytes of a file.
const N_HEADERS_MAX: usize = 64;
/// Ways to send large files that we know.
const TRANSFERS: [&str; 2] = ["basic", "multipart"];
/// Headers by which a server tells where a request ends, and whom it is for: ours to write.
const OWN_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::EXPECT,
    header::TE,
    header::TRAILER,
];

impl HubClient {
    /// Sends the large files that the hub does not have, each once.
    pub(super) fn send_large(
        &self,
        upload: &Upload<'_>,
        files: &[&FileEntry],
    ) -> Result<(), Error> {
        let targets = self.targets(upload, files)?;
        let all: u64 = targets.iter().map(|(local, _)| local.size_bytes).sum();
        let mut before = 0;
        for (local, actions) in targets {
            let progress = |n: u64| (upload.progress)(Step::Send, before + n, all);
            let parts = match &actions.upload {
                Some(action) => {
                    self.send_one((&upload.path_of(local), local), action, &progress)?
                }
                None => None,
            };
            match (&actions.upload, parts) {
                (Some(action), Some(parts)) => {
                    let completed = self.http.post_to(&action.href, &parts);
                    self.settle(upload, local, (completed, actions.verify.as_ref()))?;
                }
                _ => self.verify(local, actions.verify.as_ref())?,
            }
            before += local.size_bytes;
        }
        Ok(())
    }

    /// Asks the hub whether it has a file, if it wants to be asked.
    fn verify(&self, local: &FileEntry, verify: Option<&wire::Action>) -> Result<(), Error> {
        let Some(verify) = verify else { return Ok(()) };
        let object = wire::Object { oid: local.sha256.hex(), size: local.size_bytes };
        self.http.post_to(&verify.href, &object)
    }

    /// What came of putting the parts of a file together.
    ///
    /// Where the hub did so and its answer was lost, it knows no such upload when it is asked
    /// again. What it says of the file itself counts then, and nothing is sent twice.
    fn settle(
        &self,
        upload: &Upload<'_>,
        local: &FileEntry,
        (completed, verify): (Result<(), Error>, Option<&wire::Action>),
    ) -> Result<(), Error> {
        let error = match completed {
            Ok(()) => return self.verify(local, verify),
            Err(error @ (Error::Refused { .. } | Error::Unavailable(_))) => error,
            Err(error) => return Err(error),
        };
        let is_there = match verify {
            Some(_) => self.verify(local, verify).is_ok(),
            None => self.targets(upload, &[local]).is_ok_and(|missing| missing.is_empty()),
        };
        if is_there { Ok(()) } else { Err(error) }
    }

    /// Where the files go that the hub does not have.
    fn targets<'a>(
        &self,
        upload: &Upload<'_>,
        files: &[&'a FileEntry],
    ) -> Result<Vec<(&'a FileEntry, wire::Actions)>, Error> {
        let Upload { kind, repo, .. } = *upload;
        let path = format!("/{}{repo}.git/info/lfs/objects/batch", kind.before_files());
        let (mut targets, mut named) = (Vec::new(), BTreeSet::new());
        for files in files.chunks(FILES_PER_REQUEST) {
            let object = |local: &&FileEntry| wire::Object {
                oid: local.sha256.hex(),
                size: local.size_bytes,
            };
            let batch = wire::Batch {
                operation: "upload",
                transfers: TRANSFERS,
                objects: files.iter().map(object).collect(),
                hash_algo: "sha256",
            };
            let answer: wire::Targets = self.post((&Method::POST, &path), LFS_JSON, &batch)?;
            if let Some(other) = answer.transfer.filter(|name| !TRANSFERS.contains(&&**name)) {
                let other = shown(&other, 32);
                let said = format!("it takes large files by `{other}`, which is not spoken here");
                return Err(Error::Refused { status: 422, said });
            }
            for target in answer.objects {
                let local = files.iter().find(|local| local.sha256.hex() == target.oid);
                if let (Some(error), Some(local)) = (&target.error, local) {
                    let said = format!("{}: {}", local.path, shown(&error.message, SAID_MAX));
                    return Err(Error::Refused { status: 422, said });
                }
                if let (Some(actions), Some(local)) = (target.actions, local)
                    && named.insert(target.oid)
                {
                    targets.push((*local, actions));
                }
            }
        }
        Ok(targets)
    }

    /// Sends one file, whole or in parts, as the hub asks; gives the parts, which are to be put
    /// together.
    fn send_one(
        &self,
        (path, local): (&Path, &FileEntry),
        action: &wire::Action,
        progress: Progress<'_>,
    ) -> Result<Option<wire::Parts>, Error> {
        let nonsense = |what| self.http.nonsense("", what);
        let size_bytes = local.size_bytes;
        let Some(part_bytes) = action.part_bytes() else {
            let headers = headers(action).ok_or_else(|| nonsense("asks for too many headers"))?;
            let whole = Outgoing { path, start: 0, n_bytes: size_bytes };
            return self.send_part(whole, (&action.href, &headers), progress).map(|_| None);
        };
        let part_bytes = part_bytes.map_err(|_| nonsense("names no size of parts"))?.get();
        let n_parts = size_bytes.div_ceil(part_bytes);
        if n_parts > N_PARTS_MAX as u64 {
            return Err(nonsense("asks for too many parts"));
        }
        let mut parts = Vec::new();
        for part_number in 1..=n_parts as usize {
            let href = action.part(part_number);
            let href = href.ok_or_else(|| nonsense("names no address for a part"))?;
            let start = (part_number as u64 - 1) * part_bytes;
            let n_bytes = part_bytes.min(size_bytes - start);
            let part = Outgoing { path, start, n_bytes };
            let etag = self.send_part(part, (&href, &[]), &|n| progress(start + n))?;
            let etag = etag.ok_or_else(|| nonsense("gives no tag for a part"))?;
            parts.push(wire::Part { part_number, etag });
        }
        Ok(Some(wire::Parts { oid: local.sha256.hex(), parts }))
    }

    /// Sends a part of a file and gives the tag that the storage gives.
    fn send_part(
        &self,
        outgoing: Outgoing<'_>,
        (href, headers): (&str, &[(HeaderName, HeaderValue)]),
        progress: Progress<'_>,
    ) -> Result<Option<String>, Error> {
        self.http.patiently(|| self.http.put(href, headers, outgoing, progress))
    }
}

/// The headers that a hub wants with the bytes of a file; `None` if they are too many.
fn headers(action: &wire::Action) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let headers = action.headers().filter_map(|(name, value)| {
        let name: HeaderName = name.parse().ok()?;
        let is_ours = OWN_HEADERS.contains(&name) || name.as_str().starts_with("proxy-");
        (!is_ours).then_some((name, HeaderValue::from_str(&value).ok()?))
    });
    let headers: Vec<_> = headers.take(N_HEADERS_MAX + 1).collect();
    (headers.len() <= N_HEADERS_MAX).then_some(headers)
}
