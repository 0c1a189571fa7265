//! `agon competition publish`: the competitions of a subnet, on a hub and by digest on its chain.
//!
//! Everything is checked, then uploaded, then committed to: whatever ends the command before its
//! last step has changed nothing for anybody, and the same command goes on.

use super::accept::Acceptance;
use crate::{
    args::PublishCompetitionsArgs,
    command::{
        chain::{Session, Signer},
        upload,
    },
    competition_file,
    failure::HintExt as _,
    hugging_face::{self, explained},
    input,
    owner_set::{
        Bounds, Fetched, INDEX, Published, Store, owner_hotkey, published, rules_path,
        tokenizer_path,
    },
    terminal::{self, print_json},
};
use ::hugging_face::{
    Folder, HubClient,
    client::{RepoKind, Upload},
};
use anyhow::Context as _;
use chain::{Call, Chain as _};
use protocol::{
    AccountId, Block, Competition, CompetitionSet, Digest, NetUid, Repo, Revision, SetCommitment,
    competition::TokenizerRules, set::NOTICE_BLOCKS,
};
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// Blocks between a look at the chain and the commitment that follows from it.
const MARGIN_BLOCKS: u64 = 20;
/// Longest tokenizer.
const TOKENIZER_BYTES_MAX: u64 = 16 << 20;

/// What is printed.
#[derive(Serialize)]
struct Report {
    netuid: NetUid,
    repo: Repo,
    revision: Revision,
    digest: Digest,
    commitment: String,
    /// Block of the commitment.
    block: Block,
    /// Whether nothing was to be done.
    already_published: bool,
    /// First block at which other rules hold than by what was published before; that of the
    /// commitment if nothing was.
    changes_from: Option<Block>,
    competitions: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    from_block: u64,
    until_block: Option<u64>,
    reward_share: f64,
    rules: Digest,
}

/// What is published now.
struct Before {
    published: Published,
    /// Nothing if it cannot be had any more.
    set: Option<CompetitionSet>,
}

/// Whoever publishes, and where.
struct Publisher<'a> {
    args: &'a PublishCompetitionsArgs,
    session: Session<'a>,
    client: HubClient,
    store: Store,
    hotkey: AccountId,
}

/// Publishes the competitions, or says that they are.
pub fn run(args: &PublishCompetitionsArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder for what is published")?;
    let store = Store::new(folder.path().join("kept"));
    let wanted = wanted(&args.competitions, &store)?;
    let session = Session::open(&args.sign)?;
    let client = hugging_face::client(&args.address)?;
    let hotkey = owner(&session, args)?;
    let publisher = Publisher { args, session, client, store, hotkey };
    let before = publisher.before()?;
    let acceptance = Acceptance {
        args,
        chain: &publisher.session.chain,
        client: &publisher.client,
        store: &publisher.store,
        known: before.as_ref().and_then(|before| before.set.as_ref()),
    };
    let mut accepted = acceptance.with_accepted(wanted)?;
    let wanted = std::mem::take(&mut accepted.competitions);
    let report = publisher.publish(wanted, before.as_ref(), &folder.path().join("repo"))?;
    acceptance
        .begin(&accepted)
        .context("the competitions are published; from when on they are paid is not noted")
        .hint("the same command notes it")?;
    if args.sign.endpoint.json {
        print_json(&report)
    } else {
        terminal::print(&for_people(&report)?)
    }
}

/// The rules that the files hold; tokenizers beside them are kept.
fn wanted(names: &[String], store: &Store) -> anyhow::Result<Vec<Competition>> {
    let rules = |name: &String| {
        let rules = competition_file::rules(name)?;
        if let TokenizerRules::File { path, vocabulary, end_of_text, sha256 } =
            &rules.text.tokenizer
        {
            let path = competition_file::path_in(name, path);
            competition_file::from_file(&path, *sha256, *vocabulary, *end_of_text)?;
            store.keep_tokenizer(&input::read(&path, TOKENIZER_BYTES_MAX)?)?;
        }
        Ok(rules)
    };
    let wanted: Vec<Competition> = names.iter().map(rules).collect::<anyhow::Result<_>>()?;
    // What could not be published by itself is found before anything is asked of anybody.
    for rules in &wanted {
        CompetitionSet::new(vec![rules.clone()])
            .hint("`agon competition pin` pins text and tokenizer on a hub")?;
    }
    Ok(wanted)
}

/// The hotkey that owns the subnet, if the wallet has it.
fn owner(session: &Session<'_>, args: &PublishCompetitionsArgs) -> anyhow::Result<AccountId> {
    let (netuid, own) = (NetUid(args.netuid), session.keys.hotkey_account()?);
    let hotkey = owner_hotkey(&session.chain, netuid)?;
    if own != hotkey {
        return Err(anyhow::anyhow!(
            "the competitions of subnet {netuid} are published by {hotkey}, and this hotkey is {own}"
        ))
        .hint("--wallet and --hotkey name the keys of the subnet's owner");
    }
    if session.chain.slot(netuid, own)?.is_none() {
        return Err(anyhow::anyhow!("{own} has no slot on subnet {netuid}, and cannot commit"))
            .hint("`agon chain register` buys a slot");
    }
    anyhow::ensure!(
        !(args.now && session.is_public()),
        "--now is for chains of `agon node`: here a change begins a day ahead"
    );
    Ok(hotkey)
}

