//! Corpora of files: what is read, how it is cut and split, and every kind of bad corpus.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn corpus(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

/// Different paragraphs of about 300 bytes.
fn prose(name: &str, n_paragraphs: usize) -> String {
    let paragraph = |i| format!("{name} {i}: {}\n\n", "it was so. ".repeat(27));
    (0..n_paragraphs).map(paragraph).collect()
}

fn all(source: &FilesSource) -> Vec<Document> {
    let of =
        |split| (0..source.n_documents(split)).map(move |i| source.document(split, i).unwrap());
    of(Split::Train).chain(of(Split::Evaluation)).collect()
}

#[test]
fn a_directory_is_read_in_order_of_names_and_other_files_are_listed() {
    let line = |i: i32| format!("{{\"id\": {i}, \"text\": \"line {i}\"}}\n");
    let lines: String = (0..40).map(line).collect();
    let dir = corpus(&[
        ("b.txt", prose("b", 30).as_bytes()),
        ("a/z.MD", prose("z", 30).as_bytes()),
        ("a.jsonl", lines.as_bytes()),
        ("picture.png", b"\x89PNG"),
        ("a/README", b"hello"),
    ]);
    let source = FilesSource::open(dir.path()).unwrap();
    let relative = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
    let ignored: Vec<String> = source.ignored().iter().map(relative).collect();
    assert_eq!(ignored, ["a/README", "picture.png"]);
    let train: Vec<String> = all(&source).into_iter().map(|document| document.text).collect();
    let first = |start: &str| train.iter().position(|text| text.starts_with(start)).unwrap();
    assert!(first("line ") < first("z ") && first("z ") < first("b "));
    assert!(train.contains(&"line 7".to_owned()));
    assert_eq!(FilesSource::open(dir.path()).unwrap().digest(), source.digest());
}

#[test]
fn names_of_files_do_not_change_the_digest_but_a_letter_does() {
    let text = prose("a", 80);
    let digest = |name: &str, text: &str| {
        let dir = corpus(&[(name, text.as_bytes())]);
        FilesSource::open(&dir.path().join(name)).unwrap().digest()
    };
    assert_eq!(digest("one.txt", &text), digest("two", &text));
    assert_ne!(digest("one.txt", &text), digest("one.txt", &text.replacen("so", "sO", 1)));
}

/// All of a source that reaches a record.
fn hashed(source: &FilesSource) -> (Digest, Vec<(String, Digest)>) {
    let named = |document: Document| (document.id.clone(), document.digest());
    (source.digest(), all(source).into_iter().map(named).collect())
}

#[test]
fn nothing_of_a_machine_is_in_the_names_of_documents() {
    // In pairs: the second has the first's order and text, and nothing else of it.
    let [a, b, c] = ["a", "b", "c"].map(|name| prose(name, 60));
    let one = corpus(&[("A.txt", a.as_bytes()), ("a b.txt", b.as_bytes()), ("b.md", c.as_bytes())]);
    // Made in another order, below another folder, with other names, letters and kinds.
    let two = corpus(&[
        ("x/\u{e9}.md", c.as_bytes()),
        ("x/B/z.txt", b.as_bytes()),
        ("x/B c.TXT", a.as_bytes()),
        ("x/none.bin", b"\xff"),
    ]);
    let one = FilesSource::open(one.path()).unwrap();
    let two = FilesSource::open(&two.path().join("x")).unwrap();
    assert_eq!(hashed(&one), hashed(&two));
    let ids: BTreeSet<String> = all(&one).into_iter().map(|document| document.id).collect();
    assert_eq!(ids.len(), all(&one).len());
    for split in [Split::Train, Split::Evaluation] {
        for index in 0..one.n_documents(split) {
            let document = one.document(split, index).unwrap();
            assert_eq!(document.id, format!("files/{split}/{index}"));
        }
    }
    // One file alone is called like one in a folder, wherever it is.
    let file = corpus(&[("deep/er/one.txt", a.as_bytes())]);
    let folder = corpus(&[("two.md", a.as_bytes())]);
    let file = FilesSource::open(&file.path().join("deep/er/one.txt")).unwrap();
    assert_eq!(hashed(&file), hashed(&FilesSource::open(folder.path()).unwrap()));
}

