//! Texts that readers of JSON disagree about, through each door that JSON comes in by.

use crate::{
    attacks::{assert_refused_cheaply, tiny},
    folder,
    published::{INDEX, Published, file, header, one_each, small},
};
use engine::{inspect, no_limits};
use protocol::ReasonCode::{ConfigRefused, FileRefused, HeaderRefused};
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

/// Texts that are no JSON value, though some reader takes each of them.
const NO_VALUES: &[&[u8]] = &[
    b"",
    // Numbers.
    b"01",
    b"-01",
    b"+1",
    b"-",
    b"--1",
    b"1.",
    b".1",
    b"-.1",
    b"1.e1",
    b"1e",
    b"1e+",
    b"1E-",
    b"1ee2",
    b"1e2.3",
    b"0x1F",
    b"0o7",
    b"0b1",
    b"1_000",
    b"1,000",
    b"1 000",
    b"NaN",
    b"-NaN",
    b"nan",
    b"Infinity",
    b"-Infinity",
    b"inf",
    b"1f",
    b"1n",
    b"- 1",
    b"1+2",
    "１".as_bytes(),
    "٣".as_bytes(),
    // Strings.
    b"\"",
    b"\"a",
    b"a\"",
    b"'a'",
    b"`a`",
    b"\"\\\"",
    b"\"\\x41\"",
    b"\"\\a\"",
    b"\"\\'\"",
    b"\"\\0\"",
    b"\"\\u\"",
    b"\"\\u004\"",
    b"\"\\u004g\"",
    b"\"\\U0041\"",
    b"\"\\u+041\"",
    b"\"\\u 041\"",
    b"\"\\ud800\"",
    b"\"\\ud800x\"",
    b"\"\\udc00\"",
    b"\"\\udc00\\ud800\"",
    b"\"\\ud800\\ud800\"",
    b"\"\\ud800\\n\"",
    b"\"\n\"",
    b"\"\t\"",
    b"\"\r\"",
    b"\"\0\"",
    b"\"\x1f\"",
    b"\"\\\n\"",
    b"\"a\" \"b\"",
    b"\"a\"b",
    "“a”".as_bytes(),
    // Bytes that are no UTF-8.
    b"\"\xff\"",
    b"\"\xc0\x80\"",
    b"\"\xc3\"",
    b"\"\xe2\x82\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\"\xf8\x88\x80\x80\x80\"",
    b"\xff",
    b"\xef\xbb\xbf1",
    b"\xef\xbb1",
    // Words.
    b"True",
    b"TRUE",
    b"None",
    b"undefined",
    b"nul",
    b"nulll",
    b"truefalse",
    b"tru",
    b"t",
    b"a",
    // Arrays and objects.
    b"[",
    b"]",
    b"[1",
    b"[1,",
    b"[,1]",
    b"[1,]",
    b"[1,,2]",
    b"[,]",
    b"[1 2]",
    b"[1;2]",
    b"[1]]",
    b"[[1]",
    b"[1}",
    b"(1)",
    b"{",
    b"}",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{\"a\":1",
    b"{\"a\":1,}",
    b"{,}",
    b"{:1}",
    b"{\"a\" 1}",
    b"{\"a\",1}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\":1;}",
    b"{\"a\"=1}",
    b"{\"a\"::1}",
    b"{a:1}",
    b"{'a':1}",
    b"{1:1}",
    b"{null:1}",
    b"{[]:1}",
    b"{\"a\":1}}",
    b"{\"a\":1]",
    b"{\"a\":/**/1}",
    b"{\"a\":1,\"a\":1}",
    b"{\"a\":1,\"\\u0061\":2}",
    b"{\"x\":[{\"\":1,\"\":2}]}",
    // Comments and blanks that are none.
    b"1//",
    b"1 # one",
    b"/*1*/1",
    b"1/**/",
    b"\x0b1",
    b"\x0c1",
    b"1\0",
    "\u{a0}1".as_bytes(),
    "\u{2028}1".as_bytes(),
    "\u{feff}1".as_bytes(),
    b"\x1b1",
    b"1\x7f",
];

/// Values in spellings that are rare but right.
const VALUES: &[&[u8]] = &[
    b"0",
    b"-0",
    b"-0.0",
    b"0e0",
    b"0E+0",
    b"1e-999",
    b"1E400",
    b"-1.5e+3",
    b"123456789012345678901234567890",
    b"0.10000000000000000000000000000000000000000000000000001",
    b" 1",
    b"1\t\r\n ",
    b"\"\"",
    b"\" \"",
    b"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    b"\"\\u0041\\u00e9\\uD83D\\uDe00\"",
    b"\"\\u0000\"",
    b"\"\x7f\"",
    b"\"\\ufeff\\uffff\\u2028\"",
    "\"\u{2028}\u{feff}é😀\"".as_bytes(),
    "\"\u{10ffff}\"".as_bytes(),
    b"\"/*1*/ // #\"",
    b"\"\\\\u0041\"",
    b"[]",
    b"[ ]",
    b"[\n[],{}\t]",
    b"[null,true,false]",
    b"{}",
    b"{ }",
    b"{\"\":1}",
    b"{\"a\":1,\"A\":2}",
    b"{\"\\u0000\":1}",
    b"{\"a\":{\"a\":{\"a\":1}}}",
    b"[[[[[[[[1]]]]]]]]",
    b" { \"a\" : [ 1 , 2 ] } ",
];

/// A document around a value.
fn around(before: &str, value: &[u8], after: &str) -> Vec<u8> {
    [before.as_bytes(), value, after.as_bytes()].concat()
}

/// A good folder whose config has this under a key that cannot matter.
fn in_config(value: &[u8]) -> TempDir {
    let dir = folder(&tiny());
    let config = tiny().config().to_string();
    let text = around(&config[..config.len() - 1], &around(",\"id2label\":", value, ""), "}");
    fs::write(dir.path().join("config.json"), text).unwrap();
    dir
}

/// A good folder whose index has this among what it says about itself.
fn in_index(model: &Published, value: &[u8]) -> TempDir {
    let dir = model.write_shards(1);
    let path = dir.path().join(INDEX);
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let after = format!("}},\"weight_map\":{}}}", index["weight_map"]);
    fs::write(path, around("{\"metadata\":{\"x\":", value, &after)).unwrap();
    dir
}

/// A good folder whose header has this among what it says about itself.
fn in_header(model: &Published, value: &[u8]) -> TempDir {
    let dir = model.write();
    let entries = Value::Object(header(&model.tensors)).to_string();
    let text = around("{\"__metadata__\":{\"x\":", value, &format!("}},{}", &entries[1..]));
    let data: Vec<u8> = model.tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect();
    fs::write(dir.path().join("model.safetensors"), file(&text, &data)).unwrap();
    dir
}

#[test]
fn attack_text_that_is_no_json_is_refused_by_every_reader() {
    let model = small();
    for value in NO_VALUES {
        let shown = String::from_utf8_lossy(value);
        eprintln!("{shown:?}");
        assert_refused_cheaply(in_config(value).path(), ConfigRefused, "`config.json`: ");
        assert_refused_cheaply(in_index(&model, value).path(), FileRefused, INDEX);
        assert_refused_cheaply(
            in_header(&model, value).path(),
            HeaderRefused,
            "`model.safetensors`: ",
        );
    }
}

#[test]
fn rare_but_right_json_is_read_by_every_reader() {
    let model = small();
    for value in VALUES {
        let shown = String::from_utf8_lossy(value);
        let accepted = |dir: &TempDir| inspect(dir.path(), &no_limits()).unwrap();
        assert!(accepted(&in_config(value)).is_ok(), "{shown:?}");
        assert!(accepted(&in_index(&model, value)).is_ok(), "{shown:?}");
        // There, only texts may stand.
        let is_text = value.starts_with(b"\"");
        assert_eq!(accepted(&in_header(&model, value)).is_ok(), is_text, "{shown:?}");
    }
}

#[test]
fn attack_documents_that_are_no_objects_are_refused_by_every_reader() {
    let model = small();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let documents: &[&[u8]] = &[
        b"",
        b" ",
        b"\0",
        b"1",
        b"\"{}\"",
        b"null",
        b"true",
        b"[]",
        b"[{}]",
        b"{}{}",
        b"{},",
        b"{}\0",
        b"{}x",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"\x1f\x8b\x08",
        b"PK\x03\x04",
        b"<html>",
        b"---\na: 1",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        &utf16("{}"),
    ];
    for document in documents {
        eprintln!("{:?}", String::from_utf8_lossy(document));
        let dir = folder(&tiny());
        fs::write(dir.path().join("config.json"), document).unwrap();
        assert_refused_cheaply(dir.path(), ConfigRefused, "`config.json`");
        let dir = model.write_shards(1);
        fs::write(dir.path().join(INDEX), document).unwrap();
        assert_refused_cheaply(dir.path(), FileRefused, INDEX);
        let dir = model.write();
        fs::write(dir.path().join("model.safetensors"), file(document, &[])).unwrap();
        assert_refused_cheaply(dir.path(), HeaderRefused, "`model.safetensors`: ");
        fs::write(dir.path().join("model.safetensors"), document).unwrap();
        assert_refused_cheaply(dir.path(), HeaderRefused, "`model.safetensors`: ");
    }
}

#[test]
fn attack_nesting_has_an_end_in_every_reader() {
    let model = small();
    let nested = |open: &str, close: &str, n: usize| {
        format!("{}1{}", open.repeat(n), close.repeat(n)).into_bytes()
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":[", "]}]")] {
        for n in [17, 1_000, 10_000] {
            let deep = nested(open, close, n);
            assert_refused_cheaply(in_config(&deep).path(), ConfigRefused, "nesting deeper");
            assert_refused_cheaply(in_index(&model, &deep).path(), FileRefused, "nesting deeper");
            assert_refused_cheaply(
                in_header(&model, &deep[..1_000.min(deep.len())]).path(),
                HeaderRefused,
                "",
            );
        }
        let endless = open.repeat(20_000);
        assert_refused_cheaply(
            in_config(endless.as_bytes()).path(),
            ConfigRefused,
            "nesting deeper",
        );
        assert_refused_cheaply(
            in_index(&model, endless.as_bytes()).path(),
            FileRefused,
            "nesting deeper",
        );
    }
}

