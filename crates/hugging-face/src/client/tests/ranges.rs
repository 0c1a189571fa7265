//! Parts of files: exactly the bytes that were asked for, or an error, in bounded time.

use super::*;

/// What becomes of asking for eight bytes from the hundredth on.
fn outcome(
    answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static,
) -> Result<[u8; 8], Error> {
    let hub = Scripted::start(move |request, _, stream| answer(request, stream));
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Dataset, repo: &repo, revision: &revision };
    let (started, mut buffer) = (Instant::now(), [0; 8]);
    let read = hub.client().read_range(pinned, "a.parquet", 100, &mut buffer);
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    assert_eq!(hub.requests.lock().unwrap()[0].header("range"), Some("bytes=100-107"));
    assert!(hub.n_requests() <= 3, "{} requests", hub.n_requests());
    read.map(|()| buffer)
}

#[test]
fn attack_another_range_than_asked_for_is_refused() {
    let all = bytes(1000);
    let honest = all[100..108].to_vec();
    let partial = "206 Partial Content";
    let served = honest.clone();
    let read = outcome(move |_, stream| {
        say(stream, partial, &["Content-Range: bytes 100-107/1000"], &served);
    });
    assert_eq!(read.unwrap().as_slice(), honest);

    let lies = ["Content-Range: bytes 101-108/1000", "Content-Range: bytes 0-7/1000", "X: y"];
    for header in lies.into_iter().chain(["Content-Range: bytes -1-7/1000"]) {
        let read = outcome(move |_, stream| say(stream, partial, &[header], &[7; 8]));
        assert!(matches!(read, Err(Error::Damaged { .. })), "{header}: {read:?}");
    }
    // All of the file in place of the part: nothing says where the part begins.
    let read = outcome(move |_, stream| say(stream, "200 OK", &[], &all));
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    let read = outcome(|_, stream| {
        let headers = ["Content-Range: bytes 100-107/1000", "Content-Encoding: gzip"];
        say(stream, partial, &headers, &[7; 8]);
    });
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
}

#[test]
fn attack_a_range_that_is_short_endless_or_slow_ends_with_what_was_asked_for() {
    let partial = "206 Partial Content";
    let range = "Content-Range: bytes 100-107/1000";
    let short = outcome(move |_, stream| say(stream, partial, &[range], &[7; 5]));
    assert!(matches!(short, Err(Error::Unavailable(_))), "{short:?}");
    let stalled = outcome(move |_, stream| {
        say(stream, partial, &[range, "Content-Length: 8"], &[7; 5]);
        // Until the client hangs up.
        let _ = stream.read(&mut [0]);
    });
    assert!(matches!(stalled, Err(Error::Unavailable(_))), "{stalled:?}");
    let endless = outcome(move |_, stream| {
        say(stream, partial, &[range, "Content-Length: 99999999999"], &[7; 8]);
        while stream.write_all(&[8; 1 << 16]).is_ok() {}
    });
    assert_eq!(endless.unwrap(), [7; 8], "the rest is not read");
}
