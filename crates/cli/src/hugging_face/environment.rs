//! The variables that Hugging Face's tools read, and what each is to us.

use crate::failure::HintExt as _;
use anyhow::Context as _;
use hugging_face::client::{HUGGING_FACE, Proxies};
use std::{
    env, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// Most bytes of a file with a token.
const TOKEN_BYTES_MAX: u64 = 4 << 10;
/// Most seconds to wait for an answer.
const SECONDS_MAX: u64 = 3_600;
/// Values that switch something on, in any case.
const TRUE: [&str; 4] = ["1", "on", "yes", "true"];

/// The variables of a process.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
}

/// A token, and where it comes from.
pub struct Token {
    /// What is sent.
    pub value: String,
    /// For messages.
    pub from: String,
}

impl Environment<'static> {
    /// Those of this process.
    pub fn own() -> Self {
        Self { read: &|name| env::var(name).ok() }
    }
}

impl Environment<'_> {
    /// A variable that is set to something.
    fn variable(self, name: &str) -> Option<String> {
        (self.read)(name).filter(|value| !value.trim().is_empty())
    }

    fn is_set(self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| TRUE.contains(&&*value.trim().to_lowercase()))
    }

    /// Address of the hub that is meant where none is named.
    pub fn endpoint(self) -> String {
        let endpoint = self.variable("HF_ENDPOINT");
        endpoint.map_or_else(|| HUGGING_FACE.to_owned(), |endpoint| endpoint.trim().to_owned())
    }

    /// The variable by which nothing is to be asked of a hub, if there is one.
    pub fn offline(self) -> Option<&'static str> {
        ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| self.is_set(name))
    }

    /// How long to wait for an answer, where that is set.
    pub fn silence(self) -> anyhow::Result<Option<Duration>> {
        let name = "HF_HUB_DOWNLOAD_TIMEOUT";
        let Some(text) = self.variable(name) else { return Ok(None) };
        let seconds =
            text.trim().parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        let wrong = || format!("{name} is `{}`", text.escape_default());
        let seconds = seconds.with_context(wrong).hint("seconds, such as 30; at most 3600")?;
        Ok(Some(Duration::from_secs(seconds)))
    }

    /// Machines to go through to other hosts.
    pub fn proxies(self) -> Proxies {
        let either = |name: &str| {
            self.variable(&name.to_lowercase()).or_else(|| self.variable(&name.to_uppercase()))
        };
        let proxy = |name| {
            let address = either(name).or_else(|| either("all_proxy"))?;
            let address = address.trim();
            let is_bare = !address.contains("://");
            Some(if is_bare { format!("http://{address}") } else { address.to_owned() })
        };
        Proxies {
            http: proxy("http_proxy"),
            https: proxy("https_proxy"),
            except: either("no_proxy"),
        }
    }

    /// The token for the hub that is meant where none is named, in the order of those tools.
    pub fn token(self) -> anyhow::Result<Option<Token>> {
        if self.is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return Ok(None);
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(token) = self.named(name) {
                return Ok(Some(token));
            }
        }
        let Some(path) = self.token_path() else { return Ok(None) };
        let token = token_of(&path).hint("set HF_TOKEN, or HF_TOKEN_PATH to another file")?;
        Ok(token.filter(|token| !token.value.is_empty()))
    }

    /// The token of a variable.
    pub fn named(self, name: &str) -> Option<Token> {
        let value = self.variable(name)?.trim().to_owned();
        Some(Token { value, from: name.to_owned() })
    }

    /// Where `hf auth login` keeps the token.
    fn token_path(self) -> Option<PathBuf> {
        let home = || self.folder("HF_HOME");
        let cache = || Some(self.folder("XDG_CACHE_HOME")?.join("huggingface"));
        let usual = || Some(self.home()?.join(".cache/huggingface"));
        let path = self.folder("HF_TOKEN_PATH");
        path.or_else(|| home().or_else(cache).or_else(usual).map(|home| home.join("token")))
    }

    fn home(self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from).or_else(env::home_dir)
    }

    /// A variable that names a path, whose `~` is the user's home.
    fn folder(self, name: &str) -> Option<PathBuf> {
        let value = self.variable(name)?;
        match value.strip_prefix('~') {
            Some("") => self.home(),
            Some(rest) if rest.starts_with('/') => {
                Some(self.home()?.join(rest.trim_start_matches('/')))
            }
            _ => Some(PathBuf::from(value)),
        }
    }
}

/// The token in a file; `None` where there is no such file.
pub fn token_of(path: &Path) -> anyhow::Result<Option<Token>> {
    let cannot = || format!("cannot read `{}`", path.display());
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => {
            file.take(TOKEN_BYTES_MAX + 1).read_to_string(&mut text).with_context(cannot)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(cannot),
    };
    // The beginning of some other file is nobody's token, and must not leave this machine as one.
    anyhow::ensure!(
        text.len() as u64 <= TOKEN_BYTES_MAX && text.trim().chars().all(|c| c.is_ascii_graphic()),
        "`{}` holds no token: a token is one word of at most {TOKEN_BYTES_MAX} letters",
        path.display()
    );
    let value = text.trim().to_owned();
    Ok(Some(Token { value, from: format!("`{}`", path.display()) }))
}

#[cfg(test)]
mod tests;
