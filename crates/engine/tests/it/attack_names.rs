//! Names of tensors and files that travel further than their file, and keys that nobody knows.

use crate::{
    assert_refused,
    attacks::assert_refused_cheaply,
    load,
    published::{INDEX, shard_name, small},
    refusal,
};
use protocol::ReasonCode::{FileRefused, HeaderRefused, TensorMismatch};
use serde_json::{Value, json};
use std::fs;

#[test]
fn attack_names_that_travel_are_refused_and_shown_harmlessly() {
    let model = small();
    let long = "x".repeat(201);
    for name in [
        "",
        " ",
        ".. ",
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        "\u{202e}txt.exe",
        "a\u{200b}b",
        "<script>",
        "a\nb",
        "a\u{1b}[2Jb",
        "c:\\x",
        "weight\u{0301}",
        "ｗeight",
        "a-b",
        "a:b",
        "%2e%2e",
        "$(id)",
        &long,
    ] {
        let mut hostile = model.clone();
        hostile.tensors[0].name = name.into();
        for dir in [hostile.write(), hostile.write_shards(2)] {
            let reason = refusal(dir.path());
            assert!([HeaderRefused, FileRefused].contains(&reason.code), "{reason}");
            assert!(reason.detail.contains("the tensor name `"), "{reason}");
            let is_hidden = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
            let is_plain = |c: char| !c.is_control() && !is_hidden(c);
            assert!(reason.detail.chars().all(is_plain), "{reason:?}");
        }
    }
}

#[test]
fn attack_an_index_cannot_name_a_file_elsewhere_in_any_spelling() {
    let model = small();
    let name = &model.tensors[0].name;
    for spelling in [
        "",
        ".",
        "..",
        "/",
        "../model.safetensors",
        "./model.safetensors",
        "/etc/passwd",
        "//model.safetensors",
        "a/model.safetensors",
        "a/../model.safetensors",
        "model.safetensors/",
        "model.safetensors/..",
        "..\\model.safetensors",
        "C:\\model.safetensors",
        "C:model.safetensors",
        "\\\\host\\x.safetensors",
        "file:///etc/passwd",
        "https://host/model.safetensors",
        "~/model.safetensors",
        "$HOME/x.safetensors",
        "model.safetensors\0",
        "model.safetensors\0.txt",
        "%2e%2e%2fmodel.safetensors",
        "model%2esafetensors",
        "model\u{2024}safetensors",
        "．．／model.safetensors",
        "model.safetensors.",
        "model.safetensors ",
        " model.safetensors",
        "MODEL.SAFETENSORS",
        "model-00001-of-00002.Safetensors",
        "model.safetensors::$DATA",
        "model-00001-of-00002.safetensors\n",
        "model-00001-of-00002.bin",
        "model-00001-of-00002.safetensors.py",
        "\u{202e}srosnetefas.ledom",
        "config.json",
        INDEX,
        "con",
        "aux",
    ] {
        let dir = model.write_shards(1);
        let path = dir.path().join(INDEX);
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        index["weight_map"][name] = json!(spelling);
        fs::write(path, index.to_string()).unwrap();
        assert_refused_cheaply(dir.path(), FileRefused, "the file name `");
        let reason = refusal(dir.path());
        assert!(!reason.detail.contains(|c: char| c.is_control() || c == '\u{202e}'), "{reason:?}");
    }
    // Well formed, but not there.
    let dir = model.write_shards(1);
    let path = dir.path().join(INDEX);
    let text = fs::read_to_string(&path).unwrap();
    let other = shard_name(6, 9);
    fs::write(path, text.replacen(&shard_name(0, 1), &other, 1)).unwrap();
    assert_refused(dir.path(), FileRefused, &format!("`{other}` is missing"));
}

#[test]
fn attack_an_index_and_a_header_say_nothing_that_nobody_understands() {
    let model = small();
    let dir = model.write_shards(1);
    let path = dir.path().join(INDEX);
    let index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let write = |change: &dyn Fn(&mut Value)| {
        let mut index = index.clone();
        change(&mut index);
        fs::remove_file(&path).unwrap();
        fs::write(&path, index.to_string()).unwrap();
    };
    // Nobody reads more than the map.
    write(&|index| index["weights"] = json!({"a": ["../../etc/passwd"]}));
    load(dir.path());
    for map in [json!(null), json!([]), json!("x"), json!({"a": null}), json!({"a": ["b"]})] {
        write(&|index| index["weight_map"] = map.clone());
        assert_refused(dir.path(), FileRefused, "expected");
    }
    write(&|index| drop(index.as_object_mut().unwrap().remove("weight_map")));
    assert_refused(dir.path(), FileRefused, "names 0 files");
    write(&|index| drop(index.as_object_mut().unwrap().remove("metadata")));
    load(dir.path());
    write(&|index| index["weight_map"]["ghost"] = json!(shard_name(0, 1)));
    assert_refused(dir.path(), TensorMismatch, "ghost");
}
