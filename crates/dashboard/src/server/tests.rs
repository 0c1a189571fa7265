//! What is answered to whom, without a socket between.

use super::*;
use axum::body::to_bytes;
use protocol::Block;
use tempfile::TempDir;

/// What requests share, over an index that may be missing, with so many seats for listeners.
fn shared(n_seats: usize) -> (Arc<Shared>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let site = Site {
        rules: Arc::default(),
        clock: Arc::default(),
        troubles: Arc::default(),
        hub: "https://hub.example".to_owned(),
        public_url: None,
        kinships: Arc::default(),
    };
    let shared = Shared {
        site,
        folder: dir.path().to_owned(),
        idle: Mutex::default(),
        permits: Arc::new(Semaphore::new(PAGES_MAX)),
        budget: Arc::new(Budget::new(SIGNED_BYTES_MAX, PAGE_PATIENCE)),
        answers: Answers::default(),
        n_changes: Arc::default(),
        listeners: Arc::new(Semaphore::new(n_seats)),
        news: broadcast::channel(NEWS_MAX).0,
    };
    (Arc::new(shared), dir)
}

/// The same over an index without records.
fn served() -> (Arc<Shared>, TempDir) {
    let (shared, dir) = shared(1);
    drop(Index::open(dir.path()).unwrap());
    (shared, dir)
}

