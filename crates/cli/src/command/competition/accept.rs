//! `agon competition publish --accept`: competitions that others pay for, as far as their payments
//! go.
//!
//! A payment is a transfer from the payer to the owner in a block that the payer names; it is
//! looked up on the chain once, and then stands in the owner's ledger, for endpoints forget blocks.
//! One transfer counts for one offer. What a competition has of the reward follows from what it
//! pays a day, and how long it runs from what was paid.

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
use protocol::{AccountId, Block, Competition, Digest, NetUid, Offer, Repo};
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
    /// First block at which the competition was taken in.
    first_block: u64,
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
}

impl Acceptance<'_> {
    /// The owner's competitions with those that others pay for, whose shares are scaled to what
    /// they pay of the price of the whole reward.
    pub fn with_accepted(&self, mut own: Vec<Competition>) -> anyhow::Result<Vec<Competition>> {
        let (Some(price), Some(from)) = (self.args.price, self.args.from_block) else {
            return Ok(own);
        };
        let mut ledger = Ledger::read(&self.args.ledger)?;
        let mut accepted = Vec::new();
        for repo in &self.args.accept {
            let found = self.one(repo, from, &mut ledger);
            // What was verified once need not be verifiable again.
            ledger.write(&self.args.ledger)?;
            let (offer, rules) = found.with_context(|| format!("the offer of `{repo}`"))?;
            accepted.push((offer.rao_per_day as f64 / price as f64, rules));
        }
        let sold: f64 = accepted.iter().map(|(share, _)| share).sum();
        anyhow::ensure!(sold <= SHARE_MAX, "{sold:.2} of the reward would be sold, and 0.9 can be");
        let kept: f64 = own.iter().map(|rules| rules.reward_share).sum();
        for (share, rules) in accepted {
            let reward_share = share / (1.0 - sold) * kept;
            anyhow::ensure!(
                reward_share <= 1.0,
                "`{}` would have a share of {reward_share:.3}, and 1 is the most: give the others \
                 less, all in proportion",
                rules.name
            );
            own.push(Competition { reward_share, ..rules });
        }
        Ok(own)
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
        let account = ledger.account(&offer, from);
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
        let paid_until = account.first_block.saturating_add(offer.blocks_bought(rao));
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
    fn account(&mut self, offer: &Offer, from: u64) -> usize {
        let (digest, payer) = (offer.digest(), offer.payer);
        if let Some(index) = self.offers.iter().position(|account| account.offer == digest) {
            return index;
        }
        let first_block = from.max(offer.from_block);
        self.offers.push(Account { offer: digest, payer, first_block, payments: Vec::new() });
        self.offers.len() - 1
    }

    /// Whether what a payer moved in a block counts already, for this offer or for another.
    fn has(&self, offer: &Offer, block: Block) -> bool {
        let of_payer = self.offers.iter().filter(|account| account.payer == offer.payer);
        of_payer.flat_map(|account| &account.payments).any(|payment| payment.block == block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{BlockHash, offer::Terms};

    #[test]
    fn attack_one_payment_for_two_offers_counts_once() {
        let mut rules = Competition::builtin("tiny").unwrap();
        rules.until_block = Some(90_000);
        let terms = Terms {
            genesis: BlockHash([0; 32]),
            netuid: NetUid(1),
            payer: AccountId([1; 32]),
            payee: AccountId([2; 32]),
            rao_per_day: 1_000,
        };
        let one = Offer::new(&rules, terms).unwrap();
        let other = Offer::new(&rules, Terms { rao_per_day: 2_000, ..terms }).unwrap();
        let mut ledger = Ledger::default();
        let place = ledger.account(&one, 8_000);
        let hash = BlockHash([9; 32]);
        ledger.offers[place].payments.push(Payment { block: Block(5), hash, rao: 1_000 });
        assert!(ledger.has(&one, Block(5)) && ledger.has(&other, Block(5)));
        assert!(!ledger.has(&other, Block(6)));
        assert_eq!((ledger.account(&one, 9_000), ledger.offers[0].first_block), (0, 8_000));
        assert_eq!(ledger.account(&other, 9_000), 1);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        ledger.write(&path).unwrap();
        let again = Ledger::read(&path).unwrap();
        assert_eq!(again.offers[0].payments[0].rao, 1_000);
        assert!(Ledger::read(&dir.path().join("none.json")).unwrap().offers.is_empty());
    }
}
