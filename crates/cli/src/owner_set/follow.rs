//! Following the owner of a subnet: which set holds here, which waits for its block, which was
//! refused. All of it is kept, so that neither a hub nor an owner has to be there at a start.

use super::{
    published,
    store::{Bounds, Fetched, Store},
};
use crate::{
    args::{AddressArgs, OwnerArgs},
    hugging_face, input,
};
use anyhow::Context as _;
use chain::Head;
use protocol::{
    Block, Competition, CompetitionSet, NetUid, Schedule, SetCommitment, set::SetIndex,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use substrate::SubstrateChain;

/// Blocks between two looks at the chain: five minutes.
const LOOK_EVERY: u64 = 25;
/// Folder of what is followed, in a home.
const FOLDER: &str = "owner";
/// What is known, in that folder.
const FILE: &str = "followed.json";
/// Longest file that is read.
const SIZE_BYTES_MAX: u64 = 1 << 20;

/// What is known of the sets of an owner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Followed {
    /// The set that holds here.
    pub held: Option<Adopted>,
    /// The one that is to hold next.
    pub next: Option<Adopted>,
    /// The last one that was not taken.
    pub refused: Option<Refused>,
}

/// A set that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Text of the commitment.
    pub commitment: String,
    /// Block of the commitment.
    pub committed: Block,
    /// First block at which it holds here.
    pub from: Block,
    /// Its index.
    pub index: SetIndex,
}

/// A set that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Text of the commitment.
    pub commitment: String,
    /// Block of the commitment.
    pub committed: Block,
    /// Why.
    pub reason: String,
}

/// Where to look, and when.
pub struct Look<'a> {
    /// The chain.
    pub chain: &'a SubstrateChain,
    /// The subnet.
    pub netuid: NetUid,
    /// The hub.
    pub address: &'a AddressArgs,
    /// The newest final block.
    pub head: Head,
    /// Whether competition files can be used here; a set is not taken before they can.
    pub try_out: &'a dyn Fn(&[String]) -> anyhow::Result<()>,
}

/// Follows the owner of a subnet.
pub struct Follower {
    path: PathBuf,
    store: Store,
    bounds: Bounds,
    notice: u64,
    followed: Followed,
    /// The set that holds, as its index and its rules make it.
    held: Option<CompetitionSet>,
    /// Before this block, nothing new is looked for.
    look_from: Block,
    /// What went wrong when it was last looked.
    trouble: Option<String>,
}

/// What a service in a home knows of the sets of an owner; nothing if it follows none.
pub fn read(home: &Path) -> anyhow::Result<Followed> {
    let path = home.join(FOLDER).join(FILE);
    if !path.exists() {
        return Ok(Followed::default());
    }
    let bytes = input::read(&path, SIZE_BYTES_MAX)?;
    serde_json::from_slice(&bytes).with_context(|| input::name(&path))
}

impl Follower {
    /// Goes on from what is kept in a home.
    pub fn open(home: &Path, args: &OwnerArgs) -> anyhow::Result<Self> {
        let folder = home.join(FOLDER);
        let mut follower = Self {
            path: folder.join(FILE),
            store: Store::new(folder),
            bounds: Bounds::new(args),
            notice: args.owner_notice,
            followed: read(home)?,
            held: None,
            look_from: Block(0),
            trouble: None,
        };
        if let Err(error) = follower.reread() {
            tracing::warn!("the owner's competitions are fetched anew: {error:#}");
            follower.followed = Followed::default();
        }
        Ok(follower)
    }

    /// Reads the set that holds from the disk.
    fn reread(&mut self) -> anyhow::Result<()> {
        let held = self.followed.held.as_ref();
        self.held = held.map(|held| self.store.set(&held.index)).transpose()?;
        Ok(())
    }

    /// The set that holds; nothing before one was found.
    pub fn set(&self) -> Option<&CompetitionSet> {
        self.held.as_ref()
    }

    /// Paths of the competition files of the set that holds; none before one was found.
    pub fn files(&self) -> anyhow::Result<Vec<String>> {
        self.set().map_or_else(|| Ok(Vec::new()), |set| self.store.files(set))
    }

