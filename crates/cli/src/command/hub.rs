//! `agon hub`: a hub for models and datasets as a standing server.

use crate::{
    args::HubArgs,
    failure::{HintExt as _, hinted},
    input,
    terminal::{self, print, print_json_line},
};
use anyhow::Context as _;
use hub::dev::{self, Config, DevHub, Limits, Role, ServerError, User};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
    time::Duration,
};

/// How often the hub looks whether it is to stop.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two collections of garbage: an hour.
const TICKS_BETWEEN_COLLECTIONS: u64 = 36_000;
/// The file of users in the folder of the hub.
const USERS: &str = "users.json";
/// Most bytes of that file.
const USERS_BYTES_MAX: u64 = 1 << 20;
/// The user who is there when nobody says who is.
const USUAL: &str = "agon";

/// A user as the file has one.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    token: String,
    role: EntryRole,
    #[serde(default)]
    organisations: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum EntryRole {
    Read,
    Write,
}

/// What `--json` prints when the hub listens.
#[derive(Serialize)]
struct Listening<'a> {
    url: String,
    folder: String,
    users: Vec<&'a str>,
    environment: Vec<(&'static str, String)>,
}

/// Runs the hub until it is told to stop.
pub fn run(args: &HubArgs) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot make the folder `{}`", args.dir.display()))
        .hint("name a folder that can be written with --dir")?;
    let users = if args.users.is_empty() { kept_users(&args.dir)? } else { args.users.clone() };
    let mut limits = Limits::default();
    if let Some(quota) = args.quota {
        limits.bytes_per_owner_max = quota.as_u64();
    }
    let config = Config { listen: args.listen, folder: args.dir.clone(), users, limits };
    let hub = DevHub::start(&config).map_err(|error| told(error, args))?;
    announce(&hub, &config, args.json)?;
    let mut n_ticks = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        if n_ticks.is_multiple_of(TICKS_BETWEEN_COLLECTIONS) {
            hub.collect_garbage().context("cannot remove what no commit refers to")?;
        }
        n_ticks += 1;
        std::thread::sleep(TICK);
    }
    let stats = hub.stats();
    drop(hub);
    if !args.json {
        print(&format!(
            "stopped after {} requests and {} commits; all of it is in {}\n",
            stats.requests,
            stats.commits,
            args.dir.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says where the hub is, and what clients need to know.
fn announce(hub: &DevHub, config: &Config, as_json: bool) -> anyhow::Result<()> {
    // Whoever listens everywhere is reached from here by the loopback.
    let mut reached = hub.address();
    if reached.ip().is_unspecified() {
        reached.set_ip([127, 0, 0, 1].into());
    }
    let url = format!("http://{reached}");
    let writer = config.users.iter().find(|user| user.role == Role::Write);
    let first = writer.or(config.users.first());
    let mut environment = vec![("HF_ENDPOINT", url.clone())];
    environment.extend(first.map(|user| ("HF_TOKEN", user.token.clone())));
    environment.push(("HF_HUB_DISABLE_XET", "1".to_owned()));
    let mut names: Vec<&str> = config.users.iter().map(|user| user.name.as_str()).collect();
    names.dedup();
    let folder = config.folder.display().to_string();
    if as_json {
        return print_json_line(&Listening { url, folder, users: names, environment });
    }
    let pairs: Vec<String> =
        environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    print(&format!(
        "export {}\nagon hub at {url}\n  users     {}\n  state     {folder}\nThe first line is for \
         the shell of a client; Ctrl-C stops the hub.\n",
        pairs.join(" "),
        names.join(", ")
    ))
}

/// The users of the file in the folder; made, with one user, if it is not there.
fn kept_users(folder: &Path) -> anyhow::Result<Vec<User>> {
    let path = folder.join(USERS);
    if !path.exists() {
        let (name, token) = (USUAL.to_owned(), dev::new_token()?);
        let entry = Entry { name, token, role: EntryRole::Write, organisations: Vec::new() };
        // Nobody else may read it, from the first moment on.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let text = serde_json::to_string_pretty(&[entry])? + "\n";
        file.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let text = input::read_text(&path, USERS_BYTES_MAX)?;
    let entries: Vec<Entry> = serde_json::from_str(&text)
        .with_context(|| format!("{} is no list of users", input::name(&path)))
        .hint("`agon hub --help` shows what it holds")?;
    let user = |entry: Entry| User {
        name: entry.name,
        token: entry.token,
        role: match entry.role {
            EntryRole::Read => Role::Read,
            EntryRole::Write => Role::Write,
        },
        organisations: entry.organisations,
    };
    Ok(entries.into_iter().map(user).collect())
}

/// A failure of the hub with what a person can do about it.
fn told(error: ServerError, args: &HubArgs) -> anyhow::Error {
    let dir = args.dir.display();
    let hint = match &error {
        ServerError::Listen { .. } => "name another address with --listen".to_owned(),
        ServerError::InUse { .. } => {
            format!("stop the hub that has `{dir}`, or name another folder with --dir")
        }
        ServerError::OtherVersion { .. } => "name another folder with --dir".to_owned(),
        ServerError::User { .. } => "`agon hub --help` shows how users are named".to_owned(),
        _ => return error.into(),
    };
    hinted(error, hint)
}
