//! How sure a verdict is, in words for whoever sees one for the first time.

use crate::rules_text::{self, plural};
use indicatif::HumanCount;
use protocol::{
    competition::Epsilon,
    duel::{self, DuelRules, INTERVAL_ERROR, Interval, Strength},
};
use std::fmt::Write as _;
use validator::Fought;

/// Columns of a narrow terminal.
pub const N_COLUMNS: usize = 80;

/// How a challenger stands against the champion, in a sentence without its end.
pub fn standing(challenger: &str, fought: &Fought) -> String {
    let Fought { n_documents, gain, interval, .. } = fought;
    let decimals = interval.decimals();
    let gain = side(*gain, decimals);
    let between = between(*interval, decimals);
    let documents = plural(*n_documents as usize, "document");
    let end = end(fought);
    format!("{challenger} is {gain} than the champion ({between}), after {documents}: {end}")
}

/// What comes of it, and how likely luck explains that.
fn end(fought: &Fought) -> String {
    match fought.verdict {
        Some(duel::Verdict::Dethroned) => {
            format!("chance of luck at most {}. It takes the crown", one_in(fought.alpha))
        }
        Some(duel::Verdict::Rejected) => "that is not enough. It is rejected".to_owned(),
        Some(duel::Verdict::Undecided) => "that proves nothing. The duel ends".to_owned(),
        None if fought.crown > Strength::Nothing && fought.crown >= fought.reject => {
            let part = if fought.crown == Strength::Weak { 0.1 } else { 0.01 };
            format!("chance of luck at most {} so far. The duel goes on", one_in(part))
        }
        None => "nothing is proven yet. The duel goes on".to_owned(),
    }
}

/// A chance of at most this, as people say it.
fn one_in(chance: f64) -> String {
    // Down, since 1 in 1,667 is less than 0.0006; a hair is added for quotients of whole numbers.
    format!("1 in {}", HumanCount((1.0 / chance * (1.0 + 1e-9)).floor() as u64))
}

/// A part by which somebody is better, or worse.
fn side(part: f64, decimals: usize) -> String {
    let word = if part < 0.0 { "worse" } else { "better" };
    format!("{:.decimals$} % {word}", 100.0 * part.abs())
}

/// Where a gain lies; without signs.
fn between(Interval { low, high }: Interval, decimals: usize) -> String {
    let percent = |part: f64| format!("{:.decimals$}", 100.0 * part.abs());
    if low < 0.0 && high > 0.0 {
        return format!("between {} % worse and {} % better", percent(low), percent(high));
    }
    let (near, far) = if low >= 0.0 { (low, high) } else { (high, low) };
    format!("between {} and {} %", percent(near), percent(far))
}

/// How a duel stands, for a table: gain, range and one word.
pub fn row(fought: &Fought) -> String {
    let Fought { gain, interval: Interval { low, high }, .. } = *fought;
    let decimals = fought.interval.decimals();
    let [gain, low, high] = [gain, low, high].map(|part| {
        // What is shown as zero has no sign.
        let text = format!("{:.decimals$}", 100.0 * part);
        if text.trim_matches(['-', '0', '.']).is_empty() { text.replace('-', "") } else { text }
    });
    let word = match fought.verdict {
        Some(duel::Verdict::Dethroned) => "crowned",
        Some(duel::Verdict::Rejected) => "rejected",
        Some(duel::Verdict::Undecided) => "undecided",
        None => "open",
    };
    format!("{gain} % ({low} to {high}), {word}")
}

