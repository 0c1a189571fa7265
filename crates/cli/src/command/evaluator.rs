//! `agon evaluator`: the process that measures one model for a validator, and how isolated it is.

use crate::{
    args::EvaluatorArgs,
    evaluator::{
        ProcessEvaluate, isolation,
        wire::{Attempt, Message, Request},
    },
    failure::HintExt as _,
    plug::{self, Exam},
    terminal::{self, print_json, print_json_line},
};
use anyhow::Context as _;
use protocol::SequenceLoss;
use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, BufRead as _, Read as _},
    path::Path,
    process::ExitCode,
};

/// Exit code when something is possible that should not be.
const NOT_ISOLATED: u8 = 1;

/// Serves one request, or says what an evaluator can do on this machine.
pub fn run(args: &EvaluatorArgs) -> anyhow::Result<ExitCode> {
    match &args.dir {
        Some(dir) => serve(dir, args.memory_limit.as_u64()),
        None => self_test(args.json),
    }
}

/// Gives up what is not needed, then does what standard input asks for, once.
fn serve(dir: &Path, memory_bytes_max: u64) -> anyhow::Result<ExitCode> {
    let missing = isolation::isolate(dir, memory_bytes_max);
    print_json_line(&Message::Ready { missing })?;
    let mut line = Vec::new();
    io::stdin().lock().read_until(b'\n', &mut line).context("cannot read the request")?;
    let request = serde_json::from_slice(&line)
        .context("standard input is no request")
        .hint("validators start this command; for you there is `agon evaluator --self-test`")?;
    drop(line);
    // Whoever asked holds the pipe open while it waits; when it is gone, so is the reason to work.
    std::thread::spawn(|| {
        let _ = io::stdin().lock().read(&mut [0]);
        std::process::exit(0);
    });
    let answer = answer(dir, request, memory_bytes_max)
        .unwrap_or_else(|error| Message::Failed { error: format!("{error:#}") });
    print_json_line(&answer)?;
    Ok(ExitCode::SUCCESS)
}

fn answer(dir: &Path, request: Request<'_>, memory_bytes_max: u64) -> anyhow::Result<Message> {
    Ok(match request {
        Request::InspectAhead { competition } => {
            Message::InspectedAhead(plug::check_ahead(dir, &competition)?)
        }
        Request::Inspect { competition } => Message::Inspected(plug::check(dir, &competition)?),
        Request::Losses { competition, tensor_root, sequences, n_threads, memory_limit } => {
            let sequences: Vec<Vec<u32>> = sequences.into_iter().map(Cow::into_owned).collect();
            let mut learn =
                |losses: &[SequenceLoss]| print_json_line(&Message::Losses(losses.to_vec()));
            let exam = Exam {
                competition: &competition,
                tensor_root,
                sequences: &sequences,
                n_threads,
                memory_limit,
            };
            let end = plug::losses(dir, &exam, &mut learn)?;
            Message::Evaluated(end)
        }
        Request::SelfTest => Message::SelfTested(isolation::attempts(dir, memory_bytes_max)),
    })
}

/// Has an evaluator try everything that it must not be able to do, and says what it could.
fn self_test(json: bool) -> anyhow::Result<ExitCode> {
    let stop = terminal::stop_on_signal()?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let attempts = ProcessEvaluate::new(1, stop)?.self_test(folder.path())?;
    let isolated = attempts.iter().all(|attempt| attempt.refused);
    if json {
        print_json(&serde_json::json!({ "isolated": isolated, "attempts": attempts }))?;
    } else {
        terminal::print(&table(&attempts, isolated)?)?;
    }
    Ok(if isolated { ExitCode::SUCCESS } else { ExitCode::from(NOT_ISOLATED) })
}

fn table(attempts: &[Attempt], isolated: bool) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for Attempt { what, refused, answer } in attempts {
        let verdict = if *refused { "refused" } else { "POSSIBLE" };
        writeln!(text, "{verdict:<9} {what:<42} {answer}")?;
    }
    text.push_str(match isolated {
        true => "\nA model that took over its evaluator could do none of this.\n",
        false => {
            "\nThis machine isolates evaluators less than it could: landlock and seccomp are \
                  in Linux from 5.13 on, unless turned off.\n"
        }
    });
    Ok(text)
}
