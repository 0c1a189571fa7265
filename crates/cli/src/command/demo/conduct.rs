//! Runs a network block by block: everybody acts on a block, then the next one is made.
//!
//! Blocks are the only clock. All actors see the same chain while they act, and what they submit
//! enters the next block in an order that does not depend on who was faster; so a run depends on
//! its seed alone.

use super::{
    cast::Role,
    network::{Actor, Network, Service},
    view::View,
};
use crate::failure::Interrupted;
use anyhow::Context as _;
use chain::Head;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
use validator::RoundSummary;

/// Rounds as one validator saw them.
pub type Rounds = Vec<(Role, RoundSummary)>;

/// Runs `network` to its last round and gives every validator's rounds in order of block.
pub fn conduct(network: &mut Network, view: &View, stop: &AtomicBool) -> anyhow::Result<Rounds> {
    let (last_seed, n_blocks) = (network.calendar.last_seed(), network.calendar.n_blocks());
    let results = Mutex::new(Rounds::new());
    for done in 1..=n_blocks {
        if stop.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        let head = network.node.produce_block()?;
        let last =
            lock(&results).iter().rev().find(|(role, _)| *role == Role::VALIDATORS[0]).cloned();
        view.block(head.block.0, done, last.as_ref().map(|(_, summary)| summary));
        let trains = head.block.0 < last_seed;
        act(&mut network.actors, head, trains, (view, &results))?;
    }
    if stop.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    let mut rounds = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    rounds.sort_by_key(|(role, summary)| (summary.seed.block, *role));
    Ok(rounds)
}

/// Lets every actor act on one block, each on its own thread.
fn act(
    actors: &mut [Actor],
    head: Head,
    trains: bool,
    (view, results): (&View, &Mutex<Rounds>),
) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = actors
            .iter_mut()
            .enumerate()
            .map(|(index, actor)| {
                let role = actor.role;
                let work = move || one(index, actor, (head, trains), (view, results));
                let name = role.name().to_owned();
                (role, std::thread::Builder::new().name(name).spawn_scoped(scope, work))
            })
            .collect();
        for (role, thread) in threads {
            let thread = thread.context("cannot start a thread")?;
            match thread.join() {
                Ok(outcome) => outcome.with_context(|| role.name())?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

fn one(
    index: usize,
    actor: &mut Actor,
    (head, trains): (Head, bool),
    (view, results): (&View, &Mutex<Rounds>),
) -> anyhow::Result<()> {
    let (role, block) = (actor.role, head.block.0);
    let watch = |event: miner::Event| view.miner(index, role, block, &event);
    match &mut actor.service {
        Service::Validator(validator) => validator.on_block(head, &|event| {
            view.validator(index, role, block, &event);
            if let validator::Event::RoundEnded(summary) = event {
                lock(results).push((role, summary));
            }
        }),
        Service::Miner(_) | Service::Copycat(_) | Service::Broken(_) if !trains => Ok(()),
        Service::Miner(miner) => miner.on_block(head, &watch),
        Service::Copycat(copycat) => copycat.on_block(&watch),
        Service::Broken(broken) => broken.on_block(head, &watch),
        Service::Own(own) => own.on_block(&watch),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
