//! The demo as its users run it: a short one, twice, on other text, interrupted, and badly called.

use crate::{hub::ask_as, node::ask};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Long enough for a champion and for the copycat to copy it.
const ROUNDS: &str = "3";

/// Enough to learn more than which token is frequent.
const STEPS: &str = "40";

fn demo(home: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["demo", "--json", "--rounds", ROUNDS, "--steps", STEPS, "--home"])
        .arg(home)
        .args(more)
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"))
}

/// The rows of a miner in all rounds.
fn rows<'a>(report: &'a Value, role: &str) -> Vec<&'a Value> {
    let rounds = report["rounds"].as_array().unwrap().iter();
    let models = rounds.flat_map(|round| round["models"].as_array().unwrap());
    models.filter(|model| model["role"] == role).collect()
}

fn tao(report: &Value, role: &str) -> f64 {
    let earnings = report["earnings"].as_array().unwrap();
    earnings.iter().find(|earning| earning["role"] == role).unwrap()["tao"].as_f64().unwrap()
}

/// Sentences of made-up words, the same on every machine.
fn corpus(folder: &TempDir) -> String {
    let syllables = ["ka", "mo", "ri", "ten", "su", "lar", "pe", "dun", "vi", "go", "shel", "ba"];
    let mut state = 7_u32;
    let mut below = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 12) as usize % n
    };
    let words: Vec<String> =
        (0..300).map(|_| (0..1 + below(3)).map(|_| syllables[below(12)]).collect()).collect();
    let mut text = String::new();
    // Some 500 KB, of which fewer documents than a round of `tiny` wants are for evaluation.
    for i in 0..13_000 {
        // Each word has three that may follow it: what comes next depends on what came before.
        let mut word = below(300);
        for _ in 0..4 + below(6) {
            text.push_str(&words[word]);
            text.push(' ');
            word = (word * 7 + [1, 90, 200][below(3)]) % 300;
        }
        text.push_str(if i % 9 == 8 { "end.\n\n" } else { "and " });
    }
    let path = folder.path().join("corpus.txt");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_demo_crowns_refuses_pays_and_runs_the_same_way_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let output = demo(&home, &["--seed", "1"]);
    let first = report(&output);

    let rounds = first["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 3);
    for round in rounds {
        let champion = &round["champion_uid"];
        assert!(champion.is_u64(), "nobody was crowned: {round}");
        for validator in round["validators"].as_array().unwrap() {
            assert_eq!(&validator["champion_uid"], champion, "validators must agree");
        }
    }
    let reasons: Vec<&str> =
        rows(&first, "broken").iter().map(|row| row["reason"].as_str().unwrap()).collect();
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.split(':').next().unwrap()).collect();
    assert_eq!(codes, ["non-finite-parameters", "tensor-mismatch", "too-large"]);
    assert_eq!(tao(&first, "broken"), 0.0);
    assert_eq!(tao(&first, "copycat"), 0.0);
    assert!(tao(&first, "validator-1") > tao(&first, "validator-2"));
    let miners = ["honest-1", "honest-2", "rebaser"].map(|role| tao(&first, role));
    assert!(miners.iter().sum::<f64>() > 1.0, "{miners:?}");
    assert!(first["entropy_perplexity"].as_f64().unwrap() > 1.0);
    let said = String::from_utf8_lossy(&output.stderr);
    verdicts_say_how_sure_they_are(&first, &said);
    assert!(said.contains("watch it at http://127.0.0.1:"), "{said}");
    assert!(home.join("dashboard/dashboard.db").is_file(), "pages were there");

    // The champion that a person is told to check is there and is admitted.
    let champion = rounds[2]["champion"].as_str().unwrap();
    let model = home.join(champion).join("published");
    let rules = home.join("competition.toml");
    let check = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["check", "--model"])
        .arg(&model)
        .arg("--competition")
        .arg(&rules)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));

    records_of_the_run_are_scored(&home);
    own_rules_and_an_own_model(&home, champion);

    let second = killed_again_and_again(&home);
    assert!(folder.path().join("home-1/competition.toml").exists(), "the first run is kept");
    // One that is killed before it is set up is kept, too, and begins again.
    assert!(!folder.path().join("home-3").exists(), "the second was one run");
    let fates = |report: &Value| -> Vec<(Value, Value)> {
        let rounds = report["rounds"].as_array().unwrap().iter();
        rounds.map(|round| (round["champion_uid"].clone(), round["record"].clone())).collect()
    };
    assert_eq!(fates(&first), fates(&second), "one seed, two stories");
    for told in ["tempos", "earnings", "n_crown_changes", "entropy_perplexity"] {
        assert_eq!(first[told], second[told], "{told}");
    }
}

