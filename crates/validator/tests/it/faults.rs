//! What every fault of every port comes to, at every moment: the table of docs/fault-matrix.md.

mod line;
mod scene;

use line::{Fault, Kind, Phase, Port};
use protocol::{AccountId, Digest, Uid};
use scene::{Run, run};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Threads that share the runs.
const N_THREADS: usize = 2;

/// What a fault came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Retried,
    Degraded,
    Refused,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Retried, Self::Degraded, Self::Refused];

    fn name(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Degraded => "degraded",
            Self::Refused => "refused",
        }
    }

    /// By what it is told from the others.
    fn meaning(self) -> &'static str {
        match self {
            Self::Retried => {
                "every round of the run without the fault was decided, with the same records byte \
                 for byte, some of them later"
            }
            Self::Degraded => {
                "a round was given up, or decided without a model that could not be had or \
                 measured; the crown stayed where it was or went where it belongs, at the latest \
                 when the fault was over"
            }
            Self::Refused => {
                "weights were held back while the fault lasted, although the chain answered and \
                 a round was decided, or the validator did not start; the last good weights stood \
                 on the chain"
            }
        }
    }

    /// What a run with a fault came to, compared with one without.
    fn of(faulty: &Run, whole: &Run, phase: Phase) -> Self {
        let window = phase.window();
        let is_set = |run: &Run| run.sets.iter().any(|block| window.contains(block));
        let is_decided = faulty.rounds.iter().any(|round| window.contains(&round.at));
        let is_held_back = is_decided && is_set(whole) && !is_set(faulty) && !faulty.is_unanswered;
        let records = |run: &Run| -> Vec<(u64, Digest)> {
            run.rounds.iter().map(|round| (round.seed, round.digest)).collect()
        };
        if faulty.is_refused || is_held_back {
            Self::Refused
        } else if records(faulty) != records(whole) {
            Self::Degraded
        } else {
            Self::Retried
        }
    }
}

/// What does not hold of a run that has to hold whatever the fault was.
fn wrong(fault: Fault, faulty: &Run, whole: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    // Nobody at first, then the first champion, then the better one; nobody else, and no way back.
    let rank = |champion: Option<AccountId>| match champion {
        None => 0,
        Some(hotkey) if hotkey == whole.first => 1,
        Some(hotkey) if hotkey == whole.better => 2,
        Some(_) => 3,
    };
    let ranks: Vec<u8> = faulty.rounds.iter().map(|round| rank(round.champion)).collect();
    if !ranks.is_sorted() || ranks.last() != Some(&2) {
        wrong.push(format!("the crown went {ranks:?}"));
    }
    // No weights but those that the run without the fault set, or, before anybody was crowned,
    // those that pay nobody.
    let pays_nobody = [vec![], vec![(whole.own, u16::MAX)]];
    for row in &faulty.rows {
        let is_empty = fault.phase == Phase::First && pays_nobody.contains(row);
        if !whole.rows.contains(row) && !is_empty {
            wrong.push(format!("{row:?} was set, and never without the fault"));
        }
    }
    let paid = |row: &[(Uid, u16)]| row.iter().max_by_key(|(_, value)| *value).map(|(uid, _)| *uid);
    let is_lost = (fault.port, fault.kind) == (Port::Journal, Kind::Absent);
    if paid(&faulty.last_row) != paid(&whole.last_row) && !is_lost {
        wrong.push(format!("{:?} stands on the chain at the end", faulty.last_row));
    }
    if !faulty.is_published {
        wrong.push("a record was never published".to_owned());
    }
    wrong.iter().map(|what| format!("{fault:?}: {what}")).collect()
}

/// Faults that are tried, each at every moment.
const FAULTS: [(Port, &[Kind]); 12] = [
    (Port::Chain, &[Kind::Absent, Kind::Slow, Kind::Wrong, Kind::Torn]),
    (Port::HidingChain, &[Kind::Absent, Kind::Torn]),
    (Port::Clock, &[Kind::Ahead, Kind::Behind]),
    (Port::Blocks, &[Kind::Lagging, Kind::Contradiction, Kind::Dropped]),
    (Port::Key, &[Kind::Unregistered, Kind::OtherSlot, Kind::NoPermit]),
    (Port::Hub, &[Kind::Absent, Kind::Slow, Kind::Wrong, Kind::Torn]),
    (Port::Text, &[Kind::Absent, Kind::Slow]),
    (Port::Evaluator, &[Kind::Absent, Kind::Slow, Kind::Wrong, Kind::Torn]),
    (Port::Disk, &[Kind::Full, Kind::Locked]),
    (Port::Records, &[Kind::Absent, Kind::Slow]),
    (Port::Journal, &[Kind::Absent, Kind::Wrong, Kind::Torn]),
    (Port::Process, &[Kind::Absent, Kind::Torn]),
];