impl Publisher<'_> {
    fn publish(
        &self,
        wanted: Vec<Competition>,
        before: Option<&Before>,
        folder: &Path,
    ) -> anyhow::Result<Report> {
        let head = self.session.chain.head()?.block;
        let known = before.and_then(|before| before.set.as_ref());
        let set = CompetitionSet::new(self.next(wanted, known, head)?)?;
        let changes_from = match known {
            Some(known) => known.schedule().first_difference(set.schedule(), head),
            None => Some(head),
        };
        if let Some(before) = before
            && before.published.commitment.repo == self.args.repo
            && before.published.commitment.index == set.digest()
        {
            return Ok(self.report(&set, &before.published, (changes_from, true)));
        }
        if let (Some(_), Some(first)) = (known, changes_from) {
            self.check_notice(first, head)?;
        }
        self.check_room(&set)?;
        self.check_pace(head)?;
        self.compose(&set, folder)?;
        let what = format!(
            "publish {} in `{}` as the competitions of subnet {}",
            versions(&set),
            self.args.repo,
            self.args.netuid
        );
        self.session.confirm(&what, Signer::Hotkey)?;
        let revision = self.upload(folder)?;
        let found = self.commit(&set, &revision)?;
        Ok(self.report(&set, &found, (changes_from, false)))
    }

    /// What the owner has published.
    fn before(&self) -> anyhow::Result<Option<Before>> {
        let found = published(&self.session.chain, NetUid(self.args.netuid))?;
        let Some(published) = found else { return Ok(None) };
        let fetched = self.store.fetch(&self.client, &published.commitment, Bounds::none());
        let set = match fetched {
            Ok(Fetched::Set(_, set)) => Some(set),
            // Nobody took it.
            Ok(Fetched::Refused(_)) => None,
            Err(error) if self.args.lost => {
                tracing::warn!("what was published before cannot be had: {error:#}");
                None
            }
            Err(error) => {
                return Err(error.context("cannot have what is published now"))
                    .hint("--lost publishes all the same: whoever holds it changes a day later");
            }
        };
        Ok(Some(Before { published, set }))
    }

    /// The versions to publish.
    fn next(
        &self,
        wanted: Vec<Competition>,
        known: Option<&CompetitionSet>,
        head: Block,
    ) -> anyhow::Result<Vec<Competition>> {
        let Some(from) = self.args.from_block else { return Ok(wanted) };
        anyhow::ensure!(from > head.0, "block {from} is past: this is block {head}");
        Ok(match known {
            Some(known) => known.changed(wanted, head, Block(from)),
            None => {
                wanted.into_iter().map(|rules| Competition { from_block: from, ..rules }).collect()
            }
        })
    }

    /// Refuses a change that begins too early.
    fn check_notice(&self, first: Block, head: Block) -> anyhow::Result<()> {
        let noticed = head.0.saturating_add(NOTICE_BLOCKS).saturating_add(MARGIN_BLOCKS);
        if first.0 >= noticed || self.args.now {
            return Ok(());
        }
        Err(anyhow::anyhow!(
            "rules would change at block {first}, and this is block {head}: what holds now and for \
             {NOTICE_BLOCKS} blocks stays as it is"
        ))
        .hint(format!(
            "--from-block {} begins whatever is new there; on a chain of `agon node` --now changes \
             at once",
            noticed.saturating_add(MARGIN_BLOCKS)
        ))
    }

    /// Refuses a repo that others cannot read, or whose name leaves no room for the rest.
    fn check_room(&self, set: &CompetitionSet) -> anyhow::Result<()> {
        let repo = &self.args.repo;
        // All revisions are of one length.
        self.commitment(set, &"0".repeat(40).parse()?).to_text()?;
        let is_private = self.client.is_private(RepoKind::Dataset, repo).map_err(explained)?;
        if is_private == Some(true) {
            return Err(anyhow::anyhow!("`{repo}` is private: nobody could follow"))
                .hint("make it public, or name another with --repo");
        }
        Ok(())
    }

    fn check_pace(&self, head: Block) -> anyhow::Result<()> {
        let next = self.session.chain.next_commitment(NetUid(self.args.netuid), self.hotkey)?;
        if next.0 <= head.0.saturating_add(1) {
            return Ok(());
        }
        Err(anyhow::anyhow!(
            "the hotkey has committed lately: the next commitment goes from block {next} on, and \
             this is block {head}; nothing was uploaded"
        ))
        .hint(format!("run this again from block {next} on"))
    }

    fn commitment(&self, set: &CompetitionSet, revision: &Revision) -> SetCommitment {
        let (repo, revision) = (self.args.repo.clone(), revision.clone());
        SetCommitment { repo, revision, index: set.digest() }
    }

    /// Writes the files of the repo.
    fn compose(&self, set: &CompetitionSet, folder: &Path) -> anyhow::Result<()> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            disk::write(&path, bytes)
                .with_context(|| format!("cannot write {}", input::name(&path)))
        };
        write(INDEX, &set.index().to_json())?;
        for rules in set.schedule().versions() {
            write(&rules_path(rules.digest()), &rules.to_json())?;
        }
        for (name, sha256) in set.tokenizer_files() {
            write(&tokenizer_path(name), &self.store.tokenizer_bytes(sha256)?)?;
        }
        let card = format!(
            "# Competitions of subnet {}\n\n{}\n\nThe owner of the subnet commits to the digest of \
             `{INDEX}`, which has those of the rules.\n",
            self.args.netuid,
            names(set)
        );
        write("README.md", card.as_bytes())
    }

    fn upload(&self, folder: &Path) -> anyhow::Result<Revision> {
        let (repo, folder) = (&self.args.repo, Folder::of_everything(folder)?);
        let message = "Publish competitions with agon";
        let upload = Upload { message, ..Upload::new(RepoKind::Dataset, repo, &folder) };
        let (uploaded, _) = upload::shown(&self.client, upload, self.session.stop())?;
        Ok(uploaded.revision)
    }

    /// Commits to the set, and waits until that is final.
    fn commit(&self, set: &CompetitionSet, revision: &Revision) -> anyhow::Result<Published> {
        let (netuid, commitment) = (NetUid(self.args.netuid), self.commitment(set, revision));
        let data = commitment.to_text()?.into_bytes();
        let hotkey = self.session.keys.hotkey()?;
        self.session
            .include(&Call::SetCommitment { netuid, data }, &hotkey)
            .context("the competitions are uploaded, but not committed to")?;
        let found = published(&self.session.chain, netuid)?;
        found.filter(|found| found.commitment == commitment).context(
            "the hotkey has committed to something else meanwhile: the competitions do not hold",
        )
    }

    fn report(
        &self,
        set: &CompetitionSet,
        found: &Published,
        (changes_from, already_published): (Option<Block>, bool),
    ) -> Report {
        let row = |rules: &Competition| Row {
            name: rules.name.clone(),
            from_block: rules.from_block,
            until_block: rules.until_block,
            reward_share: rules.reward_share,
            rules: rules.digest(),
        };
        Report {
            netuid: NetUid(self.args.netuid),
            repo: found.commitment.repo.clone(),
            revision: found.commitment.revision.clone(),
            digest: found.commitment.index,
            commitment: found.commitment.to_text().unwrap_or_default(),
            block: found.block,
            already_published,
            changes_from,
            competitions: set.schedule().versions().map(row).collect(),
        }
    }
}

