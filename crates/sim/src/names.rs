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
pub(crate) fn explained(message: &str) -> String {
    message.replace('\n', " ") + &meant(message).unwrap_or_default()
}

/// The name that was meant, in words: a reader quotes first the one that it does not know, and then
/// those that it knows.
fn meant(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let name = quoted.next()?;
    nearest(name, quoted).map(|nearest| format!("; did you mean `{nearest}`?"))
}

#[cfg(test)]
mod tests;
