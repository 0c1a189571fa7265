//! `agon competition publish --accept`: competitions that others pay for, as far as their payments
//! go.
//!
//! A payment is a transfer from the payer to the owner in a block that the payer names; it is
//! looked up on the chain once, and then stands in the owner's ledger, for endpoints forget blocks.
//! One transfer counts for one offer. What a competition has of the reward follows from what it
//! pays a day, and how long it runs from what was paid. What a competition costs is counted from
//! its first publication: before that whoever pays has nothing of it.
//!
//! Whoever pays chooses the name and the number of a competition, and may choose those of another.
//! Versions of one name are one competition, so such an offer is refused: it would change rules
//! that are not its own.

use super::offer::{self, Proposal};
use crate::{
    args::PublishCompetitionsArgs, failure::HintExt as _, hugging_face::resolved, input,
    owner_set::Store,
};
use ::hugging_face::{
    HubClient,
    client::{Pinned, RepoKind},
};
use anyhow::Context as _;
use chain::Chain as _;
use protocol::{AccountId, Block, Competition, CompetitionSet, Digest, NetUid, Offer, Repo};
use serde::{Deserialize, Serialize};
use std::path::Path;
use substrate::SubstrateChain;

/// Most of the reward that is sold.
const SHARE_MAX: f64 = 0.9;
/// Longest ledger that is read.
const LEDGER_BYTES_MAX: u64 = 16 << 20;

/// What was verified.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    offers: Vec<Account>,
}

/// What was paid for an offer.
#[derive(Debug, Serialize, Deserialize)]
struct Account {
    offer: Digest,
    payer: AccountId,
    /// Who was paid; nothing in ledgers of before.
    payee: Option<AccountId>,
    /// First block at which the competition was taken in, once it was published.
    first_block: Option<u64>,
    payments: Vec<Payment>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    block: Block,
    hash: protocol::BlockHash,
    rao: u64,
}

/// The repos of offers, with what is needed to take them in.
pub struct Acceptance<'a> {
    /// The options.
    pub args: &'a PublishCompetitionsArgs,
    /// The chain.
    pub chain: &'a SubstrateChain,
    /// The hub.
    pub client: &'a HubClient,
    /// Where tokenizers are kept.
    pub store: &'a Store,
    /// What is published now, as far as it can be had.
    pub known: Option<&'a CompetitionSet>,
}

/// The owner's competitions with those that others pay for.
pub struct Accepted {
    /// All of them.
    pub competitions: Vec<Competition>,
    /// The offers that were taken in.
    offers: Vec<Offer>,
}

