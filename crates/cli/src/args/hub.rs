//! Options of `agon hub`.

use bytesize::ByteSize;
use clap::Args;
use hugging_face::dev::{PublicUrl, Role, User};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// Options of `agon hub`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon hub                                     one user, whose token is made and kept in the folder
  agon hub --dir /var/lib/agon-hub --listen 0.0.0.0:9950 --quota 1TiB
  agon hub --user alice:hf_aliceToken:write --user bob:hf_bobsToken:read

Clients find the hub by their environment; the first line that the hub prints sets it:
  export HF_ENDPOINT=http://127.0.0.1:9950 HF_TOKEN=hf_… HF_HUB_DISABLE_XET=1
  hf upload agon/my-model model/               publishes a folder
  hf download agon/my-model --local-dir copy   fetches it

Tokens on the command line can be read by every user of the machine. Without --user the users are
those of the file `users.json` in the folder, which is made with one user and a token for it:
  [{\"name\": \"agon\", \"token\": \"hf_…\", \"role\": \"write\", \"organisations\": [\"lab\"]}]

The hub speaks plain HTTP: put something with TLS in front of it where others share the network.
  agon hub --url https://hub.example --trusted-proxy 127.0.0.1
Such a proxy must take whole heads of requests before it passes them on, as nginx, Caddy and HAProxy
do, and must set X-Forwarded-For itself: the hub bounds connections and requests of each client by
what it says.")]
pub struct HubArgs {
    /// Folder of everything that the hub keeps; it goes on from where it was.
    #[arg(long, default_value = "agon-hub", value_name = "DIR")]
    pub dir: PathBuf,
    /// Address to listen on; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9950", value_name = "ADDRESS")]
    #[arg(value_parser = super::listen)]
    pub listen: SocketAddr,
    /// A user with a token that may `read` or `write`; several times for several.
    #[arg(long = "user", value_name = "NAME:TOKEN:ROLE", value_parser = user)]
    pub users: Vec<User>,
    /// Most bytes that the repos of one owner may hold.
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<ByteSize>,
    /// Most files of one revision; each commit keeps a list of all of them.
    #[arg(long, value_name = "N", value_parser = files_max)]
    pub files_max: Option<usize>,
    /// Address by which clients reach the hub, where something stands in front of it; upload links
    /// and next pages begin with it.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub url: Option<PublicUrl>,
    /// Addresses of proxies in front of the hub, with commas between them: what they say of a
    /// client's address, scheme and host counts (X-Forwarded-For, -Proto and -Host, or Forwarded),
    /// and what anybody else says of that does not.
    #[arg(long = "trusted-proxy", value_name = "ADDRESS", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpAddr>,
    /// Print one line of JSON on stdout when the hub listens, and nothing more.
    #[arg(long)]
    pub json: bool,
}

/// Most files of one revision that may be asked for.
const FILES_MAX: usize = 100_000;

fn files_max(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=FILES_MAX).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {FILES_MAX}"))
}

/// Reads the address by which others reach something.
pub(super) fn url(text: &str) -> Result<PublicUrl, String> {
    text.parse().map_err(str::to_owned)
}

/// A user as the command line names one.
fn user(text: &str) -> Result<User, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (name, token, role) = match parts[..] {
        [name, token] => (name, token, Role::Write),
        [name, token, "write"] => (name, token, Role::Write),
        [name, token, "read"] => (name, token, Role::Read),
        [_, _, role] => return Err(format!("the role `{role}` is not one of `read` and `write`")),
        _ => return Err("expected NAME:TOKEN:ROLE".to_owned()),
    };
    Ok(User { name: name.to_owned(), token: token.to_owned(), role, organisations: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_a_token_and_a_role() {
        let user = user("ann:hf_secret:read");
        assert!(user.is_ok_and(|user| user.name == "ann" && user.role == Role::Read));
        assert!(super::user("ann:hf_secret").is_ok_and(|user| user.role == Role::Write));
        for wrong in ["", "ann", "ann:hf_secret:admin", "ann:hf_secret:write:more"] {
            assert!(super::user(wrong).is_err(), "{wrong}");
        }
    }
}
