//! Options of `agon dashboard`.

use super::{AddressArgs, EndpointArgs};
use clap::Args;
use hugging_face::dev::PublicUrl;
use std::{net::SocketAddr, path::PathBuf};

/// Options of `agon dashboard`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon dashboard --netuid 1                    records that validators commit to on the chain
  agon dashboard --netuid 1 --records net/validator-1 --records net/validator-2
  agon dashboard --netuid 9 --network finney --records lab/records --competitions 7b

Nothing is signed. Signature, link and verdict of each record are checked here, and what they come
to is kept in the home, which can be deleted: it is made anew.")]
pub struct DashboardArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub address: AddressArgs,
    /// Subnet that is shown.
    #[arg(long)]
    pub netuid: u16,
    /// Where signed records of a validator lie: a folder, a validator's home, or a dataset repo
    /// `owner/name`; several times for several. Without it, the repos that validators commit to.
    #[arg(long, value_name = "DIR_OR_REPO", value_delimiter = ',')]
    pub records: Vec<String>,
    /// Rules by which verdicts are derived again: a competition that comes with the program, or a
    /// file; several times for several. Those that come with the program are known anyway.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub competitions: Vec<String>,
    /// Address to listen on; port 0 takes any that is free.
    #[arg(long, default_value = "127.0.0.1:9960", value_name = "ADDRESS")]
    #[arg(value_parser = super::listen)]
    pub listen: SocketAddr,
    /// Address by which readers reach the pages, where something stands in front of them; without
    /// it, previews of pages elsewhere have no picture.
    #[arg(long, value_name = "URL", value_parser = super::hub::url)]
    pub public_url: Option<PublicUrl>,
    /// Folder of the index.
    #[arg(long, default_value = "agon-dashboard", value_name = "DIR")]
    pub home: PathBuf,
}

#[cfg(test)]
mod tests {
    use crate::args::{Arguments, Command};
    use clap::Parser as _;
    use hugging_face::dev::PublicUrl;

    fn public_url(url: &str) -> Option<PublicUrl> {
        let words = ["agon", "dashboard", "--netuid", "1", "--public-url", url];
        match Arguments::try_parse_from(words).ok()?.command {
            Command::Dashboard(args) => args.public_url,
            _ => None,
        }
    }

    #[test]
    fn the_public_address_is_one_that_pages_can_be_reached_by() {
        let read = public_url("https://agon.example/pages/").unwrap();
        assert_eq!(read.as_str(), "https://agon.example/pages");
        for wrong in ["agon.example", "javascript:alert(1)", "https://a b", "https://a/?x"] {
            assert_eq!(public_url(wrong), None, "{wrong}");
        }
    }
}