/// Each duel has its numbers in the report and its words on stderr, and a copy is never crowned.
fn verdicts_say_how_sure_they_are(report: &Value, told: &str) {
    assert_eq!(
        (&report["duels"]["clip"], &report["epsilon"]["value"]),
        (&0.2.into(), &0.005.into())
    );
    for line in told.lines().filter(|line| line.starts_with("block ")) {
        let is_of_a_duel = line.contains(" than the champion") || line.contains("  round ");
        assert!(!is_of_a_duel || line.chars().count() <= 80, "{line}");
    }
    for role in ["honest-1", "honest-2", "rebaser", "copycat"] {
        for duel in rows(report, role).into_iter().filter_map(|row| row.get("duel")) {
            let number = |name: &str| duel[name].as_f64().unwrap();
            let (low, high) = (&duel["interval"]["low"], &duel["interval"]["high"]);
            let range = low.as_f64().unwrap()..=high.as_f64().unwrap();
            assert!(range.contains(&number("gain")), "{role}: {duel}");
            assert!(number("alpha") > 0.0 && number("alpha") <= 5e-4, "{role}: {duel}");
            assert!(number("n_documents") >= 5.0, "a duel has looked once: {duel}");
            assert!(role != "copycat" || duel["verdict"] != "dethroned", "{duel}");
            assert!(told.contains(&format!("{role} is ")), "{role}: {told}");
        }
    }
}

/// The same demo once more, killed after a number of lines and moments, and started again each
/// time.
fn killed_again_and_again(home: &Path) -> Value {
    // Lines that were told when it dies, and how long after that; a run that has not told so many
    // goes on to its end.
    for (n_lines, wait_ms) in [(0, 100), (3, 300), (4, 0), (5, 700), (6, 150)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["demo", "--json", "--rounds", ROUNDS, "--steps", STEPS, "--seed", "1", "--home"])
            .arg(home)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told: Vec<String> = lines.by_ref().take(n_lines).map(Result::unwrap).collect();
        std::thread::sleep(Duration::from_millis(wait_ms));
        assert!(child.try_wait().unwrap().is_none(), "{told:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    report(&demo(home, &["--seed", "1"]))
}

fn agon(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agon")).args(args).output().unwrap()
}

/// `agon score` derives what a record says, and finds out whoever changed it.
fn records_of_the_run_are_scored(home: &Path) {
    let path = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let record = |number: u64| path(&format!("validator-1/records/tiny/000000/00000{number}.json"));
    let rules = path("competition.toml");
    let score = |file: &str| agon(&["score", file, "--competition", &rules]);
    // What a later round came to follows from those before it, too.
    let output = score(&record(3));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && err.contains("is no first record"), "{err}");
    let record = record(1);
    let output = score(&record);
    let scores: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = std::fs::read_to_string(&record).unwrap();
    let signed: Value = serde_json::from_str(&text).unwrap();
    let recorded = &signed["record"];
    assert_eq!(scores["champion"], recorded["champion"]);
    let models = recorded["models"].as_array().unwrap();
    for (found, model) in scores["models"].as_array().unwrap().iter().zip(models) {
        assert_eq!(found["weight"], model["verdict"]["weight"]);
        assert_eq!(found["card"], model["model"]["card"]);
        let is_measured = model["model"]["finding"]["evaluated"][0].is_number();
        assert!(!is_measured || found["bits_per_byte"].is_number() && found["card"].is_object());
    }
    assert!(scores["optimum"].is_number(), "the text is generated");
    assert_eq!(scores["optimum"], recorded["round"]["optimum"]);
    let other = agon(&["score", &record]);
    let err = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.code() == Some(2) && err.contains("--competition"), "{err}");

    let champion = recorded["champion"].as_u64().unwrap();
    let changed = text.replace(&format!("\"champion\":{champion}"), "\"champion\":0");
    assert_ne!(changed, text);
    let file = path("changed.json");
    std::fs::write(&file, &changed).unwrap();
    let output = score(&file);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("is not signed by"), "{err}");
    // Whoever leaves the signature out is found out by the losses.
    std::fs::write(&file, unsigned(&changed)).unwrap();
    let output = score(&file);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("the record crowns uid `0`"), "{err}");

    // A first record continues nothing: its number and its averages follow from it alone.
    let first = unsigned(&text);
    let changed = first.replace("\"number\":1,", "\"number\":2,");
    assert_ne!(changed, first);
    std::fs::write(&file, changed).unwrap();
    let output = score(&file);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && err.contains("its number differs"), "{err}");
}

