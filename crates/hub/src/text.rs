//! What strangers write, made fit to be shown.

/// Most characters of an explanation that are passed on.
const CHARS_MAX: usize = 200;

/// The beginning of a text, with a blank for whatever would do more than be shown.
pub fn shown(text: &str) -> String {
    text.chars().take(CHARS_MAX).map(|c| if is_plain(c) { c } else { ' ' }).collect()
}

/// Whether a character is shown where it stands and does nothing else.
pub fn is_plain(c: char) -> bool {
    // What turns the direction of a text, or has no width, could make it say something else.
    const DECEIVING: [std::ops::RangeInclusive<char>; 4] = [
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
    ];
    !c.is_control() && !DECEIVING.iter().any(|range| range.contains(&c))
}

/// Whether a character joins letters, as those of Persian and the emoji of families need.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}
