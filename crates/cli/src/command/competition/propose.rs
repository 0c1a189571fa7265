//! `agon competition propose`: an offer to the owner of a subnet, and money for it.

use super::offer::{self, OFFER, PAYMENTS, RULES, TOKENIZER};
use crate::{
    args::ProposeCompetitionArgs,
    command::{
        chain::{Session, Signer},
        upload,
    },
    competition_file,
    failure::HintExt as _,
    hugging_face::{self, explained},
    input,
    terminal::{self, print_json},
};
use ::hugging_face::{
    Folder, HubClient,
    client::{Pinned, RepoKind, Upload},
};
use anyhow::Context as _;
use chain::Call;
use protocol::{
    Block, Competition, CompetitionSet, NetUid, Offer, Repo, Revision, competition::TokenizerRules,
    offer::Terms,
};
use serde::Serialize;
use std::path::Path;

/// Longest tokenizer.
const TOKENIZER_BYTES_MAX: u64 = 16 << 20;

/// What is printed.
#[derive(Serialize)]
struct Report {
    repo: Repo,
    revision: Revision,
    offer: Offer,
    /// Blocks in which was paid.
    payments: Vec<Block>,
}

/// Signs the offer, pays if that is wanted, and publishes what the owner needs.
pub fn run(args: &ProposeCompetitionArgs) -> anyhow::Result<()> {
    let rules = competition_file::rules(&args.competition)?;
    CompetitionSet::new(vec![rules.clone()])
        .hint("`agon competition pin` pins text and tokenizer on a hub")?;
    let session = Session::open(&args.sign)?;
    let client = hugging_face::client(&args.address)?;
    let netuid = NetUid(args.netuid);
    let terms = Terms {
        genesis: session.chain.genesis_hash()?,
        netuid,
        payer: session.keys.coldkey_account()?,
        payee: session.chain.subnet_owner(netuid)?.coldkey,
        rao_per_day: args.tao_per_day,
    };
    let offer = Offer::new(&rules, terms)
        .hint("`from_block` and `until_block` of the file say for how long it is wanted")?;
    let mut payments = earlier(&client, &args.repo)?;
    let payer = session.keys.coldkey()?;
    let signed = offer::signed(&offer, &payer)?;
    if let Some(amount_rao) = args.pay {
        let amount = amount_rao as f64 / 1e9;
        session.confirm(&format!("pay {amount} TAO to {}", terms.payee), Signer::Coldkey)?;
        let paid = session.include(&Call::Transfer { to: terms.payee, amount_rao }, &payer)?;
        eprintln!("paid {amount} TAO in block {}", paid.block);
        payments.push(paid.block);
    }
    let folder = tempfile::tempdir().context("cannot make a folder for what is published")?;
    let folder = folder.path().join("repo");
    compose(args, &rules, (signed.as_slice(), payments.as_slice()), &folder)?;
    let folder = Folder::of_everything(&folder)?;
    let message = "Propose a competition with agon";
    let upload = Upload { message, ..Upload::new(RepoKind::Dataset, &args.repo, &folder) };
    let (uploaded, _) = upload::shown(&client, upload, session.stop())?;
    let report = Report { repo: args.repo.clone(), revision: uploaded.revision, offer, payments };
    if args.sign.endpoint.json {
        print_json(&report)
    } else {
        terminal::print(&for_people(&report))
    }
}

/// Blocks in which was paid before, as the repo says.
fn earlier(client: &HubClient, repo: &Repo) -> anyhow::Result<Vec<Block>> {
    let kind = RepoKind::Dataset;
    let Some(revision) = client.resolve(kind, repo, "main").map_err(explained)? else {
        return Ok(Vec::new());
    };
    offer::payments(client, Pinned { kind, repo, revision: &revision })
}

/// Writes the files of the repo.
fn compose(
    args: &ProposeCompetitionArgs,
    rules: &Competition,
    (signed, payments): (&[u8], &[Block]),
    folder: &Path,
) -> anyhow::Result<()> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        disk::write(&path, bytes).with_context(|| format!("cannot write {}", input::name(&path)))
    };
    write(OFFER, signed)?;
    write(RULES, &rules.to_json())?;
    write(PAYMENTS, &serde_json::to_vec(payments)?)?;
    if let TokenizerRules::File { path, vocabulary, end_of_text, sha256 } = &rules.text.tokenizer {
        let path = competition_file::path_in(&args.competition, path);
        competition_file::from_file(&path, *sha256, *vocabulary, *end_of_text)?;
        write(TOKENIZER, &input::read(&path, TOKENIZER_BYTES_MAX)?)?;
    }
    Ok(())
}

fn for_people(report: &Report) -> String {
    let Report { repo, revision, offer, payments } = report;
    let blocks: Vec<String> = payments.iter().map(Block::to_string).collect();
    let paid = if blocks.is_empty() { "nothing yet".to_owned() } else { blocks.join(", ") };
    format!(
        "offered    {} TAO a day to {}, from block {} to {}\n\
         signed     by {}\n\
         published  {repo}@{revision}\n\
         paid       in blocks: {paid}\n\n\
         the owner takes it in with `agon competition publish --accept {repo}`\n",
        offer.rao_per_day as f64 / 1e9,
        offer.payee,
        offer.from_block,
        offer.until_block,
        offer.payer,
    )
}
