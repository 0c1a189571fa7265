//! Hubs that count requests, and clients that keep within what is left.

use super::{
    real::{HUB, Quotas, RealHub, TOKEN, WINDOW},
    world::{Asked, Reply, TestClock, World},
    *,
};
use hub::Intake;
use protocol::{AccountId, Commitment, Competition, content::bound_hash};
use serde_json::json;

const OWNER: AccountId = AccountId([1; 32]);
/// As many as a subnet has slots.
const N_MODELS: usize = 256;

/// A file with parameters that differs from model to model; nothing here looks into it.
fn parameters(number: usize) -> Vec<u8> {
    let mut file = 2_u64.to_le_bytes().to_vec();
    file.extend(b"{}");
    file.extend(number.to_le_bytes());
    file
}

/// Makes models on a hub, and the commitments to them.
fn publish(hub: &RealHub, competition: &Competition, n_models: usize) -> Vec<Commitment> {
    let commitment = |number: usize| {
        let (name, file) = (format!("owner/model-{number}"), parameters(number));
        // What models share is fetched once: these share nothing.
        let config = format!("{{\"number\":{number}}}");
        let files = [("config.json", config.as_bytes()), ("model.safetensors", &file[..])];
        let revision = hub.put(&name, &files);
        let entries =
            files.map(|(path, bytes)| FileEntry { path: path.to_owned(), ..entry(bytes) });
        let root = hub::content::file_root(&entries);
        let competition = competition.id;
        let secure_hash = bound_hash(&root, &OWNER, competition);
        Commitment { repo: name.parse().unwrap(), revision, secure_hash, competition }
    };
    (0..n_models).map(commitment).collect()
}

/// Lets models in as a validator does: what can be told before, the headers, and then the rest.
fn admit(
    (client, intake): (&HubClient, &Intake),
    competition: &Competition,
    models: &[Commitment],
) {
    for commitment in models {
        let found = intake.find(client, competition, OWNER, commitment).unwrap().unwrap();
        let preview = intake.preview(client, &found).unwrap();
        assert!(preview.is_some());
        intake.fetch(client, found).unwrap();
    }
}

fn intake() -> (Intake, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Intake::open(&dir.path().join("models")).unwrap(), dir)
}

#[test]
fn a_validator_without_an_account_takes_in_256_models_in_one_window() {
    let hub = RealHub::start(Quotas::ANONYMOUS);
    let competition = Competition::builtin("tiny").unwrap();
    let models = publish(&hub, &competition, N_MODELS);
    let (client, (intake, _dir)) = (hub.world.client(None), intake());
    // Disks are slow, one after the other.
    std::thread::scope(|scope| {
        for models in models.chunks(N_MODELS / 8) {
            scope.spawn(|| admit((&client, &intake), &competition, models));
        }
    });
    assert_eq!((hub.n_refused(), hub.world.clock.passed()), (0, Duration::ZERO));
    let asked = hub.world.to(HUB);
    let n_api = asked.iter().filter(|asked| asked.path.contains("/tree/")).count();
    // A config in the list and in the model, each by way of the hub's own cache; the header twice;
    // the parameters.
    assert_eq!((n_api, asked.len() - n_api), (N_MODELS, 7 * N_MODELS));
}

#[test]
fn a_validator_waits_for_the_next_window_and_is_never_refused() {
    let hub = RealHub::start(Quotas { api: 25, resolvers: 75, pages: 1 });
    let competition = Competition::builtin("tiny").unwrap();
    let models = publish(&hub, &competition, 64);
    static LONGEST: Mutex<Duration> = Mutex::new(Duration::ZERO);
    let client = hub.world.client_with(|options| ClientOptions {
        on_wait: |wait| {
            assert!(wait.reason.contains("requests of its kind"), "{}", wait.reason);
            let mut longest = LONGEST.lock().unwrap();
            *longest = wait.left.max(*longest);
            true
        },
        ..options
    });
    let (intake, _dir) = intake();
    admit((&client, &intake), &competition, &models);
    assert_eq!(hub.n_refused(), 0);
    // 448 requests for files, 75 of which fit into a window: five waits for the next one.
    let windows = (hub.world.clock.passed().as_secs() + WINDOW / 2) / WINDOW;
    assert_eq!(windows, 5, "{:?}", hub.world.clock.passed());
    let longest = *LONGEST.lock().unwrap();
    assert!(longest > Duration::from_secs(WINDOW - 20), "{longest:?}");
    assert!(longest <= Duration::from_secs(WINDOW + 1), "{longest:?}");
}

