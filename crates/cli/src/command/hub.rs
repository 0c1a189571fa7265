//! `agon hub`: a hub for models and datasets as a standing server.

use crate::{
    args::HubArgs,
    failure::{HintExt as _, hinted},
    input, private,
    terminal::{self, print, print_json_line},
};
use anyhow::Context as _;
use hugging_face::dev::{self, Config, DevHub, Front, Limits, Role, ServerError, User};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
    time::Duration,
};

/// How often the hub looks whether it is to stop.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two collections of garbage: an hour.
const TICKS_BETWEEN_COLLECTIONS: u64 = 36_000;
/// The file of what the hub knows, by which a folder is a hub's.
const DATABASE: &str = "hub.db";
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
pub struct Listening {
    url: String,
    folder: String,
    users: Vec<String>,
    environment: BTreeMap<&'static str, String>,
}

/// A hub at work, with what its clients need to know.
pub struct StandingHub {
    server: DevHub,
    config: Config,
    n_ticks: u64,
}

impl StandingHub {
    /// Starts a hub in its folder, which is made if it is not there.
    ///
    /// Without users they are those of the file in the folder, which is made with one user.
    pub fn start(mut config: Config) -> anyhow::Result<Self> {
        let folder = &config.folder;
        private::make_home(folder, DATABASE).hint("name a folder that can be written")?;
        if config.users.is_empty() {
            config.users = kept_users(folder)?;
        }
        let server = DevHub::start(&config).map_err(|error| told(error, &config.folder))?;
        Ok(Self { server, config, n_ticks: 0 })
    }

    /// Does what is due now and then; called every [`TICK`].
    pub fn tick(&mut self) {
        if self.n_ticks.is_multiple_of(TICKS_BETWEEN_COLLECTIONS) {
            // Garbage that stays costs room and nothing else: the next time will do.
            if let Err(error) = self.server.collect_garbage() {
                tracing::warn!("cannot remove what no commit refers to: {error}");
            }
        }
        self.n_ticks += 1;
    }

    /// What clients need to know.
    pub fn listening(&self) -> Listening {
        // Whoever listens everywhere is reached from here by the loopback.
        let mut reached = self.server.address();
        if reached.ip().is_unspecified() {
            reached.set_ip([127, 0, 0, 1].into());
        }
        let public = self.config.front.url.as_ref().map(|url| url.as_str().to_owned());
        let url = public.unwrap_or_else(|| format!("http://{reached}"));
        let users = &self.config.users;
        let writer = users.iter().find(|user| user.role == Role::Write).or(users.first());
        let mut environment =
            BTreeMap::from([("HF_ENDPOINT", url.clone()), ("HF_HUB_DISABLE_XET", "1".to_owned())]);
        environment.extend(writer.map(|user| ("HF_TOKEN", user.token.clone())));
        // A user may have several tokens, not always one after the other.
        let mut seen = BTreeSet::new();
        let names = users.iter().filter(|user| seen.insert(&user.name));
        let names = names.map(|user| user.name.clone()).collect();
        let folder = self.config.folder.display().to_string();
        Listening { url, folder, users: names, environment }
    }
}

impl Listening {
    /// The line for a shell, and where the hub is.
    pub fn for_people(&self) -> String {
        let Self { url, folder, users, environment } = self;
        let pairs: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "export {}\nagon hub at {url}\n  users     {}\n  state     {folder}\n",
            pairs.join(" "),
            users.join(", ")
        )
    }
}

/// Runs the hub until it is told to stop.
pub fn run(args: &HubArgs) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    let mut limits = Limits::default();
    limits.bytes_per_owner_max =
        args.quota.map_or(limits.bytes_per_owner_max, |quota| quota.as_u64());
    limits.files_max = args.files_max.unwrap_or(limits.files_max);
    let mut hub = StandingHub::start(Config {
        listen: args.listen,
        folder: args.dir.clone(),
        users: args.users.clone(),
        limits,
        front: Front { url: args.url.clone(), trusted_proxies: args.trusted_proxies.clone() },
    })?;
    let listening = hub.listening();
    if args.json {
        print_json_line(&listening)?;
    } else {
        let last = "The first line is for the shell of a client; Ctrl-C stops the hub.\n";
        print(&(listening.for_people() + last))?;
    }
    while !stop.load(Ordering::Relaxed) {
        hub.tick();
        std::thread::sleep(TICK);
    }
    let stats = hub.server.stats();
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

/// Writes the file of users in the folder of a hub, which has none yet.
pub fn write_users(folder: &Path, users: &[User]) -> anyhow::Result<()> {
    let path = folder.join(USERS);
    let entry = |user: &User| Entry {
        name: user.name.clone(),
        token: user.token.clone(),
        role: match user.role {
            Role::Read => EntryRole::Read,
            Role::Write => EntryRole::Write,
        },
        organisations: user.organisations.clone(),
    };
    let entries: Vec<Entry> = users.iter().map(entry).collect();
    private::write_new(&path, &(serde_json::to_string_pretty(&entries)? + "\n"))
}

