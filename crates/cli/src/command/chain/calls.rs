//! Calls: signed by the wallet, confirmed where they cost, waited for.

use super::{session::Session, table::tao};
use crate::{
    args::{
        CommitArgs, CreateArgs, RegisterArgs, SetArgs, SetWeightsArgs, StakeArgs, TransferArgs,
    },
    competition_file,
    failure::HintExt as _,
};
use anyhow::Context as _;
use chain::{Call, HyperparameterChange};
use hub::{Folder, content::file_root};
use protocol::{AccountId, Commitment, NetUid, Uid, weights};
use std::{collections::BTreeMap, path::Path};

/// `agon chain transfer`.
pub fn transfer(args: &TransferArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let what = format!("send {} TAO to {}", tao(args.amount_rao), args.to);
    session.confirm(&what)?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::Transfer { to: args.to, amount_rao: args.amount_rao };
    session.make(call, &coldkey, &format!("sent {} TAO to {}", tao(args.amount_rao), args.to))
}

/// `agon chain register`.
pub fn register(args: &RegisterArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let netuid = NetUid(args.netuid);
    let hotkey = session.keys.hotkey_account()?;
    let price = session.chain.slot_price_rao(netuid)?;
    if let Some(limit) = args.limit.filter(|limit| *limit < price) {
        return Err(anyhow::anyhow!(
            "a slot on subnet {netuid} costs {} TAO now, more than {}",
            tao(price),
            tao(limit)
        ))
        .hint("the price falls while nobody registers; raise --limit or wait");
    }
    session.confirm(&format!("burn about {} TAO for a slot on subnet {netuid}", tao(price)))?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::BurnedRegister { netuid, hotkey };
    session.make(call, &coldkey, &format!("registered {hotkey} on subnet {netuid}"))
}

/// `agon chain stake`.
pub fn stake(args: &StakeArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let (hotkey, netuid) = (staked(&session, args)?, NetUid(args.netuid));
    let amount = tao(args.amount_rao);
    session.confirm(&format!("stake {amount} TAO behind {hotkey} on subnet {netuid}"))?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::AddStake { hotkey, netuid, amount_rao: args.amount_rao };
    session.make(call, &coldkey, &format!("staked {amount} TAO behind {hotkey}"))
}

/// `agon chain unstake`.
pub fn unstake(args: &StakeArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let (hotkey, netuid) = (staked(&session, args)?, NetUid(args.netuid));
    let amount = tao(args.amount_rao);
    session.confirm(&format!("take {amount} of the stake behind {hotkey} on subnet {netuid}"))?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::RemoveStake { hotkey, netuid, amount_rao: args.amount_rao };
    session.make(call, &coldkey, &format!("took {amount} from behind {hotkey}"))
}

fn staked(session: &Session<'_>, args: &StakeArgs) -> anyhow::Result<AccountId> {
    args.hotkey_address.map_or_else(|| session.keys.hotkey_account(), Ok)
}

/// `agon chain commit`.
pub fn commit(args: &CommitArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let hotkey = session.keys.hotkey()?;
    let text = match &args.model {
        Some(dir) => of_model(args, dir, hotkey.public())?,
        None => args.text.clone().unwrap_or_default(),
    };
    let call = Call::SetCommitment { netuid: NetUid(args.netuid), data: text.clone().into_bytes() };
    session.make(call, &hotkey, &format!("committed to `{text}`"))
}

/// The text that names the model in a folder.
fn of_model(args: &CommitArgs, dir: &Path, hotkey: AccountId) -> anyhow::Result<String> {
    let missing = "--model needs --repo, --revision and --competition";
    let name = args.competition.as_deref().context(missing)?;
    let competition = competition_file::rules(name)?.id;
    let files = Folder::of_model(dir).and_then(|folder| folder.list(&|_, _| true));
    let files = files.with_context(|| format!("cannot read the model in `{}`", dir.display()))?;
    let root = file_root(&files);
    let repo = args.repo.as_ref().context(missing)?;
    let revision = args.revision.as_ref().context(missing)?;
    Ok(Commitment::bound(repo, revision, &root, &hotkey, competition).to_text()?)
}

/// `agon chain set-weights`.
pub fn set_weights(args: &SetWeightsArgs) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<Uid, f64> = BTreeMap::new();
    for (uid, weight) in &args.weights {
        anyhow::ensure!(wanted.insert(*uid, *weight).is_none(), "uid {uid} has two weights");
    }
    let quantized = weights::quantize(&wanted);
    anyhow::ensure!(!quantized.is_empty(), "all weights are zero");
    let session = Session::open(&args.sign)?;
    let hotkey = session.keys.hotkey()?;
    let (uids, weights) = quantized.iter().copied().unzip();
    let netuid = NetUid(args.netuid);
    let call = Call::SetWeights { netuid, uids, weights, version_key: args.version_key };
    session.make(call, &hotkey, &format!("set {} weights on subnet {netuid}", quantized.len()))
}

/// `agon chain subnet create`.
pub fn create_subnet(args: &CreateArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let hotkey = session.keys.hotkey_account()?;
    let price = session.chain.network_price_rao()?;
    session.confirm(&format!("lock {} TAO to open a subnet", tao(price)))?;
    let coldkey = session.keys.coldkey()?;
    let before = session.chain.info()?.subnets;
    session.make(Call::RegisterNetwork { hotkey }, &coldkey, "opened a subnet")?;
    let opened = session.chain.info()?.subnets;
    if let Some(netuid) = opened.iter().find(|netuid| !before.contains(netuid)) {
        // On stderr, because --json has said its one document.
        eprintln!("the subnet is number {netuid}");
    }
    Ok(())
}

/// `agon chain subnet set`.
pub fn set_rules(args: &SetArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let coldkey = session.keys.coldkey()?;
    let netuid = NetUid(args.netuid);
    for change in &args.changes {
        let call = Call::SetHyperparameter { netuid, change: *change };
        session.make(call, &coldkey, &format!("subnet {netuid}: {}", shown(*change)?))?;
    }
    Ok(())
}

/// A change as it is written on the command line.
fn shown(change: HyperparameterChange) -> anyhow::Result<String> {
    let value = serde_json::to_value(change)?;
    let rules = value.as_object().into_iter().flatten();
    Ok(rules.map(|(rule, value)| format!("{rule}={value}")).collect())
}
