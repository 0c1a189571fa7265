//! Options of `agon upload` and `agon download`.

use clap::Args;
use std::path::PathBuf;

/// Which hub, and who we are there.
#[derive(Debug, Default, Args)]
pub struct AddressArgs {
    /// Address of the hub; without it HF_ENDPOINT, or Hugging Face's, whose token is HF_TOKEN's,
    /// or in the file where `hf auth login` keeps it. The token for another is AGON_HUB_TOKEN's.
    #[arg(long, value_name = "URL")]
    pub hub: Option<String>,
    /// File with the token for the hub.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// How to reach a repo.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The hub.
    #[command(flatten)]
    pub address: AddressArgs,
    /// The repo is a dataset, not a model.
    #[arg(long)]
    pub dataset: bool,
    /// Print JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Options of `agon upload`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon upload my-model/ alice/my-model
  agon upload my-model/ alice/my-model --private --hub http://127.0.0.1:8100
The folder becomes all of the repo, in one commit. What the hub has is not sent again. Of a model
goes what validators admit, with the texts beside it; what is left out is listed.")]
pub struct UploadArgs {
    /// Folder whose files become those of the repo.
    pub dir: PathBuf,
    /// Repo, as `owner/name`; it is made if it is not there.
    pub repo: String,
    /// Let nobody else see a repo that is made.
    #[arg(long)]
    pub private: bool,
    /// Send also what no validator admits in a model; hidden and special files stay all the same.
    #[arg(long)]
    pub all: bool,
    /// First line of the commit.
    #[arg(long, value_name = "TEXT", default_value = "Upload with agon")]
    pub message: String,
    /// The hub.
    #[command(flatten)]
    pub hub: PlaceArgs,
}

/// Options of `agon download`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon download alice/my-model my-model/
  agon download alice/my-model@9bb2fd4e… my-model/ --hub http://127.0.0.1:8100
A download that was interrupted goes on where it was; files that are there are not fetched again.
The exit code is 0, or 1 if files were left out because their names are none for files here.")]
pub struct DownloadArgs {
    /// Repo, as `owner/name` or `owner/name@REVISION`; the revision may be a branch or a tag.
    pub repo: String,
    /// Folder for the files, which is made if it is not there.
    pub dir: PathBuf,
    /// The hub.
    #[command(flatten)]
    pub hub: PlaceArgs,
}