/// What the faults came to, in the order of [`FAULTS`] and [`Phase::ALL`]; nothing where nobody
/// asked the port for anything. And all that was wrong, which is nothing.
fn outcomes() -> (Vec<(Fault, Option<Outcome>)>, Vec<String>) {
    let faults: Vec<Fault> = FAULTS
        .iter()
        .flat_map(|(port, kinds)| kinds.iter().map(move |kind| (*port, *kind)))
        .flat_map(|(port, kind)| Phase::ALL.map(|phase| Fault { port, kind, phase }))
        .collect();
    // As the chain takes weights.
    let whole = [Port::Chain, Port::HidingChain].map(|port| run(port, None));
    for run in &whole {
        let seeds: Vec<u64> = run.rounds.iter().map(|round| round.seed).collect();
        assert_eq!(seeds, [20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
        assert!(run.n_hits == 0 && !run.is_unanswered && !run.is_refused);
    }
    let (next, found) = (AtomicUsize::new(0), Mutex::new((BTreeMap::new(), Vec::new())));
    let work = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
            let whole = &whole[usize::from(fault.port.hides())];
            let faulty = run(fault.port, Some(*fault));
            if faulty.n_hits > 0 {
                let outcome = Outcome::of(&faulty, whole, fault.phase);
                let mut found = found.lock().unwrap();
                found.0.insert(format!("{fault:?}"), outcome);
                found.1.extend(wrong(*fault, &faulty, whole));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..N_THREADS {
            scope.spawn(work);
        }
    });
    let (found, wrong) = found.into_inner().unwrap();
    let outcome = |fault: Fault| (fault, found.get(&format!("{fault:?}")).copied());
    (faults.into_iter().map(outcome).collect(), wrong)
}

fn document(outcomes: &[(Fault, Option<Outcome>)]) -> String {
    let n_cells = outcomes.iter().filter(|(_, outcome)| outcome.is_some()).count();
    let mut text = format!(
        "# What faults come to\n\n\
         Of {n_cells} faults, each of one port at one moment, with a validator of three miners on \
         a chain in memory.\n\
         Each run is compared with the same run without the fault.\n\
         None ended a validator, and none crowned or paid a model that the run without it did \
         not.\n\
         Written by `validator::the_table_of_faults_is_what_they_come_to`; with AGON_BLESS=1 it \
         writes it anew.\n\n"
    );
    for outcome in Outcome::ALL {
        writeln!(text, "- **{}**: {}", outcome.name(), outcome.meaning()).unwrap();
    }
    text.push_str("- –: nobody asked the port for anything then\n\n## Moments\n\n");
    for phase in Phase::ALL {
        let (window, name) = (phase.window(), phase.name());
        let (from, to) = (window.start(), window.end());
        writeln!(text, "- **{name}**: blocks {from} to {to}; {}", phase.meaning()).unwrap();
    }
    text.push_str("\n## Faults\n\n| port | fault |");
    Phase::ALL.iter().for_each(|phase| write!(text, " {} |", phase.name()).unwrap());
    text.push_str("\n| --- | --- |");
    Phase::ALL.iter().for_each(|_| text.push_str(" --- |"));
    for row in outcomes.chunks(Phase::ALL.len()) {
        let fault = row[0].0;
        write!(text, "\n| {} | {} |", fault.port.name(), fault.name()).unwrap();
        for (_, outcome) in row {
            write!(text, " {} |", outcome.map_or("–", Outcome::name)).unwrap();
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_table_of_faults_is_what_they_come_to() {
    let (outcomes, wrong) = outcomes();
    assert!(wrong.is_empty(), "{}\n\n{}", wrong.join("\n"), document(&outcomes));
    let is_tried = |(_, outcome): &&(Fault, Option<Outcome>)| outcome.is_some();
    let n_cells = outcomes.iter().filter(is_tried).count();
    assert!(n_cells >= 120, "{n_cells} cells are left");
    let kinds: BTreeSet<&str> =
        outcomes.iter().filter_map(|(_, outcome)| outcome.map(Outcome::name)).collect();
    assert_eq!(kinds.len(), Outcome::ALL.len(), "{kinds:?}");
    let text = document(&outcomes);
    let path = Path::new("../../docs/fault-matrix.md");
    if std::env::var_os("AGON_BLESS").is_some() {
        fs::write(path, &text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "docs/fault-matrix.md is not what faults come to; if that is meant, AGON_BLESS=1 writes \
         it:\n\n{text}"
    );
}
