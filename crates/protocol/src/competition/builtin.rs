//! The competitions that come with the program.

use crate::Error;

/// Name and text of each, smallest model first.
const BUILTIN: [(&str, &str); 7] = [
    ("tiny", include_str!("../../../../competitions/tiny.toml")),
    ("186m", include_str!("../../../../competitions/186m.toml")),
    ("700m", include_str!("../../../../competitions/700m.toml")),
    ("3b", include_str!("../../../../competitions/3b.toml")),
    ("7b", include_str!("../../../../competitions/7b.toml")),
    ("7b-star", include_str!("../../../../competitions/7b-star.toml")),
    ("14b", include_str!("../../../../competitions/14b.toml")),
];

/// The longest difference in letters that is still taken for a slip.
const SLIP_MAX: usize = 2;

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

pub(super) fn text(name: &str) -> Result<&'static str, Error> {
    let found = BUILTIN.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| {
        // Nobody means a name by a long text; its letters are not worth counting.
        let name: String = name.chars().take(40).collect();
        let nearest = names()
            .map(|known| (difference(&name.to_lowercase(), known), known))
            .filter(|(difference, known)| *difference <= SLIP_MAX.min(known.len() - 1))
            .min_by_key(|(difference, _)| *difference);
        Error::CompetitionUnknown {
            name,
            nearest: nearest.map(|(_, known)| known),
            known: names().collect::<Vec<_>>().join(", "),
        }
    })
}

/// Letters to insert, delete or replace to make `b` of `a`.
fn difference(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, letter_a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, letter_b) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(letter_a != letter_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}