    /// The rules of a competition at a block, or else of its next version, or of its last; `None`
    /// if the owner has none of this name.
    pub fn rules_of(&self, name: &str, at: Block) -> Option<&Competition> {
        let schedule = self.set()?.schedule();
        let versions = || schedule.versions().filter(move |rules| rules.name == name);
        let holds = schedule.at(at).find(|rules| rules.name == name);
        let next = versions().find(|rules| rules.from_block > at.0);
        holds.or(next).or_else(|| versions().last())
    }

    /// Path of the competition file of these rules of the set that holds.
    pub fn file(&self, rules: &Competition) -> anyhow::Result<String> {
        self.store.file(rules)
    }

    /// What is known.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Looks at what is published, every now and then, and at whether a set that waits has come to
    /// its block. Says whether another set holds than before.
    pub fn look(&mut self, look: &Look<'_>) -> anyhow::Result<bool> {
        let block = look.head.block;
        let has_turned = self.turn(block)?;
        if block < self.look_from {
            // Until it is looked again, it is as it was.
            return match &self.trouble {
                Some(trouble) if !has_turned => Err(anyhow::anyhow!("{trouble}")),
                _ => Ok(has_turned),
            };
        }
        let looked = self.look_now(look);
        self.look_from = Block(block.0.saturating_add(LOOK_EVERY));
        self.trouble = looked.as_ref().err().map(|error| format!("{error:#}"));
        match looked {
            Ok(is_new) => Ok(has_turned || is_new),
            Err(_) if has_turned => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The set that waits holds if its block has come.
    fn turn(&mut self, block: Block) -> anyhow::Result<bool> {
        let next = self.followed.next.as_ref().filter(|next| next.from <= block);
        let Some(next) = next else { return Ok(false) };
        self.held = Some(self.store.set(&next.index)?);
        self.followed.held = self.followed.next.take();
        self.save()?;
        Ok(true)
    }

    fn look_now(&mut self, look: &Look<'_>) -> anyhow::Result<bool> {
        let block = look.head.block;
        let Some(found) = published(look.chain, look.netuid)? else { return Ok(false) };
        let (text, committed) = (found.commitment.to_text()?, found.block);
        if self.knows(&text, committed) {
            return Ok(false);
        }
        let (index, set) = match self.fetch(look, &found.commitment)? {
            Fetched::Set(index, set) => (index, set),
            Fetched::Refused(reason) => {
                tracing::warn!("competitions of the owner are not taken: {reason}");
                self.followed.refused = Some(Refused { commitment: text, committed, reason });
                self.save()?;
                return Ok(false);
            }
        };
        (look.try_out)(&self.store.files(&set)?)?;
        let from = match self.set() {
            Some(held) => takes_over(held.schedule(), set.schedule(), (committed, self.notice)),
            None => block,
        };
        let adopted = Adopted { commitment: text, committed, from, index };
        self.followed.refused = None;
        if from > block {
            tracing::info!("other competitions of the owner hold here from block {from} on");
            self.followed.next = Some(adopted);
            self.save()?;
            return Ok(false);
        }
        let is_other = self.followed.held.as_ref().is_none_or(|held| held.index != adopted.index);
        (self.followed.held, self.followed.next) = (Some(adopted), None);
        self.held = Some(set);
        self.save()?;
        Ok(is_other)
    }

    fn fetch(&self, look: &Look<'_>, commitment: &SetCommitment) -> anyhow::Result<Fetched> {
        let client = hugging_face::client(look.address)?;
        self.store.fetch(&client, commitment, self.bounds)
    }

    /// Whether this commitment was dealt with.
    fn knows(&self, text: &str, committed: Block) -> bool {
        let Followed { held, next, refused } = &self.followed;
        // What waits was published after what holds.
        let taken = next.as_ref().or(held.as_ref());
        taken.is_some_and(|set| (set.commitment.as_str(), set.committed) == (text, committed))
            || refused
                .as_ref()
                .is_some_and(|set| (set.commitment.as_str(), set.committed) == (text, committed))
    }

    /// Writes down what is known, and forgets the files of what is not needed any more.
    fn save(&self) -> anyhow::Result<()> {
        disk::write(&self.path, &serde_json::to_vec(&self.followed)?)
            .with_context(|| format!("cannot write {}", input::name(&self.path)))?;
        let sets = [&self.followed.held, &self.followed.next];
        let indices: Vec<&SetIndex> = sets.into_iter().flatten().map(|set| &set.index).collect();
        self.store.keep_only(&indices)
    }
}

/// The first block at which a set that was committed to can hold in place of another: at once, if
/// it changes nothing before its notice is over, and else when that is over.
///
/// It follows from the chain alone, so everybody who holds the same set changes at the same block.
fn takes_over(held: &Schedule, next: &Schedule, (committed, notice): (Block, u64)) -> Block {
    let noticed = Block(committed.0.saturating_add(notice));
    match held.first_difference(next, committed) {
        Some(first) if first < noticed => noticed,
        _ => committed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::CompetitionId;

    fn version(from_block: u64, reward_share: f64) -> Competition {
        let tiny = Competition::builtin("tiny").unwrap();
        Competition { id: CompetitionId(7), from_block, reward_share, ..tiny }
    }

    #[test]
    fn attack_an_owner_who_changes_rules_at_once_changes_them_after_the_notice() {
        let schedule = |versions: &[Competition]| Schedule::new(versions.to_vec()).unwrap();
        let held = schedule(&[version(0, 1.0)]);
        let at = |next: &Schedule| takes_over(&held, next, (Block(1_000), 7_200)).0;
        assert_eq!(at(&schedule(&[version(0, 0.5)])), 8_200, "rules that hold now");
        assert_eq!(at(&schedule(&[version(0, 1.0), version(8_199, 0.5)])), 8_200, "too early");
        assert_eq!(at(&schedule(&[version(0, 1.0), version(8_200, 0.5)])), 1_000, "in time");
        assert_eq!(at(&held), 1_000);
        assert_eq!(takes_over(&held, &schedule(&[version(0, 0.5)]), (Block(1_000), 0)).0, 1_000);
    }

    #[test]
    fn what_is_known_is_kept_and_a_set_holds_from_its_block_on() {
        let home = tempfile::tempdir().unwrap();
        let args = OwnerArgs {
            owner_model_max: bytesize::ByteSize::gib(1),
            owner_competitions_max: 4,
            owner_notice: 7_200,
        };
        let mut follower = Follower::open(home.path(), &args).unwrap();
        assert!(follower.files().unwrap().is_empty());
        let set = CompetitionSet::new(vec![version(0, 1.0), version(90, 0.5)]).unwrap();
        for rules in set.schedule().versions() {
            let path = home.path().join(FOLDER).join(super::super::rules_path(rules.digest()));
            disk::write(&path, &rules.to_json()).unwrap();
        }
        let (commitment, committed, from) = ("text".to_owned(), Block(3), Block(50));
        let next = Adopted { commitment, committed, from, index: set.index() };
        follower.followed.next = Some(next.clone());
        assert!(!follower.turn(Block(49)).unwrap());
        assert!(follower.turn(Block(50)).unwrap());
        assert!(follower.knows("text", Block(3)) && !follower.knows("text", Block(4)));

        let follower = Follower::open(home.path(), &args).unwrap();
        assert_eq!(follower.followed().held, Some(next));
        assert_eq!(follower.set(), Some(&set));
        let files = follower.files().unwrap();
        assert_eq!(files.len(), 2);
        let rules = |path: &str| crate::competition_file::rules(path).unwrap();
        assert_eq!(rules(&files[1]), version(90, 0.5));
        let from = |block| follower.rules_of("tiny", Block(block)).unwrap().from_block;
        assert_eq!((from(10), from(90)), (0, 90));
        assert_eq!(follower.rules_of("other", Block(10)), None);
        std::fs::write(home.path().join(FOLDER).join("rules").join("stray"), "x").unwrap();
        follower.save().unwrap();
        assert_eq!(std::fs::read_dir(home.path().join(FOLDER).join("rules")).unwrap().count(), 2);
    }
}
