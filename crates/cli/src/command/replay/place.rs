//! What a replay works with: rules and text, models, a chain.

use super::{
    home::Home,
    models::{Library, is_model},
    report::{Part, Step},
};
use crate::{
    args::{EndpointArgs, ReplayArgs},
    command::chain::connect,
    competition_file,
    contest::Contest,
    evaluator::ProcessEvaluate,
    failure::{self, Interrupted},
    hugging_face,
    terminal::{self, spinner},
};
use ::hugging_face::DevHub;
use anyhow::Context as _;
use chain::Chain;
use hub::Hub;
use protocol::{Competition, Digest, Record};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};
use substrate::DevNode;
use tempfile::TempDir;

/// Where rules are looked for.
#[derive(Clone, Copy)]
pub struct Shelf<'a> {
    /// The one that was named, which alone counts then.
    pub given: Option<&'a str>,
    /// Homes, which may have some.
    pub homes: &'a [Home],
}

impl Shelf<'_> {
    /// The rules of a record with the name that they have here; or the step that says why not.
    pub fn rules(self, record: &Record) -> anyhow::Result<Result<(String, Competition), Step>> {
        let (name, digest) = (&record.round.competition, record.round.competition_digest);
        if let Some(given) = self.given {
            let rules = competition_file::rules(given)?;
            let found = rules.digest();
            if found == digest {
                return Ok(Ok((given.to_owned(), rules)));
            }
            let at = "round.competition_digest";
            return Ok(Err(Step::differs(Part::Rules, at, (found, digest))));
        }
        let homes = self.homes.iter().map(Home::competitions);
        let homes = homes.collect::<anyhow::Result<Vec<Vec<PathBuf>>>>()?;
        let mut unusable = String::new();
        for path in homes.concat() {
            let path = path.display().to_string();
            match competition_file::rules(&path) {
                Ok(rules) if rules.digest() == digest => return Ok(Ok((path, rules))),
                Ok(_) => {}
                // Those of another competition keep nobody from replaying this one.
                Err(error) => unusable.push_str(&format!("; {error:#}")),
            }
        }
        match Competition::builtin(name) {
            Ok(rules) if rules.digest() == digest => Ok(Ok((name.clone(), rules))),
            _ => {
                let why = format!(
                    "no rules of digest {digest} are here: name the competition file with \
                     --competition, or the home of a demo or a network with --home{unusable}"
                );
                Ok(Err(Step::not_checked(Part::Rules, why)))
            }
        }
    }
}

/// A chain, or why none is asked.
pub struct ChainAt {
    found: Result<Box<dyn Chain>, String>,
    _node: Option<DevNode>,
}

impl ChainAt {
    /// The chain that is named, else that of a home.
    pub fn open(args: &ReplayArgs, homes: &[Home]) -> anyhow::Result<Self> {
        if let Some(network) = args.chain.clone() {
            let (fallback_endpoints, json) = (Vec::new(), args.json);
            let chain = connect(&EndpointArgs { network, fallback_endpoints, json })?;
            return Ok(Self { found: Ok(Box::new(chain)), _node: None });
        }
        let mut why = "no chain given: name one with --chain, or the --home of a demo or a network"
            .to_owned();
        for home in homes {
            match home.chain() {
                Ok(Some(chain)) => {
                    let found = Ok(Box::new(chain.client) as Box<dyn Chain>);
                    return Ok(Self { found, _node: chain.node });
                }
                Ok(None) => {}
                Err(_) if terminal::is_stopping() => return Err(Interrupted.into()),
                Err(error) => why = failure::causes(&error),
            }
        }
        Ok(Self { found: Err(why), _node: None })
    }

    /// The chain, or why there is none.
    pub fn get(&self) -> Result<&dyn Chain, &str> {
        self.found.as_deref().map_err(String::as_str)
    }
}

/// Models, with what has to live as long as they are asked for.
pub struct Stacks {
    /// The models.
    pub library: Library,
    _hubs: Vec<DevHub>,
    _folder: Option<TempDir>,
}

