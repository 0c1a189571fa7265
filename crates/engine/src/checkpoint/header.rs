//! The policy for headers of safetensors files.
//!
//! The format itself admits things that no published model needs and that hide differences
//! between readers: the same name twice, dimensions whose product is zero, tensors that overlap,
//! names with path separators. This scanner refuses them before anything is allocated for them.

use super::{Constant, Dtype};
use crate::json::{Fault, Scanner, shorten};
use protocol::files::HEADER_BYTES_MAX;
use std::{collections::BTreeMap, fmt};

/// A header of this length is accepted in a file of any size: tiny models have tiny files.
pub(crate) const HEADER_BYTES_FREE: u64 = 64 << 10;
/// Otherwise a header may be one part in this many of its file.
pub(crate) const HEADER_SHARE_MIN: u64 = 100;
/// Most tensors of one model.
pub(crate) const TENSORS_MAX: usize = 20_000;
/// Most dimensions of a tensor.
const RANK_MAX: usize = 4;
/// Largest dimension.
const DIMENSION_MAX: u64 = 1 << 31;
/// Longest name of a tensor.
const NAME_MAX: usize = 200;

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// As parameters may be.
    Number(Dtype),
    /// As constants alone may be: the type's name and the bytes of an element.
    Other(&'static str, u64),
}

/// Types of elements that are no parameters.
const OTHERS: [(&str, u64); 10] = [
    ("BOOL", 1),
    ("U8", 1),
    ("I8", 1),
    ("U16", 2),
    ("I16", 2),
    ("U32", 4),
    ("I32", 4),
    ("U64", 8),
    ("I64", 8),
    ("F64", 8),
];

impl Stored {
    fn of_header(name: &str) -> Option<Self> {
        let other = || OTHERS.iter().find(|(known, _)| *known == name);
        let number = Dtype::of_header(name).map(Self::Number);
        number.or_else(|| other().map(|(name, n_bytes)| Self::Other(name, *n_bytes)))
    }

    fn n_bytes(self) -> u64 {
        match self {
            Self::Number(dtype) => dtype.n_bytes(),
            Self::Other(_, n_bytes) => n_bytes,
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(dtype) => dtype.fmt(f),
            Self::Other(name, _) => f.write_str(name),
        }
    }
}

/// One tensor as the header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stored: Stored,
    pub(crate) shape: Vec<u64>,
    /// First byte, counted from the end of the header.
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// Reads the eight bytes in front of a header: how long it is in a file of `file_bytes`.
pub(crate) fn header_length(prefix: [u8; 8], file_bytes: u64) -> Result<u64, String> {
    let length = u64::from_le_bytes(prefix);
    let allowed = (file_bytes / HEADER_SHARE_MIN).clamp(HEADER_BYTES_FREE, HEADER_BYTES_MAX);
    if length > allowed {
        return Err(format!("a header of {length} bytes, more than the {allowed} allowed"));
    }
    if length.checked_add(8).is_none_or(|end| end > file_bytes) {
        return Err(format!("a header of {length} bytes in a file of {file_bytes}"));
    }
    Ok(length)
}

/// Reads a header whose tensors must fill exactly the `data_bytes` after it.
pub(crate) fn scan(header: &[u8], data_bytes: u64) -> Result<BTreeMap<String, Entry>, String> {
    if header.first() != Some(&b'{') {
        return Err("the header does not start with `{`".into());
    }
    let entries = scan_entries(header).map_err(|fault| fault.to_string())?;
    check_layout(&entries, data_bytes)?;
    Ok(entries)
}

fn scan_entries(header: &[u8]) -> Result<BTreeMap<String, Entry>, Fault> {
    let mut scanner = Scanner::new(header)?;
    let mut entries = BTreeMap::new();
    scanner.object(|scanner, name| {
        if name == "__metadata__" {
            return scanner.object(|scanner, _| scanner.string().map(drop));
        }
        if entries.len() >= TENSORS_MAX {
            return scanner.fault(format!("more than {TENSORS_MAX} tensors"));
        }
        check_name(scanner, name)?;
        let entry = scan_entry(scanner, name)?;
        entries.insert(name.to_owned(), entry);
        Ok(())
    })?;
    scanner.end()?;
    Ok(entries)
}

/// Names are plain: they travel into paths, terminals and web pages.
pub(crate) fn check_name(scanner: &Scanner<'_>, name: &str) -> Result<(), Fault> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_';
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    scanner.fault(format!("the tensor name `{}`", shorten(name)))
}