/// The users of the file in the folder; made, with one user, if it is not there.
fn kept_users(folder: &Path) -> anyhow::Result<Vec<User>> {
    let path = folder.join(USERS);
    if !path.exists() {
        let (name, token) = (USUAL.to_owned(), dev::new_token()?);
        let usual = User { name, token, role: Role::Write, organisations: Vec::new() };
        write_users(folder, &[usual])?;
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
fn told(error: ServerError, folder: &Path) -> anyhow::Error {
    let dir = folder.display();
    let hint = match &error {
        ServerError::Listen { .. } => "name another address to listen on".to_owned(),
        ServerError::InUse { .. } => {
            format!("stop the hub that has `{dir}`, or name another folder")
        }
        ServerError::OtherVersion { .. } => "name another folder".to_owned(),
        ServerError::User { .. } => "`agon hub --help` shows how users are named".to_owned(),
        _ => return error.into(),
    };
    hinted(error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::causes;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn user(name: &str, token: &str, role: Role) -> User {
        let (name, token) = (name.to_owned(), token.to_owned());
        User { name, token, role, organisations: vec!["lab".to_owned()] }
    }

    fn config(folder: &Path, users: Vec<User>) -> Config {
        let (limits, front) = (Limits::default(), Front::default());
        let listen = ([127, 0, 0, 1], 0).into();
        Config { listen, folder: folder.to_owned(), users, limits, front }
    }

    #[test]
    fn whoever_has_several_tokens_is_named_once_and_a_shell_is_given_one_that_writes() {
        let dir = tempfile::tempdir().unwrap();
        let users = vec![
            user("ann", "hf_ann_reads", Role::Read),
            user("bob", "hf_bob_writes", Role::Write),
            user("ann", "hf_ann_writes", Role::Write),
        ];
        let hub = StandingHub::start(config(dir.path(), users)).unwrap();
        let listening = hub.listening();
        assert_eq!(listening.users, ["ann", "bob"]);
        assert_eq!(listening.environment["HF_TOKEN"], "hf_bob_writes");
        assert_eq!(listening.environment["HF_ENDPOINT"], listening.url);
        let text = listening.for_people();
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("export HF_ENDPOINT=http://127.0.0.1:"), "{text}");
        assert!(first.contains(" HF_TOKEN=hf_bob_writes"), "{text}");
        let again =
            StandingHub::start(config(dir.path(), vec![user("x", "hf_secret", Role::Read)]));
        let error = again.map(|_| ()).unwrap_err();
        assert!(format!("{error:#?}").contains("name another folder"), "{error:?}");
    }

    #[test]
    fn users_are_kept_for_nobody_else_to_read_and_read_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let made = kept_users(dir.path()).unwrap();
        assert_eq!((made.len(), made[0].name.as_str()), (1, USUAL));
        let again = kept_users(dir.path()).unwrap();
        assert_eq!(again[0].token, made[0].token, "a token stays");
        let mode = fs::metadata(dir.path().join(USERS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = write_users(dir.path(), &made).unwrap_err();
        assert!(causes(&error).contains(USERS), "tokens are not written over: {error:#}");

        let dir = tempfile::tempdir().unwrap();
        let users = [user("ann", "hf_ann", Role::Read), user("b\"o\\b", "hf_bob", Role::Write)];
        write_users(dir.path(), &users).unwrap();
        let read = kept_users(dir.path()).unwrap();
        for (read, user) in read.iter().zip(&users) {
            assert_eq!((&read.name, &read.token), (&user.name, &user.token));
            assert!(read.role == user.role && read.organisations == user.organisations);
        }
    }

    #[test]
    fn a_list_of_users_that_is_none_is_named_and_its_tokens_are_told_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(USERS);
        let entry = r#""name": "ann", "token": "hf_secret_of_ann""#;
        for text in [
            String::new(),
            "{}".to_owned(),
            format!("[{{{entry}}}]"),
            format!("[{{{entry}, \"role\": \"admin\"}}]"),
            format!("[{{{entry}, \"role\": \"read\", \"more\": 1}}]"),
            format!("[{{{entry}, \"role\": \"read\"}}"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = kept_users(dir.path()).map(|_| ()).unwrap_err();
            let told = causes(&error);
            assert!(told.contains(USERS) && told.contains("no list of users"), "{text}: {told}");
            assert!(!told.contains("secret"), "{text}: {told}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = kept_users(dir.path()).map(|_| ()).unwrap_err();
        assert!(causes(&error).contains("not UTF-8"), "{error:#}");
    }
}
