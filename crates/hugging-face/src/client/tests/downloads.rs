//! Files from hubs that break off, stall and send other bytes.

use super::*;

#[test]
fn a_download_goes_on_where_the_connection_broke() {
    let all = bytes(3_000_000);
    let file = entry(&all);
    let (expected, served) = (all.clone(), all);
    let (got, hub) = outcome(&file, move |request, number, stream| {
        let first = request.first();
        let rest = &served[first..];
        let part = &rest[..rest.len().min(700_000)];
        let length = format!("Content-Length: {}", rest.len());
        let range = format!("Content-Range: bytes {first}-{}/{}", served.len() - 1, served.len());
        match number {
            0 => say(stream, "200 OK", &[&length], part),
            _ => say(stream, "206 Partial Content", &[&length, &range], part),
        }
    });
    assert_eq!(got.unwrap(), expected);
    assert_eq!(hub.n_requests(), 5);
}

#[test]
fn what_an_earlier_run_got_is_not_asked_for_again() {
    let all = bytes(100_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |request, _, stream| {
        let first = request.first();
        let range = format!("Content-Range: bytes {first}-{}/{}", served.len() - 1, served.len());
        say(stream, "206 Partial Content", &[&range], &served[first..]);
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    // What is of another file, or of the user's, is none of it.
    std::fs::write(dir.path().join("file.incomplete"), "mine").unwrap();
    std::fs::write(part_of(&dir, &entry(b"other")), b"another revision").unwrap();
    std::fs::write(part_of(&dir, &file), &all[..60_000]).unwrap();
    download(&hub.client(), &file, &to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), all);
    assert_eq!(hub.requests.lock().unwrap()[0].header("range"), Some("bytes=60000-"));
    assert!(!part_of(&dir, &file).exists() && part_of(&dir, &entry(b"other")).exists());
    assert_eq!(std::fs::read(dir.path().join("file.incomplete")).unwrap(), b"mine");
}

#[test]
fn what_lies_here_and_is_wrong_is_not_blamed_on_the_hub() {
    let all = bytes(50_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |request, _, stream| {
        let first = request.first();
        // As some hubs do it: the rest alone, and nothing says so.
        say(stream, "200 OK", &[], &served[first..]);
    });
    let dir = tempfile::tempdir().unwrap();
    for wrong in [&b"something else"[..], &[0; 50_000]] {
        std::fs::write(part_of(&dir, &file), wrong).unwrap();
        download(&hub.client(), &file, &dir.path().join("file")).unwrap();
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), all);
        std::fs::remove_file(dir.path().join("file")).unwrap();
    }
}

#[test]
fn who_finds_another_at_a_file_waits_and_gets_the_same() {
    let all = bytes(100_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |_, _, stream| {
        std::thread::sleep(Duration::from_millis(100));
        say(stream, "200 OK", &[], &served);
    });
    let (dir, client) = (tempfile::tempdir().unwrap(), hub.client());
    let to = dir.path().join("file");
    std::thread::scope(|scope| {
        let get = || scope.spawn(|| download(&client, &file, &to));
        let results = [get(), get(), get(), get()].map(|thread| thread.join().unwrap());
        // One that comes when all is done finds the file there, which is for its caller to see.
        let is_late = |error: &Error| error.to_string().starts_with("cannot write");
        assert!(results.iter().any(Result::is_ok));
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(is_late));
    });
    assert_eq!(std::fs::read(&to).unwrap(), all);
    assert_eq!((hub.n_requests(), std::fs::read_dir(dir.path()).unwrap().count()), (1, 1));
}

#[test]
fn a_hub_that_knows_no_ranges_sends_all_again() {
    let all = bytes(50_000);
    let (file, served) = (entry(&all), all.clone());
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(part_of(&dir, &file), b"something else").unwrap();
    download(&hub.client(), &file, &dir.path().join("file")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), all);
}

#[test]
fn attack_other_bytes_than_listed_are_thrown_away() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| {
        let mut other = bytes(1000);
        other[999] ^= 1;
        say(stream, "200 OK", &[], &other);
    });
    assert!(matches!(got, Err(Error::Damaged { .. })), "{got:?}");
}

