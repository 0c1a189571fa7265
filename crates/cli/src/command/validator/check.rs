//! `agon validator check`: whether keys, chain, hub, text and machine are fit for the work, before
//! anything is signed.

use super::speed;
use crate::{
    args::{CheckValidatorArgs, RunValidatorArgs},
    command::chain::doctor,
    competition_file,
    findings::{Findings, State},
    hub_records::HubRecords,
    hugging_face::explained,
    owner_set::{Follower, Look, OWNER},
    service::{publication, setup},
    terminal::{PatientBar, print, print_json},
};
use bytesize::ByteSize;
use chain::{Chain as _, Head};
use protocol::{Competition, NetUid};
use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};
use substrate::SubstrateChain;

/// Share of its time that a machine may spend on measuring: the rest is for models that come at
/// once, and for what else the machine does.
const LOAD_MAX: f64 = 0.7;
/// Largest models that a disk should hold at once, besides what is there.
const MODELS_ON_DISK: u64 = 4;

/// Looks at everything, and says how it stands.
pub fn run(args: &CheckValidatorArgs) -> anyhow::Result<ExitCode> {
    let args = &args.run;
    let service = &args.service;
    let mut found = Findings::default();
    let asked = doctor::Asked {
        endpoint: &service.endpoint,
        wallet: &service.wallet,
        netuid: Some(service.netuid),
        hub: Some(&service.address),
        repo: None,
    };
    match doctor::look(&asked, &mut found) {
        Ok(chain) => of_work(args, &chain, &mut found)?,
        Err(error) => found.add("chain", State::Bad, format!("{error:#}")),
    }
    of_records(args, &mut found);
    of_machine(args, &mut found);
    if service.endpoint.json {
        print_json(&found)?;
    } else {
        print(&found.text())?;
    }
    Ok(if found.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Rules, text and speed, against the pace of the chain.
fn of_work(
    args: &RunValidatorArgs,
    chain: &SubstrateChain,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let (head, block_seconds) = (chain.head()?, chain.fit()?.block_ms as f64 / 1e3);
    let mut rules = Vec::new();
    let folder = tempfile::tempdir()?;
    let names = match names(args, chain, head, folder.path()) {
        Ok(names) => names,
        Err(error) => {
            found.add("rules", State::Bad, format!("{error:#}"));
            return Ok(());
        }
    };
    for name in &names {
        of_competition(name, args.service.data.as_deref(), head, found);
        rules.extend(competition_file::rules(name));
    }
    of_speed(args, block_seconds, &rules, found);
    of_disk(&args.service.home, &rules, found);
    Ok(())
}

/// The competitions that are named, or those of the subnet's owner, fetched into a folder.
fn names(
    args: &RunValidatorArgs,
    chain: &SubstrateChain,
    head: Head,
    folder: &Path,
) -> anyhow::Result<Vec<String>> {
    if args.competitions.iter().all(|name| name != OWNER) {
        return Ok(args.competitions.clone());
    }
    let mut follower = Follower::open(folder, &args.service.owner)?;
    let (netuid, address) = (NetUid(args.service.netuid), &args.service.address);
    follower.look(&Look { chain, netuid, address, head, try_out: &|_| Ok(()) })?;
    let names = follower.files()?;
    anyhow::ensure!(!names.is_empty(), "the owner of the subnet has published no competitions");
    Ok(names)
}

/// Whether the text of a round can be drawn, and how long that takes.
fn of_competition(name: &str, data: Option<&Path>, head: Head, found: &mut Findings) {
    let begun = Instant::now();
    let drawn = competition_file::contest(name, data)
        .and_then(|contest| Ok(contest.draw(head.block, head.hash)?));
    match drawn {
        Ok(round) => {
            let n: usize = round.batches.iter().map(|batch| batch.sequences.len()).sum();
            let seconds = begun.elapsed().as_secs_f64();
            let text = format!(
                "{name}: {n} sequences of {} documents drawn in {seconds:.1} s",
                round.documents.len()
            );
            found.add("text", State::Ok, text);
        }
        Err(error) => found.add("text", State::Bad, format!("{name}: {error:#}")),
    }
}

fn of_speed(
    args: &RunValidatorArgs,
    block_seconds: f64,
    rules: &[Competition],
    found: &mut Findings,
) {
    let bar = PatientBar::new("measuring how fast this machine is {elapsed}");
    let n_threads = setup::threads(&args.service);
    let speed = speed::of_this_machine(n_threads);
    if let Ok(bar) = bar {
        bar.finish();
    }
    let speed = match speed {
        Ok(speed) => speed,
        Err(error) => return found.add("speed", State::Bad, format!("{error:#}")),
    };
    let load = speed::load(speed, block_seconds, rules);
    let largest = rules.iter().map(|rules| rules.model.n_parameters_max).max().unwrap_or(1);
    let text = format!(
        "{:.0} tokens a second of the largest model with {n_threads} threads: rounds take {:.0} % \
         of the time between them",
        speed / largest as f64,
        load * 100.0
    );
    let state = if load <= LOAD_MAX {
        State::Ok
    } else if load <= 1.0 {
        State::Note
    } else {
        State::Bad
    };
    found.add("speed", state, text);
}

fn of_disk(home: &Path, rules: &[Competition], found: &mut Findings) {
    // The home may not be there yet: what counts is the disk that it will be on.
    let there = home.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let largest = rules.iter().map(|rules| rules.model.size_bytes_max).max().unwrap_or(0);
    let wanted = largest.saturating_mul(MODELS_ON_DISK);
    match disk::free_bytes(there) {
        Ok(free) => {
            let state = if free >= wanted { State::Ok } else { State::Bad };
            let (free, wanted) = (ByteSize(free), ByteSize(wanted));
            let text =
                format!("{free} are free; {MODELS_ON_DISK} of the largest models take {wanted}");
            found.add("disk", state, text);
        }
        Err(error) => found.add("disk", State::Bad, error.to_string()),
    }
}

/// Whether records could be published to a hub, where the options ask for it; nothing is made.
fn of_records(args: &RunValidatorArgs, found: &mut Findings) {
    let Some(repo) = &args.records.records_repo else { return };
    let account =
        publication::client_for(args, repo).and_then(|client| client.account().map_err(explained));
    let (state, text) = match account {
        Ok(account) => match account.may_write_to(HubRecords::KIND, repo) {
            Some(true) => (State::Ok, format!("`{}` may publish to `{repo}`", account.name)),
            Some(false) => (State::Bad, format!("`{}` may not write to `{repo}`", account.name)),
            None => (State::Note, format!("the hub does not say who may write to `{repo}`")),
        },
        Err(error) => (State::Bad, format!("{error:#}")),
    };
    found.add("records", state, text);
}

/// Whether strangers' models can do nothing but be measured here.
fn of_machine(args: &RunValidatorArgs, found: &mut Findings) {
    let stop = Arc::new(AtomicBool::new(false));
    let tried = || -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let attempts = setup::evaluate(args, &stop)?.self_test(folder.path())?;
        let possible = attempts.into_iter().filter(|attempt| !attempt.refused);
        Ok(possible.map(|attempt| attempt.what).collect())
    };
    match tried() {
        Ok(possible) if possible.is_empty() => {
            found.add("isolation", State::Ok, "a model that is measured can do nothing else");
        }
        Ok(possible) => {
            let text = format!("a model that is measured could {}", possible.join(", "));
            found.add("isolation", State::Bad, text);
        }
        Err(error) => found.add("isolation", State::Bad, format!("{error:#}")),
    }
}