#[cfg(unix)]
#[test]
fn a_text_file_whose_name_is_not_utf_8_is_refused_and_others_may_have_such_names() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let dir = corpus(&[("a.txt", prose("a", 80).as_bytes())]);
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff.png")), "x").unwrap();
    assert!(FilesSource::open(dir.path()).is_ok());
    for name in [&b"\xff.txt"[..], b"\xfe/b.txt"] {
        let path = dir.path().join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, prose("b", 80)).unwrap();
        let error = FilesSource::open(dir.path()).err().unwrap();
        assert!(matches!(error, Error::NameNotUtf8 { .. }) && error.hint().is_some(), "{error}");
        fs::remove_file(&path).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_reached_by_a_link_is_the_same_corpus() {
    let dir = corpus(&[("a/a.txt", prose("a", 80).as_bytes())]);
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path(), elsewhere.path().join("link")).unwrap();
    let linked = FilesSource::open(&elsewhere.path().join("link")).unwrap();
    assert_eq!(hashed(&linked), hashed(&FilesSource::open(dir.path()).unwrap()));
}

#[test]
fn byte_order_mark_and_line_ends_of_other_systems_change_nothing() {
    let text = prose("a", 80).replace("so. it", "so.\nit");
    let digest = |text: String| {
        let dir = corpus(&[("a.txt", text.as_bytes())]);
        FilesSource::open(dir.path()).unwrap().digest()
    };
    let plain = digest(text.clone());
    assert_eq!(digest(format!("\u{feff}{}", text.replace('\n', "\r\n"))), plain);
    assert_eq!(digest(text.replace('\n', "\r")), plain);
}

#[test]
fn equal_documents_are_kept_once() {
    let once = corpus(&[("a.txt", prose("a", 80).as_bytes())]);
    let twice =
        corpus(&[("a.txt", prose("a", 80).as_bytes()), ("b.txt", prose("a", 80).as_bytes())]);
    let open = |dir: &tempfile::TempDir| FilesSource::open(dir.path()).unwrap();
    assert_eq!(all(&open(&once)), all(&open(&twice)));
    assert_eq!(open(&once).digest(), open(&twice).digest());
}

#[test]
fn about_a_tenth_is_for_evaluation() {
    let lines: String = (0..2_000).map(|i| format!("{{\"text\": \"{i}\"}}\n")).collect();
    let dir = corpus(&[("a.jsonl", lines.as_bytes())]);
    let source = FilesSource::open(dir.path()).unwrap();
    let n = source.n_documents(Split::Evaluation);
    assert!((140..=260).contains(&n) && n + source.n_documents(Split::Train) == 2_000, "{n}");
}

#[test]
fn each_kind_of_bad_corpus_gets_its_own_error() {
    let open = |files: &[(&str, &[u8])]| FilesSource::open(corpus(files).path()).err().unwrap();
    let missing = FilesSource::open(Path::new("no/such/corpus")).err().unwrap();
    assert_eq!(missing.to_string(), "cannot find `no/such/corpus`");
    assert!(matches!(open(&[]), Error::NoTextFiles { .. }));
    assert!(matches!(open(&[("a.png", b"x")]), Error::NoTextFiles { .. }));
    let empty = Error::is_transient(&open(&[("a.txt", b"")]));
    assert!(!empty);
    for little in [&b""[..], b" \n\n ", prose("a", 20).as_bytes()] {
        let error = open(&[("a.txt", little)]);
        assert!(matches!(error, Error::TooLittleText { .. }) && error.hint().is_some(), "{error}");
    }
    let error = open(&[("a.txt", b"abc\n\xff\xfe")]);
    assert!(matches!(error, Error::NotUtf8 { offset: 4, .. }), "{error}");
    assert!(error.to_string().contains("a.txt") && error.to_string().contains("offset 4"));
    for bad in ["[1]", "{\"text\": 1}", "{\"content\": 1}", "nonsense", "{\"text\": \"a\""] {
        let error = open(&[("a.jsonl", format!("{{\"text\": \"a\"}}\n\n{bad}").as_bytes())]);
        assert!(matches!(error, Error::NotJsonl { line: 3, .. }), "{error}");
    }
}

