//! Runs a network block by block: everybody acts on a block, then the next one is made.
//!
//! Blocks are the only clock. All actors see the same chain while they act, and what they submit
//! enters the next block in an order that does not depend on who was faster; so a run depends on
//! its seed alone.

use super::{
    calendar::N_SET_UP_BLOCKS,
    network::{Actor, Network, Service},
    view::View,
};
use crate::failure::Interrupted;
use anyhow::Context as _;
use chain::Head;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `network` to its last round, from wherever it is.
pub fn conduct(network: &mut Network, view: &View, stop: &AtomicBool) -> anyhow::Result<()> {
    let (last_seed, n_blocks) = (network.calendar.last_seed(), network.calendar.n_blocks());
    let mut head = network.node.head();
    // Of a run that goes on, somebody may have acted on the newest block and somebody not.
    let mut is_acted_on = head.block.0 <= N_SET_UP_BLOCKS;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        if !is_acted_on {
            let done = head.block.0 - N_SET_UP_BLOCKS;
            view.block(head.block.0, done, || network.last_round())?;
            let trains = head.block.0 < last_seed;
            act(&mut network.actors, Turn { head, trains, view })?;
            if done >= n_blocks {
                break;
            }
        }
        // Only when all have acted: what they submit stands in the next block, in an order that
        // does not depend on who was faster.
        head = network.node.produce_block()?;
        is_acted_on = false;
    }
    if stop.load(Ordering::Relaxed) {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// A block as everybody acts on it.
#[derive(Clone, Copy)]
struct Turn<'a> {
    head: Head,
    /// Whether miners still train.
    trains: bool,
    view: &'a View,
}

/// Lets every actor act on one block, each on its own thread; whoever has acted on it already, as
/// after a crash, finds nothing to do.
fn act(actors: &mut [Actor], turn: Turn<'_>) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = actors
            .iter_mut()
            .enumerate()
            .map(|(index, actor)| {
                let role = actor.role;
                let work = move || one(index, actor, turn);
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

fn one(index: usize, actor: &mut Actor, turn: Turn<'_>) -> anyhow::Result<()> {
    let Turn { head, trains, view } = turn;
    let (role, block) = (actor.role, head.block.0);
    let watch = |event: miner::Event| view.miner(index, role, block, &event);
    match &mut actor.service {
        Service::Validator(validator) => {
            validator.on_block(head, &|event| view.validator(index, role, block, &event))
        }
        Service::Miner(_) | Service::Copycat(_) | Service::Broken(_) if !trains => Ok(()),
        Service::Miner(miner) => miner.on_block(head, &watch),
        Service::Copycat(copycat) => copycat.on_block(head, &watch),
        Service::Broken(broken) => broken.on_block(head, &watch),
        Service::Own(own) => own.on_block(head, &watch),
    }
}