impl Acceptance<'_> {
    /// The owner's competitions with those that others pay for, whose shares are scaled to what
    /// they pay of the price of the whole reward.
    pub fn with_accepted(&self, own: Vec<Competition>) -> anyhow::Result<Accepted> {
        let mut all = Accepted { competitions: own, offers: Vec::new() };
        let (Some(price), Some(from)) = (self.args.price, self.args.from_block) else {
            return Ok(all);
        };
        let mut ledger = Ledger::read(&self.args.ledger)?;
        let mut accepted: Vec<(f64, Competition)> = Vec::new();
        for repo in &self.args.accept {
            let found = self.one(repo, from, &mut ledger);
            // What was verified once need not be verifiable again.
            ledger.write(&self.args.ledger)?;
            let (offer, rules) = found.with_context(|| format!("the offer of `{repo}`"))?;
            let others = accepted.iter().map(|(_, rules)| rules);
            check_free(&rules, all.competitions.iter().chain(others), self.known)
                .with_context(|| format!("the offer of `{repo}`"))?;
            accepted.push((offer.rao_per_day as f64 / price as f64, rules));
            all.offers.push(offer);
        }
        let sold: f64 = accepted.iter().map(|(share, _)| share).sum();
        anyhow::ensure!(sold <= SHARE_MAX, "{sold:.2} of the reward would be sold, and 0.9 can be");
        let kept: f64 = all.competitions.iter().map(|rules| rules.reward_share).sum();
        for (share, rules) in accepted {
            let reward_share = share / (1.0 - sold) * kept;
            anyhow::ensure!(
                reward_share <= 1.0,
                "`{}` would have a share of {reward_share:.3}, and 1 is the most: give the others \
                 less, all in proportion",
                rules.name
            );
            all.competitions.push(Competition { reward_share, ..rules });
        }
        Ok(all)
    }

    /// Notes that what was taken in is published: from now on it costs what it pays.
    pub fn begin(&self, accepted: &Accepted) -> anyhow::Result<()> {
        let Some(from) = self.args.from_block.filter(|_| !accepted.offers.is_empty()) else {
            return Ok(());
        };
        let mut ledger = Ledger::read(&self.args.ledger)?;
        for offer in &accepted.offers {
            ledger.begin(offer, from);
        }
        ledger.write(&self.args.ledger)
    }

    /// The competition of one offer, for as long as what was paid buys.
    fn one(
        &self,
        repo: &Repo,
        from: u64,
        ledger: &mut Ledger,
    ) -> anyhow::Result<(Offer, Competition)> {
        let kind = RepoKind::Dataset;
        let revision = resolved(self.client, kind, repo, "main")?;
        let proposal = offer::proposal(self.client, Pinned { kind, repo, revision: &revision })?;
        self.check(&proposal.offer)?;
        let Proposal { offer, rules, tokenizer, payments } = proposal;
        let account = ledger.account(&offer);
        for block in payments {
            if ledger.has(&offer, block) {
                continue;
            }
            match self.payment(&offer, block) {
                Ok(Some(payment)) => ledger.offers[account].payments.push(payment),
                Ok(None) => tracing::warn!("block {block} has no payment of {}", offer.payer),
                Err(error) => tracing::warn!(
                    "the payment of block {block} cannot be verified here: {error:#}; --network \
                     archive holds old blocks"
                ),
            }
        }
        if let Some(bytes) = tokenizer {
            self.store.keep_tokenizer(&bytes)?;
        }
        let account = &ledger.offers[account];
        let rao = account.payments.iter().fold(0_u64, |sum, paid| sum.saturating_add(paid.rao));
        // A ledger may not know of a publication after which this was killed.
        let first_block = account.first_block.or_else(|| self.published_from(&rules));
        let first_block = first_block.unwrap_or_else(|| from.max(offer.from_block));
        let paid_until = first_block.saturating_add(offer.blocks_bought(rao));
        let until = paid_until.min(offer.until_block);
        if until <= from {
            return Err(anyhow::anyhow!(
                "{} TAO were paid, which is enough until block {until}, and block {from} is the \
                 first that could be taken in",
                rao as f64 / 1e9
            ))
            .hint("leave it out: its share ends with its payments");
        }
        let rules = Competition { from_block: from, until_block: Some(until), ..rules };
        Ok((offer, rules))
    }

    /// First block of these rules in what is published.
    fn published_from(&self, rules: &Competition) -> Option<u64> {
        let published = self.known?.schedule().versions();
        let same = published.filter(|other| have_same_rules(other, rules));
        same.map(|version| version.from_block).min()
    }

    /// Whether an offer is for this owner, this subnet and this chain.
    fn check(&self, offer: &Offer) -> anyhow::Result<()> {
        let netuid = NetUid(self.args.netuid);
        anyhow::ensure!(
            offer.genesis == self.chain.genesis_hash()? && offer.netuid == netuid,
            "it is for another subnet, or for a subnet of another chain"
        );
        let owner = self.chain.subnet_owner(netuid)?.coldkey;
        anyhow::ensure!(
            offer.payee == owner,
            "it pays {}, and {owner} owns the subnet",
            offer.payee
        );
        anyhow::ensure!(offer.payer != owner, "the owner pays itself, which buys nothing");
        Ok(())
    }

    /// What the payer moved to the owner in a block.
    fn payment(&self, offer: &Offer, block: Block) -> anyhow::Result<Option<Payment>> {
        let transfers = self.chain.transfers(block)?;
        let ours = transfers.iter().filter(|t| t.from == offer.payer && t.to == offer.payee);
        let rao = ours.fold(0_u64, |sum, transfer| sum.saturating_add(transfer.amount_rao));
        let hash = self.chain.block_hash(block)?.context("the block is not final")?;
        Ok((rao > 0).then_some(Payment { block, hash, rao }))
    }
}