/// What all verdicts of a run rest on.
pub fn rests_on(rules: &DuelRules, epsilon: Epsilon) -> String {
    let epsilon = rules_text::epsilon(epsilon);
    let DuelRules { alpha, n_documents_min, clip, .. } = *rules;
    let mut text = "What the verdicts rest on\n\n".to_owned();
    for part in [
        "A challenger duels with the champion: both are measured on documents that nobody could \
         train on, one after the other, and over several rounds if need be."
            .to_owned(),
        format!(
            "It takes the crown when luck is ruled out, after {n_documents_min} documents or more. \
             Whoever is not better by {epsilon} gets there with a chance of at most {}, with all \
             that its owner tries in {} blocks.",
            one_in(alpha),
            HumanCount(rules.window_blocks)
        ),
        format!(
            "Better means a lower loss, as a part of the champion's. A document counts {:.0} % at \
             most, so that no single one decides.",
            100.0 * clip
        ),
        format!(
            "The range in brackets misses the truth with a chance of at most {}, however often one \
             looks.",
            one_in(INTERVAL_ERROR)
        ),
        "The first champion, and any that comes to an empty throne, has the lowest loss and no \
         such proof."
            .to_owned(),
        "An exact copy is not compared: it is its owner's model.".to_owned(),
    ] {
        let _ = writeln!(text, "{}", wrapped(&format!("  {part}"), 2));
    }
    text
}