#[test]
fn more_text_than_fits_is_refused_without_reading_it() {
    let dir = corpus(&[("a.txt", b"")]);
    let file = fs::File::create(dir.path().join("b.txt")).unwrap();
    file.set_len(CORPUS_BYTES_MAX + 1).unwrap();
    let error = FilesSource::open(dir.path()).err().unwrap();
    assert!(matches!(error, Error::TooMuchText { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn deeply_nested_json_is_an_error_and_not_a_crash() {
    let line = format!("{{\"text\": \"a\", \"x\": {}", "[".repeat(1 << 20));
    let dir = corpus(&[("a.jsonl", line.as_bytes())]);
    assert!(matches!(FilesSource::open(dir.path()), Err(Error::NotJsonl { line: 1, .. })));
}

#[cfg(unix)]
#[test]
fn links_to_files_are_read_and_links_to_folders_are_not_followed() {
    let dir = corpus(&[("a/a.txt", prose("a", 80).as_bytes())]);
    let other = corpus(&[("kept", prose("b", 80).as_bytes())]);
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/round")).unwrap();
    std::os::unix::fs::symlink(other.path().join("kept"), dir.path().join("b.txt")).unwrap();
    let source = FilesSource::open(dir.path()).unwrap();
    assert_eq!(source.ignored(), [dir.path().join("a/round")]);
    assert!(all(&source).iter().any(|document| document.text.starts_with("b 0")));
}

#[test]
fn short_paragraphs_are_joined_until_a_document_has_600_bytes() {
    let paragraphs: Vec<String> = (0..7).map(|i| i.to_string().repeat(250)).collect();
    let documents = cut::documents(&paragraphs.join("\n \t\n\n"));
    assert_eq!(documents, [paragraphs[..3].join("\n\n"), paragraphs[3..].join("\n\n")]);
}

#[test]
fn a_long_paragraph_is_cut_at_a_line_end_or_a_blank_of_its_second_half() {
    let lines = format!("{}\n{}", "a ".repeat(1_200).trim_end(), "b ".repeat(1_200).trim_end());
    let documents = cut::documents(&lines);
    assert_eq!(documents.join("\n"), lines);
    assert_eq!(documents.len(), 2);
    let words = "word ".repeat(2_000);
    let documents = cut::documents(&words);
    assert!(documents.iter().all(|d| d.len() <= 4_000 && d.split(' ').all(|word| word == "word")));
    assert_eq!(documents.join(" "), words.trim());
}

proptest! {
    #[test]
    fn cutting_loses_nothing_but_blanks(text in "([a-zé€😀]{0,900}[ \n]{0,3}){0,30}") {
        let documents = cut::documents(&text);
        let visible = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(visible(&documents.concat()), visible(&text));
        for document in &documents {
            prop_assert!(document.len() <= 4_000 && !document.trim().is_empty());
        }
    }

    #[test]
    fn text_without_any_blank_is_cut_between_characters(n in 0..30_000_usize) {
        let text = "é".repeat(n);
        let documents = cut::documents(&text);
        prop_assert_eq!(documents.concat(), text);
        prop_assert!(documents.iter().all(|document| document.len() <= 4_000));
    }
}

/// Lines of JSONL that are well-formed, and one more.
fn with_line(line: &[u8]) -> Result<FilesSource, Error> {
    let lines: String = (0..60).map(|i| format!("{{\"text\":\"line {i}\"}}\n")).collect();
    let dir = corpus(&[("a.jsonl", &[lines.as_bytes(), line].concat())]);
    FilesSource::open(dir.path())
}

#[test]
fn every_line_that_is_no_object_with_a_text_is_refused_by_its_number() {
    use crate::json_suite::{INVALID, VALID, deep};
    let lines = INVALID.iter().chain(&VALID).map(|line| line.to_vec());
    for line in lines.chain(deep()) {
        match with_line(&line).err() {
            // What has no text is passed over, whatever else it has.
            None => assert!(line.trim_ascii().starts_with(b"{")),
            Some(Error::NotJsonl { line: 61, detail, .. }) => assert!(detail.len() < 400),
            Some(Error::NotUtf8 { .. }) => assert!(std::str::from_utf8(&line).is_err()),
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(&line)),
        }
    }
    for twice in
        [r#"{"text":"a","text":"b"}"#, r#"{"text":"\ud800"}"#, r#"{"text":"\udc00\ud800"}"#]
    {
        assert!(
            matches!(with_line(twice.as_bytes()).err(), Some(Error::NotJsonl { .. })),
            "{twice}"
        );
    }
}

#[test]
fn lines_and_rows_without_a_text_are_passed_over_and_counted() {
    let lines: String = (0..60).map(|i| format!("{{\"text\":\"line {i}\"}}\n")).collect();
    let more =
        lines.clone() + "{\"text\":null}\n{\"id\":5}\n{}\n{\"text\":null,\"content\":\"x\"}\n";
    let open = |text: &str| {
        let dir = corpus(&[("a.jsonl", text.as_bytes())]);
        FilesSource::open(dir.path())
    };
    let (plain, with_more) = (open(&lines).unwrap(), open(&more).unwrap());
    assert_eq!((plain.n_passed_over(), with_more.n_passed_over()), (0, 4));
    assert_eq!(hashed(&plain), hashed(&with_more));
    let none = lines.replace("\"text\"", "\"body\"");
    let error = open(&none).err().unwrap();
    assert!(matches!(error, Error::NotJsonl { line: 1, .. }), "{error}");
    let content = open(&lines.replace("\"text\"", "\"content\"")).unwrap();
    assert_eq!(hashed(&plain), hashed(&content));
}

#[test]
fn numbers_that_python_writes_and_json_has_not_are_read_where_nobody_looks_at_them() {
    for line in
        [r#"{"score":NaN,"text":"x"}"#, r#"{"score":-Infinity,"more":[Infinity, NaN],"text":"x"}"#]
    {
        let source = with_line(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(all(&source).iter().any(|document| document.text == "x"), "{line}");
    }
    let kept = with_line(br#"{"s":NaN,"text":"NaN \" Infinity \\"}"#).unwrap();
    assert!(all(&kept).iter().any(|document| document.text == "NaN \" Infinity \\"));
    for line in [r#"{"score":NaNs,"text":"x"}"#, r#"NaN"#, r#"{"text":nan}"#] {
        assert!(matches!(with_line(line.as_bytes()).err(), Some(Error::NotJsonl { .. })), "{line}");
    }
}

#[test]
fn packed_files_are_read_as_what_they_hold_and_bounded_as_such() {
    let text = prose("a", 80);
    let gzip = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, text.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    let open = |name: &str, bytes: &[u8]| FilesSource::open(corpus(&[(name, bytes)]).path());
    let plain = open("a.txt", text.as_bytes()).unwrap();
    for packed in [open("a.txt.gz", &gzip(&text)).unwrap(), open("a.md.zst", &zstd).unwrap()] {
        assert_eq!(hashed(&packed), hashed(&plain));
    }
    let lines: String = (0..60).map(|i| format!("{{\"text\":\"line {i}\"}}\n")).collect();
    let plain = open("a.jsonl", lines.as_bytes()).unwrap();
    assert_eq!(hashed(&open("a.jsonl.gz", &gzip(&lines)).unwrap()), hashed(&plain));
    assert!(matches!(open("a.jsonl.gz", b"no gzip").err(), Some(Error::Io { .. })));
    assert!(matches!(open("a.parquet.gz", b"x").err(), Some(Error::NoTextFiles { .. })));
    // Lines under the name of a list are read if somebody names the file, and only then.
    assert!(matches!(open("a.json", lines.as_bytes()).err(), Some(Error::NoTextFiles { .. })));
    let dir = corpus(&[("a.json", lines.as_bytes()), ("list.json", b"[\n{\"text\":\"a\"}]")]);
    assert_eq!(hashed(&FilesSource::open(&dir.path().join("a.json")).unwrap()), hashed(&plain));
    let error = FilesSource::open(&dir.path().join("list.json")).err().unwrap().to_string();
    assert!(error.contains("each object on a line of its own"), "{error}");
}

#[test]
fn text_of_two_bytes_a_letter_is_named_as_such() {
    for begin in [b"\xff\xfea\0", b"\xfe\xff\0a"] {
        let error = FilesSource::open(corpus(&[("a.txt", begin)]).path()).err().unwrap();
        assert!(matches!(error, Error::Utf16 { .. }), "{error}");
        assert!(error.hint().unwrap().contains("UTF-16"));
    }
}

#[test]
fn every_line_that_is_an_object_with_a_text_is_read_whatever_else_it_holds() {
    let deep = format!("{{\"a\":{}1{},\"text\":\"x\"}}", "[".repeat(100), "]".repeat(100));
    for (line, text) in [
        (r#"{"text":"x"}"#, "x"),
        (r#" { "a" : 1e400 , "text" : "x" } "#, "x"),
        (r#"{"text":"\u0000\t\"\\\/"}"#, "\0\t\"\\/"),
        (r#"{"text":"\ud83d\ude00","Text":1}"#, "\u{1f600}"),
        (r#"{"\u0074ext":"x"}"#, "x"),
        (deep.as_str(), "x"),
    ] {
        let source = with_line(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(all(&source).iter().any(|document| document.text == text), "{line}");
    }
}