#[test]
fn several_threads_share_what_a_hub_allows() {
    let hub = RealHub::start(Quotas { api: 40, ..Quotas::ANONYMOUS });
    let competition = Competition::builtin("tiny").unwrap();
    let models = publish(&hub, &competition, 128);
    let client = hub.world.client(None);
    // What is allowed is known from the first answer on.
    client.latest(&models[0].repo).unwrap().unwrap();
    std::thread::scope(|scope| {
        for models in models.chunks(32) {
            let client = &client;
            scope.spawn(move || {
                for model in models {
                    assert!(client.latest(&model.repo).unwrap().is_some());
                }
            });
        }
    });
    // When a window begins, answers of the last one may still be on their way.
    assert!(hub.n_refused() <= 12, "{} were refused", hub.n_refused());
    assert!(hub.world.clock.passed() >= Duration::from_secs(2 * WINDOW));
}

#[test]
fn a_model_is_submitted_by_a_few_requests() {
    let hub = RealHub::start(Quotas { api: 30, resolvers: 10, pages: 5 });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    std::fs::write(dir.path().join("model.safetensors"), bytes(250_000)).unwrap();
    let folder = Folder::of_model(dir.path()).unwrap();
    let (own, stranger) = (hub.world.client(Some(TOKEN)), hub.world.client(None));
    // In the order of `agon miner submit`.
    let repo: Repo = format!("{}/m", own.user().unwrap()).parse().unwrap();
    let kind = RepoKind::Model;
    assert_eq!(stranger.is_private(kind, &repo).unwrap(), None);
    assert_eq!(own.is_private(kind, &repo).unwrap(), None);
    own.create(kind, &repo, true).unwrap();
    let uploaded = own.upload(&Upload { is_private: true, ..Upload::new(kind, &repo, &folder) });
    let revision = uploaded.unwrap().revision;
    let listed = own.list(&repo, &revision).unwrap().unwrap();
    assert_eq!(stranger.list(&repo, &revision).unwrap(), None);
    assert_eq!(own.is_private(kind, &repo).unwrap(), Some(true));
    own.set_private(kind, &repo, false).unwrap();
    assert_eq!(stranger.list(&repo, &revision).unwrap().unwrap(), listed);
    assert_eq!((hub.n_refused(), hub.world.clock.passed()), (0, Duration::ZERO));
    hub.world.expect_secrets_kept();
}

#[test]
fn one_question_tells_whose_a_token_is_what_it_may_do_and_what_is_left() {
    let hub = RealHub::start(Quotas { api: 30, ..Quotas::ANONYMOUS });
    let client = hub.world.client(Some(TOKEN));
    assert_eq!(client.allowances(), []);
    hub.set_role(json!({ "displayName": "laptop", "role": "read" }));
    let account = client.account().unwrap();
    assert_eq!((account.name.as_str(), account.may_write(&repo())), ("ann", Some(false)));
    let told = client.allowances();
    assert_eq!((told.len(), told[0].name.as_str(), told[0].n_left), (1, "api", 29));
    assert_eq!(told[0].each, Some((30, Duration::from_secs(WINDOW))));
    assert!(told[0].time_left <= Duration::from_secs(WINDOW));
    assert_eq!(hub.world.to(HUB).len(), 1);
}

#[test]
fn a_client_that_comes_into_a_used_up_window_is_served_in_the_next() {
    let hub = RealHub::start(Quotas { api: 2, ..Quotas::ANONYMOUS });
    let revision = hub.put("alice/model", &[("config.json", b"{}")]);
    for _ in 0..2 {
        assert_eq!(hub.world.client(None).latest(&repo()).unwrap(), Some(revision.clone()));
    }
    // Another process at the same address: it learns by being refused, once.
    assert!(hub.world.client(None).list(&repo(), &revision).unwrap().is_some());
    assert_eq!(hub.n_refused(), 1);
    assert!(hub.world.clock.passed() < Duration::from_secs(WINDOW + 2));
}

