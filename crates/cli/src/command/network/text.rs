//! The files of a network as a person reads them: every key with what it is for.

use super::{
    create::{OWNER, Person},
    file::FORMAT,
};
use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// Name of the file with the rules of a competition, in a folder of its name.
pub const COMPETITION_FILE: &str = "competition.toml";

/// Bytes of a log, and logs of a process, that are kept.
const LOG_BYTES_MAX: u64 = 8 << 20;
const N_LOGS_MAX: u32 = 4;
/// Milliseconds of a block in which a miner trains one step: several train on one machine.
const MS_PER_STEP: u128 = 200;
const STEPS_PER_BLOCK_MAX: u128 = 100;

/// What the files of a network have in common.
pub struct Site<'a> {
    /// The folder, from the root on.
    pub dir: &'a str,
    /// Time between blocks.
    pub block_time: Duration,
    /// What sets the chain apart.
    pub seed: u64,
    /// Blocks of an epoch: those of the shortest round.
    pub tempo: u16,
    /// The first of the ports.
    pub first_port: u16,
    /// Names of the competitions.
    pub competitions: Vec<&'a str>,
    /// Who owns the subnet.
    pub owner: &'a Person,
    /// Who measures.
    pub validators: &'a [Person],
    /// Who trains.
    pub miners: &'a [Person],
}

impl Site<'_> {
    fn address(&self, number: usize) -> String {
        let port = usize::from(self.first_port).saturating_add(number);
        format!("127.0.0.1:{port}")
    }

    fn chain_url(&self) -> String {
        format!("ws://{}", self.address(0))
    }

    fn hub_url(&self) -> String {
        format!("http://{}", self.address(1))
    }

    fn path(&self, path: &str) -> String {
        quoted(&format!("{}/{path}", self.dir))
    }

    fn competition(&self, name: &str) -> String {
        self.path(&format!("competitions/{name}/{COMPETITION_FILE}"))
    }

    fn block_time(&self) -> String {
        format!("{}ms", self.block_time.as_millis())
    }
}

/// What one miner does, so that not all do the same.
pub struct Rival<'a> {
    number: usize,
    competition: &'a str,
    strategy: &'static str,
}

