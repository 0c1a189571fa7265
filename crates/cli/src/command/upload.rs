//! `agon upload`: a folder becomes a revision of a repo.

use crate::{
    args::UploadArgs,
    failure::{HintExt as _, Interrupted},
    hugging_face::{client, explained, kind},
    terminal::{self, PatientBar, print_json},
};
use anyhow::Context as _;
use hugging_face::{Folder, folder::LeftOut};
use hugging_face::{
    HubClient,
    client::{RepoKind, Step, Upload, Uploaded},
};
use indicatif::HumanBytes;
use protocol::Repo;
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
    /// What of the folder is not in the repo, and why.
    left_out: Vec<LeftOut>,
}

/// Uploads a folder and prints its revision.
pub fn run(args: &UploadArgs) -> anyhow::Result<ExitCode> {
    let repo: Repo = args.repo.parse().map_err(anyhow::Error::from)?;
    if !args.dir.is_dir() {
        return Err(anyhow::anyhow!("`{}` is not a folder", args.dir.display()))
            .hint("give the folder with `config.json` and the safetensors files");
    }
    let (kind, client) = (kind(&args.hub), client(&args.hub.address)?);
    let folder = match kind {
        RepoKind::Model if !args.all => Folder::of_model(&args.dir)?,
        _ => Folder::of_everything(&args.dir)?,
    };
    if args.private && client.is_private(kind, &repo).map_err(explained)? == Some(false) {
        eprintln!("`{repo}` is public already and stays so: --private is for repos that are made");
    }
    let stop = terminal::stop_on_signal()?;
    let started = Instant::now();
    let upload = Upload {
        is_private: args.private,
        message: &args.message,
        ..Upload::new(kind, &repo, &folder)
    };
    let (Uploaded { revision, ignored }, sent_bytes) = shown(&client, upload, &stop)?;
    let reason = "`.gitignore` keeps it here";
    let mut left_out = folder.left_out().to_vec();
    left_out.extend(ignored.into_iter().map(|path| LeftOut { path, reason }));
    left_out.sort();
    let before = if kind == RepoKind::Dataset { "datasets/" } else { "" };
    let report = Report {
        url: format!("{}/{before}{repo}/tree/{revision}", client.endpoint()),
        repo: repo.to_string(),
        revision: revision.to_string(),
        sent_bytes,
        seconds: started.elapsed().as_secs_f64(),
        left_out,
    };
    if args.hub.json {
        print_json(&report)?;
    } else {
        let Report { revision, url, sent_bytes, seconds, left_out, .. } = &report;
        let left_out = LeftOut::for_people(left_out);
        let sent = HumanBytes(*sent_bytes);
        terminal::print(&format!(
            "revision  {revision}\nurl       {url}\nsent      {sent} of large files in {seconds:.1} s\n{left_out}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Uploads and shows how far it is, unless `stop` is raised; gives what became of it, and the bytes
/// that were sent.
pub fn shown(
    client: &HubClient,
    upload: Upload<'_>,
    stop: &AtomicBool,
) -> anyhow::Result<(Uploaded, u64)> {
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
    let uploaded = uploaded.map_err(explained);
    let uploaded = uploaded.with_context(|| format!("cannot upload to `{}`", upload.repo))?;
    Ok((uploaded, sent_bytes.load(Ordering::Relaxed)))
}