/// A hub that lists one config, and says of its limits what `limits` says.
fn limited(limits: &'static [(&'static str, &'static str)], status: u16) -> World {
    World::start(TestClock::new(), move |asked: &Asked| {
        let reply = match asked.path.contains("/tree/") {
            _ if status != 200 => Reply::of(status, ""),
            true => Reply::json(&json!([])),
            false => Reply::json(&json!({ "sha": "a".repeat(40) })),
        };
        Some(limits.iter().fold(reply, |reply, (name, value)| reply.with(name, *value)))
    })
}

#[test]
fn attack_what_a_hub_says_of_its_limits_makes_nobody_wait_longer_than_they_will() {
    let wait_max = Patience::default().wait_max;
    let cases: [&[(&str, &str)]; 8] = [
        &[("RateLimit", "\"api\";r=0;t=18446744073709551615")],
        &[("RateLimit", "\"api\";r=0;t=300")],
        &[
            ("RateLimit", "\"api\";r=0;t=18446744073709551615"),
            ("RateLimit-Policy", "\"api\";q=1;w=18446744073709551615"),
        ],
        &[("RateLimit", "\"api\";r=0;t=9"), ("RateLimit-Policy", "\"api\";q=0;w=0")],
        &[("RateLimit", "\"api\";r=0;t=0"), ("RateLimit-Policy", "\"api\";q=1;w=99999")],
        &[("RateLimit", "\"api\";r=-1;t=-1, \"x\";r=99999999999999999999;t=1, ;;;=,\"")],
        &[("RateLimit", "\"api\"; r = 0 ;t=+5"), ("RateLimit-Policy", "\u{fc}")],
        &[("Retry-After", "18446744073709551615")],
    ];
    for limits in cases {
        let world = limited(limits, 200);
        let client = world.client(None);
        for n in 1..=3 {
            assert!(client.latest(&repo()).unwrap().is_some(), "{limits:?}");
            let passed = world.clock.passed();
            assert!(passed <= wait_max * (n - 1), "{limits:?}: {passed:?} before request {n}");
        }
        // One that refuses all the same is given up after as many tries as there is patience for.
        let world = limited(limits, 429);
        let refused = world.client(None).latest(&repo());
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        assert!(world.clock.passed() <= wait_max * 10, "{limits:?}: {:?}", world.clock.passed());
    }
}

#[test]
fn attack_other_hosts_say_nothing_of_what_the_hub_allows() {
    let all = bytes(10);
    let (file, served) = (entry(&all), all.clone());
    let world = World::start(TestClock::new(), move |asked: &Asked| {
        Some(match &*asked.host {
            HUB => Reply::to(302, "https://us.aws.cdn.hf.co/x"),
            _ => Reply::of(200, &*served).with("RateLimit", "\"resolvers\";r=0;t=300"),
        })
    });
    let (dir, client) = (tempfile::tempdir().unwrap(), world.client(Some(TOKEN)));
    for name in ["a", "b"] {
        download(&client, &file, &dir.path().join(name)).unwrap();
    }
    assert_eq!(world.clock.passed(), Duration::ZERO);
    world.expect_secrets_kept();
}

#[test]
fn whoever_wants_no_more_does_not_wait_for_a_hub() {
    for (status, limit) in [(200, "\"api\";r=0;t=300"), (503, "\"api\";r=9;t=300")] {
        let world = World::start(TestClock::new(), move |_| {
            let reply = if status == 200 { json!({ "sha": "a".repeat(40) }) } else { json!({}) };
            Some(Reply { status, ..Reply::json(&reply) }.with("RateLimit", limit))
        });
        let client =
            world.client_with(|options| ClientOptions { on_wait: |wait| wait.begins, ..options });
        let first = client.latest(&repo());
        let stopped = if status == 200 { client.latest(&repo()) } else { first };
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        assert!(world.clock.passed() <= Duration::from_secs(1));
    }
}