impl<'a> Rival<'a> {
    /// The part of the miner with this number, from 0: one competition after the other, in each
    /// some who begin anew and some who train on from the champion.
    pub fn new(site: &Site<'a>, number: usize) -> Self {
        let n_competitions = site.competitions.len().max(1);
        let competition = site.competitions.get(number % n_competitions).copied();
        let is_first = (number / n_competitions).is_multiple_of(2);
        Self {
            number,
            competition: competition.unwrap_or_default(),
            strategy: if is_first { "pretrain" } else { "rebase" },
        }
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What stands above the rules of a competition.
pub fn competition_remark() -> &'static str {
    "# The rules of one competition of this network. Everybody must have the same: a validator\n\
     # with others comes to other verdicts. `reward_share` is relative to the other competitions,\n\
     # text and tokenizer are pinned, and the tokenizer lies beside this file.\n\n"
}

/// `network.toml`.
pub fn network(site: &Site<'_>) -> String {
    let [chain, hub, dashboard] = [0, 1, 2].map(|number| quoted(&site.address(number)));
    let mut text = format!(
        "# A network on one machine. `agon network up --config {file}` runs it: the node\n\
         # first, then the hub, the validators, the miners, the pages. Relative paths start here.\n\
         # Ports are 127.0.0.1's: nothing here can be reached from another machine.\n\
         #\n\
         #   chain.toml      what the chain starts with; not to be changed once there are blocks\n\
         #   competitions/   the rules of each competition with its tokenizer\n\
         #   config/         a file for each validator and miner\n\
         #   wallets/        their keys in Bittensor's files, without passwords: for this alone\n\
         #   tokens/         what they are to the hub\n\
         #   logs/           what each process wrote; folders with other names are its memory\n\
         \n\
         # Version of this file.\n\
         format = {FORMAT}\n\
         \n\
         # Subnet of the competitions {competitions}.\n\
         netuid = 1\n\
         \n\
         [chain]\n\
         # Address of the node; the config files name it as well.\n\
         listen = {chain}\n\
         # Its folder.\n\
         home = \"node\"\n\
         # What it starts with.\n\
         spec = \"chain.toml\"\n\
         # Time between blocks.\n\
         block_time = {block_time}\n\
         # It answers for the state after any block, so that `agon replay` has it.\n\
         archive = true\n\
         \n\
         [hub]\n\
         # Address of the hub; the config files name it as well.\n\
         listen = {hub}\n\
         # Its folder, with its users and their tokens in users.json.\n\
         dir = \"hub\"\n\
         \n\
         [dashboard]\n\
         # Address of pages for spectators; without this table there are none.\n\
         listen = {dashboard}\n\
         # Folder of their index, which can be deleted: it is made anew.\n\
         home = \"dashboard\"\n\
         \n\
         [logs]\n\
         # Their folder.\n\
         dir = \"logs\"\n\
         # Bytes after which a log is put aside as NAME.log.1.\n\
         size_bytes_max = {LOG_BYTES_MAX}\n\
         # Logs of one process that are kept.\n\
         n_files_max = {N_LOGS_MAX}\n",
        file = quoted(&format!("{}/network.toml", site.dir)),
        competitions = site.competitions.join(", "),
        block_time = quoted(&site.block_time()),
    );
    for (table, people) in [("validators", site.validators), ("miners", site.miners)] {
        if !people.is_empty() {
            text += match table {
                "validators" => {
                    "\n# Who measures. Whoever is added here gets a slot, and the stake, at the next start.\n"
                }
                _ => "\n# Who trains.\n",
            };
        }
        for person in people {
            // Writing to a text cannot fail.
            let _ = participant(&mut text, table, person);
        }
    }
    text
}

fn participant(text: &mut String, table: &str, person: &Person) -> fmt::Result {
    let Person { name, stake_tao, .. } = person;
    writeln!(text, "[[{table}]]\nname = {}", quoted(name))?;
    writeln!(text, "config = {}", quoted(&format!("config/{name}.toml")))?;
    if *stake_tao > 0 {
        writeln!(text, "stake_tao = {stake_tao}")?;
    }
    Ok(())
}

/// What the chain starts with.
pub fn chain(site: &Site<'_>) -> String {
    let n_people = site.validators.len() + site.miners.len();
    let tempo = u64::from(site.tempo);
    let mut text = format!(
        "# What the chain of this network starts with, as `agon node --spec` takes it. The first\n\
         # block is made of it: once there are blocks, another text is refused.\n\
         \n\
         # Sets apart the hashes of this network.\n\
         seed = {seed}\n\
         \n\
         [[subnets]]\n\
         # The wallet `{OWNER}`: it may change the rules, with `agon chain subnet set`.\n\
         owner = \"{owner}\"\n\
         \n\
         [subnets.hyperparameters]\n\
         # Blocks between two epochs: one for each round.\n\
         tempo = {tempo}\n\
         # Weights are hidden until an epoch later, as on Bittensor.\n\
         commit_reveal = true\n\
         reveal_period = 1\n\
         # Permits to set weights.\n\
         max_validators = {max_validators}\n\
         # Everybody registers at once, and some more may come.\n\
         max_registrations_per_block = {per_block}\n\
         target_registrations = {target}\n\
         # Blocks between two settings of weights, and between two commitments, of one hotkey.\n\
         weights_rate_limit = {rate_limit}\n\
         commitment_rate_limit = {rate_limit}\n\
         # Blocks for which a new slot is not taken away, and a silent validator keeps its say.\n\
         immunity_period = {immunity}\n\
         activity_cutoff = {cutoff}\n\
         \n\
         # Who holds what: stakes, a little for slots, and with the owner what newcomers need.\n",
        seed = site.seed,
        owner = site.owner.coldkey,
        max_validators = site.validators.len().max(1),
        per_block = n_people.max(1),
        target = n_people + 8,
        rate_limit = (tempo / 4).max(1),
        immunity = tempo * 20,
        cutoff = tempo * 100,
    );
    for person in [site.owner].into_iter().chain(site.validators).chain(site.miners) {
        let (name, coldkey, tao) = (&person.name, person.coldkey, person.tao());
        text += &format!("[[accounts]] # {name}\naccount = \"{coldkey}\"\ntao = {tao}\n");
    }
    text
}

/// What the files of validators and miners begin with.
fn service(text: &mut String, site: &Site<'_>, kind: &str, name: &str) -> fmt::Result {
    writeln!(
        text,
        "# The {kind} `{name}`: `agon {kind} run --config FILE` runs it alone, and `agon network up`\n\
         # among the others. An option of the command line beats this file.\n"
    )?;
    writeln!(text, "# The chain, and the subnet on it.")?;
    writeln!(text, "network = {}\nnetuid = 1\n", quoted(&site.chain_url()))?;
    writeln!(text, "# Its keys, in Bittensor's files.")?;
    writeln!(text, "wallet = {}\nwallet_path = {}\n", quoted(name), site.path("wallets"))?;
    writeln!(text, "# Where models are published.\nhub = {}\n", quoted(&site.hub_url()))?;
    writeln!(text, "# Everything that it remembers; with this folder it goes on where it was.")?;
    writeln!(text, "home = {}\n", site.path(name))
}

fn listen(text: &mut String, site: &Site<'_>, number: usize) -> fmt::Result {
    writeln!(text, "# Where /metrics, /healthz and /readyz are.")?;
    writeln!(text, "listen = {}", quoted(&site.address(number)))
}

/// The config file of a validator; `number` counts validators from 0.
pub fn validator(site: &Site<'_>, validator: &Person, number: usize) -> Result<String, fmt::Error> {
    let mut text = String::new();
    service(&mut text, site, "validator", &validator.name)?;
    let competitions: Vec<String> =
        site.competitions.iter().map(|name| site.competition(name)).collect();
    writeln!(text, "# The competitions that it measures.")?;
    writeln!(text, "competitions = [\n  {},\n]\n", competitions.join(",\n  "))?;
    writeln!(text, "# Threads of an evaluation; the losses are the same for any number.")?;
    writeln!(text, "threads = 1\n")?;
    listen(&mut text, site, 3 + number)?;
    Ok(text)
}

/// The config file of a miner.
pub fn miner(site: &Site<'_>, rival: &Rival<'_>, miner: &Person) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let name = &miner.name;
    service(&mut text, site, "miner", name)?;
    writeln!(text, "# Its token for the hub.")?;
    writeln!(text, "token_file = {}\n", site.path(&format!("tokens/{name}")))?;
    writeln!(text, "# What it competes in, and the repo that its models go to.")?;
    writeln!(text, "competition = {}", site.competition(rival.competition))?;
    writeln!(text, "repo = {}\n", quoted(&format!("{name}/{}", rival.competition)))?;
    writeln!(text, "# `pretrain` begins anew, `rebase` trains on from the champion.")?;
    writeln!(text, "strategy = {}\n", quoted(rival.strategy))?;
    let steps = (site.block_time.as_millis() / MS_PER_STEP).clamp(1, STEPS_PER_BLOCK_MAX);
    writeln!(text, "# Training steps at each block, and threads that they take.")?;
    writeln!(text, "steps_per_block = {steps}\nthreads = 1\n")?;
    listen(&mut text, site, 3 + site.validators.len() + rival.number)?;
    Ok(text)
}
