//! What is kept, what is sent, and with which headers.

use super::*;

fn made(n_bytes: usize) -> Made {
    Made::new(Answer::of("application/json", vec![b'x'; n_bytes]), Packing::None)
}

#[test]
fn an_answer_is_kept_until_something_changes() {
    let answers = Answers::default();
    let slot = answers.slot(1, "/a");
    assert!(Arc::ptr_eq(&slot, &answers.slot(1, "/a")), "one for all who ask");
    assert!(!Arc::ptr_eq(&slot, &answers.slot(1, "/b")));
    assert!(!Arc::ptr_eq(&slot, &answers.slot(2, "/a")), "another after a change");
}

#[test]
fn attack_answers_of_many_addresses_take_no_more_than_their_share() {
    let answers = Answers::default();
    for n in 0..60 {
        let address = format!("/{n}");
        let slot = answers.slot(1, &address);
        answers.count(&address, &slot, &made(1 << 20));
        let n_bytes: usize = answers.lock().slots.len() << 20;
        assert!(n_bytes <= ALL_BYTES_MAX + (1 << 20) && answers.lock().n_bytes <= ALL_BYTES_MAX);
    }
    let large = answers.slot(1, "/large");
    answers.count("/large", &large, &made(ANSWER_BYTES_MAX + 1));
    assert!(!answers.lock().slots.contains_key("/large"));
    // Addresses whose answers nobody waits for.
    for n in 0..200_000 {
        answers.slot(2, &format!("/{n}"));
    }
    assert!(answers.lock().slots.len() <= ALL_BYTES_MAX / ENTRY_BYTES);
}

#[test]
fn who_has_an_answer_is_not_sent_it_and_programs_may_read_it_anywhere() {
    let made = made(10);
    let whole = made.response(&HeaderMap::new());
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(whole.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let mut asked = HeaderMap::new();
    asked.insert(header::IF_NONE_MATCH, whole.headers()[header::ETAG].clone());
    assert_eq!(made.response(&asked).status(), StatusCode::NOT_MODIFIED);
    let page = Made::new(Answer::of("text/html; charset=utf-8", "page"), Packing::None);
    let page = page.response(&asked);
    assert_eq!(page.status(), StatusCode::OK, "it has another");
    assert!(!page.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    let busy = Made::refusal(StatusCode::SERVICE_UNAVAILABLE, "busy\n");
    assert_eq!(busy.response(&asked).headers()[header::RETRY_AFTER], AGAIN);
}

/// What an answer of a kind is sent with, to who asks for nothing special.
fn sent(kind: &'static str) -> HeaderMap {
    let made = Made::new(Answer::of(kind, "x"), Packing::None);
    made.response(&HeaderMap::new()).headers().clone()
}

#[test]
fn a_tag_is_found_wherever_it_stands_in_what_is_known() {
    let made = made(10);
    let tag = made.tag.clone();
    let status = |known: &[String]| {
        let mut asked = HeaderMap::new();
        for known in known {
            asked.append(header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap());
        }
        made.response(&asked).status().as_u16()
    };
    assert_eq!(status(std::slice::from_ref(&tag)), 304);
    assert_eq!(status(&[format!("W/{tag}")]), 304, "a proxy that packs makes it weak");
    assert_eq!(status(&[format!("\"other\", {tag}")]), 304);
    assert_eq!(status(&["\"other\"".to_owned(), tag.clone()]), 304, "in two headers");
    assert_eq!(status(&[]), 200);
    assert_eq!(status(&["\"other\"".to_owned()]), 200);
    assert_eq!(status(&[tag.trim_end_matches('"').to_owned()]), 200, "a part of it is none");
    assert_eq!(status(&[String::new()]), 200);
}

#[test]
fn what_is_not_there_is_told_whole_to_who_knows_it() {
    let answer = Answer { status: 404, kind: "application/json", body: b"{}".to_vec() };
    let made = Made::new(answer, Packing::None);
    let mut asked = HeaderMap::new();
    asked.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&made.tag).unwrap());
    let response = made.response(&asked);
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(!made.is_refusal(), "it is kept, or each request for it would be a page");
    let odd = Answer { status: 99, kind: "text/plain", body: Vec::new() };
    let odd = Made::new(odd, Packing::None);
    assert!(odd.status == StatusCode::INTERNAL_SERVER_ERROR && odd.is_refusal());
}

#[test]
fn what_is_packed_unpacks_to_the_same_and_a_short_text_stays_as_it_is() {
    use std::io::Read as _;
    let whole = "all that is the same is packed well. ".repeat(200);
    let plain = Made::new(Answer::of("text/html", whole.as_str()), Packing::None);
    let packed = Made::new(Answer::of("text/html", whole.as_str()), Packing::Gzip);
    assert!(packed.is_packed && !plain.is_packed && packed.body.len() < whole.len() / 4);
    assert_ne!(packed.tag, plain.tag, "a tag is of the bytes that are sent");
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, whole);
    let at_limit =
        |n_bytes| Made::new(Answer::of("text/html", vec![b'x'; n_bytes]), Packing::Gzip).is_packed;
    assert!(!at_limit(PACKED_FROM - 1) && at_limit(PACKED_FROM));
    let response = packed.response(&HeaderMap::new());
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
}

#[test]
fn other_pages_may_read_what_is_for_programs_and_nothing_else() {
    for (kind, is_open) in [
        ("application/json", true),
        ("application/atom+xml; charset=utf-8", true),
        ("text/csv; charset=utf-8", true),
        (SVG, true),
        ("text/html; charset=utf-8", false),
        ("text/plain; charset=utf-8", false),
        ("text/javascript; charset=utf-8", false),
        ("text/css; charset=utf-8", false),
    ] {
        let headers = sent(kind);
        assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), is_open, "{kind}");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "{kind}");
        assert_eq!(headers[header::CONTENT_TYPE], kind);
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache", "{kind}: asked for each time");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{kind}");
    }
}

#[test]
fn attack_a_policy_lets_nothing_of_a_stranger_run() {
    let page = sent("text/html; charset=utf-8");
    let policy = page[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    let rules: BTreeMap<&str, &str> =
        policy.split(';').filter_map(|rule| rule.trim().split_once(' ')).collect();
    assert_eq!(rules["default-src"], "'none'");
    for ours in ["style-src", "script-src", "img-src", "connect-src", "form-action"] {
        assert_eq!(rules[ours], "'self'", "{ours}");
    }
    assert_eq!((rules["base-uri"], rules["frame-ancestors"]), ("'none'", "'none'"));
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let picture = sent(SVG);
    let policy = picture[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert_eq!(policy, "default-src 'none'; style-src 'unsafe-inline'", "no script in a picture");
}

#[test]
fn what_is_too_large_leaves_what_else_is_kept() {
    let answers = Answers::default();
    let small = answers.slot(1, "/small");
    answers.count("/small", &small, &made(10));
    let before = answers.lock().n_bytes;
    let large = answers.slot(1, "/large");
    answers.count("/large", &large, &made(ANSWER_BYTES_MAX + 1));
    assert!(Arc::ptr_eq(&small, &answers.slot(1, "/small")), "it is still there");
    assert_eq!(answers.lock().n_bytes, before + "/large".len() + ENTRY_BYTES, "only its address");
    // An answer that was begun before a change is not counted among those after it.
    let old = answers.slot(1, "/old");
    answers.slot(2, "/new");
    let before = answers.lock().n_bytes;
    answers.count("/old", &old, &made(1_000));
    assert_eq!(answers.lock().n_bytes, before);
    assert!(!Arc::ptr_eq(&old, &answers.slot(2, "/old")), "nor is it sent");
}
