//! Calls: signed by the wallet, confirmed where they cost, waited for.

use super::{
    session::{Session, Signer, connect},
    table::{self, tao},
};
use crate::{
    args::{CommitArgs, RegisterArgs, SetArgs, ShowArgs, StakeArgs, TransferArgs},
    competition_file,
    failure::HintExt as _,
    terminal::{print, print_json},
};
use anyhow::Context as _;
use chain::{Call, HyperparameterChange};
use hub::content::file_root;
use hugging_face::Folder;
use protocol::{AccountId, Commitment, NetUid};
use std::path::Path;

/// `agon chain transfer`.
pub fn transfer(args: &TransferArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let what = format!("send {} TAO to {}", tao(args.amount_rao), args.to);
    session.confirm(&what, Signer::Coldkey)?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::Transfer { to: args.to, amount_rao: args.amount_rao };
    session.make(&call, &coldkey, &format!("sent {} TAO to {}", tao(args.amount_rao), args.to))
}

/// `agon chain register`.
pub fn register(args: &RegisterArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let netuid = NetUid(args.netuid);
    let hotkey = session.keys.hotkey_account()?;
    let price = session.chain.slot_price_rao(netuid)?;
    if let Some(uid) = session.chain.slot(netuid, hotkey)? {
        anyhow::bail!("{hotkey} has a slot on subnet {netuid} already: uid {uid}");
    }
    if let Some(limit) = args.limit.filter(|limit| *limit < price) {
        return Err(anyhow::anyhow!(
            "a slot on subnet {netuid} costs {} TAO now, more than {}",
            tao(price),
            tao(limit)
        ))
        .hint("the price falls while nobody registers; raise --limit or wait");
    }
    session.confirm(
        &format!("burn about {} TAO for a slot on subnet {netuid}", tao(price)),
        Signer::Coldkey,
    )?;
    let coldkey = session.keys.coldkey()?;
    let call = match args.limit {
        // The price may move until the call is included: the chain holds to the limit, if it can.
        Some(limit_rao) if session.chain.takes_price_limits()? => {
            Call::RegisterLimit { netuid, hotkey, limit_rao }
        }
        _ => Call::BurnedRegister { netuid, hotkey },
    };
    session.make_telling(&call, &coldkey, |effects| {
        let uid = effects.slot.map(|(_, uid)| format!(" as uid {uid}")).unwrap_or_default();
        format!("registered {hotkey} on subnet {netuid}{uid}")
    })
}

/// `agon chain stake`.
pub fn stake(args: &StakeArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let (hotkey, netuid) = (staked(&session, args)?, NetUid(args.netuid));
    let amount = tao(args.amount_rao);
    session.confirm(
        &format!("stake {amount} TAO behind {hotkey} on subnet {netuid}"),
        Signer::Coldkey,
    )?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::AddStake { hotkey, netuid, amount_rao: args.amount_rao };
    session.make(&call, &coldkey, &format!("staked {amount} TAO behind {hotkey}"))
}

/// `agon chain unstake`.
pub fn unstake(args: &StakeArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let (hotkey, netuid) = (staked(&session, args)?, NetUid(args.netuid));
    let amount = tao(args.amount_rao);
    session.confirm(
        &format!("take {amount} of the stake behind {hotkey} on subnet {netuid}"),
        Signer::Coldkey,
    )?;
    let coldkey = session.keys.coldkey()?;
    let call = Call::RemoveStake { hotkey, netuid, amount_rao: args.amount_rao };
    session.make(&call, &coldkey, &format!("took {amount} from behind {hotkey}"))
}

fn staked(session: &Session<'_>, args: &StakeArgs) -> anyhow::Result<AccountId> {
    args.hotkey_address.map_or_else(|| session.keys.hotkey_account(), Ok)
}

