//! Evaluators that do what none of ours does: each is a shell that plays one.

use super::*;
use protocol::{Digest, ReasonCode, record::Card};
use tempfile::TempDir;
use validator::{Admission, Sequence};

const HANGS: &str = "sleep 1000";

/// An evaluator that runs `script` instead of this program.
fn played(script: &str) -> ProcessEvaluate {
    let mut evaluate = ProcessEvaluate::new(1, Arc::default()).unwrap();
    evaluate.command = ["/bin/sh", "-c", script].map(PathBuf::from).into();
    evaluate
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Two sequences of so many tokens.
fn sequences(n_tokens: usize) -> Vec<Sequence> {
    vec![Sequence { digest: Digest([7; 32]), tokens: vec![7; n_tokens] }; 2]
}

/// The losses that a played evaluator hands over, and how it ends.
fn ask(script: &str, n_tokens: usize) -> anyhow::Result<(Vec<f64>, Result<(), Reason>)> {
    let competition = Competition::builtin("tiny").unwrap();
    let sequences = sequences(n_tokens);
    let sequences: Vec<&Sequence> = sequences.iter().collect();
    let mut losses = Vec::new();
    let mut learn = |learnt: &[SequenceLoss]| {
        losses.extend(learnt.iter().map(|loss| loss.cross_entropy.value()));
        Ok(())
    };
    let digest = Digest([1; 32]);
    let admission =
        Admission { file_root: digest, tensor_root: digest, n_parameters: 1, card: None };
    let ask = Ask { competition: &competition, admission: &admission, sequences: &sequences };
    let end = played(script).losses(folder().path(), ask, &mut learn)?;
    Ok((losses, end))
}

fn evaluate(script: &str) -> anyhow::Result<(Vec<f64>, Result<(), Reason>)> {
    ask(script, 3)
}

fn within(script: &str, patience: Duration) -> (anyhow::Error, Duration) {
    let limits = Limits { memory_bytes_max: 1 << 30, patience };
    let started = Instant::now();
    let asked = played(script).ask(folder().path(), limits, &Request::SelfTest, &mut nothing);
    (asked.unwrap_err(), started.elapsed())
}

#[test]
fn an_evaluator_that_dies_is_our_trouble_and_says_how() {
    for (script, how) in [
        ("kill -SEGV $$", "killed by signal 11"),
        ("kill -KILL $$", "killed by signal 9"),
        ("exit 0", "ended with code 0"),
        (
            "echo out of memory >&2; exit 101",
            "ended with code 101 without an answer: out of memory",
        ),
        ("echo '{\"Ready\":{\"missing\":[]}}'; kill -ABRT $$", "killed by signal 6"),
    ] {
        let error = format!("{:#}", evaluate(script).unwrap_err());
        assert!(error.contains(how), "`{script}` gave `{error}`");
    }
}

#[test]
fn attack_an_evaluator_that_hangs_or_talks_for_ever_is_ended() {
    let patience = Duration::from_millis(300);
    for script in [
        HANGS,
        "exec >&- 2>&-; sleep 1000",
        "while :; do echo '{\"Ready\":{\"missing\":[]}}'; done",
        "sleep 1000 & exit 0",
    ] {
        let (error, took) = within(script, patience);
        assert!(took < Duration::from_secs(10), "`{script}` took {took:?}: {error:#}");
    }
}

#[test]
fn attack_what_an_evaluator_leaves_running_ends_with_it() {
    let folder = folder();
    let path = folder.path().join("pid");
    let script = format!("sleep 1000 >&- 2>&- & echo $! > '{}'; exit 3", path.display());
    let error = format!("{:#}", evaluate(&script).unwrap_err());
    assert!(error.contains("ended with code 3"), "{error}");
    let pid = std::fs::read_to_string(path).unwrap();
    // Gone, or dead and waiting for whoever inherited it.
    let is_running = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let started = Instant::now();
    while is_running() && started.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert!(!is_running(), "{}", pid.trim());
}

#[test]
fn attack_an_evaluator_that_speaks_nonsense_is_our_trouble() {
    for script in [
        "echo hello",
        "echo '{\"Ready\":7}'",
        "printf '\\377\\376\\n'",
        "yes | tr -d '\\n'",
        "yes '['| tr -d '\\n'",
        "echo '{\"Inspected\":{\"Ok\":{\"tensor_root\":\"\",\"card\":{}}}}'",
    ] {
        let error = format!("{:#}", evaluate(script).unwrap_err());
        assert!(error.contains("speaks nonsense"), "`{script}` gave `{error}`");
    }
}

#[test]
fn attack_answers_to_other_questions_are_no_verdict() {
    for (script, why) in [
        (r#"echo '{"Evaluated":{"Ok":null}}'"#, "0 losses for 2"),
        (
            r#"echo '{"Losses":[{"n_tokens":2,"cross_entropy":1.0}]}'; echo '{"Evaluated":{"Ok":null}}'"#,
            "1 losses for 2",
        ),
        (r#"echo '{"Losses":[{"n_tokens":2,"cross_entropy":null}]}'"#, "gave no number"),
        (r#"echo '{"Inspected":{"Err":{"code":"too-large","detail":""}}}'"#, "not asked"),
        (r#"echo '{"SelfTested":[]}'"#, "not asked"),
        (r#"echo '{"Failed":{"error":"no memory"}}'"#, "no memory"),
    ] {
        let error = format!("{:#}", evaluate(script).unwrap_err());
        assert!(error.contains(why), "`{script}` gave `{error}`");
    }
}

#[test]
fn losses_and_reasons_pass_as_they_are_but_for_what_would_move_a_terminal() {
    let script = r#"cat > /dev/null & for loss in 0.1 2e-7; do
        echo "{\"Losses\":[{\"n_tokens\":2,\"cross_entropy\":$loss}]}"; done
        echo '{"Evaluated":{"Ok":null}}'"#;
    assert_eq!(evaluate(script).unwrap(), (vec![0.1, 2e-7], Ok(())));

    let refused = r#"echo '{"Evaluated":{"Err":
        {"code":"non-finite-loss","detail":"\u001b[2Jgone"}}}' | tr -d '\n'; echo"#;
    let reason = evaluate(refused).unwrap().1.unwrap_err();
    assert_eq!(reason, Reason::new(ReasonCode::NonFiniteLoss, "\u{fffd}[2Jgone"));
}

#[test]
fn attack_the_name_of_an_architecture_is_cut_and_moves_no_terminal() {
    let competition = Competition::builtin("tiny").unwrap();
    let shown = |architecture: &str| {
        let card = Card {
            architecture: architecture.to_owned(),
            n_parameters: u64::MAX,
            size_bytes: 2,
            vocabulary: 3,
            context: 4,
            n_vanishing: 5,
            n_exploding: 6,
        };
        let found = Inspected { tensor_root: Digest([1; 32]), card };
        let said = serde_json::to_string(&Message::Inspected(Ok(found.clone()))).unwrap();
        let heard = played(&format!("printf '%s\\n' '{said}'"));
        let heard = heard.inspect(folder().path(), &competition).unwrap().unwrap();
        let name = heard.card.architecture.clone();
        // Its numbers pass as they are.
        let architecture = architecture.to_owned();
        assert_eq!(Inspected { card: Card { architecture, ..heard.card }, ..heard }, found);
        name
    };
    assert_eq!(shown("llama"), "llama");
    assert_eq!(shown("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    assert_eq!(shown(&"x".repeat(64)).chars().count(), 64);
    assert_eq!(shown(&"日".repeat(10_000)), "日".repeat(64));
}

#[test]
fn a_request_that_nobody_reads_keeps_nobody_waiting() {
    let script = r#"echo '{"Losses":[{"n_tokens":2,"cross_entropy":1.0},{"n_tokens":2,"cross_entropy":2.0}]}'
        echo '{"Evaluated":{"Ok":null}}'"#;
    // More than a pipe holds.
    assert_eq!(ask(script, 1 << 20).unwrap(), (vec![1.0, 2.0], Ok(())));
}

#[test]
fn an_evaluation_ends_when_this_process_is_to_stop() {
    let evaluate = played(HANGS);
    let stop = Arc::clone(&evaluate.stop);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    let competition = Competition::builtin("tiny").unwrap();
    let error = evaluate.inspect(folder().path(), &competition).unwrap_err();
    assert!(error.is::<Interrupted>(), "{error:#}");
}

#[test]
fn attack_a_message_is_read_to_its_end_and_to_no_more_than_its_limit() {
    use std::io::Cursor;
    let read = |bytes: &[u8]| wire::read(&mut Cursor::new(bytes));
    assert!(read(b"").unwrap().is_none());
    let mut two = Cursor::new(&b"{\"SelfTested\":[]}\n{\"Ready\":{\"missing\":[\"x\"]}}\n"[..]);
    assert!(matches!(wire::read(&mut two), Ok(Some(Message::SelfTested(none))) if none.is_empty()));
    assert!(
        matches!(wire::read(&mut two), Ok(Some(Message::Ready { missing })) if missing == ["x"])
    );
    assert!(wire::read(&mut two).unwrap().is_none());
    let cut = read(b"{\"SelfTested\":[]}").unwrap_err().to_string();
    assert!(cut.contains("a message of 17 bytes has no end"), "{cut}");
    for bytes in [&b"\n"[..], b"{}\n", b"{\"SelfTested\":[]} {}\n", b"\xff\n", b"[1]\n"] {
        assert!(read(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
    }
    let endless = vec![b' '; (4 << 20) + 1];
    let error = read(&endless).unwrap_err().to_string();
    assert!(error.contains("a message of 4194304 bytes has no end"), "{error}");
}

#[test]
fn last_words_are_the_last_and_no_more_than_fit_a_line() {
    let said = |bytes: &[u8]| last_words(std::io::Cursor::new(bytes.to_vec()));
    assert_eq!(said(b""), "");
    assert_eq!(said(b"\n out of memory \n"), "out of memory");
    let long = "x".repeat(100_000) + "the end";
    let kept = said(long.as_bytes());
    assert!(kept.len() == LAST_WORDS_BYTES_MAX && kept.ends_with("xthe end"), "{}", kept.len());
    // A letter that is cut in two is no trouble.
    let letters = said("日".repeat(2_000).as_bytes());
    assert!(letters.ends_with('日') && letters.len() <= LAST_WORDS_BYTES_MAX + 6);
    assert!(said(&[0xff; 10]).chars().all(|letter| letter == '\u{fffd}'));
}

#[test]
fn a_machine_with_less_memory_than_the_rules_allow_takes_its_own() {
    let rules = Competition::builtin("tiny").unwrap();
    let allowed = rules.model.memory_max();
    let with = |bytes: u64| played("true").with_memory_limit(bytes);
    let small = with(allowed - 1);
    assert_eq!(small.memory_limit(&rules), Some(allowed - 1));
    assert_eq!(small.limits(&rules).memory_bytes_max, allowed - 1 + SLACK_BYTES);
    for enough in [allowed, u64::MAX] {
        let large = with(enough);
        assert_eq!(large.memory_limit(&rules), None);
        assert_eq!(large.limits(&rules).memory_bytes_max, allowed);
    }
    let seconds = rules.evaluation.blocks_per_round * SECONDS_PER_BLOCK;
    assert_eq!(Limits::of(&rules).patience, Duration::from_secs(seconds));
    let mut endless = rules;
    endless.evaluation.blocks_per_round = u64::MAX;
    assert_eq!(Limits::of(&endless).patience, Duration::from_secs(u64::MAX));
}
