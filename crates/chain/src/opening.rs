//! When the chain opens hidden weights, by its rules of now.

use crate::{HidingRules, Reveal};
use protocol::Block;

/// Where hidden weights are on their way from commit to reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Their epoch is to come.
    Ahead,
    /// It has come: the chain opens them as soon as it has their round.
    Now,
    /// It is over: what is not open is gone.
    Over,
}

impl Opening {
    /// Where weights are after block `head`, of which `reveal` names the epoch that took them in.
    ///
    /// The chain counts from the epoch of the commit, by the period of now: what was reckoned when
    /// they were signed may have changed since. It counts where that epoch is not known, or the
    /// subnet hides weights no longer and does not say how it did.
    pub fn of(reveal: Reveal, rules: Option<&HidingRules>, head: Block) -> Self {
        let (now, first, last) = match rules {
            Some(rules) if reveal.epoch > 0 => {
                let due = reveal.epoch.saturating_add(rules.reveal_period);
                (rules.epochs.number_of(head), due, due)
            }
            _ => (head.0, reveal.from.0, reveal.until.0),
        };
        if now < first {
            Self::Ahead
        } else if now <= last {
            Self::Now
        } else {
            Self::Over
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Genesis, Hyperparameters, Ledger, SubnetGenesis};
    use protocol::{AccountId, NetUid};

    const NETUID: NetUid = NetUid(1);

    /// A chain whose subnet hides weights for `reveal_period` epochs of ten blocks, after block
    /// `head`.
    fn rules(reveal_period: u64, head: u64) -> HidingRules {
        let hyperparameters = Hyperparameters {
            tempo: 10,
            commit_reveal: true,
            reveal_period,
            ..Hyperparameters::default()
        };
        let subnet = SubnetGenesis { owner: AccountId([1; 32]), hyperparameters };
        let genesis = Genesis { subnets: vec![subnet], ..Genesis::default() };
        let mut ledger = Ledger::new(&genesis).unwrap();
        for _ in 0..head {
            ledger.produce_block(Vec::new()).unwrap();
        }
        ledger.hiding(NETUID).unwrap().unwrap()
    }

    #[test]
    fn a_period_that_was_changed_meanwhile_moves_the_epoch_that_opens() {
        let signed = rules(1, 20);
        let reveal = signed.reveal().unwrap();
        let of = |period, head| {
            let rules = rules(period, head);
            Opening::of(reveal, Some(&rules), Block(head))
        };
        let (first, last) = (reveal.from.0, reveal.until.0);
        assert_eq!((first, last), (30, 39));
        for (period, head, expected) in [
            (1, first - 1, Opening::Ahead),
            (1, first, Opening::Now),
            (1, last, Opening::Now),
            (1, last + 1, Opening::Over),
            (3, last + 1, Opening::Ahead),
            (3, last + 10, Opening::Ahead),
            (3, last + 11, Opening::Now),
            (3, last + 21, Opening::Over),
        ] {
            assert_eq!(of(period, head), expected, "period {period}, block {head}");
        }
        // What was reckoned when they were signed is all that is left where nothing else is known.
        let unknown = Reveal { epoch: 0, ..reveal };
        for (reveal, rules) in [(unknown, Some(&signed)), (reveal, None)] {
            assert_eq!(Opening::of(reveal, rules, Block(first)), Opening::Now);
            assert_eq!(Opening::of(reveal, rules, Block(last + 1)), Opening::Over);
        }
    }

    #[test]
    fn the_epoch_of_a_block_that_is_past_is_known() {
        let epochs = rules(1, 45).epochs;
        for (block, ago) in [(45, 0), (40, 0), (39, 1), (30, 1), (29, 2)] {
            assert_eq!(epochs.number_of(Block(block)), epochs.index - ago, "block {block}");
        }
    }
}
