//! Whose a token is, and what its hub says that it may do.

use super::{RepoKind, wire};
use protocol::{Repo, text::shown};

/// What a token needs to write to a repo, in the words of the real hub.
const WRITE: &str = "repo.write";
/// Most places of a token that are looked at.
const N_SCOPES_MAX: usize = 1_000;
/// Most characters of a role or a place that are kept.
const NAME_MAX: usize = 200;

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Name of the user; a stranger's word.
    pub name: String,
    /// What the token may do.
    pub access: Access,
}

/// What a token may do, by what its hub says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads, and writes nothing.
    Read,
    /// It may do whatever its user may.
    Write,
    /// It may do some things in some places, and reads what everybody reads.
    FineGrained(Vec<Scope>),
    /// The hub does not say, or says it in other words, which these are.
    Other(String),
}

/// A place, and whether a token may write there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What it is: `user`, `org`, `model`, `dataset`.
    pub kind: String,
    /// Its name: an owner, or a repo.
    pub name: String,
    /// Whether the token may write to its repos, or to it.
    pub may_write: bool,
}

impl Account {
    /// Whether the token may write to a model's repo, as [`Self::may_write_to`] has it.
    pub fn may_write(&self, repo: &Repo) -> Option<bool> {
        self.may_write_to(RepoKind::Model, repo)
    }

    /// Whether the token may write to a repo, be it there or to be made; `None` where the hub does
    /// not tell.
    ///
    /// Whether its user may is another question: of organisations, the hub knows the answer.
    pub fn may_write_to(&self, kind: RepoKind, repo: &Repo) -> Option<bool> {
        let (owner, _) = repo.parts();
        let covers = |scope: &&Scope| match scope.kind.as_str() {
            "user" | "org" => scope.name == owner,
            of_repo => of_repo == kind.in_requests() && scope.name == repo.as_str(),
        };
        match &self.access {
            Access::Read => Some(false),
            Access::Write => Some(true),
            Access::FineGrained(scopes) => {
                Some(scopes.iter().filter(covers).any(|scope| scope.may_write))
            }
            Access::Other(_) => None,
        }
    }

    /// Places to which a token that is for some places alone may write.
    pub fn written(&self) -> Vec<&str> {
        match &self.access {
            Access::FineGrained(scopes) => {
                let written = scopes.iter().filter(|scope| scope.may_write);
                written.map(|scope| scope.name.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl From<wire::User> for Account {
    fn from(user: wire::User) -> Self {
        let auth = user.auth.and_then(|auth| serde_json::from_str(auth.get()).ok());
        let access = auth.map_or_else(|| Access::Other(String::new()), Access::of);
        Self { name: user.name, access }
    }
}

impl Access {
    fn of(wire::Auth { access_token }: wire::Auth) -> Self {
        match (access_token.role.as_str(), access_token.fine_grained) {
            ("read", _) => Self::Read,
            ("write" | "admin", _) => Self::Write,
            ("fineGrained", Some(places)) => {
                let scopes = places.scoped.into_iter().take(N_SCOPES_MAX);
                Self::FineGrained(scopes.map(Scope::from).collect())
            }
            (role, _) => Self::Other(shown(role, NAME_MAX)),
        }
    }
}

impl From<wire::Scoped> for Scope {
    fn from(wire::Scoped { entity, permissions }: wire::Scoped) -> Self {
        Self {
            kind: shown(&entity.kind, NAME_MAX),
            name: shown(&entity.name, NAME_MAX),
            may_write: permissions.iter().any(|permission| permission == WRITE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn account(auth: &Value) -> Account {
        let user = json!({ "type": "user", "name": "ann", "auth": auth }).to_string();
        serde_json::from_str::<wire::User>(&user).unwrap().into()
    }

    fn token(token: &Value) -> Account {
        account(&json!({ "type": "access_token", "accessToken": token }))
    }

    #[test]
    fn a_token_writes_where_its_role_or_its_places_say() {
        let may_write = |account: &Account, repo: &str| account.may_write(&repo.parse().unwrap());
        let of_role = |role: &str| token(&json!({ "role": role, "displayName": "x" }));
        for (role, expected) in
            [("read", Some(false)), ("write", Some(true)), ("admin", Some(true)), ("god", None)]
        {
            assert_eq!(may_write(&of_role(role), "ann/m"), expected, "{role}");
        }
        assert_eq!(of_role("a\u{202e}b").access, Access::Other("a\u{fffd}b".to_owned()));

        let place = |kind: &str, name: &str, permissions: &[&str]| {
            let entity = json!({ "_id": "0", "type": kind, "name": name });
            json!({ "entity": entity, "permissions": permissions })
        };
        let fine = token(&json!({ "role": "fineGrained", "fineGrained": {
            "canReadGatedRepos": false, "global": ["discussion.write"], "scoped": [
                place("user", "ann", &["repo.content.read", "repo.write"]),
                place("org", "lab", &["repo.content.read"]),
                place("model", "lab/m", &["repo.write"]),
                place("dataset", "lab/d", &["repo.write"]),
                place("org", "club", &["repo.write.something"]),
            ],
        }}));
        for (repo, expected) in [
            ("ann/m", true),
            ("lab/m", true),
            ("lab/other", false),
            ("lab/d", false),
            ("club/m", false),
            ("bob/ann", false),
        ] {
            assert_eq!(may_write(&fine, repo), Some(expected), "{repo}");
        }
        for (repo, expected) in [("ann/d", true), ("lab/d", true), ("lab/m", false)] {
            let repo = repo.parse().unwrap();
            assert_eq!(fine.may_write_to(RepoKind::Dataset, &repo), Some(expected), "{repo}");
        }
        assert_eq!(fine.written(), ["ann", "lab/m", "lab/d"]);
    }

    #[test]
    fn what_a_hub_says_in_other_words_is_not_guessed() {
        let repo = "ann/m".parse().unwrap();
        for auth in [
            Value::Null,
            json!({}),
            json!("write"),
            json!({ "accessToken": null }),
            json!({ "accessToken": { "role": 7 } }),
            json!({ "accessToken": { "role": "fineGrained" } }),
            json!({ "accessToken": { "role": "fineGrained", "fineGrained": { "scoped": "all" } } }),
        ] {
            let account = account(&auth);
            assert_eq!((account.name.as_str(), account.may_write(&repo)), ("ann", None), "{auth}");
        }
        let nobody: Account =
            serde_json::from_str::<wire::User>(r#"{"name":"ann"}"#).unwrap().into();
        assert_eq!(nobody.may_write(&repo), None);
        let many = json!({ "entity": { "type": "user", "name": "ann" }, "permissions": [] });
        let many = json!({ "role": "fineGrained", "fineGrained": { "scoped": vec![many; 5_000] } });
        let Access::FineGrained(scopes) = token(&many).access else { panic!("it is") };
        assert_eq!(scopes.len(), N_SCOPES_MAX);
    }
}
