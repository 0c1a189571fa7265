//! `agon network new`: the folder of a network, there with all its files or not at all.

use super::{
    file::{FILE, Network},
    ports,
    text::{self, Rival, Site},
};
use crate::{
    args::NewNetworkArgs,
    command::{hub, node},
    competition_file,
    contest::{Contest, TOKENIZER_FILE},
    failure::HintExt as _,
    private,
    terminal::{print, print_json, spinner},
};
use anyhow::Context as _;
use dataset::{GeneratedSource, Tokenizer};
use hugging_face::dev::{Role, User, new_token};
use keys::{
    Phrase, Wallet,
    wallet::{DEFAULT_NAME, Existing},
};
use protocol::{
    AccountId, Block, BlockHash, Competition, CompetitionId, Schedule,
    competition::{DatasetRules, Published, TokenizerRules},
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// Name and number of the smaller sister of `tiny`.
const NANO: &str = "nano";
const NANO_ID: CompetitionId = CompetitionId(101);
/// Shares of the two.
const TINY_SHARE: f64 = 0.6;
const NANO_SHARE: f64 = 0.4;

/// Time between two rounds where nobody says how many blocks.
const ROUND_TIME: Duration = Duration::from_secs(30);
/// Blocks that this may be: hidden weights are opened some blocks into an epoch.
const BLOCKS_PER_ROUND: std::ops::RangeInclusive<u64> = 10..=360;

/// The wallet that owns the subnet and holds what newcomers need.
pub const OWNER: &str = "owner";
/// What it holds.
const OWNER_TAO: u64 = 100_000;
/// What everybody holds besides the stake.
const POCKET_TAO: u64 = 100;
/// Stakes of the first validators, and of the others.
const STAKES_TAO: [u64; 3] = [5_000, 3_000, 2_000];
const OTHER_STAKE_TAO: u64 = 1_000;

/// What `--json` prints.
#[derive(Serialize)]
struct Made<'a> {
    config: String,
    chain: String,
    hub: String,
    dashboard: Option<String>,
    validators: Vec<&'a str>,
    miners: Vec<&'a str>,
    competitions: Vec<&'a str>,
}

/// Somebody with a wallet.
pub struct Person {
    /// Name of the role, of its wallet and of its process.
    pub name: String,
    /// Its coldkey.
    pub coldkey: AccountId,
    /// What is put behind its hotkey.
    pub stake_tao: u64,
}

impl Person {
    /// What it holds at the start of the chain.
    pub fn tao(&self) -> u64 {
        if self.name == OWNER { OWNER_TAO } else { self.stake_tao + POCKET_TAO }
    }
}

/// Writes the folder of a network.
pub fn run(args: &NewNetworkArgs) -> anyhow::Result<ExitCode> {
    let dir = std::path::absolute(&args.dir).context("cannot tell where the folder is")?;
    expect_empty(&dir)?;
    if dir.as_os_str().as_encoded_bytes().contains(&b',') {
        return Err(anyhow::anyhow!(
            "`{}` has a comma in it, which parts the names in the lists of config files",
            dir.display()
        ))
        .hint("name a folder without one");
    }
    let mut names = BTreeSet::new();
    if let Some(name) = args.competitions.iter().find(|name| !names.insert(*name)) {
        return Err(anyhow::anyhow!("competition `{name}` is named twice"))
            .hint("--competitions takes each competition once");
    }
    let bar = spinner("making competitions, keys and tokens");
    let contests: Vec<Contest> =
        args.competitions.iter().map(|name| contest(name, args)).collect::<anyhow::Result<_>>()?;
    let rules = contests.iter().map(|contest| contest.competition.clone()).collect();
    Schedule::new(rules).hint("give each competition file a `name` and an `id` of its own")?;
    let first_port = ports::choose(3 + args.validators + args.miners)?;
    let mut made = disk::begin_folder(&dir)
        .with_context(|| format!("cannot make a folder beside `{}`", dir.display()))?;
    write(made.path(), &dir, args, &contests, first_port)
        .with_context(|| format!("cannot make the network in `{}`", dir.display()))?;
    let network = check(made.path(), &contests).context("what was written cannot be read")?;
    disk::rename(made.path(), &dir)
        .with_context(|| format!("cannot make the folder `{}`", dir.display()))?;
    made.disable_cleanup(true);
    bar.finish_and_clear();
    tell(args, &dir, &network, &contests)?;
    Ok(ExitCode::SUCCESS)
}