/// Refuses a competition with the name or the number of another: of one `beside` it, or of one that
/// is published with other rules.
fn check_free<'a>(
    rules: &Competition,
    mut beside: impl Iterator<Item = &'a Competition>,
    known: Option<&CompetitionSet>,
) -> anyhow::Result<()> {
    let collides = |other: &&Competition| other.name == rules.name || other.id == rules.id;
    let refuse = |other: &Competition, whose: &str| -> anyhow::Result<()> {
        Err(anyhow::anyhow!(
            "its competition `{}` with id {} would take the place of `{}` with id {}, which is \
             {whose}",
            rules.name,
            rules.id,
            other.name,
            other.id
        ))
        .hint("leave it out: whoever offers it has to give it a name and an id of its own")
    };
    if let Some(other) = beside.find(collides) {
        return refuse(other, "another competition");
    }
    let published = known.into_iter().flat_map(|set| set.schedule().versions());
    let mut others = published.filter(|other| !have_same_rules(other, rules));
    match others.find(collides) {
        Some(other) => refuse(other, "published with other rules"),
        None => Ok(()),
    }
}

/// Whether two versions differ in nothing but when they hold and what they have of the reward.
fn have_same_rules(one: &Competition, other: &Competition) -> bool {
    let Competition { from_block, until_block, reward_share, .. } = *other;
    Competition { from_block, until_block, reward_share, ..one.clone() } == *other
}

