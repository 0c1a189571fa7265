//! Following the owner of a subnet: which set holds here, which waits for its block, which was
//! refused. All of it is kept, so that neither a hub nor an owner has to be there at a start.

use super::{
    published,
    store::{Bounds, Fetched, Missing, Store},
};
use crate::{
    args::{AddressArgs, OwnerArgs},
    hugging_face, input,
};
use anyhow::Context as _;
use chain::Head;
use protocol::{
    Block, Competition, CompetitionSet, Digest, NetUid, Schedule, SetCommitment, set::SetIndex,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use substrate::SubstrateChain;

/// Blocks between two looks at the chain: five minutes.
const LOOK_EVERY: u64 = 25;
/// Parts of a notice, hours of a day: it is longer by whole ones, so that of those who follow all
/// that could have a set within the same one change at the same block.
const PARTS_OF_NOTICE: u64 = 24;
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
    /// The last one whose bytes were not to be had, until it holds.
    pub missed: Option<Missed>,
}

/// A commitment to a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Its text.
    pub commitment: String,
    /// Its block.
    pub committed: Block,
}

/// A set that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// The commitment to it.
    #[serde(flatten)]
    pub of: Commitment,
    /// First block at which it holds here.
    pub from: Block,
    /// Its index.
    pub index: SetIndex,
}

/// A set that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The commitment to it.
    #[serde(flatten)]
    pub of: Commitment,
    /// Why.
    pub reason: String,
}

/// A set whose bytes the hub did not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The commitment to it.
    #[serde(flatten)]
    pub of: Commitment,
    /// The newest block when they were last asked for in vain.
    pub at: Block,
}

/// Says whether competition files can be used here.
type TryOut<'a> = &'a dyn Fn(&[String]) -> anyhow::Result<()>;