fn scan_entry(scanner: &mut Scanner<'_>, name: &str) -> Result<Entry, Fault> {
    let (mut stored, mut shape, mut offsets) = (None, None, None);
    scanner.object(|scanner, key| {
        match key {
            "dtype" => stored = Some(scan_dtype(scanner, name)?),
            "shape" => shape = Some(scan_shape(scanner, name)?),
            "data_offsets" => offsets = Some(scan_offsets(scanner, name)?),
            _ => return scanner.fault(format!("`{name}` has the key `{}`", shorten(key))),
        }
        Ok(())
    })?;
    match (stored, shape, offsets) {
        // What no parameter can be is judged where it is known that nobody reads it.
        (Some(Stored::Other(other, _)), Some(shape), _) if Constant::of(name, &shape).is_none() => {
            scanner.fault(format!("`{name}` has the type `{other}`"))
        }
        (Some(stored), Some(shape), Some((begin, end))) => Ok(Entry { stored, shape, begin, end }),
        _ => scanner.fault(format!("`{name}` lacks dtype, shape or data_offsets")),
    }
}

fn scan_dtype(scanner: &mut Scanner<'_>, name: &str) -> Result<Stored, Fault> {
    let text = scanner.string()?;
    match Stored::of_header(&text) {
        Some(stored) => Ok(stored),
        None => scanner.fault(format!("`{name}` has the type `{}`", shorten(&text))),
    }
}

fn scan_shape(scanner: &mut Scanner<'_>, name: &str) -> Result<Vec<u64>, Fault> {
    let mut shape = Vec::with_capacity(RANK_MAX);
    scanner.array(|scanner| {
        let dimension = scanner.unsigned()?;
        if shape.len() == RANK_MAX {
            return scanner.fault(format!("`{name}` has more than {RANK_MAX} dimensions"));
        }
        if !(1..=DIMENSION_MAX).contains(&dimension) {
            return scanner.fault(format!("`{name}` has the dimension {dimension}"));
        }
        shape.push(dimension);
        Ok(())
    })?;
    Ok(shape)
}

fn scan_offsets(scanner: &mut Scanner<'_>, name: &str) -> Result<(u64, u64), Fault> {
    let mut offsets = Vec::with_capacity(2);
    scanner.array(|scanner| {
        let offset = scanner.unsigned()?;
        if offsets.len() == 2 {
            return scanner.fault(format!("`{name}` has more than two offsets"));
        }
        offsets.push(offset);
        Ok(())
    })?;
    match offsets[..] {
        [begin, end] => Ok((begin, end)),
        _ => scanner.fault(format!("`{name}` has fewer than two offsets")),
    }
}