/// The record alone, as it stands in a signed one.
fn unsigned(signed: &str) -> &str {
    let (record, _signature) = signed.rsplit_once(",\"signature\"").unwrap();
    record.strip_prefix("{\"record\":").unwrap()
}

/// A short demo by changed rules, with the champion of another as one more miner.
fn own_rules_and_an_own_model(home: &Path, champion: &str) {
    let rules = std::fs::read_to_string(home.join("competition.toml")).unwrap();
    let changed = rules
        .replace("blocks_per_round = 10", "blocks_per_round = 15")
        .replace("sequence_length = 128", "sequence_length = 64")
        .replace("name = \"tiny\"", "name = \"own\"");
    let own = home.join("own.toml");
    std::fs::write(&own, changed).unwrap();
    let model = home.join(champion).join("published");
    let output = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["demo", "--json", "--rounds", "1", "--steps", "20", "--home"])
        .arg(home.join("own"))
        .arg("--competition")
        .arg(&own)
        .arg("--miner")
        .arg(&model)
        .output()
        .unwrap();
    let report = report(&output);
    assert_eq!(report["rounds"][0]["block"], 45, "rounds follow the rules");
    let [yours] = rows(&report, "yours")[..] else { panic!("{report}") };
    assert_eq!(yours["outcome"], "evaluated");
    assert_eq!(report["rounds"][0]["champion"], "yours", "nobody has trained longer");
    assert!(home.join("own/validator-1/records/own/000000/000001.json").exists());

    // A model for other rules is refused before anything runs.
    let narrow = home.join("narrow.toml");
    let rules = rules.replace("sequence_length = 128", "sequence_length = 256");
    std::fs::write(&narrow, rules).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let args = [text(&narrow), text(&model), text(&home.join("narrow"))];
    let output =
        agon(&["demo", "--competition", &args[0], "--miner", &args[1], "--home", &args[2]]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("vocabulary-mismatch") && err.contains("agon check"), "{err}");
}

/// A demo that would go on for ever, and ends with the test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes in what has arrived of the news of a demo, whose end nobody has seen yet.
fn hear(news: &mut TcpStream, heard: &mut Vec<u8>) {
    let mut chunk = [0; 4_096];
    loop {
        match news.read(&mut chunk) {
            Ok(0) => panic!("the news were cut: {}", String::from_utf8_lossy(heard)),
            Ok(n) => heard.extend(&chunk[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_demo_runs_on_text_of_ones_own_and_its_pages_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (text, printed) = (corpus(&folder), folder.path().join("report.json"));
    let args = ["demo", "--json", "--keep", "--seed", "2", "--rounds", "1", "--steps", STEPS];
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    command.args(args).args(["--corpus", &text, "--home"]).arg(folder.path().join("home"));
    command.stdout(File::create(&printed).unwrap()).stderr(Stdio::piped());
    let mut demo = Kept(command.spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("watch it at ")).unwrap();
    let pages = line.strip_prefix("watch it at http://").unwrap().to_owned();
    let mut news = TcpStream::connect(&pages).unwrap();
    write!(news, "GET /events HTTP/1.1\r\nhost: {pages}\r\n\r\n").unwrap();
    news.set_nonblocking(true).unwrap();

    // The same pages beside the same chain and hub, and nobody who listens was let go.
    let line = lines.find(|line| line.contains(" until Ctrl-C; ")).unwrap();
    let rest = line.strip_prefix(&format!("watch it at http://{pages} until Ctrl-C; chain ws://"));
    let (chain, hub) = rest.unwrap().split_once(", hub http://").unwrap();
    let mut heard = Vec::new();
    let n_rounds = |heard: &[u8]| heard.windows(12).filter(|part| part == b"event: round").count();
    for _ in 0..1_000 {
        hear(&mut news, &mut heard);
        if n_rounds(&heard) < 3 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(n_rounds(&heard), 3, "one of each validator: {}", String::from_utf8_lossy(&heard));
    let report: Value = serde_json::from_slice(&std::fs::read(&printed).unwrap()).unwrap();
    assert_eq!(report["entropy_perplexity"], Value::Null, "nobody knows the entropy of a file");
    let rules = std::fs::read_to_string(folder.path().join("home/competition.toml")).unwrap();
    let n_batches = rules.lines().find_map(|line| line.strip_prefix("n_batches = ")).unwrap();
    assert!((65..100).contains(&n_batches.parse().unwrap()), "as many as there are: {n_batches}");
    assert!(report["rounds"][0]["champion_uid"].is_u64(), "{}", report["rounds"][0]);
    let champion = report["rounds"][0]["champion"].as_str().unwrap();
    let (status, page) = ask_as(&pages, None, "GET /c/tiny", "");
    assert!(status == "200" && page.contains(&format!("\"http://{hub}/{champion}/tiny")), "{page}");
    let (status, _) = ask_as(hub, None, &format!("GET /api/models/{champion}/tiny"), "");
    assert_eq!(status, "200");
    let head = ask(chain, "chain_getHeader", &json!([])).unwrap();
    assert!(head["result"]["number"].is_string(), "{head}");

    let started = Instant::now();
    let id = demo.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn an_interrupted_demo_ends_at_once_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["demo", "--home"])
        .arg(folder.path().join("home"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("publishes")).unwrap().unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let started = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line == "error: interrupted"), "{rest:?}");
}

#[test]
fn a_demo_that_cannot_run_says_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("empty.txt"), "").unwrap();
    std::fs::write(path("latin1.txt"), [b'c', b'a', b'f', 0xe9]).unwrap();
    std::fs::create_dir(path("mine")).unwrap();
    std::fs::write(path("mine/thesis.tex"), "years of work").unwrap();
    let lines: String = (0..400).map(|i| format!("This is line {i} of little.\n\n")).collect();
    std::fs::write(path("little.txt"), lines).unwrap();
    let (empty, latin1, missing) = (path("empty.txt"), path("latin1.txt"), path("missing"));
    let little = path("little.txt");
    let cases: [(&str, &[&str], &str); 7] = [
        ("e", &["--corpus", &little], "little.txt"),
        ("a", &["--corpus", &empty], "empty.txt"),
        ("b", &["--corpus", &latin1], "latin1.txt"),
        ("c", &["--corpus", &missing], "missing"),
        ("mine", &[], "mine"),
        ("empty.txt/home", &[], "empty.txt"),
        ("d", &["--rounds", "0"], "rounds"),
    ];
    for (home, more, named) in cases {
        let started = Instant::now();
        let output = demo(&folder.path().join(home), more);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains(named), "{more:?}: {err}");
        assert!(output.stdout.is_empty());
        assert!(started.elapsed() < Duration::from_secs(2), "{more:?}: {:?}", started.elapsed());
    }
    assert!(folder.path().join("mine/thesis.tex").exists(), "somebody's files are gone");
}