/// The names of the competitions of a set.
fn names(set: &CompetitionSet) -> String {
    let versions = set.schedule().versions();
    let mut names: Vec<&str> = versions.map(|rules| rules.name.as_str()).collect();
    names.dedup();
    names.join(", ")
}

/// All versions of a set, as they are asked for.
fn versions(set: &CompetitionSet) -> String {
    let told = |rules: &Competition| {
        let Competition { name, id, from_block, until_block, reward_share, .. } = rules;
        let until = until_block.map_or(String::new(), |until| format!(" until block {until}"));
        format!("{name} (id {id}, share {reward_share}, from block {from_block} on{until})")
    };
    set.schedule().versions().map(told).collect::<Vec<_>>().join(", ")
}

fn for_people(report: &Report) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    if report.already_published {
        writeln!(text, "already published; nothing was to be done")?;
    }
    writeln!(text, "committed   {}", report.commitment)?;
    writeln!(text, "in block    {}, which is final", report.block)?;
    match report.changes_from {
        Some(block) => writeln!(text, "changes     from block {block} on")?,
        None => writeln!(text, "changes     nothing")?,
    }
    for row in &report.competitions {
        let Row { name, from_block, until_block, reward_share, .. } = row;
        let until = until_block.map_or(String::new(), |until| format!(" until block {until}"));
        writeln!(text, "  {name:<12} share {reward_share}, from block {from_block} on{until}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_asked_sees_every_version() {
        let tiny = Competition::builtin("tiny").unwrap();
        let next = Competition { from_block: 9_000, until_block: Some(9_500), ..tiny.clone() };
        let set = CompetitionSet::new(vec![tiny, next]).unwrap();
        let told = versions(&set);
        assert!(told.contains("from block 0 on), tiny (id 100,"), "{told}");
        assert!(told.contains("from block 9000 on until block 9500)"), "{told}");
    }
}
