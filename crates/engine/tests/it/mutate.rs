//! Damage to published models: of bytes, of JSON, of what the JSON means.

use crate::{published::RawTensor, writer::Random};
use serde_json::{Map, Value, json};

/// Pieces that hostile files are made of.
const PIECES: [&str; 22] = [
    "0",
    "-1",
    "1e9",
    "18446744073709551615",
    "9223372036854775808",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "[[",
    "}}",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "\u{202e}",
    "\"__metadata__\":{},",
    "\"__metadata__\":{\"a\":\"b\"},",
    " ",
    "\0",
    "\"",
];

/// Changes some bytes in one of the ways that break parsers.
pub(crate) fn bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let (a, b) = (random.below(bytes.len()), random.below(bytes.len()));
        let (start, end) = (a.min(b), (a.max(b) + 1).min(a.min(b) + 40));
        match random.below(6) {
            0 => bytes[a] = random.bits() as u8,
            1 => bytes[a] ^= 1 << random.below(8),
            2 => drop(bytes.drain(start..end)),
            3 => {
                let copy = bytes[start..end].to_vec();
                drop(bytes.splice(b..b, copy));
            }
            4 => {
                let piece = PIECES[random.below(PIECES.len())].bytes();
                drop(bytes.splice(a..a, piece));
            }
            _ => {
                // A number becomes another one, the most telling damage of all.
                let digit = bytes[a..].iter().position(u8::is_ascii_digit).map(|at| a + at);
                if let Some(at) = digit {
                    let piece = PIECES[random.below(5)].bytes();
                    drop(bytes.splice(at..=at, piece));
                }
            }
        }
    }
}

/// Changes a value somewhere inside of a document that stays well formed.
pub(crate) fn value(value: &mut Value, random: &mut Random) {
    let n_members = match &*value {
        Value::Object(members) => members.len(),
        Value::Array(elements) => elements.len(),
        _ => 0,
    };
    if n_members > 0 && random.below(4) > 0 {
        let chosen = random.below(n_members);
        let inner = match value {
            Value::Object(members) => members.values_mut().nth(chosen),
            Value::Array(elements) => elements.get_mut(chosen),
            _ => None,
        };
        return self::value(inner.unwrap(), random);
    }
    match value {
        Value::Object(members) => object(members, random),
        Value::Array(elements) => array(elements, random),
        Value::Number(number) => {
            let n = number.as_f64().unwrap_or(0.0);
            let whole = number.as_u64().unwrap_or(1);
            *value = match random.below(9) {
                0 => json!(whole.wrapping_add(1)),
                1 => json!(whole.wrapping_sub(1)),
                2 => json!(whole.wrapping_mul(2)),
                3 => json!(whole / 2),
                4 => json!(n),
                5 => json!(-n),
                6 => json!(number.to_string()),
                _ => whim(random),
            };
        }
        Value::Bool(flag) if random.below(2) == 0 => *flag = !*flag,
        Value::String(text) if random.below(2) == 0 => string(text, random),
        other => *other = whim(random),
    }
}

fn object(members: &mut Map<String, Value>, random: &mut Random) {
    let keys: Vec<String> = members.keys().cloned().collect();
    if keys.is_empty() {
        members.insert("a".into(), whim(random));
        return;
    }
    let mut any = || keys[random.below(keys.len())].clone();
    let (key, other) = (any(), any());
    match random.below(5) {
        0 => drop(members.remove(&key)),
        1 => {
            let copy = members[&key].clone();
            members.insert(other, copy);
        }
        2 => {
            let moved = members.remove(&key).unwrap();
            let mut name = key;
            string(&mut name, random);
            members.insert(name, moved);
        }
        3 => {
            let (a, b) = (members[&key].clone(), members[&other].clone());
            members.insert(key, b);
            members.insert(other, a);
        }
        _ => drop(members.insert(key, whim(random))),
    }
}

fn array(elements: &mut Vec<Value>, random: &mut Random) {
    let n = elements.len();
    match random.below(4) {
        0 => elements.push(whim(random)),
        1 if n > 0 => drop(elements.remove(random.below(n))),
        2 if n > 0 => elements.push(elements[random.below(n)].clone()),
        _ => elements.reverse(),
    }
}

fn string(text: &mut String, random: &mut Random) {
    match random.below(7) {
        0 => text.push('x'),
        1 => drop(text.pop()),
        2 => *text = text.to_uppercase(),
        3 => text.push('\0'),
        4 => *text = format!("../{text}"),
        5 => text.insert(0, '\u{202e}'),
        _ => *text = text.replace(['0', '1'], "2"),
    }
}

/// A value that nobody expects.
fn whim(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(1),
        4 => json!(u64::MAX),
        5 => json!(1_u64 << random.below(64)),
        6 => json!(-1),
        7 => json!(0.5),
        8 => json!(1e300),
        9 => json!("full_attention"),
        10 => json!([]),
        _ => json!({"rope_type": "linear", "factor": 2}),
    }
}

/// Changes tensors in ways that leave the file itself in order, most of the time.
pub(crate) fn tensors(tensors: &mut Vec<RawTensor>, random: &mut Random) {
    let (a, b) = (random.below(tensors.len()), random.below(tensors.len()));
    match random.below(9) {
        0 => tensors.swap(a, b),
        1 => tensors.reverse(),
        2 => drop(tensors.remove(a)),
        3 => {
            let copy = RawTensor { name: tensors[b].name.clone() + ".x", ..tensors[a].clone() };
            tensors.insert(b, copy);
        }
        4 => tensors[a].shape.reverse(),
        5 => {
            let names = [tensors[a].name.clone(), tensors[b].name.clone()];
            [tensors[b].name, tensors[a].name] = names;
        }
        6 => {
            // The same bytes read as another type: half as wide, or of another range.
            let tensor = &mut tensors[a];
            let other = ["F32", "F16", "BF16"][random.below(3)];
            if (tensor.dtype == "F32") == (other == "F32") {
                tensor.dtype = other.into();
            } else if tensor.dtype == "F32" {
                tensor.dtype = other.into();
                tensor.shape[0] *= 2;
            }
        }
        7 => {
            let dimension = random.below(tensors[a].shape.len());
            let size = &mut tensors[a].shape[dimension];
            *size = if random.below(2) == 0 { *size + 1 } else { (*size - 1).max(1) };
            tensors[a].fit();
        }
        _ => string(&mut tensors[a].name, random),
    }
}

/// The text of a document, now and then with a member that stands twice.
pub(crate) fn text(value: &Value, random: &mut Random) -> Vec<u8> {
    let mut text = value.to_string();
    if random.below(8) == 0
        && let Value::Object(members) = value
        && !members.is_empty()
    {
        let (key, member) = members.iter().nth(random.below(members.len())).unwrap();
        text.insert_str(1, &format!("{}:{member},", json!(key)));
    }
    text.into_bytes()
}
