//! What strangers write, made fit to be shown.

use std::ops::RangeInclusive;

/// Characters that turn the direction of a text or have no width: they could make it say something
/// else than it does.
const DECEIVING: [RangeInclusive<char>; 9] = [
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{e0000}'..='\u{e0fff}',
];

/// The first `n_max` characters of a text, in one line, with a replacement character for whatever
/// would do more than be shown.
pub fn shown(text: &str, n_max: usize) -> String {
    let plain = |c: char| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER };
    let mut line = String::with_capacity(text.len().min(n_max));
    line.extend(text.chars().take(n_max).map(plain));
    line
}

/// Whether a character is shown where it stands and does nothing else.
pub fn is_plain(c: char) -> bool {
    // Most are these, and looked at no further.
    c == ' '
        || c.is_ascii_graphic()
        || (!c.is_control() && !DECEIVING.iter().any(|range| range.contains(&c)))
}

/// Whether a character without a width belongs to the spelling of a word or a picture, as those of
/// Persian and of emoji do: a name may have it, and what is shown does not.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_what_turns_hides_or_moves_is_replaced_and_all_else_is_shown() {
        let text = "a\u{1b}[2Jb\n\u{202e}c\u{200b}d\u{2066}e\u{feff}f\u{ad}g\u{e0041}";
        assert_eq!(shown(text, 100), "a�[2Jb��c�d�e�f�g�");
        let names = "Müller 日本語 خوش 👍 naïve §";
        assert_eq!(shown(names, 100), names);
        assert_eq!(shown("abcdef", 3), "abc");
        for c in ['\u{200c}', '\u{200d}', '\u{fe0f}'] {
            assert!(is_joiner(c) && !is_plain(c));
        }
        assert!(!is_joiner('\u{202e}') && !is_joiner('a'));
    }
}
