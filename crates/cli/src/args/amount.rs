//! Amounts of money.

/// An amount of TAO as a person writes it, in rao.
pub fn tao(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not an amount of TAO, such as 100 or 0.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) {
        return Err(wrong());
    }
    if part.len() > 9 {
        return Err(format!("`{text}` has more than nine decimals; a rao is 0.000000001 TAO"));
    }
    let rao = format!("{whole}{part:0<9}").parse().map_err(|_| wrong())?;
    if rao == 0 { Err("the amount is zero".to_owned()) } else { Ok(rao) }
}