async fn asked(
    shared: &Arc<Shared>,
    method: &str,
    address: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = axum::http::Request::builder().method(method).uri(address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    respond(State(Arc::clone(shared)), request.body(Body::empty()).unwrap()).await
}

fn told(response: &Response, name: HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn is_guarded(response: &Response) -> bool {
    told(response, header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none'")
        && told(response, header::X_CONTENT_TYPE_OPTIONS) == "nosniff"
        && told(response, header::REFERRER_POLICY) == "no-referrer"
}

#[tokio::test]
async fn attack_no_answer_is_without_its_policy() {
    let (shared, _dir) = served();
    let long = format!("/{}", "a".repeat(2_048));
    for (method, address, status) in [
        ("GET", "/", 200),
        ("GET", "/overview.json", 200),
        ("GET", "/overview.csv", 200),
        ("GET", "/crowns.atom", 200),
        ("GET", "/metrics", 200),
        ("GET", "/style.css", 200),
        ("GET", "/live.js", 200),
        ("GET", "/icon.svg", 200),
        ("GET", "/healthz", 200),
        ("HEAD", "/", 200),
        ("GET", "/none", 404),
        ("GET", "/none.json", 404),
        ("GET", "/%ff", 400),
        ("GET", long.as_str(), 400),
        ("POST", "/", 405),
        ("DELETE", "/api/v1/overview", 405),
        ("OPTIONS", "*", 405),
    ] {
        let response = asked(&shared, method, address, &[]).await;
        assert_eq!(response.status().as_u16(), status, "{method} {address}");
        assert!(is_guarded(&response), "{method} {address}: {:?}", response.headers());
        let allow = if status == 405 { "GET,HEAD" } else { "" };
        assert_eq!(told(&response, header::ALLOW), allow, "{method} {address}");
    }
    let listening = events(State(Arc::clone(&shared))).await;
    assert!(is_guarded(&listening), "{:?}", listening.headers());
    let full = events(State(shared)).await;
    assert!(full.status() == 503 && is_guarded(&full), "{:?}", full.headers());
}

#[tokio::test]
async fn who_finds_no_seat_is_told_when_to_ask_again_and_a_seat_that_is_left_is_free() {
    let (shared, _dir) = shared(2);
    let first = events(State(Arc::clone(&shared))).await;
    let _second = events(State(Arc::clone(&shared))).await;
    assert_eq!(told(&first, header::CONTENT_TYPE), "text/event-stream");
    assert_eq!(told(&first, header::CACHE_CONTROL), "no-store");
    let third = events(State(Arc::clone(&shared))).await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told(&third, header::RETRY_AFTER), "5");
    assert_eq!(text(third).await, "too many listen\n");
    drop(first);
    assert_eq!(events(State(shared)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn attack_who_does_not_take_the_news_hears_no_more_of_them() {
    let (news, receiver) = broadcast::channel(2);
    let seats = Arc::new(Semaphore::new(1));
    let seat = Arc::clone(&seats).try_acquire_owned().unwrap();
    let (said, listening) = next_news((receiver, seat, true)).await.unwrap();
    assert_eq!(said.unwrap(), "retry: 5000\n\n");
    for round in [&b"one"[..], b"two"] {
        news.send(Bytes::from_static(round)).unwrap();
    }
    let (said, listening) = next_news(listening).await.unwrap();
    assert_eq!(said.unwrap(), "one", "in order");
    let (said, listening) = next_news(listening).await.unwrap();
    assert_eq!(said.unwrap(), "two");
    for _ in 0..3 {
        news.send(Bytes::from_static(b"more")).unwrap();
    }
    assert!(next_news(listening).await.is_none(), "one was missed: a browser begins anew");
    assert_eq!(seats.available_permits(), 1, "and another may listen");
}

#[tokio::test]
async fn news_end_with_whoever_tells_them() {
    let (news, receiver) = broadcast::channel(2);
    let seat = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    news.send(Bytes::from_static(b"last")).unwrap();
    drop(news);
    let (said, listening) = next_news((receiver, seat, false)).await.unwrap();
    assert_eq!(said.unwrap(), "last", "what was told before is heard");
    assert!(next_news(listening).await.is_none());
}

#[test]
fn a_preference_is_read_as_http_says_it() {
    let of = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
        }
        preference(&headers, header::ACCEPT_ENCODING, "gzip")
    };
    let cases: [(&[&'static str], f64); 13] = [
        (&[], 0.0),
        (&["gzip"], 1.0),
        (&["deflate, gzip, br"], 1.0),
        (&["br", "GZip"], 1.0),
        (&["gzip;q=0.5"], 0.5),
        (&["br ; q=1.0 , gzip ; q=0.25"], 0.25),
        (&["gzip;q=0"], 0.0),
        (&["gzip;q=0.000, identity"], 0.0),
        (&["gzip;q=much"], 0.0),
        (&["gzip;Q=0.5"], 0.5),
        (&["x-gzip, gzipped"], 0.0),
        (&["identity;q=1, *;q=0"], 0.0),
        (&[""], 0.0),
    ];
    for (values, wanted) in cases {
        assert_eq!(of(values), wanted, "{values:?}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, [b'g', 0xff].as_slice().try_into().unwrap());
    assert_eq!(preference(&headers, header::ACCEPT_ENCODING, "gzip"), 0.0, "what is no text");
}

#[tokio::test]
async fn a_page_is_for_people_and_json_for_who_would_rather_have_it() {
    let (shared, _dir) = served();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (accept, kind) in [
        (browser, "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html, application/json;q=0.1", "text/html; charset=utf-8"),
        ("text/html;q=0.2, application/json;q=0.9", "application/json"),
        ("application/json;q=0, text/html", "text/html; charset=utf-8"),
        ("application/jsonlines", "text/html; charset=utf-8"),
    ] {
        let response = asked(&shared, "GET", "/network", &[("accept", accept)]).await;
        assert_eq!(told(&response, header::CONTENT_TYPE), kind, "{accept}");
        assert_eq!(told(&response, header::VARY), "accept, accept-encoding");
    }
    let html = [("accept", "text/html")];
    let named = asked(&shared, "GET", "/network.json", &html).await;
    assert_eq!(told(&named, header::CONTENT_TYPE), "application/json", "an ending says it");
    let api = asked(&shared, "GET", "/api/v1/network", &html).await;
    assert_eq!(told(&api, header::CONTENT_TYPE), "application/json", "and so does the API");
}

#[tokio::test]
async fn what_is_packed_for_one_is_not_sent_to_another() {
    let (shared, _dir) = served();
    let tag = |response: &Response| told(response, header::ETAG).to_owned();
    let packed = asked(&shared, "GET", "/", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(told(&packed, header::CONTENT_ENCODING), "gzip");
    let plain = asked(&shared, "GET", "/", &[("accept-encoding", "gzip;q=0")]).await;
    assert_eq!(told(&plain, header::CONTENT_ENCODING), "");
    assert_ne!(tag(&packed), tag(&plain));
    assert!(text(plain).await.starts_with("<!DOCTYPE html>"));
    let known = tag(&packed);
    let again = [("accept-encoding", "gzip"), ("if-none-match", known.as_str())];
    let again = asked(&shared, "GET", "/", &again).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(told(&again, header::CONTENT_ENCODING), "", "there is nothing to unpack");
    assert!(text(again).await.is_empty());
}

#[tokio::test]
async fn an_answer_is_made_once_until_something_changes() {
    let (shared, _dir) = served();
    let tag = |response: &Response| told(response, header::ETAG).to_owned();
    let first = tag(&asked(&shared, "GET", "/metrics", &[]).await);
    shared.site.clock.see(Block(7));
    assert_eq!(tag(&asked(&shared, "GET", "/metrics", &[]).await), first, "it is kept");
    let other = asked(&shared, "GET", "/metrics?again", &[]).await;
    assert!(text(other).await.contains("agon_dashboard_chain_block 7\n"), "another address");
    shared.n_changes.fetch_add(1, Ordering::AcqRel);
    assert_ne!(tag(&asked(&shared, "GET", "/metrics", &[]).await), first);
    let before = tag(&asked(&shared, "GET", "/", &[]).await);
    shared.site.troubles.of_index(Some("the disk is <full>".to_owned()));
    let after = asked(&shared, "GET", "/", &[]).await;
    assert_ne!(tag(&after), before, "a trouble is a change as well");
    assert!(text(after).await.contains("the disk is &lt;full&gt;"));
}

#[tokio::test]
async fn our_own_trouble_is_told_and_not_kept() {
    let (shared, dir) = shared(1);
    let failed = asked(&shared, "GET", "/", &[]).await;
    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told(&failed, header::RETRY_AFTER), "5");
    assert!(is_guarded(&failed));
    let said = text(failed).await;
    let place = dir.path().display().to_string();
    assert!(said.contains("index") && !said.contains(&place), "no path of ours: {said}");
    let css = asked(&shared, "GET", "/style.css", &[]).await;
    assert_eq!(css.status(), StatusCode::OK, "files need no index");
    drop(Index::open(dir.path()).unwrap());
    let whole = asked(&shared, "GET", "/", &[]).await;
    assert_eq!(whole.status(), StatusCode::OK, "it is not remembered");
}

#[tokio::test]
async fn all_connections_to_the_index_are_put_back() {
    let (shared, _dir) = served();
    for n in 0..20 {
        asked(&shared, "GET", &format!("/?q={n}"), &[]).await;
    }
    assert_eq!(shared.idle.lock().unwrap().len(), 1, "one after another needs one");
    assert_eq!(shared.permits.available_permits(), PAGES_MAX);
    let all = (0..40).map(|n| {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { asked(&shared, "GET", &format!("/network?q={n}"), &[]).await })
    });
    for answer in all.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    }
    let n_idle = shared.idle.lock().unwrap().len();
    assert!((1..=PAGES_MAX).contains(&n_idle), "{n_idle}");
    assert_eq!(shared.permits.available_permits(), PAGES_MAX);
}

#[tokio::test]
async fn attack_no_address_brings_the_server_into_trouble() {
    let (shared, _dir) = served();
    let huge = "9".repeat(400);
    for address in [
        "//..//..//etc/passwd".to_owned(),
        "/%2e%2e/%2e%2e/dashboard.db".to_owned(),
        "/style.css%00".to_owned(),
        "/?".to_owned(),
        "/?&&&===&".to_owned(),
        "/?=x&=".to_owned(),
        format!("/?block={huge}&page={huge}"),
        "/?block=-1&page=-1&sort=-&q=%00".to_owned(),
        "/?sort=competitions.&sort=.&sort=--competitions.loss".to_owned(),
        format!("/c/tiny/round/{huge}"),
        "/c/%27%3B%20DROP%20TABLE%20records%3B--".to_owned(),
        format!("/model/{}", "f".repeat(63)),
        "/miner/%E2%80%AE".to_owned(),
        format!("/record/x/y/{huge}.json"),
        "/api/v1".to_owned(),
        "/api/v1/api/v1/network".to_owned(),
        "/.json".to_owned(),
        "/.csv?table=%2E%2E".to_owned(),
    ] {
        for accept in ["text/html", "application/json"] {
            let response = asked(&shared, "GET", &address, &[("accept", accept)]).await;
            let status = response.status().as_u16();
            assert!([200, 400, 404].contains(&status), "{address}: {status}");
        }
    }
}
