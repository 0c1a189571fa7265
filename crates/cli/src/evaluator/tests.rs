//! Evaluators that do what none of ours does: each is a shell that plays one.

use super::*;
use protocol::ReasonCode;
use tempfile::TempDir;

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

fn batches() -> Vec<Batch> {
    vec![Batch { sequences: vec![vec![1, 2, 3]] }; 2]
}

fn evaluate(script: &str) -> anyhow::Result<Outcome> {
    let competition = Competition::builtin("tiny").unwrap();
    played(script).evaluate(folder().path(), &competition, &batches(), &|_| {})
}

fn within(script: &str, patience: Duration) -> (anyhow::Error, Duration) {
    let limits = Limits { memory_bytes_max: 1 << 30, patience };
    let started = Instant::now();
    let asked = played(script).ask(folder().path(), limits, &Request::SelfTest, &|_| {});
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
        "while :; do echo '{\"Progress\":{\"n_batches\":1}}'; done",
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
        "echo '{\"Inspected\":{\"Ok\":{\"n_parameters\":-1,\"tensor_root\":\"\"}}}'",
    ] {
        let error = format!("{:#}", evaluate(script).unwrap_err());
        assert!(error.contains("speaks nonsense"), "`{script}` gave `{error}`");
    }
}

#[test]
fn attack_answers_to_other_questions_are_no_verdict() {
    for (script, why) in [
        (r#"echo '{"Evaluated":{"outcome":"evaluated","detail":[1.0]}}'"#, "1 losses for 2"),
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
    let losses = evaluate(
        r#"cat > /dev/null & echo '{"Evaluated":{"outcome":"evaluated","detail":[0.1,null]}}'"#,
    );
    let Outcome::Evaluated(losses) = losses.unwrap() else { panic!() };
    assert_eq!(losses.iter().map(|loss| loss.value()).collect::<Vec<_>>(), [0.1, f64::INFINITY]);

    let refused = r#"echo '{"Evaluated":{"outcome":"disqualified","detail":
        {"code":"non-finite-loss","detail":"\u001b[2Jgone"}}}' | tr -d '\n'; echo"#;
    let Outcome::Disqualified(reason) = evaluate(refused).unwrap() else { panic!() };
    assert_eq!(reason, Reason::new(ReasonCode::NonFiniteLoss, "\u{fffd}[2Jgone"));
}

#[test]
fn a_request_that_nobody_reads_keeps_nobody_waiting() {
    // More than a pipe holds.
    let batches = vec![Batch { sequences: vec![vec![7; 1 << 20]] }; 2];
    let competition = Competition::builtin("tiny").unwrap();
    let script = r#"echo '{"Evaluated":{"outcome":"evaluated","detail":[1.0,2.0]}}'"#;
    let outcome = played(script).evaluate(folder().path(), &competition, &batches, &|_| {});
    assert!(matches!(outcome, Ok(Outcome::Evaluated(_))));
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