fn expect_empty(dir: &Path) -> anyhow::Result<()> {
    let is_vacant = private::is_vacant(dir);
    if is_vacant.with_context(|| format!("cannot list `{}`", dir.display()))? {
        return Ok(());
    }
    Err(anyhow::anyhow!("`{}` is not empty", dir.display()))
        .hint("name a new folder; `agon network up` runs a network that is there")
}

/// Blocks from one round to the next.
fn blocks_per_round(args: &NewNetworkArgs) -> u64 {
    let usual = || {
        let blocks = ROUND_TIME.as_millis().div_ceil(args.block_time.as_millis().max(1));
        let (least, most) = (*BLOCKS_PER_ROUND.start(), *BLOCKS_PER_ROUND.end());
        u64::try_from(blocks).unwrap_or(most).clamp(least, most)
    };
    args.blocks_per_round.unwrap_or_else(usual)
}

/// The competition called `name`, with its text and tokenizer pinned.
fn contest(name: &str, args: &NewNetworkArgs) -> anyhow::Result<Contest> {
    let mut contest = match preset(name, args)? {
        Some((competition, world)) => generated(competition, world)?,
        None => {
            let mut contest = competition_file::contest(name, None)?;
            // The file of this network lies in another folder.
            if let DatasetRules::Files { path, .. } = &mut contest.competition.dataset {
                *path = competition_file::path_in(name, path).display().to_string();
            }
            contest
        }
    };
    contest.pin();
    contest
        .draw(Block(0), BlockHash([0; 32]))
        .with_context(|| format!("competition `{}` has no text", contest.competition.name))
        .hint("a competition needs more text; a megabyte is plenty")?;
    Ok(contest)
}

/// `tiny` or `nano`, at the pace of this network, and the world of its text.
fn preset(name: &str, args: &NewNetworkArgs) -> anyhow::Result<Option<(Competition, u64)>> {
    if name != "tiny" && name != NANO {
        return Ok(None);
    }
    let mut competition = Competition::builtin("tiny")?;
    competition.reward_share = TINY_SHARE;
    competition.evaluation.blocks_per_round = blocks_per_round(args);
    competition.evaluation.published = Published::TwoThirds;
    // Longer than a round, which looks for the bytes of what is too young: newcomers count as soon
    // as they are old enough.
    let every = competition.evaluation.blocks_per_round;
    competition.evaluation.commitment_age_min = every.saturating_add(every / 2);
    // Until then everybody has a slot and something to show.
    competition.from_block = competition.evaluation.blocks_per_round.saturating_mul(2);
    let mut world = args.seed;
    if name == NANO {
        competition.name = NANO.to_owned();
        competition.id = NANO_ID;
        competition.reward_share = NANO_SHARE;
        competition.model.n_parameters_max = 200_000;
        competition.model.size_bytes_max = 2 << 20;
        competition.text.sequence_length = 64;
        competition.text.tokenizer = TokenizerRules::Trained { vocabulary: 384, sha256: None };
        world = world.wrapping_add(1);
    }
    competition.dataset = DatasetRules::Generated { world };
    Ok(Some((competition, world)))
}

fn generated(competition: Competition, world: u64) -> anyhow::Result<Contest> {
    let source = GeneratedSource::new(world);
    let vocabulary = competition.text.vocabulary();
    let tokenizer = Tokenizer::train(&source, vocabulary).context("cannot train the tokenizer")?;
    Ok(Contest { competition, source: Arc::new(source), tokenizer: Arc::new(tokenizer) })
}

/// Writes all files into `at`, which will be called `dir`.
fn write(
    at: &Path,
    dir: &Path,
    args: &NewNetworkArgs,
    contests: &[Contest],
    first_port: u16,
) -> anyhow::Result<()> {
    fs::set_permissions(at, Permissions::from_mode(0o700))?;
    let dir = dir.to_str().filter(|dir| !dir.contains(char::is_control));
    let dir = dir.context("the name of the folder is no plain text")?;
    for part in ["config", "competitions", "tokens", "hub"] {
        folder(&at.join(part))?;
    }
    for contest in contests {
        write_contest(&at.join("competitions"), contest)?;
    }
    let stake = |number: u16| {
        let known = STAKES_TAO.get(usize::from(number) - 1);
        known.copied().unwrap_or(OTHER_STAKE_TAO)
    };
    let wallets = at.join("wallets");
    let owner = person(&wallets, OWNER.to_owned(), 0)?;
    let validators: Vec<Person> = (1..=args.validators)
        .map(|number| person(&wallets, format!("validator-{number}"), stake(number)))
        .collect::<anyhow::Result<_>>()?;
    let miners: Vec<Person> = (1..=args.miners)
        .map(|number| person(&wallets, format!("miner-{number}"), 0))
        .collect::<anyhow::Result<_>>()?;
    write_tokens(at, [&owner].into_iter().chain(&miners))?;
    let tempo = contests.iter().map(|contest| contest.competition.evaluation.blocks_per_round);
    let tempo = tempo.min().context("a network needs a competition")?;
    let site = Site {
        dir,
        block_time: args.block_time,
        seed: args.seed,
        tempo: u16::try_from(tempo).unwrap_or(u16::MAX),
        first_port,
        competitions: contests.iter().map(|contest| contest.competition.name.as_str()).collect(),
        owner: &owner,
        validators: &validators,
        miners: &miners,
    };
    private::write_new(&at.join("chain.toml"), &text::chain(&site))?;
    for (number, validator) in validators.iter().enumerate() {
        let path = at.join(format!("config/{}.toml", validator.name));
        private::write_new(&path, &text::validator(&site, validator, number)?)?;
    }
    for (number, miner) in miners.iter().enumerate() {
        let path = at.join(format!("config/{}.toml", miner.name));
        private::write_new(&path, &text::miner(&site, &Rival::new(&site, number), miner)?)?;
    }
    private::write_new(&at.join(FILE), &text::network(&site))
}