impl Ledger {
    fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = input::read(path, LEDGER_BYTES_MAX)?;
        serde_json::from_slice(&bytes).with_context(|| input::name(path))
    }

    fn write(&self, path: &Path) -> anyhow::Result<()> {
        disk::write(path, &serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", input::name(path)))
    }

    /// The place of the account of an offer, which is opened if it is new.
    fn account(&mut self, offer: &Offer) -> usize {
        let (digest, payer, payee) = (offer.digest(), offer.payer, Some(offer.payee));
        if let Some(index) = self.offers.iter().position(|account| account.offer == digest) {
            return index;
        }
        let (first_block, payments) = (None, Vec::new());
        self.offers.push(Account { offer: digest, payer, payee, first_block, payments });
        self.offers.len() - 1
    }

    /// The competition of an offer is published from a block on; the first time counts.
    fn begin(&mut self, offer: &Offer, from: u64) {
        let index = self.account(offer);
        self.offers[index].first_block.get_or_insert(from.max(offer.from_block));
    }

    /// Whether what a payer moved to a payee in a block counts already, for this offer or for
    /// another.
    fn has(&self, offer: &Offer, block: Block) -> bool {
        let is_same = |account: &&Account| {
            account.payer == offer.payer && account.payee.is_none_or(|payee| payee == offer.payee)
        };
        let same = self.offers.iter().filter(is_same);
        same.flat_map(|account| &account.payments).any(|payment| payment.block == block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockHash, CompetitionId, offer::Terms};

    const TERMS: Terms = Terms {
        genesis: BlockHash([0; 32]),
        netuid: NetUid(1),
        payer: AccountId([1; 32]),
        payee: AccountId([2; 32]),
        rao_per_day: 1_000,
    };

    /// The rules of `tiny` until some block.
    fn tiny() -> Competition {
        Competition { until_block: Some(90_000), ..Competition::builtin("tiny").unwrap() }
    }

    #[test]
    fn attack_an_offer_takes_the_place_of_no_other_competition() {
        let own = Competition::builtin("tiny").unwrap();
        let other = Competition { name: "other".into(), id: CompetitionId(7), ..tiny() };
        let named = Competition { id: CompetitionId(7), ..tiny() };
        let numbered = Competition { name: "other".into(), ..tiny() };
        let set = CompetitionSet::new(vec![own.clone()]).unwrap();
        check_free(&other, [&own].into_iter(), Some(&set)).unwrap();
        for taking in [&named, &numbered, &tiny()] {
            let error = check_free(taking, [&own].into_iter(), None).unwrap_err().to_string();
            assert!(error.contains("`tiny` with id 100"), "{error}");
        }
        for taking in [&named, &numbered] {
            let error = check_free(taking, [].into_iter(), Some(&set)).unwrap_err().to_string();
            assert!(error.contains("published"), "{error}");
        }
        // An offer that was taken in before goes on, with other blocks and another share.
        let taken = Competition { from_block: 9, reward_share: 0.25, ..other.clone() };
        let set = CompetitionSet::new(vec![own.clone(), taken]).unwrap();
        check_free(&other, [&own].into_iter(), Some(&set)).unwrap();
        let mut changed = other;
        changed.model.size_bytes_max -= 1;
        assert!(check_free(&changed, [&own].into_iter(), Some(&set)).is_err(), "other rules");
    }

    #[test]
    fn nothing_is_used_up_before_it_is_published() {
        let offer = Offer::new(&tiny(), TERMS).unwrap();
        let mut ledger = Ledger::default();
        let place = ledger.account(&offer);
        assert_eq!(ledger.offers[place].first_block, None);
        ledger.begin(&offer, 8_000);
        ledger.begin(&offer, 9_000);
        assert_eq!(ledger.offers[place].first_block, Some(8_000));
        // As ledgers of before have it.
        let json = serde_json::to_string(&ledger).unwrap();
        let payee = format!("\"payee\":{},", serde_json::to_string(&TERMS.payee).unwrap());
        let old: Ledger = serde_json::from_str(&json.replace(&payee, "")).unwrap();
        assert_ne!(json.replace(&payee, ""), json);
        assert_eq!((old.offers[0].payee, old.offers[0].first_block), (None, Some(8_000)));
    }

    #[test]
    fn attack_one_payment_for_two_offers_counts_once() {
        let rules = tiny();
        let one = Offer::new(&rules, TERMS).unwrap();
        let other = Offer::new(&rules, Terms { rao_per_day: 2_000, ..TERMS }).unwrap();
        let mut ledger = Ledger::default();
        let place = ledger.account(&one);
        let hash = BlockHash([9; 32]);
        ledger.offers[place].payments.push(Payment { block: Block(5), hash, rao: 1_000 });
        assert!(ledger.has(&one, Block(5)) && ledger.has(&other, Block(5)));
        assert!(!ledger.has(&other, Block(6)));
        assert_eq!((ledger.account(&one), ledger.account(&other)), (0, 1));
        // What the same payer moved to another owner in that block is another payment.
        let elsewhere = Terms { payee: AccountId([3; 32]), ..TERMS };
        assert!(!ledger.has(&Offer::new(&rules, elsewhere).unwrap(), Block(5)));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        ledger.write(&path).unwrap();
        let again = Ledger::read(&path).unwrap();
        assert_eq!(again.offers[0].payments[0].rao, 1_000);
        assert!(Ledger::read(&dir.path().join("none.json")).unwrap().offers.is_empty());
    }

    #[test]
    fn a_ledger_that_was_cut_is_named_and_not_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        let mut ledger = Ledger::default();
        let place = ledger.account(&Offer::new(&tiny(), TERMS).unwrap());
        let hash = BlockHash([9; 32]);
        ledger.offers[place].payments.push(Payment { block: Block(5), hash, rao: u64::MAX });
        ledger.write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for n_bytes in 0..whole.len() {
            std::fs::write(&path, &whole[..n_bytes]).unwrap();
            let error = format!("{:#}", Ledger::read(&path).unwrap_err());
            assert!(error.contains("ledger.json"), "{n_bytes} bytes: {error}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Ledger::read(&path).unwrap().offers[0].payments[0].rao, u64::MAX);
    }
}
