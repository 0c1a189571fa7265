//! What a model is, as the record has it that its page is told by.

use crate::{
    figures::grouped,
    limits::ARCHITECTURE_LETTERS_MAX,
    table::{Cell, Table, column},
};
use maud::{Markup, html};
use protocol::{record::Card, text::shown};

/// What a model is, in one row; none where the record does not tell it.
pub(super) fn card(told: Option<&Card>) -> Table {
    let columns = vec![
        column("architecture", "Architecture", ""),
        column("parameters", "Parameters", ""),
        column("size_bytes", "Size", "bytes"),
        column("vocabulary", "Vocabulary", "tokens"),
        column("context", "Context", "tokens"),
        column("vanishing", "Vanishing gradients", "tensors"),
        column("exploding", "Exploding gradients", "tensors"),
    ];
    let mut table = Table::new("card", "What it is, by its last record", columns);
    table.empty = "its last record does not tell what it is";
    let count = |number: u64| Cell::count(number).shown(grouped(number));
    table.rows.extend(told.map(|told| {
        vec![
            Cell::text(shown(&told.architecture, ARCHITECTURE_LETTERS_MAX)),
            count(told.n_parameters),
            count(told.size_bytes),
            count(told.vocabulary),
            count(told.context),
            count(told.n_vanishing),
            count(told.n_exploding),
        ]
    }));
    table
}

/// The health of its parameters in words, where the record tells it.
pub(super) fn gradients(told: Option<&Card>) -> Markup {
    html! { @if let Some(told) = told { p { (in_words(told.n_vanishing, told.n_exploding)) } } }
}

fn in_words(n_vanishing: u64, n_exploding: u64) -> String {
    let of = |number: u64, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{} {more}", grouped(number)),
    };
    match n_vanishing.saturating_add(n_exploding) {
        0 => "No tensor has vanishing or exploding gradients.".to_owned(),
        n_all => format!(
            "{} vanishing or exploding gradients, of which {} and {}.",
            of(n_all, "tensor has", "tensors have"),
            of(n_vanishing, "vanishes", "vanish"),
            of(n_exploding, "explodes", "explode"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_of_parameters_is_told_in_words() {
        assert_eq!(in_words(0, 0), "No tensor has vanishing or exploding gradients.");
        let told = "3 tensors have vanishing or exploding gradients, of which 2 vanish and \
                    1 explodes.";
        assert_eq!(in_words(2, 1), told);
        let told =
            "1 tensor has vanishing or exploding gradients, of which 0 vanish and 1 explodes.";
        assert_eq!(in_words(0, 1), told);
        assert!(in_words(u64::MAX, u64::MAX).starts_with("18,446,744,073,709,551,615 tensors"));
    }
}
