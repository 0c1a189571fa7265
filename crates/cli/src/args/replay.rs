//! Options of `agon replay` and `agon evidence`.

use super::{AddressArgs, NamedNetwork, chain::network};
use bytesize::ByteSize;
use clap::Args;
use protocol::{AccountId, Uid};
use std::path::PathBuf;

/// Options of `agon replay`.
#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:
  agon replay --home agon-home                 all records of a demo, offline
  agon replay --home agon-home agon-home/validator-1/records --latest 1
  agon replay record.json --competition my.toml --store models/ --hub http://127.0.0.1:9950
  agon replay https://hub.example/datasets/lab/records --latest 3 --models champion \\
    --hub https://hub.example --chain finney
  agon replay --validator 5F… --netuid 9 --chain finney --hub https://hub.example --latest 1 --leaf
  agon replay --compare a.json b.json          what two validators measured of the same
  agon replay --rules other.toml agon-home/validator-1/records

A RECORD is a file, a folder of records, a home or a copy of a repo with one, or the address of a
repo on a hub or of a file in it. Of each record, in this order: signature, link to the record
before it, rules, seed, pay and models on the chain, rows, sequences, losses, evidence, decision,
weights. Each ends as `equal` (to the bit), `DIFFERS`, or `not checked` with why and with what to
give. Pay and models need a chain that has the state before the round: that of a home, of
`agon node --archive`, or Bittensor's archive.

Nothing is asked of a hub or a chain that is not named here; the home of a demo or a network has
both.

The exit code is 0 if all that was asked for equals, 1 if something differs, 3 if nothing differs
and something could not be checked, 2 for a wrong call or trouble of this machine.")]
pub struct ReplayArgs {
    /// Records: files, folders, or addresses on a hub; without any, those of --home.
    #[arg(value_name = "RECORD", conflicts_with_all = ["compare", "validator"])]
    pub records: Vec<String>,
    /// Compare two records: losses of one model on one sequence that differ are evidence of a
    /// fault.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    #[arg(conflicts_with_all = ["rules", "leaf", "models", "validator", "latest"])]
    pub compare: Vec<PathBuf>,
    /// Say what the crown would have been by the scoring of another competition file, from the
    /// losses that the records hold.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["leaf", "models"])]
    pub rules: Option<String>,
    /// The records that this hotkey commits to on the chain, or that lie in --home.
    #[arg(long, value_name = "HOTKEY")]
    pub validator: Option<AccountId>,
    /// Only the newest records of each competition; those before say what came before.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub latest: Option<u64>,
    /// Whose losses are measured again: all, champion, or a uid.
    #[arg(long, value_name = "WHOSE", default_value = "all", value_parser = asked)]
    pub models: AskedModels,
    /// Measure one loss of each record again, drawn by chance.
    #[arg(long, conflicts_with = "models")]
    pub leaf: bool,
    /// Number that the choice of --leaf comes from; without it one that is drawn and told.
    #[arg(long, value_name = "N", requires = "leaf")]
    pub seed: Option<u64>,
    /// Home of a demo, a network or a validator, of which records, rules, models, hub and chain are
    /// used.
    #[arg(long, value_name = "DIR")]
    pub home: Vec<PathBuf>,
    /// Folder of models by the digest of their files, as a validator keeps them, or one model; what
    /// comes from a hub is kept in the first.
    #[arg(long, value_name = "DIR")]
    pub store: Vec<PathBuf>,
    /// The hub of models and records.
    #[command(flatten)]
    pub address: AddressArgs,
    /// Rules of the records: a competition file, or a name; without it those of this program and
    /// of --home, by their digest.
    #[arg(long, value_name = "NAME")]
    pub competition: Option<String>,
    /// Folder of the files of a pinned dataset; without it they are read from the hub.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The chain: local, test, finney, archive, or an address, `ws://…` or `wss://…`.
    #[arg(long, value_name = "NAME_OR_URL", value_parser = network)]
    pub chain: Option<NamedNetwork>,
    /// Subnet on which --validator has its slot.
    #[arg(long, value_name = "NETUID")]
    pub netuid: Option<u16>,
    /// Threads that measure; without it all of the machine. Losses do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Most memory that measuring takes; without it three quarters of the machine's.
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Print one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}

/// Whose losses are measured again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskedModels {
    /// Everybody's.
    #[default]
    All,
    /// Those of whoever holds the crown after the round.
    Champion,
    /// Those of one slot.
    Of(Uid),
}

fn asked(text: &str) -> Result<AskedModels, String> {
    match text {
        "all" => Ok(AskedModels::All),
        "champion" => Ok(AskedModels::Champion),
        uid => uid
            .parse()
            .map(|uid| AskedModels::Of(Uid(uid)))
            .map_err(|_| format!("`{uid}` is neither all nor champion nor a uid")),
    }
}

/// Options of `agon evidence`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  agon evidence validator-1/records validator-2/records validator-3/records
  agon evidence a/records b/records --challenger sha256:… --json

Records of several validators of one competition in which each draws text of its own. Of each duel
that two or more of them have, the evidence is multiplied: independent e-values make an e-value.
All records since a duel began are needed, as they name its documents. All evidence is derived from
the losses in the records, on from record 1; without that one it is as stated.

The exit code is 0, or 1 where a signature is wrong, a record does not follow from its losses, or
evidence is not independent; 3 where nothing could be multiplied, or some of it is as stated; 2 for
a wrong call or trouble of this machine.")]
pub struct EvidenceArgs {
    /// Records: files, or folders of them.
    #[arg(value_name = "RECORD", required = true)]
    pub records: Vec<String>,
    /// Only duels of the challenger of this tensor root.
    #[arg(long, value_name = "ROOT")]
    pub challenger: Option<protocol::Digest>,
    /// Rules of the records: a competition file, or a name; without it those of this program.
    #[arg(long, value_name = "NAME")]
    pub competition: Option<String>,
    /// Print one JSON document on stdout.
    #[arg(long)]
    pub json: bool,
}
