//! Whether the root of records that a validator committed to on the chain is that of those that
//! were read.

use super::Site;
use crate::index::{Root, Row};
use maud::{Markup, html};
use records::{Head, Index};

/// Most states of the records of a validator that are tried.
const STATES_MAX: usize = 1_024;

impl Site {
    /// What the chain has as the root of the records of a validator, beside those that were read of
    /// each competition, newest first.
    pub(super) fn committed(&self, root: &Root, lists: &[Vec<Row>]) -> Markup {
        if lists.iter().all(Vec::is_empty) {
            return html! {};
        }
        html! {
            h2 { "Root on the chain" }
            @match state_of(root, lists) {
                Some(index) => {
                    p class="good" {
                        "The chain has the root of its records up to "
                        @for (at, (name, head)) in index.competitions.iter().enumerate() {
                            @if at > 0 { ", " }
                            "number " (head.n_records) " of " (name)
                        }
                        ", committed at block " (self.block(root.block)) "."
                    }
                }
                None => {
                    p class="fair" {
                        "The root that the chain has, committed at block " (self.block(root.block))
                        ", is that of none of the newest states of the records that were read: "
                        "they were published in another order, others were, or older ones."
                    }
                }
            }
            p class="from" { "The root: " code { (root.root.to_string()) } }
        }
    }
}

/// The state of records that has a root: the index of what was there when they were one record
/// less, and so on. Rounds of several competitions are taken to be published as they were seeded.
fn state_of(root: &Root, lists: &[Vec<Row>]) -> Option<Index> {
    let mut index = Index::new(root.validator, root.genesis, root.netuid);
    let mut steps: Vec<(&Row, Option<&Row>)> = Vec::new();
    for rows in lists {
        // What is seeded later was not there yet.
        let rows: Vec<&Row> = rows.iter().filter(|row| row.block <= root.block).collect();
        let Some(newest) = rows.first() else { continue };
        index.competitions.insert(newest.competition.clone(), head(newest));
        steps.extend(rows.iter().enumerate().map(|(at, row)| (*row, rows.get(at + 1).copied())));
    }
    steps.sort_by(|(a, _), (b, _)| (b.block, &b.competition).cmp(&(a.block, &a.competition)));
    for (row, earlier) in steps.into_iter().take(STATES_MAX) {
        if index.root() == root.root {
            return Some(index);
        }
        match earlier {
            Some(earlier) => index.competitions.insert(row.competition.clone(), head(earlier)),
            None if row.number == 1 => index.competitions.remove(&row.competition),
            // What came before was not looked at.
            None => return None,
        };
    }
    None
}

fn head(row: &Row) -> Head {
    Head { n_records: row.number, digest: row.digest }
}
