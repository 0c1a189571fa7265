//! The only way a generated document gets text: fixed text, and choices that are accounted for.

/// The option that ends the document instead of adding text.
pub(super) const END: &str = "";

/// One option of a choice: its weight and the text it adds.
pub(super) type Choice<'a> = (u64, &'a str);

/// Names an option of positive weight, given what is written and the options.
pub(super) type Pick<'a> = dyn FnMut(&str, &[Choice]) -> usize + 'a;

/// Writes one document and sums up the information of its choices.
///
/// Every choice adds its option's text at once, and no option of a choice begins another. So two
/// different runs of choices part at their first different option, within the text, and never
/// meet again: a text has one run of choices, and the sum of -ln p over the choices is exactly its
/// information content. ([`END`] adds nothing and closes the document; every other option adds
/// text, which tells them apart.) A latent choice, whose effect shows only later, is impossible.
pub(super) struct Writer<'a> {
    pub(super) text: String,
    pub(super) entropy_nats: f64,
    pick: &'a mut Pick<'a>,
}

impl<'a> Writer<'a> {
    /// An empty document whose choices `pick` makes.
    pub(super) fn new(pick: &'a mut Pick<'a>) -> Self {
        Self { text: String::new(), entropy_nats: 0.0, pick }
    }

    /// Adds text that follows from what is already written and from the world.
    pub(super) fn put(&mut self, parts: &[&str]) {
        self.text.extend(parts.iter().copied());
    }

    /// Adds the text of one option and returns its index.
    pub(super) fn choose(&mut self, options: &[Choice]) -> usize {
        debug_assert!(is_prefix_free(options), "ambiguous choice: {options:?}");
        let picked = (self.pick)(&self.text, options);
        let total: u64 = options.iter().map(|(weight, _)| weight).sum();
        let (weight, text) = options[picked];
        self.entropy_nats -= (weight as f64 / total as f64).ln();
        self.text.push_str(text);
        picked
    }

    /// Adds one of `words`, all equally likely, and returns its index.
    pub(super) fn choose_evenly(&mut self, words: &[&str]) -> usize {
        let options: Vec<Choice> = words.iter().map(|word| (1, *word)).collect();
        self.choose(&options)
    }
}

/// Whether no possible option begins another; [`END`] is told from all others by the end itself.
fn is_prefix_free(options: &[Choice]) -> bool {
    let possible: Vec<&str> =
        options.iter().filter(|(weight, _)| *weight > 0).map(|(_, text)| *text).collect();
    let begins = |i: usize, j: usize| {
        i != j
            && if possible[i] == END {
                possible[j] == END
            } else {
                possible[j].starts_with(possible[i])
            }
    };
    let n = possible.len();
    n > 0 && !(0..n).any(|i| (0..n).any(|j| begins(i, j)))
}