fn folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::create_dir(path);
    let closed = made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)));
    closed.with_context(|| format!("cannot make the folder `{}`", path.display()))
}

fn write_contest(competitions: &Path, contest: &Contest) -> anyhow::Result<()> {
    let at = competitions.join(&contest.competition.name);
    folder(&at)?;
    let rules = toml::to_string(&contest.competition)?;
    let remark = text::competition_remark();
    private::write_new(&at.join(text::COMPETITION_FILE), &format!("{remark}{rules}"))?;
    contest.tokenizer.save(&at.join(TOKENIZER_FILE))?;
    Ok(())
}

/// Makes the wallet of somebody, without a password: the network starts by itself.
fn person(wallets: &Path, name: String, stake_tao: u64) -> anyhow::Result<Person> {
    let wallet = Wallet::new(wallets, &name, DEFAULT_NAME)?;
    let coldkey = wallet.create_coldkey(&Phrase::generate()?, None, Existing::Keep)?;
    wallet.create_hotkey(&Phrase::generate()?, None, Existing::Keep)?;
    Ok(Person { name, coldkey, stake_tao })
}

/// A user of the hub for each of `people`, and the token of each in a file of its own.
fn write_tokens<'a>(at: &Path, people: impl Iterator<Item = &'a Person>) -> anyhow::Result<()> {
    let mut users = Vec::new();
    for Person { name, .. } in people {
        let token = new_token()?;
        private::write_new(&at.join("tokens").join(name), &format!("{token}\n"))?;
        users.push(User {
            name: name.clone(),
            token,
            role: Role::Write,
            organisations: Vec::new(),
        });
    }
    hub::write_users(&at.join("hub"), &users)
}

/// Reads everything that was written, as the processes will.
fn check(at: &Path, contests: &[Contest]) -> anyhow::Result<Network> {
    node::read_spec(&at.join("chain.toml"))?.check()?;
    for contest in contests {
        let file: PathBuf =
            at.join("competitions").join(&contest.competition.name).join(text::COMPETITION_FILE);
        let file = file.to_str().context("the name of the folder is no UTF-8 text")?;
        competition_file::contest(file, None)?;
    }
    let network = Network::read(&at.join(FILE))?;
    for participant in network.participants() {
        network.config(participant)?;
    }
    Ok(network)
}

fn tell(
    args: &NewNetworkArgs,
    dir: &Path,
    network: &Network,
    contests: &[Contest],
) -> anyhow::Result<()> {
    let config = dir.join(FILE).display().to_string();
    let (chain, hub) = (network.chain_url(), network.hub_url());
    let dashboard = network.dashboard_url();
    let competitions: Vec<&str> =
        contests.iter().map(|contest| contest.competition.name.as_str()).collect();
    if args.json {
        let validators = network.validators.iter().map(|one| one.name.as_str()).collect();
        let miners = network.miners.iter().map(|one| one.name.as_str()).collect();
        return print_json(&Made {
            config,
            chain,
            hub,
            dashboard,
            validators,
            miners,
            competitions,
        });
    }
    print(&format!(
        "a network in {}: {} validators, {} miners, competitions {}\n  chain  {chain}\n  hub    \
         {hub}\n  pages  {}\nRun it with `agon network up --config {config}`; that file says what \
         is where.\n",
        dir.display(),
        network.validators.len(),
        network.miners.len(),
        competitions.join(", "),
        dashboard.as_deref().unwrap_or("none")
    ))
}
