//! Who asks, what they may do, and how often; links that carry their own permission.

use super::{Role, ServerError, User, names, refusal::Refusal};
use axum::http::{HeaderMap, header};
use hmac::{Hmac, Mac as _};
use rand_core_06::{OsRng, RngCore as _};
use sha2::Sha256;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Seconds over which requests are counted.
const WINDOW_SECONDS: i64 = 300;
/// Users and addresses that are counted apart; those beyond share one count.
const COUNTED_MAX: usize = 65_536;
/// Bytes of a header that may hold a token.
const TOKEN_BYTES_MAX: usize = 512;

/// A token that nobody can guess.
pub fn new_token() -> Result<String, ServerError> {
    let mut secret = [0; 20];
    draw(&mut secret)?;
    Ok(format!("hf_{}", hex::encode(secret)))
}

fn draw(secret: &mut [u8]) -> Result<(), ServerError> {
    let drawn = OsRng.try_fill_bytes(secret);
    drawn.map_err(|error| ServerError::System(std::io::Error::other(error.to_string())))
}

/// What a token stands for.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) organisations: Vec<String>,
}

/// Whoever sent a request; nobody in particular without a token.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    Known(Arc<Account>),
    Stranger,
    /// A stranger at a hub where everybody is one.
    OfNobody,
}

impl Caller {
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    fn known(&self) -> Option<&Account> {
        match self {
            Self::Known(account) => Some(account),
            Self::Stranger | Self::OfNobody => None,
        }
    }

    pub(super) fn account(&self) -> Result<&Account, Refusal> {
        match self {
            Self::Known(account) => Ok(account),
            Self::Stranger => Err(Refusal::no_token()),
            Self::OfNobody => Err(Refusal::no_users()),
        }
    }

    /// Whether the caller acts for an owner of repos.
    pub(super) fn acts_for(&self, owner: &str) -> bool {
        self.known().is_some_and(|account| {
            account.name == owner || account.organisations.iter().any(|name| name == owner)
        })
    }

    /// Refuses who may not write to the repos of `owner`.
    pub(super) fn check_write(&self, owner: &str) -> Result<&Account, Refusal> {
        let account = self.account()?;
        if account.role != Role::Write {
            return Err(Refusal::forbidden("this token may only read"));
        }
        if !self.acts_for(owner) {
            return Err(Refusal::forbidden("this token may not write for that owner"));
        }
        Ok(account)
    }

    /// Owners whose private repos the caller sees.
    pub(super) fn owners(&self) -> Vec<String> {
        let Some(account) = self.known() else { return Vec::new() };
        account.organisations.iter().chain([&account.name]).cloned().collect()
    }
}

/// The tokens, hashed with a secret, and the secret.
pub(super) struct Access {
    secret: [u8; 64],
    accounts: HashMap<[u8; 32], Arc<Account>>,
    /// The first of the users, who runs the hub.
    operator: Option<String>,
    window: Mutex<(i64, HashMap<String, u64>)>,
}

impl Access {
    pub(super) fn new(users: &[User]) -> Result<Self, ServerError> {
        let mut secret = [0; 64];
        draw(&mut secret)?;
        let (accounts, window) = (HashMap::new(), Mutex::new((0, HashMap::new())));
        let operator = users.first().map(|user| user.name.clone());
        let mut access = Self { secret, accounts, operator, window };
        for user in users {
            let refuse = |reason| ServerError::User { name: user.name.clone(), reason };
            if !user.organisations.iter().chain([&user.name]).all(|name| names::is_owner(name)) {
                return Err(refuse("a name has 1 to 96 letters, digits and `._-`"));
            }
            let is_token = (8..=256).contains(&user.token.len())
                && user.token.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_token {
                return Err(refuse("a token has 8 to 256 visible characters"));
            }
            let account = Account {
                name: user.name.clone(),
                role: user.role,
                organisations: user.organisations.clone(),
            };
            let hash = access.hash(&["token", &user.token]);
            if access.accounts.insert(hash, Arc::new(account)).is_some() {
                return Err(refuse("its token is another user's"));
            }
        }
        Ok(access)
    }

    /// Refuses whoever is not the first of the users.
    pub(super) fn check_operator(&self, caller: &Caller) -> Result<(), Refusal> {
        if Some(&caller.account()?.name) == self.operator.as_ref() {
            return Ok(());
        }
        Err(Refusal::forbidden("this is for the first of the hub's users"))
    }

    /// Length by length, so that no two lists of fields look alike.
    fn mac(&self, fields: &[&str]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as hmac::digest::KeyInit>::new((&self.secret).into());
        for field in fields {
            mac.update(&(field.len() as u64).to_le_bytes());
            mac.update(field.as_bytes());
        }
        mac
    }

    fn hash(&self, fields: &[&str]) -> [u8; 32] {
        self.mac(fields).finalize().into_bytes().into()
    }

    /// What proves later that the hub itself wrote these fields.
    pub(super) fn sign(&self, fields: &[&str]) -> String {
        hex::encode(self.hash(fields))
    }

    /// Whether `signature` is what [`sign`](Self::sign) gave, compared in constant time.
    pub(super) fn is_signed(&self, fields: &[&str], signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|bytes| self.mac(fields).verify_slice(&bytes).is_ok())
    }

    /// The sender of a request; a token that nobody has is refused.
    ///
    /// Tokens are looked up by their keyed hash: how long that takes says nothing of any token.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            let has_users = !self.accounts.is_empty();
            return Ok(if has_users { Caller::Stranger } else { Caller::OfNobody });
        };
        if self.accounts.is_empty() {
            return Err(Refusal::no_users());
        }
        let value = value.to_str().map_err(|_| Refusal::bad_token())?;
        let token = value.split_once(' ').filter(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("bearer") && value.len() <= TOKEN_BYTES_MAX
        });
        let (_, token) = token.ok_or_else(Refusal::bad_token)?;
        let account = self.accounts.get(&self.hash(&["token", token.trim()]));
        account.map(|account| Caller::Known(Arc::clone(account))).ok_or_else(Refusal::bad_token)
    }

    /// Counts a request, or says how long to wait.
    pub(super) fn count(
        &self,
        caller: Option<&Caller>,
        peer: IpAddr,
        requests_max: u64,
        now: i64,
    ) -> Result<(), Refusal> {
        let name = match caller.and_then(Caller::known) {
            Some(account) => account.name.clone(),
            None => peer.to_string(),
        };
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.div_euclid(WINDOW_SECONDS);
        if window.0 != number {
            *window = (number, HashMap::new());
        }
        let is_full = window.1.len() >= COUNTED_MAX && !window.1.contains_key(&name);
        let count = window.1.entry(if is_full { String::new() } else { name }).or_default();
        *count = count.saturating_add(1);
        if *count <= requests_max {
            return Ok(());
        }
        let left = WINDOW_SECONDS - now.rem_euclid(WINDOW_SECONDS);
        Err(Refusal::busy(left.unsigned_abs().max(1)))
    }
}