/// Tensors stand one after the other without gap or overlap, and nothing follows the last.
fn check_layout(entries: &BTreeMap<String, Entry>, data_bytes: u64) -> Result<(), String> {
    let mut in_order: Vec<_> = entries.iter().collect();
    in_order.sort_by_key(|(_, entry)| entry.begin);
    let mut at = 0_u64;
    for (name, entry) in in_order {
        if entry.begin != at {
            return Err(format!(
                "`{name}` starts at {}, but the tensor before it ends at {at}",
                entry.begin
            ));
        }
        let n_bytes = entry
            .shape
            .iter()
            .try_fold(entry.stored.n_bytes(), |n_bytes, &dimension| n_bytes.checked_mul(dimension));
        let end = n_bytes.and_then(|n_bytes| at.checked_add(n_bytes));
        if end != Some(entry.end) {
            return Err(format!("the length of `{name}` is not what its shape says"));
        }
        at = entry.end;
    }
    if at != data_bytes {
        return Err(format!("tensors of {at} bytes in a file that holds {data_bytes}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b.c_1":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}   "#;

    fn refused(header: &str, data_bytes: u64, because: &str) {
        let message = scan(header.as_bytes(), data_bytes).unwrap_err();
        assert!(message.contains(because), "{message:?} does not speak of {because:?}");
    }

    fn one(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
        format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    }

    #[test]
    fn a_header_as_safetensors_writes_it_is_accepted() {
        let entries = scan(TWO.as_bytes(), 32).unwrap();
        assert_eq!(entries["a"].shape, [2, 3]);
        let second = &entries["b.c_1"];
        assert_eq!((second.stored, second.begin), (Stored::Number(Dtype::Bf16), 24));
    }

    #[test]
    fn attack_a_tensor_named_twice_is_refused() {
        let twice = TWO.replace("b.c_1", "a");
        refused(&twice, 32, "stands twice");
        refused(&TWO.replace("b.c_1", "\\u0061"), 32, "stands twice");
        refused(&TWO.replace(r#""dtype":"F32""#, r#""dtype":"F32","dtype":"F32""#), 32, "twice");
        refused(&TWO.replace(r#""pt""#, r#""pt","format":"np""#), 32, "twice");
        refused(&TWO.replace(r#"{"__m"#, r#"{"__metadata__":{},"__m"#), 32, "twice");
    }

    #[test]
    fn attack_dimensions_that_cheat_the_product_are_refused() {
        refused(&one("a", "F32", "[9223372036854775807,0]", "[0,0]"), 0, "dimension");
        refused(&one("a", "F32", "[0]", "[0,0]"), 0, "dimension 0");
        refused(&one("a", "F32", "[2147483649]", "[0,4]"), 4, "dimension");
        refused(&one("a", "F32", "[-1]", "[0,4]"), 4, "not a whole number");
        refused(&one("a", "F32", "[1.0]", "[0,4]"), 4, "not a whole number");
        refused(&one("a", "F32", "[99999999999999999999]", "[0,4]"), 4, "not a whole number");
        let wraps = "[2147483648,2147483648,2147483648,2147483648]";
        refused(&one("a", "F32", wraps, "[0,0]"), 0, "length of `a`");
        let ones = format!("[{}1]", "1,".repeat(65_535));
        refused(&one("a", "F32", &ones, "[0,4]"), 4, "more than 4 dimensions");
    }

    #[test]
    fn attack_names_outside_the_alphabet_are_refused() {
        let long = "x".repeat(201);
        for name in ["../../etc/passwd", "a/b", "", "a b", "a\\u0000", "\\u202ea", "é", &long] {
            refused(&one(name, "F32", "[1]", "[0,4]"), 4, "name");
        }
    }

    #[test]
    fn attack_types_and_keys_outside_the_list_are_refused() {
        for dtype in ["F64", "I8", "U8", "F8_E4M3", "BOOL", "f32", ""] {
            refused(&one("a", dtype, "[1]", "[0,4]"), 4, "type");
        }
        refused(&TWO.replace(r#""shape":[4]"#, r#""shape":[4],"scale":1"#), 32, "key `scale`");
        refused(&TWO.replace(r#""shape":[4],"#, ""), 32, "lacks");
        refused(&TWO.replace(r#""pt""#, r#"{"x":1}"#), 32, "expected");
    }

    #[test]
    fn constants_may_have_any_type_whose_size_is_known() {
        for (dtype, n_bytes) in [("BOOL", 1), ("U8", 1), ("I64", 8), ("F64", 8), ("F16", 2)] {
            let length = 4 * n_bytes;
            let mask = one("h.0.attn.bias", dtype, "[1,1,2,2]", &format!("[0,{length}]"));
            assert_eq!(scan(mask.as_bytes(), length).unwrap().len(), 1, "{dtype}");
            refused(&mask, length + 1, "holds");
            if n_bytes != 2 {
                refused(&mask.replace("attn.bias", "attn.weight"), length, "type");
                refused(&mask.replace("[1,1,2,2]", "[2,2]"), length, "type");
            }
        }
        refused(&one("h.0.attn.bias", "F8_E4M3", "[1,1,2,2]", "[0,4]"), 4, "type");
    }

    #[test]
    fn attack_overlaps_holes_and_hidden_bytes_are_refused() {
        refused(&TWO.replace("[24,32]", "[16,24]"), 24, "starts at 16");
        refused(&TWO.replace("[24,32]", "[32,40]"), 40, "starts at 32");
        refused(&TWO.replace("[24,32]", "[24,30]"), 30, "length of");
        refused(&TWO.replace("[24,32]", "[32,24]"), 32, "starts at 32");
        refused(&TWO.replace("[0,24]", "[18446744073709551615,24]"), 32, "starts at");
        refused(TWO, 33, "holds 33");
        refused(TWO, 31, "holds 31");
        refused("{}", 1, "holds 1");
        refused(&one("a", "F32", "[1]", "[0,4,8]"), 4, "offsets");
        refused(&one("a", "F32", "[1]", "[0]"), 4, "offsets");
    }

    #[test]
    fn attack_text_around_the_header_is_refused() {
        refused(&format!(" {TWO}"), 32, "start");
        refused(&format!("{TWO}x"), 32, "after the end");
        refused("", 0, "start");
        refused(&"{\"a\":".repeat(200_000), 0, "key `a`");
    }

    #[test]
    fn attack_header_bombs_are_refused_from_their_length_alone() {
        let gib = 1 << 30;
        assert_eq!(header_length(100_u64.to_le_bytes(), 200), Ok(100));
        assert_eq!(header_length((8_u64 << 20).to_le_bytes(), gib), Ok(8 << 20));
        assert!(header_length((100_u64 << 20).to_le_bytes(), 200 * gib).is_err());
        assert!(header_length((100_u64 << 10).to_le_bytes(), 1 << 20).is_err());
        assert!(header_length(200_u64.to_le_bytes(), 200).is_err());
        assert!(header_length(u64::MAX.to_le_bytes(), u64::MAX).is_err());
    }

    #[test]
    fn attack_more_tensors_than_any_model_has_are_refused() {
        let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        let many: Vec<String> = (0..20_001).map(|i| format!("\"t{i}\":{entry}")).collect();
        refused(&format!("{{{}}}", many.join(",")), 4, "more than 20000 tensors");
    }
}
