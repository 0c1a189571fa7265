//! Errors about names that name the nearest one that is known.

/// How alike two names must be for one to be meant by the other.
const ALIKE: f64 = 0.7;

/// The known name that was most probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let like = |other: &'a str| (strsim::jaro_winkler(name, other), other);
    let best = known.into_iter().map(like).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, other)| other)
}

/// What a reader of TOML says, with the nearest name where it knows a name not.
///
/// It quotes the name first, and then those that it knows.
pub(crate) fn explained(message: &str) -> String {
    let message = message.replace('\n', " ");
    if !message.starts_with("unknown ") {
        return message;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(name) = quoted.next() else { return message };
    let known: Vec<&str> = quoted.collect();
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("{message}; did you mean `{nearest}`?"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named() {
        let message = "unknown field `blokcs`, expected one of `blocks`, `validators`";
        let explained = explained(message);
        assert!(explained.ends_with("; did you mean `blocks`?"), "{explained}");
        assert_eq!(super::explained("expected a string"), "expected a string");
        assert_eq!(nearest("xyz", ["blocks", "seeds"]), None);
    }
}