/// `agon chain commit`.
pub fn commit(args: &CommitArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let text = match &args.model {
        Some(dir) => of_model(args, dir, session.keys.hotkey_account()?)?,
        None => args.text.clone().unwrap_or_default(),
    };
    session.confirm(&format!("commit to `{text}` on subnet {}", args.netuid), Signer::Hotkey)?;
    let hotkey = session.keys.hotkey()?;
    let call = Call::SetCommitment { netuid: NetUid(args.netuid), data: text.clone().into_bytes() };
    session.make(&call, &hotkey, &format!("committed to `{text}`"))
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

/// `agon chain subnet show`.
pub fn show_rules(args: &ShowArgs) -> anyhow::Result<()> {
    let rules = connect(&args.endpoint)?.rules(NetUid(args.netuid))?;
    if args.endpoint.json {
        return print_json(&rules);
    }
    print(&table::rules(&rules))
}

/// `agon chain subnet set`: one rule after the other; the first refusal is the end.
pub fn set_rules(args: &SetArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let netuid = NetUid(args.netuid);
    let rules: Vec<String> =
        args.changes.iter().map(|rule| shown(*rule)).collect::<Result<_, _>>()?;
    session.confirm(&format!("set {} on subnet {netuid}", rules.join(" ")), Signer::Coldkey)?;
    let coldkey = session.keys.coldkey()?;
    for (i, (change, rule)) in args.changes.iter().zip(&rules).enumerate() {
        let call = Call::SetHyperparameter { netuid, change: *change };
        session
            .make(&call, &coldkey, &format!("subnet {netuid}: {rule}"))
            .with_context(|| outcome(&rules, i))?;
    }
    Ok(())
}

/// Which rule could not be set, which were before it, and which were not tried.
fn outcome(rules: &[String], failed: usize) -> String {
    let list = |rules: Option<&[String]>| rules.unwrap_or_default().join(" ");
    let mut text = format!("cannot set {}", list(rules.get(failed..=failed)));
    for (word, rules) in
        [("set before", rules.get(..failed)), ("not tried", rules.get(failed + 1..))]
    {
        let rules = list(rules);
        if !rules.is_empty() {
            text += &format!(" ({word}: {rules})");
        }
    }
    text
}

/// A change as it is written on the command line.
fn shown(change: HyperparameterChange) -> anyhow::Result<String> {
    let value = serde_json::to_value(change)?;
    let rules = value.as_object().into_iter().flatten();
    Ok(rules.map(|(rule, value)| format!("{rule}={value}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn of_several_rules_each_has_its_outcome() {
        let rules = ["activity_cutoff=5", "tempo=0", "kappa=100"].map(str::to_owned);
        let text = outcome(&rules, 1);
        assert_eq!(
            text,
            "cannot set tempo=0 (set before: activity_cutoff=5) (not tried: kappa=100)"
        );
        assert_eq!(outcome(&rules[..1], 0), "cannot set activity_cutoff=5");
    }

    #[derive(Parser)]
    struct Rules {
        #[command(flatten)]
        args: SetArgs,
    }

    #[test]
    fn a_rule_is_shown_as_it_is_typed() {
        let typed = |rules: &[String]| {
            let words = ["agon", "--netuid", "1"].map(str::to_owned).into_iter();
            Rules::parse_from(words.chain(rules.iter().cloned())).args.changes
        };
        let given = ["tempo=20", "commit_reveal=false", "min_burn=5", "weights_version=0"];
        let changes = typed(&given.map(str::to_owned));
        let rules: Vec<String> = changes.iter().map(|rule| shown(*rule).unwrap()).collect();
        assert_eq!(
            rules,
            ["tempo=20", "commit_reveal=false", "min_burn_rao=5", "weights_version=0"]
        );
        assert_eq!(typed(&rules), changes);
    }

    #[derive(Parser)]
    struct Commits {
        #[command(flatten)]
        args: CommitArgs,
    }

    #[test]
    fn a_model_that_cannot_be_named_on_the_chain_says_what_is_missing() {
        let told = |dir: &str, competition: &str| {
            let revision = "1".repeat(40);
            let words = ["agon", "--netuid", "1", "--repo", "me/m", "--revision", &revision];
            let more = ["--model", dir, "--competition", competition];
            let args = Commits::parse_from(words.into_iter().chain(more)).args;
            let error = of_model(&args, Path::new(dir), AccountId([1; 32])).unwrap_err();
            format!("{error:#}")
        };
        let missing = told("no-such-folder", "tiny");
        assert!(missing.contains("cannot read the model in `no-such-folder`"), "{missing}");
        let unknown = told("no-such-folder", "tinny");
        assert!(unknown.contains("tinny"), "{unknown}");
        for words in [
            &["agon", "--netuid", "1"][..],
            &["agon", "--netuid", "1", "text", "--model", "m"],
            &["agon", "--netuid", "1", "--model", "m", "--repo", "me/m"],
            &["agon", "--netuid", "1", "text", "--revision", "1"],
        ] {
            assert!(Commits::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