#[test]
fn a_demo_that_cannot_run_takes_the_place_of_no_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".agon-demo"), "").unwrap();
    std::fs::write(home.join("report.json"), "an hour's work").unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (missing, rules) = (path("missing.toml"), path("rules.toml"));
    std::fs::write(&rules, "name = \"rules\"").unwrap();
    let tiny = agon(&["competition", "show", "tiny", "--toml"]);
    let tiny = String::from_utf8(tiny.stdout).unwrap();
    let (small, inside) = (path("small.toml"), path("home/inside.toml"));
    // No model of ours is as small.
    let size = tiny.lines().find(|line| line.starts_with("size_bytes_max")).unwrap();
    std::fs::write(&small, tiny.replace(size, "size_bytes_max = 1000")).unwrap();
    std::fs::write(&inside, &tiny).unwrap();
    std::fs::create_dir(path("model")).unwrap();
    std::fs::write(path("model/config.json"), "{}").unwrap();
    std::fs::write(path("model/model.safetensors"), "none").unwrap();
    std::fs::create_dir(path("home/mine")).unwrap();
    std::fs::write(path("home/mine/config.json"), "{}").unwrap();
    std::fs::write(path("home/mine/model.safetensors"), "none").unwrap();
    std::fs::write(path("home/text.txt"), "text ".repeat(1 << 18)).unwrap();
    let (model, mine, text) = (path("model"), path("home/mine"), path("home/text.txt"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], &str); 10] = [
        (&["--competition", &small], "miners here train Llamas"),
        (&["--competition", &inside], "copy it elsewhere"),
        (&["--corpus", &text], "copy it elsewhere"),
        (&["--miner", &mine], "copy it elsewhere"),
        (&["--miner", &model], "would not be measured"),
        (&["--corpus", &missing], &missing),
        (&["--competition", &missing], &missing),
        (&["--competition", &rules], &rules),
        (&["--miner", &missing], &missing),
        (&["--dashboard", &taken], &taken),
    ];
    for (asked, named) in cases {
        for force in [&[][..], &["--force"]] {
            let output = demo(&home, &[asked, force].concat());
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{asked:?}: {err}");
            assert!(err.contains(named), "{asked:?}: {err}");
            let kept = std::fs::read_to_string(home.join("report.json")).unwrap();
            assert_eq!(kept, "an hour's work", "{asked:?} {force:?}");
        }
    }
    assert!(!folder.path().join("home-1").exists());
}