/// A text in lines that fit a narrow terminal; all but the first begin with so many blanks.
pub fn wrapped(text: &str, indent: usize) -> String {
    let lead = text.len() - text.trim_start().len();
    let mut lines = text[..lead].to_owned();
    let mut n_columns = lead;
    let mut words = text[lead..].split(' ').peekable();
    while let Some(word) = words.next() {
        lines.push_str(word);
        n_columns += word.chars().count();
        let Some(next) = words.peek() else { break };
        if n_columns + 1 + next.chars().count() > N_COLUMNS {
            let _ = write!(lines, "\n{:indent$}", "");
            n_columns = indent;
        } else {
            lines.push(' ');
            n_columns += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const BETTER: Fought = Fought {
        verdict: Some(duel::Verdict::Dethroned),
        n_documents: 65,
        gain: 0.021,
        interval: Interval { low: 0.014, high: 0.028 },
        alpha: 1e-3 / 2.0,
        crown: Strength::Decisive,
        reject: Strength::Nothing,
    };

    #[test]
    fn a_newcomer_reads_how_much_how_sure_and_what_comes_of_it() {
        assert_eq!(
            standing("rebaser", &BETTER),
            "rebaser is 2.1 % better than the champion (between 1.4 and 2.8 %), after 65 \
             documents: chance of luck at most 1 in 2,000. It takes the crown"
        );
        let copy = Fought {
            verdict: Some(duel::Verdict::Rejected),
            gain: -0.0001,
            interval: Interval { low: -0.003, high: 0.002 },
            ..BETTER
        };
        assert_eq!(
            standing("copycat", &copy),
            "copycat is 0.0 % worse than the champion (between 0.3 % worse and 0.2 % better), \
             after 65 documents: that is not enough. It is rejected"
        );
        let worse = Interval { low: -0.05, high: -0.02 };
        let worse = Fought { verdict: None, gain: -0.03, interval: worse, ..copy };
        let worse = Fought { crown: Strength::Nothing, ..worse };
        assert_eq!(
            standing("honest-1", &worse),
            "honest-1 is 3 % worse than the champion (between 2 and 5 %), after 65 documents: \
             nothing is proven yet. The duel goes on"
        );
        let third = Fought { verdict: None, alpha: 1e-3 / 12.0, crown: Strength::Weak, ..BETTER };
        assert!(standing("x", &third).ends_with("at most 1 in 10 so far. The duel goes on"));
        let third = Fought { verdict: BETTER.verdict, ..third };
        assert!(standing("x", &third).ends_with("at most 1 in 12,000. It takes the crown"));
    }

    #[test]
    fn a_row_of_the_table_is_short_and_zero_has_no_sign() {
        assert_eq!(row(&BETTER), "2.1 % (1.4 to 2.8), crowned");
        let interval = Interval { low: -0.003, high: 0.002 };
        let copy = Fought { verdict: None, gain: -0.0001, interval, ..BETTER };
        assert_eq!(row(&copy), "0.0 % (-0.3 to 0.2), open");
        assert!(row(&Fought { gain: -0.1, interval, ..BETTER }).chars().count() <= 35);
    }

    #[test]
    fn no_line_is_wider_than_a_narrow_terminal_and_no_word_is_lost() {
        let long = format!("block   50  {}", standing("rebaser", &BETTER));
        let epsilon = Epsilon::Fixed { value: 0.005 };
        let all = rests_on(&DuelRules::default(), epsilon);
        let told = wrapped(&long, 12);
        for line in told.lines().chain(all.lines()) {
            assert!(line.chars().count() <= N_COLUMNS, "{line}");
        }
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&told), words(&long));
        for part in ["better by 0.5 % gets", "most 1 in 1,000, with", "counts 5 % at most"] {
            assert!(words(&all).contains(part), "no `{part}` in {all}");
        }
        assert!(told.starts_with("block   50  rebaser"), "{told}");
        assert!(told.lines().skip(1).all(|line| line.starts_with(&" ".repeat(12))), "{told}");
        assert_eq!(wrapped("  a", 4), "  a");
    }

    #[test]
    fn a_chance_of_luck_is_never_told_smaller_than_it_is() {
        for (chance, told) in
            [(6e-4, "1 in 1,666"), (1e-3 / 12.0, "1 in 12,000"), (0.05, "1 in 20"), (1.0, "1 in 1")]
        {
            assert_eq!(one_in(chance), told);
        }
        // All budgets that rules share out by whole numbers are told as they are.
        for n in 1..5_000_u32 {
            let told = one_in(1e-3 / f64::from(n)).replace(',', "");
            assert_eq!(told, format!("1 in {}", 1_000 * n));
        }
        let mut stream = protocol::Seed::of_number(7).stream();
        for _ in 0..2_000 {
            let part = 1 + protocol::seed::uniform_below(&mut stream, 1_000_000);
            let chance = part as f64 / 1e6;
            let told: f64 = one_in(chance)["1 in ".len()..].replace(',', "").parse().unwrap();
            assert!(1.0 / told >= chance * (1.0 - 1e-8), "seed 7: {chance} told as 1 in {told}");
        }
    }

    #[test]
    fn texts_of_any_words_are_wrapped_within_the_terminal_and_lose_none() {
        let mut stream = protocol::Seed::of_number(3).stream();
        let mut below = |n| protocol::seed::uniform_below(&mut stream, n) as usize;
        for round in 0..500 {
            let words: Vec<String> = (0..1 + below(60))
                .map(|_| ["ä", "x", "日"][below(3)].repeat(1 + below(40)))
                .collect();
            let indent = below(24);
            let text = " ".repeat(indent.min(5)) + &words.join(" ");
            let told = wrapped(&text, indent);
            let found: Vec<&str> = told.split_whitespace().collect();
            assert_eq!(found, words, "seed 3, round {round}");
            for line in told.lines() {
                assert!(line.chars().count() <= N_COLUMNS, "seed 3, round {round}: {line}");
            }
        }
        let long = "w".repeat(200);
        assert_eq!(wrapped(&long, 4), long, "one word is not broken");
    }

    #[test]
    fn a_gain_is_told_without_signs_on_either_side_of_nothing() {
        let fought = |gain, low, high| Fought {
            verdict: None,
            gain,
            interval: Interval { low, high },
            crown: Strength::Nothing,
            ..BETTER
        };
        for (fought, part) in [
            (fought(0.0, 0.0, 0.03), "is 0 % better than the champion (between 0 and 3 %)"),
            (fought(-0.02, -0.04, 0.0), "is 2 % worse than the champion (between 0 and 4 %)"),
            (fought(-1.0, -1.0, 1.0), "(between 100 % worse and 100 % better)"),
            (fought(0.02, 0.02, 0.02), "(between 2.000000 and 2.000000 %)"),
        ] {
            let told = standing("x", &fought);
            assert!(told.contains(part), "no `{part}` in {told}");
        }
        let one = Fought { n_documents: 1, ..fought(0.1, 0.0, 0.2) };
        assert!(standing("x", &one).contains("after 1 document:"), "{}", standing("x", &one));
        let sure = Fought { crown: Strength::Strong, ..one };
        assert!(standing("x", &sure).contains("at most 1 in 100 so far"));
        let against = Fought { reject: Strength::Decisive, ..sure };
        assert!(standing("x", &against).contains("nothing is proven yet"));
    }
}