/// A key twice, in each object of each document, also where the copy says the same.
#[test]
fn attack_a_key_that_stands_twice_is_refused_in_every_object() {
    let model =
        one_each().into_iter().find(|model| model.config.contains_key("rope_parameters")).unwrap();
    let config = Value::Object(model.config.clone()).to_string();
    let index = fs::read_to_string(model.write_shards(1).path().join(INDEX)).unwrap();
    let text = Value::Object(header(&model.tensors)).to_string();
    let text = format!("{{\"__metadata__\":{{\"format\":\"pt\"}},{}", &text[1..]);
    let data: Vec<u8> = model.tensors.iter().flat_map(|tensor| tensor.bytes.clone()).collect();
    for (key, spelled) in keys(&config) {
        for twice in doubled(&config, &key, spelled) {
            let dir = model.write();
            fs::write(dir.path().join("config.json"), twice).unwrap();
            assert_refused_cheaply(dir.path(), ConfigRefused, &format!("`{key}` stands twice"));
        }
    }
    for (key, spelled) in keys(&index) {
        for twice in doubled(&index, &key, spelled) {
            let dir = model.write_shards(1);
            fs::write(dir.path().join(INDEX), twice).unwrap();
            assert_refused_cheaply(dir.path(), FileRefused, &format!("`{key}` stands twice"));
        }
    }
    for (key, spelled) in keys(&text).into_iter().take(40) {
        for twice in doubled(&text, &key, spelled) {
            let dir = model.write();
            fs::write(dir.path().join("model.safetensors"), file(twice.as_bytes(), &data)).unwrap();
            assert_refused_cheaply(dir.path(), HeaderRefused, &format!("`{key}` stands twice"));
        }
    }
}

/// Each key of a compact document, and where its quotation mark stands.
fn keys(text: &str) -> Vec<(String, usize)> {
    let places = text.match_indices("\":").map(|(end, _)| end);
    let key = |end: usize| {
        let start = text[..end].rfind('"').unwrap();
        (text[start + 1..end].to_owned(), start)
    };
    places.map(key).collect()
}

/// The document with one member written twice: plain, and with its key in escapes.
fn doubled(text: &str, key: &str, at: usize) -> [String; 2] {
    let (before, rest) = text.split_at(at);
    let value = &rest[key.len() + 3..];
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<Value>();
    values.next().unwrap().unwrap();
    let value = &value[..values.byte_offset()];
    let escaped: String = key.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    [key, &escaped].map(|copy| format!("{before}\"{copy}\":{value},{rest}"))
}
