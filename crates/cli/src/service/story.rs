//! What a service tells: a line for each round, crown and setting of weights, and of each trouble
//! one line when it begins and one when it ends.

use super::pulse::{Pulse, Trouble};
use crate::terminal::{is_stopping, shown};
use protocol::Block;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What trouble can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// No newest block is to be had.
    Head,
    /// The chain refuses or does not answer.
    Chain,
    /// A round cannot go on.
    Round,
    /// Records cannot be published.
    Records,
    /// Records cannot be published to a hub.
    Repo,
    /// The root of the records cannot be committed to.
    Root,
    /// The hub does not answer, or does not take a model.
    Hub,
    /// Another process has the same hotkey.
    Another,
    /// The subnet demands of weights what ours are not.
    Demands,
    /// What the owner of the subnet publishes cannot be had or used.
    Rules,
}

impl Subject {
    /// As labels name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Chain => "chain",
            Self::Round => "round",
            Self::Records => "records",
            Self::Repo => "records-repo",
            Self::Root => "records-root",
            Self::Hub => "hub",
            Self::Another => "another",
            Self::Demands => "demands",
            Self::Rules => "rules",
        }
    }

    fn begins(self) -> &'static str {
        match self {
            Self::Head => "no newest block is to be had; it is asked for until it is",
            Self::Chain => "trouble with the chain; it is tried again at each block",
            Self::Round => "a round waits or is given up; what is on the chain stays",
            Self::Records => "records wait to be published; nothing else waits for them",
            Self::Repo => "records wait to be published to the hub; nothing else waits for them",
            Self::Root => {
                "nothing is committed to for now: no root of records, no models that are here"
            }
            Self::Hub => "trouble with the hub; it is tried again later",
            Self::Another => "no weights are set: another process uses this hotkey",
            Self::Demands => "no weights are handed over: the chain would refuse them",
            Self::Rules => "the owner's newest competitions are not taken; those of before hold",
        }
    }

    fn ends(self) -> &'static str {
        match self {
            Self::Head => "blocks are heard of again",
            Self::Chain => "the chain answers again",
            Self::Round => "rounds go on",
            Self::Records => "records are published again",
            Self::Repo => "records are published to the hub again",
            Self::Root => "records and models that are here are committed to again",
            Self::Hub => "the hub answers again",
            Self::Another => "this hotkey is ours alone again",
            Self::Demands => "weights are what the subnet demands again",
            Self::Rules => "the owner's newest competitions are taken",
        }
    }
}

/// What there is to tell of a service: the newest block, and trouble that has not ended.
#[derive(Debug, Default)]
pub struct Story(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    block: Option<Block>,
    trouble: BTreeMap<Subject, Trouble>,
}

impl Story {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the newest block.
    pub fn block(&self, block: Block) {
        self.lock().block = Some(block);
    }

    /// Tells of trouble, if it is not known yet.
    ///
    /// Whoever is told to end has none: what it waited for was cut short by us.
    pub fn trouble(&self, subject: Subject, detail: &str) {
        if is_stopping() {
            return;
        }
        let mut known = self.lock();
        let detail = shown(detail);
        let since = known.block.unwrap_or_default();
        match known.trouble.get_mut(&subject) {
            Some(trouble) => {
                tracing::debug!("{}: {detail}", subject.name());
                trouble.detail = detail;
            }
            None => {
                tracing::warn!("{}: {detail}", subject.begins());
                let trouble = Trouble { what: subject.name().to_owned(), since, detail };
                known.trouble.insert(subject, trouble);
            }
        }
    }

    /// Tells that a trouble is over, if there was one.
    pub fn ends(&self, subject: Subject) {
        if self.lock().trouble.remove(&subject).is_some() {
            tracing::info!("{}", subject.ends());
        }
    }

    /// How it stands.
    pub fn pulse(&self) -> Pulse {
        let known = self.lock();
        let trouble = known.trouble.values().cloned().collect();
        Pulse { process: std::process::id(), block: known.block, trouble }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_known_from_its_beginning_to_its_end() {
        let story = Story::default();
        story.block(Block(7));
        story.trouble(Subject::Chain, "first");
        story.trouble(Subject::Chain, "second\u{1b}[31m");
        story.trouble(Subject::Hub, "other");
        story.block(Block(9));
        let pulse = story.pulse();
        assert_eq!(pulse.block, Some(Block(9)));
        let [chain, hub] = &pulse.trouble[..] else { panic!("{pulse:?}") };
        assert_eq!((chain.what.as_str(), hub.what.as_str()), ("chain", "hub"));
        assert_eq!(chain.since, Block(7), "when it began");
        assert!(chain.detail.starts_with("second"), "the last words");
        assert!(!chain.detail.contains('\u{1b}'), "a stranger's words are made safe");
        story.ends(Subject::Chain);
        assert_eq!(story.pulse().trouble.len(), 1);
        story.ends(Subject::Round);
    }
}