#[test]
fn attack_a_file_larger_than_listed_is_cut_off() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| say(stream, "200 OK", &[], &bytes(1 << 20)));
    assert!(matches!(got, Err(Error::TooLarge { .. })), "{got:?}");
    // Without a length, chunk after chunk and no end.
    let (got, _) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Transfer-Encoding: chunked"], b"");
        let chunk = [b"1000\r\n".to_vec(), bytes(4096), b"\r\n".to_vec()].concat();
        while stream.write_all(&chunk).is_ok() {}
    });
    assert!(matches!(got, Err(Error::TooLarge { .. })), "{got:?}");
}

#[test]
fn attack_a_length_that_lies_is_no_whole_file() {
    let file = entry(&bytes(1000));
    let (got, hub) = outcome(&file, |request, _, stream| {
        let first = request.first();
        say(stream, "200 OK", &["Content-Length: 1000"], &bytes(1000)[first..first.max(1)]);
    });
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
    assert!(hub.n_requests() <= 4, "{} requests", hub.n_requests());
}

#[test]
fn attack_compressed_bytes_are_not_unpacked() {
    let file = entry(&bytes(1000));
    let (got, hub) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Content-Encoding: gzip"], &bytes(1000));
    });
    assert!(matches!(got, Err(Error::Damaged { .. })), "{got:?}");
    assert_eq!(hub.requests.lock().unwrap()[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn attack_a_body_that_stalls_ends_with_patience() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 1000"], &bytes(10));
        // Until the client hangs up.
        let _ = stream.read(&mut [0]);
    });
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
}

#[test]
fn attack_a_body_of_a_byte_at_a_time_ends_at_the_deadline() {
    let file = entry(&bytes(1000));
    let (got, _) = outcome(&file, |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 1000"], b"");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(matches!(got, Err(Error::Unavailable(_))), "{got:?}");
}

#[test]
fn a_busy_hub_is_asked_again_after_the_time_it_names() {
    let all = bytes(10);
    let (file, served) = (entry(&all), all.clone());
    let started = Instant::now();
    let (got, hub) = outcome(&file, move |_, number, stream| match number {
        0 => say(stream, "429 Too Many Requests", &["Retry-After: 1"], b""),
        1 => say(stream, "503 Service Unavailable", &[], b""),
        _ => say(stream, "200 OK", &[], &served),
    });
    assert_eq!(got.unwrap(), all);
    assert_eq!(hub.n_requests(), 3);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_file_of_a_model_goes_on_where_another_process_gave_up() {
    let all = bytes(400_000);
    let served = all.clone();
    let hub = Scripted::start(move |request, number, stream| {
        let first = request.first();
        let rest = &served[first..];
        let length = format!("Content-Length: {}", rest.len());
        let range = format!("Content-Range: bytes {first}-{}/{}", served.len() - 1, served.len());
        match number {
            // Half of it, and then the hub is out for as long as this process is patient.
            0 => say(stream, "200 OK", &[&length], &rest[..200_000]),
            1..=3 => say(stream, "503 Service Unavailable", &[], b""),
            _ => say(stream, "206 Partial Content", &[&length, &range], rest),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    let fetch = || hub.client().fetch(&repo(), &revision(), "model.safetensors", &to, 400_000);
    let error = fetch().unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && !to.exists(), "{error}");
    fetch().unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), all);
    let requests = hub.requests.lock().unwrap();
    let last = requests.last().unwrap();
    assert_eq!((last.header("range"), requests.len()), (Some("bytes=200000-"), 5));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn whoever_is_to_end_waits_for_no_model_and_keeps_what_came_of_it() {
    let all = bytes(400_000);
    let served = all.clone();
    let hub = Scripted::start(move |request, _, stream| {
        let first = request.first();
        let range = format!("Content-Range: bytes {first}-{}/{}", served.len() - 1, served.len());
        match first {
            0 => say(stream, "200 OK", &[], &served),
            _ => say(stream, "206 Partial Content", &[&range], &served[first..]),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("file");
    let fetch =
        |client: HubClient| client.fetch(&repo(), &revision(), "model.safetensors", &to, 400_000);
    let stopped = fetch(hub.client_until(|| false));
    assert!(matches!(stopped, Err(Error::Stopped)) && !to.exists(), "{stopped:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "what came is here");
    fetch(hub.client()).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), all);
}