impl Stacks {
    /// The models that the options lead to, measured until `stop` is raised.
    pub fn open(args: &ReplayArgs, homes: &[Home], stop: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        let n_threads = args.threads.map_or_else(engine::n_processors, usize::from);
        let mut engine = ProcessEvaluate::new(n_threads, Arc::clone(stop))?;
        if let Some(limit) = args.memory_limit {
            engine = engine.with_memory_limit(limit.as_u64());
        }
        let mut stores = args.store.clone();
        let (mut hubs, mut servers): (Vec<Arc<dyn Hub>>, Vec<DevHub>) = (Vec::new(), Vec::new());
        for home in homes {
            stores.extend(home.stores()?);
            match home.hub() {
                Ok(Some(hub)) => {
                    hubs.push(Arc::new(hub.client));
                    servers.extend(hub.server);
                }
                Ok(None) => {}
                Err(error) => terminal::tell(&failure::causes(&error)),
            }
        }
        if args.address.hub.is_some() {
            hubs.push(Arc::new(hugging_face::client(&args.address)?));
        }
        let (folder, temporary) = fetched(&args.store)?;
        let library = Library::new(Arc::new(engine), stores, hubs, folder);
        Ok(Self { library, _hubs: servers, _folder: temporary })
    }
}

/// Where models of hubs are kept: in the first folder that is given, if it is none of a model.
fn fetched(stores: &[PathBuf]) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    match stores.iter().find(|store| !is_model(store)) {
        Some(store) => Ok((store.clone(), None)),
        None => {
            let folder = tempfile::tempdir().context("cannot make a folder for models")?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

/// Competitions with their text, each that is found read once.
pub struct Contests<'a> {
    shelf: Shelf<'a>,
    /// Folder of the files of a pinned dataset.
    dir: Option<&'a Path>,
    /// What was found, by digest of the rules.
    known: BTreeMap<Digest, Rules>,
}

/// What a record was made by.
#[derive(Clone)]
pub struct Rules {
    /// The rules.
    pub competition: Competition,
    /// The same with their text, or why it is not here.
    pub contest: Result<Contest, String>,
}

impl<'a> Contests<'a> {
    /// Competitions of which the rules are on a shelf.
    pub fn new(shelf: Shelf<'a>, dir: Option<&'a Path>) -> Self {
        Self { shelf, dir, known: BTreeMap::new() }
    }

    /// The rules of a record; or the step that says why they are not here.
    pub fn find(&mut self, record: &Record) -> anyhow::Result<Result<Rules, Step>> {
        let digest = record.round.competition_digest;
        if let Some(known) = self.known.get(&digest) {
            return Ok(Ok(known.clone()));
        }
        let (name, competition) = match self.shelf.rules(record)? {
            Ok(found) => found,
            Err(step) => return Ok(Err(step)),
        };
        let rules = Rules { competition, contest: read(&name, self.dir) };
        self.known.insert(digest, rules.clone());
        Ok(Ok(rules))
    }
}

/// A competition with its text, or why it is not here.
fn read(name: &str, dir: Option<&Path>) -> Result<Contest, String> {
    let bar = spinner("reading text and tokenizer");
    let contest = competition_file::contest(name, dir);
    bar.finish_and_clear();
    contest.map_err(|error| failure::causes(&error))
}

#[cfg(test)]
mod tests {
    use super::super::losses::tests::{losses, record};
    use super::super::report::Outcome;
    use super::*;
    use std::fs;

    /// A record by these rules, under this name.
    fn by(rules: &Competition, name: &str) -> Record {
        let mut record = record(vec![losses(1, 1.0)]);
        record.round.competition = name.to_owned();
        record.round.competition_digest = rules.digest();
        record
    }

    fn write(path: &Path, rules: &Competition) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, toml::to_string(rules).unwrap()).unwrap();
    }

    /// The name under which rules were found, or why they were not.
    fn found(shelf: Shelf<'_>, record: &Record) -> Result<String, Outcome> {
        shelf.rules(record).unwrap().map(|(name, _)| name).map_err(|step| step.outcome)
    }

    #[test]
    fn rules_are_found_by_their_digest_wherever_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let tiny = Competition::builtin("tiny").unwrap();
        let mut own = tiny.clone();
        own.scoring.alpha = 0.25;
        let none = Shelf { given: None, homes: &[] };
        assert_eq!(found(none, &by(&tiny, "tiny")).unwrap(), "tiny");
        let Err(Outcome::NotChecked { why }) = found(none, &by(&own, "tiny")) else { panic!() };
        assert!(why.contains(&own.digest().to_string()) && why.contains("--competition"), "{why}");

        // A network has several competitions, of which one cannot be read.
        let network = dir.path().join("network");
        write(&network.join("competitions/a/competition.toml"), &tiny);
        write(&network.join("competitions/b/competition.toml"), &own);
        let broken = network.join("competitions/0/competition.toml");
        write(&broken, &tiny);
        fs::write(&broken, "name = ").unwrap();
        let homes = [Home::open(&network).unwrap()];
        let shelf = Shelf { given: None, homes: &homes };
        assert!(found(shelf, &by(&own, "tiny")).unwrap().ends_with("b/competition.toml"));
        own.scoring.alpha = 0.75;
        let Err(Outcome::NotChecked { why }) = found(shelf, &by(&own, "tiny")) else { panic!() };
        assert!(why.contains("0/competition.toml"), "what cannot be read is named: {why}");

        // Whoever names rules means those.
        let given = dir.path().join("own.toml");
        write(&given, &own);
        let given = given.display().to_string();
        let shelf = Shelf { given: Some(&given), homes: &homes };
        assert_eq!(found(shelf, &by(&own, "another name")).unwrap(), given);
        let other = found(shelf, &by(&tiny, "tiny"));
        assert!(matches!(other, Err(Outcome::Differs { .. })), "{other:?}");
    }

    #[test]
    fn attack_a_record_cannot_name_a_file_of_this_machine_as_its_rules() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("competition.toml");
        let rules = Competition::builtin("tiny").unwrap();
        write(&path, &rules);
        let none = Shelf { given: None, homes: &[] };
        for name in [path.to_str().unwrap(), "../tiny", "tiny\u{0}", "", "\u{1b}[2J"] {
            let outcome = found(none, &by(&rules, name));
            assert!(matches!(outcome, Err(Outcome::NotChecked { .. })), "{name:?}: {outcome:?}");
        }
    }

    #[test]
    fn homes_are_looked_through_in_order_and_a_store_is_no_model() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Home::open(&dir.path().join("none")).is_err());
        let home = Home::open(dir.path()).unwrap();
        assert!(home.competitions().unwrap().is_empty() && home.stores().unwrap().is_empty());
        assert!(home.hub().unwrap().is_none() && home.chain().unwrap().is_none());
        for name in ["validator-2", "validator-10", "validator-1"] {
            fs::create_dir_all(dir.path().join(name).join("models")).unwrap();
        }
        fs::write(dir.path().join("models.txt"), "").unwrap();
        let stores = home.stores().unwrap();
        let of = |name: &str| dir.path().join(name).join("models");
        assert_eq!(stores, ["validator-1", "validator-10", "validator-2"].map(of));
        let (first, temporary) = fetched(&stores).unwrap();
        assert!(first == stores[0] && temporary.is_none());
        // Nothing is written into a folder that is a model itself.
        fs::write(stores[0].join(protocol::files::CONFIG), "{}").unwrap();
        assert_eq!(fetched(&stores).unwrap().0, stores[1]);
        let (elsewhere, temporary) = fetched(&stores[..1]).unwrap();
        assert!(temporary.is_some_and(|folder| folder.path() == elsewhere));
    }
}
