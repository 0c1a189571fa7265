//! `agon upload`: a folder becomes a revision of a repo.

use crate::{
    args::UploadArgs,
    failure::{HintExt as _, Interrupted},
    hugging_face::{client, explained, kind},
    terminal::{self, PatientBar, print_json},
};
use anyhow::Context as _;
use hub::{
    HubClient,
    client::{RepoKind, Step, Upload},
};
use indicatif::HumanBytes;
use protocol::{Repo, Revision};
use serde::Serialize;
use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

/// What is printed.
#[derive(Serialize)]
struct Report {
    repo: String,
    revision: String,
    url: String,
    /// Bytes of large files that were sent.
    sent_bytes: u64,
    seconds: f64,
}

/// Uploads a folder and prints its revision.
pub fn run(args: &UploadArgs) -> anyhow::Result<ExitCode> {
    let repo: Repo = args.repo.parse().map_err(anyhow::Error::from)?;
    if !args.dir.is_dir() {
        return Err(anyhow::anyhow!("`{}` is not a folder", args.dir.display()))
            .hint("give the folder with `config.json` and the safetensors files");
    }
    let (kind, client) = (kind(&args.hub), client(args.hub.hub.as_deref())?);
    let stop = terminal::stop_on_signal()?;
    let started = Instant::now();
    let upload = Upload {
        is_private: args.private,
        message: &args.message,
        ..Upload::new(kind, &repo, &args.dir)
    };
    let (revision, sent_bytes) = shown(&client, upload, &stop)?;
    let before = if kind == RepoKind::Dataset { "datasets/" } else { "" };
    let report = Report {
        url: format!("{}/{before}{repo}/tree/{revision}", client.endpoint()),
        repo: repo.to_string(),
        revision: revision.to_string(),
        sent_bytes,
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.hub.json {
        print_json(&report)?;
    } else {
        let Report { revision, url, sent_bytes, seconds, .. } = &report;
        let sent = HumanBytes(*sent_bytes);
        terminal::print(&format!(
            "revision  {revision}\nurl       {url}\nsent      {sent} of large files in {seconds:.1} s\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Uploads and shows how far it is, unless `stop` is raised; gives the revision and the bytes that
/// were sent.
pub fn shown(
    client: &HubClient,
    upload: Upload<'_>,
    stop: &AtomicBool,
) -> anyhow::Result<(Revision, u64)> {
    let bar =
        PatientBar::new("{msg} {bar:40} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left")?;
    let sent_bytes = AtomicU64::new(0);
    let progress = |step: Step, done: u64, all: u64| {
        let message = match step {
            Step::Hash => "hashing",
            Step::Send => {
                sent_bytes.store(done, Ordering::Relaxed);
                "sending"
            }
        };
        bar.set(done, all, || message.to_owned());
        !stop.load(Ordering::Relaxed)
    };
    let uploaded = client.upload(&Upload { progress: &progress, ..upload });
    bar.finish();
    if stop.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    let revision = uploaded.map_err(explained);
    let revision = revision.with_context(|| format!("cannot upload to `{}`", upload.repo))?;
    Ok((revision, sent_bytes.load(Ordering::Relaxed)))
}
