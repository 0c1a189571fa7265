//! `agon download`: the files of a revision, each checked, into a folder.

use crate::{
    args::DownloadArgs,
    failure::Interrupted,
    hugging_face::{client, explained, kind, resolved},
    terminal::{self, PatientBar, print_json},
};
use anyhow::Context as _;
use hub::{
    FileEntry,
    content::{digest_of_file, is_safe_path},
};
use hugging_face::{
    HubClient,
    client::{Listed, Pinned},
};
use indicatif::HumanBytes;
use protocol::{Digest, Repo, Revision};
use serde::Serialize;
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// Exit code when files were left out.
const NOT_WHOLE: u8 = 1;

/// What is printed.
#[derive(Serialize)]
struct Report {
    repo: String,
    revision: String,
    files: Vec<FileEntry>,
    /// Names that no file may have here, whose files were left out.
    left_out: Vec<String>,
    received_bytes: u64,
    seconds: f64,
}

/// Downloads a revision and prints what came.
pub fn run(args: &DownloadArgs) -> anyhow::Result<ExitCode> {
    let (name, revision) = args.repo.split_once('@').unwrap_or((&args.repo, "main"));
    let repo: Repo = name.parse().map_err(anyhow::Error::from)?;
    let (kind, client) = (kind(&args.hub), client(&args.hub.address)?);
    let stop = terminal::stop_on_signal()?;
    let revision = resolved(&client, kind, &repo, revision)?;
    let pinned = Pinned { kind, repo: &repo, revision: &revision };
    let listed = client.files(pinned).map_err(explained)?.unwrap_or_default();
    let (listed, left_out): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|file| is_safe_path(&file.path));
    let started = Instant::now();
    let mut transfer = Transfer {
        client: &client,
        pinned,
        dir: &args.dir,
        stop: &stop,
        bar: PatientBar::new("{bar:40} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left")?,
        all_bytes: listed.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes)),
        done_bytes: 0,
        received_bytes: 0,
    };
    let files = listed.iter().map(|file| transfer.file(file));
    let files = files.collect::<anyhow::Result<Vec<_>>>()?;
    transfer.bar.finish();
    let report = Report {
        repo: repo.to_string(),
        revision: revision.to_string(),
        files,
        left_out: left_out.into_iter().map(|file| file.path).collect(),
        received_bytes: transfer.received_bytes,
        seconds: started.elapsed().as_secs_f64(),
    };
    if args.hub.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people(&args.dir, &revision))?;
    }
    let n_left_out = report.left_out.len();
    if n_left_out > 0 {
        eprintln!("the copy is not whole: {n_left_out} files were left out for their names");
        return Ok(ExitCode::from(NOT_WHOLE));
    }
    Ok(ExitCode::SUCCESS)
}

/// A revision on its way into a folder.
struct Transfer<'a> {
    client: &'a HubClient,
    pinned: Pinned<'a>,
    dir: &'a Path,
    stop: &'a AtomicBool,
    bar: PatientBar,
    all_bytes: u64,
    done_bytes: u64,
    received_bytes: u64,
}

impl Transfer<'_> {
    /// Gets a file, unless it is there.
    fn file(&mut self, listed: &Listed) -> anyhow::Result<FileEntry> {
        let to = self.dir.join(&listed.path);
        let failed = || format!("cannot download `{}`", listed.path);
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        if let Some(parent) = to.parent() {
            let made = fs::create_dir_all(parent);
            made.with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        let Listed { path, size_bytes, sha256, .. } = listed.clone();
        // A file of another size need not be read to be known as another.
        let may_be_it = fs::metadata(&to)
            .is_ok_and(|there| there.is_file() && there.len() == listed.size_bytes)
            && sha256.is_some();
        let progress = |n: u64| self.is_wanted(n);
        let found = match may_be_it.then(|| digest_of_file(&to, &progress)) {
            Some(Err(hub::Error::Stopped)) => return Err(Interrupted.into()),
            found => found.and_then(Result::ok),
        };
        let sha256 = match (sha256, found) {
            (Some(sha256), Some(found)) if found == (size_bytes, sha256) => sha256,
            (Some(sha256), _) => {
                remove_if_there(&to)?;
                let file = FileEntry { path: path.clone(), size_bytes, sha256 };
                self.large(&file, &to).with_context(failed)?;
                sha256
            }
            // Of a small file the hub tells no digest: it is fetched, and that is that.
            (None, _) => self.small(listed, &to).with_context(failed)?,
        };
        self.done_bytes += size_bytes;
        self.bar.set(self.done_bytes, self.all_bytes, String::new);
        Ok(FileEntry { path, size_bytes, sha256 })
    }

    /// Shows how many bytes of a file are there, and says whether to go on.
    fn is_wanted(&self, n_bytes: u64) -> bool {
        self.bar.set(self.done_bytes + n_bytes, self.all_bytes, String::new);
        !self.stop.load(Ordering::Relaxed)
    }

    fn large(&mut self, file: &FileEntry, to: &Path) -> anyhow::Result<()> {
        let progress = |n_bytes: u64| self.is_wanted(n_bytes);
        self.client.download(self.pinned, file, to, &progress).map_err(explained)?;
        self.received_bytes += file.size_bytes;
        Ok(())
    }

    fn small(&mut self, listed: &Listed, to: &Path) -> anyhow::Result<Digest> {
        let bytes = self.client.read(self.pinned, listed).map_err(explained)?;
        self.received_bytes += bytes.len() as u64;
        let written = disk::begin(to).and_then(|mut file| {
            file.write_all(&bytes)?;
            disk::place(file, to)
        });
        written.with_context(|| format!("cannot write `{}`", to.display()))?;
        Ok(Digest::of(&bytes))
    }
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path).with_context(|| format!("cannot replace `{}`", path.display()))?;
    }
    Ok(())
}

impl Report {
    fn for_people(&self, dir: &Path, revision: &Revision) -> String {
        let (n, dir) = (self.files.len(), dir.display());
        let (received, seconds) = (HumanBytes(self.received_bytes), self.seconds);
        let mut text = format!(
            "revision  {revision}\nfiles     {n} in {dir}\nreceived  {received} in {seconds:.1} s\n"
        );
        for path in &self.left_out {
            text += &format!("left out  `{}`: no name for a file here\n", path.escape_default());
        }
        text
    }
}
