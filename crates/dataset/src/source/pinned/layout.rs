//! Which row groups belong to which split, and in which order a seed draws them: a pure function
//! of what the competition pins.

use crate::{Lot, Split};
use protocol::{
    competition::{DrawRules, HubDataset, PinnedFile},
    seed::uniform_below,
};
use rand_chacha::ChaCha20Rng;
use std::collections::{HashMap, HashSet};

/// One row group in this many is for measuring.
const EVALUATION_PART: u64 = 10;

/// The files of a dataset in order, with their row groups numbered through.
pub(super) struct Layout {
    pub(super) files: Vec<Part>,
    pub(super) draw: DrawRules,
}

/// One file with its place among all.
pub(super) struct Part {
    pub(super) file: PinnedFile,
    weight: u64,
    /// Number of its first row group among all of the dataset.
    first_group: u64,
    n_rows_train: u64,
    n_rows_evaluation: u64,
}

/// A row group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Index of the file.
    pub(super) file: usize,
    /// Number of the row group in the file.
    pub(super) group: u64,
}

impl Layout {
    pub(super) fn new(dataset: &HubDataset) -> Self {
        let mut first_group = 0;
        let mut files = Vec::new();
        for config in &dataset.configs {
            for file in &config.files {
                let mut part = Part {
                    file: file.clone(),
                    weight: config.weight,
                    first_group,
                    n_rows_train: 0,
                    n_rows_evaluation: 0,
                };
                first_group += file.n_groups();
                part.n_rows_evaluation =
                    part.groups(Split::Evaluation).map(|group| file.rows_of_group(group)).sum();
                part.n_rows_train = file.n_rows - part.n_rows_evaluation;
                files.push(part);
            }
        }
        Self { files, draw: dataset.draw }
    }

    pub(super) fn n_rows(&self, split: Split) -> u64 {
        self.files.iter().map(|part| part.n_rows(split)).sum()
    }

    /// Whether every turn has a row group to draw from, and training one too.
    pub(super) fn is_enough(&self) -> bool {
        let turns = 0..self.draw.rounds_apart;
        let is_served = |turn| {
            let has_one = |part: &Part| part.drawable(Split::Evaluation, turn, &self.draw).next();
            self.files.iter().any(|part| has_one(part).is_some())
        };
        self.n_rows(Split::Train) > 0 && turns.into_iter().all(is_served)
    }

    /// Why there are not enough, and how there would be.
    pub(super) fn too_few(&self) -> String {
        let apart = self.draw.rounds_apart.max(1);
        let n_groups: u64 = self.files.iter().map(|part| part.file.n_groups()).sum();
        let n_rows: u64 = self.files.iter().map(|part| part.file.n_rows).sum();
        // One for evaluation each turn, and one that is for training.
        let needed = ((apart - 1) * EVALUATION_PART + 1).max(2);
        let in_all = format!(
            "its files have {n_groups} row groups, and {needed} at least are needed: every tenth \
             is for evaluation, and {apart} rounds in a row share none"
        );
        // Twice as many, so that the last of each file may have few rows.
        let size = n_rows / (2 * needed);
        if size == 0 {
            return in_all;
        }
        format!(
            "{in_all}; write the files anew with smaller row groups, as by pyarrow's \
             `pq.write_table(table, path, row_group_size={size})`"
        )
    }

    /// The row group and the row in it that is document `index` of a split.
    pub(super) fn find(&self, split: Split, index: u64) -> Option<(Place, u64)> {
        let mut left = index;
        for (file, part) in self.files.iter().enumerate() {
            if left >= part.n_rows(split) {
                left -= part.n_rows(split);
                continue;
            }
            for group in part.groups(split) {
                let n_rows = part.file.rows_of_group(group);
                if left < n_rows {
                    return Some((Place { file, group }, left));
                }
                left -= n_rows;
            }
        }
        None
    }

    /// All row groups that a draw may take, in a seeded order: by weighted rows first a file, then
    /// several row groups of it, then the next file. None comes twice.
    pub(super) fn order(&self, split: Split, lot: Lot) -> Order<'_> {
        let weight = |part: &Part| {
            let groups = part.drawable(split, lot.turn, &self.draw);
            groups.map(|group| part.file.rows_of_group(group)).sum::<u64>() * part.weight
        };
        Order {
            layout: self,
            split,
            turn: lot.turn,
            rng: lot.seed.derive("row groups").stream(),
            weights: self.files.iter().map(weight).collect(),
            drawn: HashMap::new(),
            file: 0,
            n_left: 0,
        }
    }
}

impl Part {
    fn n_rows(&self, split: Split) -> u64 {
        match split {
            Split::Train => self.n_rows_train,
            Split::Evaluation => self.n_rows_evaluation,
        }
    }

    /// Row groups of a split. Every tenth of the whole dataset is for evaluation.
    pub(super) fn groups(&self, split: Split) -> impl Iterator<Item = u64> {
        let first = self.first_group;
        let is_for_evaluation = move |group: &u64| (first + group).is_multiple_of(EVALUATION_PART);
        (0..self.file.n_groups()).filter(move |group| match split {
            Split::Train => !is_for_evaluation(group),
            Split::Evaluation => is_for_evaluation(group),
        })
    }

    /// Row groups that one draw may take: those of a split, of which rounds in a row see different
    /// ones. What is drawn thus depends on nothing that a validator would have to remember.
    fn drawable(&self, split: Split, turn: u64, draw: &DrawRules) -> impl Iterator<Item = u64> {
        let (first, apart) = (self.first_group, draw.rounds_apart.max(1));
        self.groups(split).filter(move |group| match split {
            Split::Train => true,
            Split::Evaluation => (first + group) / EVALUATION_PART % apart == turn % apart,
        })
    }
}

/// Row groups in the order of a draw.
pub(super) struct Order<'a> {
    layout: &'a Layout,
    split: Split,
    turn: u64,
    rng: ChaCha20Rng,
    /// Rows not drawn yet, times weight, per file.
    weights: Vec<u64>,
    /// Row groups drawn, per file.
    drawn: HashMap<usize, HashSet<u64>>,
    /// The file that is drawn from now, and how many more row groups of it.
    file: usize,
    n_left: u64,
}

impl Iterator for Order<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        if self.n_left == 0 || self.weights.get(self.file).is_none_or(|weight| *weight == 0) {
            let total = self.weights.iter().sum::<u64>();
            if total == 0 {
                return None;
            }
            let at = uniform_below(&mut self.rng, total);
            self.file = weighted(self.weights.iter().copied(), at)?;
            self.n_left = self.layout.draw.groups_per_file.max(1);
        }
        self.n_left -= 1;
        let file = self.file;
        let part = self.layout.files.get(file)?;
        let drawn = self.drawn.entry(file).or_default();
        let left: Vec<u64> = part
            .drawable(self.split, self.turn, &self.layout.draw)
            .filter(|group| !drawn.contains(group))
            .collect();
        let n_rows = |group: &u64| part.file.rows_of_group(*group);
        let at = uniform_below(&mut self.rng, left.iter().map(n_rows).sum());
        let group = *left.get(weighted(left.iter().map(n_rows), at)?)?;
        drawn.insert(group);
        self.weights[file] -= n_rows(&group) * part.weight;
        Some(Place { file, group })
    }
}

/// The option in whose interval `at` lies, when the weights are laid end to end.
fn weighted(weights: impl Iterator<Item = u64>, mut at: u64) -> Option<usize> {
    for (index, weight) in weights.enumerate() {
        if at < weight {
            return Some(index);
        }
        at -= weight;
    }
    None
}