/// Fetches what a commitment names.
type Fetch<'a> = &'a dyn Fn(&SetCommitment) -> anyhow::Result<Fetched>;

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
    pub try_out: TryOut<'a>,
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
    /// What went wrong when it was last looked, or why the newest set is not taken.
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
        // It holds all the same: its files are fetched again, and no others hold without notice.
        if let Err(error) = follower.reread() {
            tracing::warn!("the files of the owner's competitions are damaged: {error:#}");
        }
        // Other options, or another version of this program, may take it.
        follower.followed.refused = None;
        Ok(follower)
    }

    /// Reads the set that holds from the disk.
    fn reread(&mut self) -> anyhow::Result<()> {
        let held = self.followed.held.as_ref();
        self.held = held.map(|held| self.store.whole(&held.index)).transpose()?;
        Ok(())
    }

    /// The set that holds; nothing before one was found, and while its files are damaged.
    pub fn set(&self) -> Option<&CompetitionSet> {
        self.held.as_ref()
    }

    /// Digest of the set that holds; nothing before one was found.
    pub fn digest(&self) -> Option<Digest> {
        self.followed.held.as_ref().map(|held| held.index.digest())
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
    /// its block. What is damaged of these is fetched again.
    ///
    /// # Errors
    ///
    /// The newest set cannot be had, or is not taken; what held before holds. Or files are damaged
    /// and cannot be had again yet.
    pub fn look(&mut self, look: &Look<'_>) -> anyhow::Result<()> {
        let block = look.head.block;
        if let Err(error) = self.turn(block)
            && self.trouble.is_none()
        {
            // Others change at this block: what is missing is fetched at once.
            tracing::debug!("the competitions of block {block} do not hold yet: {error:#}");
            self.look_from = block;
        }
        if block < self.look_from {
            // Until it is looked again, it is as it was.
            return match &self.trouble {
                Some(trouble) => Err(anyhow::anyhow!("{trouble}")),
                None => Ok(()),
            };
        }
        // Files that were taken once are taken again, whatever the options are by now.
        let (store, address) = (self.store.clone(), look.address);
        let mended = self.mend(block, &|commitment| {
            store.fetch(&hugging_face::client(address)?, commitment, Bounds::none())
        });
        // What is newer is looked for in any case.
        let looked = self.look_now(look);
        let looked = mended.and(looked);
        self.look_from = Block(block.0.saturating_add(LOOK_EVERY));
        self.trouble = looked.as_ref().err().map(|error| format!("{error:#}"));
        looked
    }

    /// The set that waits holds if its block has come; says whether it has.
    fn turn(&mut self, block: Block) -> anyhow::Result<bool> {
        let next = self.followed.next.clone().filter(|next| next.from <= block);
        let Some(next) = next else { return Ok(false) };
        let set = self.store.whole(&next.index)?;
        let Followed { refused, missed, .. } = self.followed.clone();
        let missed = missed.filter(|missed| missed.of != next.of);
        self.keep(Followed { held: Some(next), next: None, refused, missed })?;
        self.held = Some(set);
        Ok(true)
    }

    /// Fetches what is damaged of the set that holds, or of one whose block has come.
    fn mend(&mut self, block: Block, fetch: Fetch<'_>) -> anyhow::Result<()> {
        let next = self.followed.next.clone().filter(|next| next.from <= block);
        let turned = match next {
            Some(next) => self.whole(&next, fetch).and_then(|_| self.turn(block).map(drop)),
            None => Ok(()),
        };
        if self.held.is_none()
            && let Some(held) = self.followed.held.clone()
        {
            self.held = Some(self.whole(&held, fetch)?);
        }
        turned
    }

    /// A set that was taken once, with what is damaged of it fetched again.
    fn whole(&self, adopted: &Adopted, fetch: Fetch<'_>) -> anyhow::Result<CompetitionSet> {
        let damage = match self.store.whole(&adopted.index) {
            Ok(set) => return Ok(set),
            Err(damage) => damage,
        };
        let text = &adopted.of.commitment;
        let fetched = match SetCommitment::parse(text.as_bytes()) {
            Some(commitment) => fetch(&commitment),
            None => Err(anyhow::anyhow!("`{text}` names no competitions")),
        };
        let fetched = fetched.and_then(|fetched| match fetched {
            Fetched::Set(index, set) if index == adopted.index => Ok(set),
            Fetched::Set(..) => Err(anyhow::anyhow!("`{text}` names others")),
            Fetched::Refused(reason) => Err(anyhow::Error::msg(reason)),
        });
        let (from, path) = (adopted.from, input::name(&self.path));
        fetched.with_context(|| {
            format!(
                "files of the owner's competitions of block {from} beside {path} are damaged \
                 ({damage:#}) and cannot be had again yet; a copy of them would do"
            )
        })
    }

    fn look_now(&mut self, look: &Look<'_>) -> anyhow::Result<()> {
        let Some(found) = published(look.chain, look.netuid)? else { return Ok(()) };
        let (commitment, committed) = (found.commitment.to_text()?, found.block);
        let of = Commitment { commitment, committed };
        if let Some(reason) = self.refusal(&of) {
            anyhow::bail!("the owner's competitions are not taken: {reason}");
        }
        if self.knows(&of) {
            return Ok(());
        }
        let fetched = self.fetch(look, &found.commitment);
        self.take(of, fetched, (look.head.block, look.try_out))
    }

    /// Takes a set that was fetched at a block and can be used, or notes why there is none.
    fn take(
        &mut self,
        of: Commitment,
        fetched: anyhow::Result<Fetched>,
        (block, try_out): (Block, TryOut<'_>),
    ) -> anyhow::Result<()> {
        let (index, set) = match fetched {
            Ok(Fetched::Set(index, set)) => (index, set),
            Ok(Fetched::Refused(reason)) => {
                let told = format!("the owner's competitions are not taken: {reason}");
                let refused = Some(Refused { of, reason });
                self.keep(Followed { refused, ..self.followed.clone() })?;
                anyhow::bail!(told);
            }
            Err(error) => {
                if error.is::<Missing>() {
                    let missed = Some(Missed { of, at: block });
                    // What has come of it stays, for the next look.
                    self.write(Followed { missed, ..self.followed.clone() })?;
                }
                return Err(error);
            }
        };
        try_out(&self.store.files(&set)?)?;
        let missed = self.followed.missed.clone().filter(|missed| missed.of == of);
        let late = missed.as_ref().map_or(0, |missed| missed.at.since(of.committed));
        let notice = Notice { committed: of.committed, blocks: self.notice, late };
        let from = match (self.set(), &self.followed.held) {
            (Some(held), _) => takes_over(held.schedule(), set.schedule(), notice),
            // Its files are damaged: whatever may change has its notice.
            (None, Some(_)) => notice.ends(),
            (None, None) => block,
        };
        let adopted = Adopted { of, from, index };
        if from > block {
            let held = self.followed.held.clone();
            self.keep(Followed { held, next: Some(adopted), refused: None, missed })?;
            tracing::info!("other competitions of the owner hold here from block {from} on");
            return Ok(());
        }
        self.keep(Followed { held: Some(adopted), ..Followed::default() })?;
        self.held = Some(set);
        Ok(())
    }

    fn fetch(&self, look: &Look<'_>, commitment: &SetCommitment) -> anyhow::Result<Fetched> {
        let client = hugging_face::client(look.address)?;
        self.store.fetch(&client, commitment, self.bounds)
    }

    /// Whether this commitment was taken.
    fn knows(&self, of: &Commitment) -> bool {
        let Followed { held, next, .. } = &self.followed;
        // What waits was published after what holds.
        next.as_ref().or(held.as_ref()).is_some_and(|set| set.of == *of)
    }

    /// Why this commitment was refused, if it was.
    fn refusal(&self, of: &Commitment) -> Option<&str> {
        let refused = self.followed.refused.as_ref().filter(|set| set.of == *of);
        refused.map(|set| set.reason.as_str())
    }

    /// Writes down what is known from now on. Nothing is before it is on disk.
    fn write(&mut self, followed: Followed) -> anyhow::Result<()> {
        disk::write(&self.path, &serde_json::to_vec(&followed)?)
            .with_context(|| format!("cannot write {}", input::name(&self.path)))?;
        self.followed = followed;
        Ok(())
    }

    /// The same; what is not needed any more goes after that, and may stay.
    fn keep(&mut self, followed: Followed) -> anyhow::Result<()> {
        self.write(followed)?;
        if let Err(error) = self.clean() {
            tracing::warn!("files of competitions stay that nobody needs any more: {error:#}");
        }
        Ok(())
    }

    /// Forgets the files of what is not needed any more.
    fn clean(&self) -> anyhow::Result<()> {
        let sets = [&self.followed.held, &self.followed.next];
        let indices: Vec<&SetIndex> = sets.into_iter().flatten().map(|set| &set.index).collect();
        self.store.keep_only(&indices)
    }
}

/// What a change has to wait for.
#[derive(Clone, Copy, Debug)]
struct Notice {
    /// Block of the commitment.
    committed: Block,
    /// Blocks from there on.
    blocks: u64,
    /// Blocks after the commitment for which the hub did not give the bytes.
    late: u64,
}

impl Notice {
    /// The first block after it. What was withheld has a notice that is longer by as many whole
    /// hours (decision 0025).
    fn ends(self) -> Block {
        let Self { committed, blocks, late } = self;
        let hour = (blocks / PARTS_OF_NOTICE).max(1);
        let longer = late / hour * hour;
        Block(committed.0.saturating_add(blocks).saturating_add(longer))
    }
}

/// The first block at which a set that was committed to can hold in place of another: at once, if
/// it changes nothing before its notice is over, and else when that is over.
///
/// It follows from the chain alone where nothing was withheld, so everybody who holds the same set
/// changes at the same block.
fn takes_over(held: &Schedule, next: &Schedule, notice: Notice) -> Block {
    match held.first_difference(next, notice.committed) {
        Some(first) if first < notice.ends() => notice.ends(),
        _ => notice.committed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{CompetitionId, Seed, seed::uniform_below};
    use std::collections::BTreeMap;

    fn version(from_block: u64, reward_share: f64) -> Competition {
        let tiny = Competition::builtin("tiny").unwrap();
        Competition { id: CompetitionId(7), from_block, reward_share, ..tiny }
    }

    #[test]
    fn attack_an_owner_who_changes_rules_at_once_changes_them_after_the_notice() {
        let schedule = |versions: &[Competition]| Schedule::new(versions.to_vec()).unwrap();
        let held = schedule(&[version(0, 1.0)]);
        let notice = Notice { committed: Block(1_000), blocks: 7_200, late: 0 };
        let at = |next: &Schedule| takes_over(&held, next, notice).0;
        assert_eq!(at(&schedule(&[version(0, 0.5)])), 8_200, "rules that hold now");
        assert_eq!(at(&schedule(&[version(0, 1.0), version(8_199, 0.5)])), 8_200, "too early");
        assert_eq!(at(&schedule(&[version(0, 1.0), version(8_200, 0.5)])), 1_000, "in time");
        assert_eq!(at(&held), 1_000);
        let none = Notice { blocks: 0, ..notice };
        assert_eq!(takes_over(&held, &schedule(&[version(0, 0.5)]), none).0, 1_000);
    }

    /// A set whose rules lie in a home.
    fn written(home: &Path, versions: &[Competition]) -> CompetitionSet {
        let set = CompetitionSet::new(versions.to_vec()).unwrap();
        for rules in set.schedule().versions() {
            let path = home.join(FOLDER).join(super::super::rules_path(rules.digest()));
            disk::write(&path, &rules.to_json()).unwrap();
        }
        set
    }

    fn of(text: &str, committed: u64) -> Commitment {
        Commitment { commitment: text.to_owned(), committed: Block(committed) }
    }

    #[test]
    fn attack_an_owner_who_withholds_a_set_gives_its_notice_when_it_is_shown() {
        let home = tempfile::tempdir().unwrap();
        let args = args();
        let first = written(home.path(), &[version(0, 1.0)]);
        let had = |set: &CompetitionSet| Ok(Fetched::Set(set.index(), set.clone()));
        let try_out: TryOut<'_> = &|_| Ok(());
        let mut follower = Follower::open(home.path(), &args).unwrap();
        follower.take(of("first", 100), had(&first), (Block(110), try_out)).unwrap();
        assert_eq!(follower.digest(), Some(first.digest()));

        // Committed to at block 1,000 and kept closed for a day, but for an hour.
        let withheld = || Err(anyhow::anyhow!("no such repo").context(Missing).context("rules"));
        for block in [1_010, 4_000, 7_910] {
            let mut follower = Follower::open(home.path(), &args).unwrap();
            let taken = follower.take(of("second", 1_000), withheld(), (Block(block), try_out));
            assert!(taken.is_err());
        }
        // A hub that is away shows nothing, and is nobody's fault.
        let mut follower = Follower::open(home.path(), &args).unwrap();
        let away = Err(hub::Error::Unavailable("out".to_owned()).into());
        assert!(follower.take(of("second", 1_000), away, (Block(8_100), try_out)).is_err());
        let second = written(home.path(), &[version(0, 0.5)]);
        follower.take(of("second", 1_000), had(&second), (Block(8_150), try_out)).unwrap();
        // 6,910 blocks are 23 hours of 300 blocks and a part.
        let next = follower.followed().next.clone().unwrap();
        assert_eq!(next.from, Block(1_000 + 7_200 + 6_900), "and not at block 8,200");
        let missed = read(home.path()).unwrap().missed.unwrap();
        assert_eq!((missed.of, missed.at), (next.of, Block(7_910)), "whoever asks is told");
        assert!(!follower.turn(Block(15_099)).unwrap());
        assert!(follower.turn(Block(15_100)).unwrap());
        assert_eq!(follower.digest(), Some(second.digest()));
        assert_eq!(follower.followed().missed, None);
    }

    #[test]
    fn a_set_that_was_there_when_it_was_looked_for_changes_at_the_same_block_for_all() {
        let args = args();
        let try_out: TryOut<'_> = &|_| Ok(());
        let missing = || Err(anyhow::Error::from(hub::Error::Stopped).context(Missing));
        // Those who looked at once, a day later, or in the middle of the upload.
        for (looks, had_at) in [(vec![], 1_001), (vec![], 8_000), (vec![1_002, 1_290], 1_310)] {
            let home = tempfile::tempdir().unwrap();
            let mut follower = Follower::open(home.path(), &args).unwrap();
            for (text, committed, share) in [("first", 100, 1.0), ("second", 1_000, 0.5)] {
                let set = written(home.path(), &[version(0, share)]);
                let is_second = text == "second";
                for block in looks.iter().filter(|_| is_second) {
                    let looked = (Block(*block), try_out);
                    assert!(follower.take(of(text, committed), missing(), looked).is_err());
                }
                let had = Ok(Fetched::Set(set.index(), set.clone()));
                let at = if is_second { had_at } else { 110 };
                follower.take(of(text, committed), had, (Block(at), try_out)).unwrap();
            }
            assert_eq!(follower.followed().next.as_ref().unwrap().from, Block(8_200), "{looks:?}");
        }
    }

    /// A commitment that can be fetched.
    fn to(set: &CompetitionSet, committed: u64) -> Commitment {
        let (repo, revision) = ("owner/rules".parse().unwrap(), "ab".repeat(20).parse().unwrap());
        let commitment = SetCommitment { repo, revision, index: set.digest() };
        of(&commitment.to_text().unwrap(), committed)
    }

    /// What a hub has, once it is up, puts the files into the home.
    fn given(home: &Path, set: &CompetitionSet) -> anyhow::Result<Fetched> {
        let versions: Vec<Competition> = set.schedule().versions().cloned().collect();
        Ok(Fetched::Set(set.index(), written(home, &versions)))
    }

    /// Where the only rules of a set are.
    fn rules_of(home: &Path, set: &CompetitionSet) -> PathBuf {
        let rules = set.schedule().versions().next().unwrap();
        home.join(FOLDER).join(super::super::rules_path(rules.digest()))
    }

    /// What a hub gives that is away.
    fn away(_: &SetCommitment) -> anyhow::Result<Fetched> {
        Err(hub::Error::Unavailable("out".to_owned()).into())
    }

    /// Follows an owner whose second set waits for block 8,200.
    fn with_two_sets(home: &Path) -> (Follower, CompetitionSet, CompetitionSet) {
        let mut follower = Follower::open(home, &args()).unwrap();
        let try_out: TryOut<'_> = &|_| Ok(());
        let [first, second] = [(1.0, 100), (0.5, 1_000)].map(|(share, committed)| {
            let set = CompetitionSet::new(vec![version(0, share)]).unwrap();
            let had = given(home, &set);
            follower.take(to(&set, committed), had, (Block(committed + 10), try_out)).unwrap();
            set
        });
        assert_eq!(follower.digest(), Some(first.digest()));
        assert_eq!(follower.followed().next.as_ref().unwrap().from, Block(8_200));
        (follower, first, second)
    }

    #[test]
    fn a_waiting_set_whose_files_are_damaged_is_fetched_again_at_its_block() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let (mut follower, first, second) = with_two_sets(home);
        std::fs::write(rules_of(home, &second), "damaged").unwrap();
        assert!(follower.turn(Block(8_200)).is_err());
        let error = follower.mend(Block(8_200), &away).unwrap_err();
        assert!(format!("{error:#}").contains("are damaged"), "{error:#}");
        assert_eq!(follower.set(), Some(&first), "until then that of before holds");
        // The next process finds it again as well.
        std::fs::remove_file(rules_of(home, &second)).unwrap();
        let mut follower = Follower::open(home, &args()).unwrap();
        assert!(follower.turn(Block(8_220)).is_err());
        assert!(follower.mend(Block(8_220), &|_| given(home, &first)).is_err(), "another");
        follower.mend(Block(8_220), &|_| given(home, &second)).unwrap();
        assert_eq!(follower.set(), Some(&second));
        let held = follower.followed().held.clone().unwrap();
        assert_eq!((held.of, held.from), (to(&second, 1_000), Block(8_200)));
    }

    #[test]
    fn a_newer_set_takes_the_place_of_a_waiting_one_that_is_damaged_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let (mut follower, first, second) = with_two_sets(home);
        std::fs::remove_file(rules_of(home, &second)).unwrap();
        assert!(follower.mend(Block(8_200), &away).is_err());
        let third = CompetitionSet::new(vec![version(0, 0.25)]).unwrap();
        let (of_third, had) = (to(&third, 8_201), given(home, &third));
        assert!(!follower.knows(&of_third));
        let try_out: TryOut<'_> = &|_| Ok(());
        follower.take(of_third, had, (Block(8_210), try_out)).unwrap();
        assert_eq!(follower.set(), Some(&first));
        assert_eq!(follower.followed().next.as_ref().unwrap().from, Block(15_401));
        assert!(follower.turn(Block(15_401)).unwrap());
        assert_eq!(follower.set(), Some(&third));
    }

    #[test]
    fn attack_a_set_that_cannot_be_used_is_not_taken_before_it_can() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let (mut follower, first, second) = with_two_sets(home);
        let third = CompetitionSet::new(vec![version(0, 0.25)]).unwrap();
        let of_third = to(&third, 1_100);
        let waiting = |follower: &Follower| follower.followed().next.clone().unwrap().of;
        let in_vain: TryOut<'_> = &|_| anyhow::bail!("no hub gives its text");
        let tried = (Block(1_110), in_vain);
        let error = follower.take(of_third.clone(), given(home, &third), tried).unwrap_err();
        assert!(error.to_string().contains("no hub gives its text"), "{error:#}");
        assert!(!follower.knows(&of_third), "it is looked at again");
        assert_eq!((follower.set(), waiting(&follower)), (Some(&first), to(&second, 1_000)));
        let try_out: TryOut<'_> = &|_| Ok(());
        let tried = (Block(1_120), try_out);
        follower.take(of_third.clone(), given(home, &third), tried).unwrap();
        assert_eq!((follower.set(), waiting(&follower)), (Some(&first), of_third));
    }

    #[test]
    fn attack_a_set_whose_files_are_damaged_holds_on_and_no_other_comes_without_notice() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let mut follower = Follower::open(home, &args()).unwrap();
        let first = CompetitionSet::new(vec![version(0, 1.0)]).unwrap();
        let try_out: TryOut<'_> = &|_| Ok(());
        follower.take(to(&first, 100), given(home, &first), (Block(110), try_out)).unwrap();
        std::fs::remove_file(rules_of(home, &first)).unwrap();
        assert_eq!(follower.set(), Some(&first), "who has read it goes on by it");

        let mut follower = Follower::open(home, &args()).unwrap();
        assert_eq!((follower.set(), follower.digest()), (None, Some(first.digest())));
        assert!(follower.mend(Block(900), &away).is_err());
        let second = CompetitionSet::new(vec![version(0, 0.5)]).unwrap();
        follower.take(to(&second, 1_000), given(home, &second), (Block(1_010), try_out)).unwrap();
        let Followed { held, next, .. } = read(home).unwrap();
        assert_eq!(held.map(|held| held.of), Some(to(&first, 100)));
        assert_eq!(next.unwrap().from, Block(8_200));
        assert_eq!(follower.set(), None, "no others before");
        follower.mend(Block(1_020), &|_| given(home, &first)).unwrap();
        assert_eq!(follower.set(), Some(&first));
        assert_eq!(Follower::open(home, &args()).unwrap().set(), Some(&first));
    }

    fn args() -> OwnerArgs {
        OwnerArgs {
            owner_model_max: bytesize::ByteSize::gib(1),
            owner_competitions_max: 4,
            owner_notice: 7_200,
        }
    }

    #[test]
    fn a_set_that_was_refused_is_looked_at_again_by_the_next_process() {
        let (home, args) = (tempfile::tempdir().unwrap(), args());
        let mut follower = Follower::open(home.path(), &args).unwrap();
        let refused = Some(Refused { of: of("text", 3), reason: "too large".to_owned() });
        follower.keep(Followed { refused: refused.clone(), ..Followed::default() }).unwrap();
        assert_eq!(follower.refusal(&of("text", 3)), Some("too large"));
        assert_eq!(follower.refusal(&of("text", 4)), None);
        assert_eq!(read(home.path()).unwrap().refused, refused, "whoever asks is told");
        let follower = Follower::open(home.path(), &args).unwrap();
        assert_eq!(follower.refusal(&of("text", 3)), None);
    }

    #[test]
    fn what_is_known_is_kept_and_a_set_holds_from_its_block_on() {
        let (home, args) = (tempfile::tempdir().unwrap(), args());
        let mut follower = Follower::open(home.path(), &args).unwrap();
        assert!(follower.files().unwrap().is_empty());
        let set = written(home.path(), &[version(0, 1.0), version(90, 0.5)]);
        let next = Adopted { of: of("text", 3), from: Block(50), index: set.index() };
        follower.followed.next = Some(next.clone());
        assert!(!follower.turn(Block(49)).unwrap());
        // A disk that cannot be written, and then one of which nothing can be deleted.
        let path = follower.path.clone();
        std::fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(follower.turn(Block(50)).is_err());
        assert_eq!((follower.set(), &follower.followed.next), (None, &Some(next.clone())));
        std::fs::remove_dir_all(&path).unwrap();
        let stray = home.path().join(FOLDER).join("tokenizers");
        std::fs::write(&stray, "no folder").unwrap();
        assert!(follower.turn(Block(50)).unwrap());
        assert_eq!(follower.digest(), Some(set.digest()));
        std::fs::remove_file(stray).unwrap();
        assert!(follower.knows(&of("text", 3)) && !follower.knows(&of("text", 4)));

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
        follower.clean().unwrap();
        assert_eq!(std::fs::read_dir(home.path().join(FOLDER).join("rules")).unwrap().count(), 2);
    }

    #[test]
    fn attack_no_block_of_a_notice_has_other_rules_whatever_is_published() {
        let tiny = version(0, 1.0);
        for seed in 0..300 {
            let mut random = Seed::of_number(seed).stream();
            let mut below = |bound| uniform_below(&mut random, bound);
            let mut schedule = || {
                let mut versions = BTreeMap::new();
                for _ in 0..=below(3) {
                    let from_block = below(40);
                    let until_block = (below(3) == 0).then(|| from_block + 1 + below(20));
                    let reward_share = [0.5, 1.0][usize::from(below(2) == 0)];
                    let rules =
                        Competition { from_block, until_block, reward_share, ..tiny.clone() };
                    versions.insert(from_block, rules);
                }
                Schedule::new(versions.into_values().collect()).unwrap()
            };
            let (held, next) = (schedule(), schedule());
            let notice = Notice { committed: Block(below(20)), blocks: below(25), late: below(30) };
            let from = takes_over(&held, &next, notice);
            assert!((notice.committed..=notice.ends()).contains(&from), "seed {seed}: {from}");
            for block in (notice.committed.0..notice.ends().0).map(Block) {
                let here = if from <= block { &next } else { &held };
                assert!(here.at(block).eq(held.at(block)), "seed {seed}: block {block}");
            }
        }
    }

    #[test]
    fn a_notice_is_longer_by_whole_parts_of_it_and_ends_with_the_numbers() {
        for (blocks, part) in [(0, 1), (1, 1), (23, 1), (24, 1), (49, 2), (7_200, 300)] {
            let ends = |late| Notice { committed: Block(1_000), blocks, late }.ends().0;
            assert_eq!(ends(0), 1_000 + blocks);
            for n_parts in 0..3 {
                let expected = ends(0) + n_parts * part;
                assert_eq!(ends(n_parts * part), expected, "{blocks}: {n_parts}");
                assert_eq!(ends((n_parts + 1) * part - 1), expected, "{blocks}: {n_parts}");
            }
        }
        for (committed, blocks, late) in [(u64::MAX, 7_200, 0), (0, u64::MAX, 1), (9, 0, u64::MAX)]
        {
            assert_eq!(
                Notice { committed: Block(committed), blocks, late }.ends(),
                Block(u64::MAX)
            );
        }
    }

    #[test]
    fn what_is_known_and_cannot_be_read_is_named_and_not_taken_for_nothing() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()).unwrap().held, None);
        let path = home.path().join(FOLDER).join(FILE);
        for bytes in ["", "{", "[]", "{\"held\": 7}", "{\"next\": {\"from\": -1}}"] {
            disk::write(&path, bytes.as_bytes()).unwrap();
            let error = format!("{:#}", read(home.path()).unwrap_err());
            assert!(error.contains(FILE), "{bytes}: {error}");
            assert!(Follower::open(home.path(), &args()).is_err(), "{bytes}");
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                bytes,
                "it stays for whoever mends it"
            );
        }
    }
}
