//! The bytes of a model that a record names: kept on this machine, or fetched with the service's
//! own intake; verified in every case, and inspected in a process of its own.

use super::report::{Part, Step};
use crate::{evaluator::ProcessEvaluate, failure};
use hub::{
    Hub, Intake,
    content::{file_root, list_folder},
};
use protocol::{Commitment, Competition, Digest, Reason, ReasonCode, record::Model};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use validator::{
    Admission, Committed, Engine as _, FetchedModels, Had, Models as _, Sight, Terms, Trouble,
};

/// What is known of a model.
#[derive(Clone, Debug)]
pub enum Found {
    /// Its bytes are here, and pass every check at rest.
    Here {
        /// Where.
        dir: PathBuf,
        /// What it is.
        admission: Admission,
    },
    /// It breaks a rule.
    Refused(Reason),
    /// It could not be had, and why.
    Missing(String),
}

/// The rule that a commitment breaks as far as the hub's list tells; `Err` is why none is there.
fn looked(
    hub: &FetchedModels,
    rules: &Competition,
    committed: &Committed,
) -> Result<Option<Reason>, String> {
    match hub.look(rules, committed) {
        Ok(Sight::Published { .. }) => Ok(None),
        Ok(Sight::Absent(reason) | Sight::Refused(reason)) => Ok(Some(reason)),
        Err(
            Trouble::Refused(error)
            | Trouble::Unanswered(error)
            | Trouble::Own(error)
            | Trouble::Stopped(error),
        ) => Err(failure::causes(&error)),
    }
}

/// The same by the repo alone, where it is not known what was committed to.
fn refused(hub: &dyn Hub, rules: &Competition, model: &Model) -> Result<Option<Reason>, String> {
    let (Some(repo), Some(revision)) = (&model.repo, &model.revision) else {
        return Err("the record names no repo of it".to_owned());
    };
    match hub.list(repo, revision).map_err(|error| error.to_string())? {
        Some(files) => Ok(hub::intake::refusal(&files, &rules.model)),
        None => {
            let detail = format!("`{repo}@{revision}` is not on the hub");
            Ok(Some(Reason::new(ReasonCode::NotPublished, detail)))
        }
    }
}

/// Wherever models are looked for.
pub struct Library {
    engine: Arc<ProcessEvaluate>,
    /// Folders of this machine.
    stores: Vec<PathBuf>,
    /// Hubs with a folder for what they give.
    hubs: Vec<(Arc<dyn Hub>, FetchedModels)>,
    /// Where hubs' models are kept.
    folder: PathBuf,
    /// What was found, by digests of files and rules.
    known: BTreeMap<(Digest, Digest), Found>,
    /// What was found of folders that hold other models than their names say.
    damaged: Vec<Step>,
}

impl Library {
    /// Models in `stores`, then on `hubs`, whose models are kept in `folder`.
    pub fn new(
        engine: Arc<ProcessEvaluate>,
        stores: Vec<PathBuf>,
        hubs: Vec<Arc<dyn Hub>>,
        folder: PathBuf,
    ) -> Self {
        let fetched = |hub: Arc<dyn Hub>| {
            let engine = Arc::clone(&engine) as Arc<dyn validator::Engine>;
            (Arc::clone(&hub), FetchedModels::new(hub, engine, folder.clone()))
        };
        let hubs = hubs.into_iter().map(fetched).collect();
        let (known, damaged) = (BTreeMap::new(), Vec::new());
        Self { engine, stores, hubs, folder, known, damaged }
    }

    /// What measures.
    pub fn engine(&self) -> &ProcessEvaluate {
        &self.engine
    }

    /// What was found of folders since this was asked last.
    pub fn take_damaged(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.damaged)
    }

    /// The model that a record names; an `Err` ends the replay.
    pub fn find(&mut self, rules: &Competition, model: &Model) -> anyhow::Result<Found> {
        let Some(root) = model.file_root else {
            return Ok(Found::Missing("the record names no files of it".to_owned()));
        };
        let key = (root, rules.digest());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let found = match self.in_stores(root) {
            Some(dir) => self.inspect(rules, root, dir)?,
            None => self.on_hubs(rules, (model, root))?,
        };
        self.known.insert(key, found.clone());
        Ok(found)
    }

    /// What a hub lists of a model whose files no record names: the rule that the list breaks, as
    /// the service looks at it, where it is known what was committed to.
    pub fn listed(
        &self,
        rules: &Competition,
        model: &Model,
        committed: Option<&Committed>,
    ) -> Found {
        let mut why = no_hub();
        for (hub, fetched) in &self.hubs {
            let refusal = match committed {
                Some(committed) => looked(fetched, rules, committed),
                None => refused(&**hub, rules, model),
            };
            match refusal {
                Ok(Some(reason)) => return Found::Refused(reason),
                Ok(None) => return Found::Missing("what the hub lists breaks no rule".to_owned()),
                Err(error) => why = error,
            }
        }
        Found::Missing(why)
    }

    /// The folder of this machine that has the files of a root; what lies under its name and is
    /// another model is noted.
    fn in_stores(&mut self, root: Digest) -> Option<PathBuf> {
        for store in &self.stores {
            let named = [store.join("models").join(root.hex()), store.join(root.hex())];
            for dir in named.into_iter().filter(|dir| dir.is_dir()) {
                match root_of(&dir) {
                    Ok(found) if found == root => return Some(dir),
                    found => {
                        let found = found.map_or_else(|why| why, |found| found.to_string());
                        let at = format!("the files in `{}`", dir.display());
                        self.damaged.push(Step::differs(Part::Model, at, (root, found)));
                    }
                }
            }
            if is_model(store) && root_of(store).is_ok_and(|found| found == root) {
                return Some(store.clone());
            }
        }
        None
    }

    fn inspect(&self, rules: &Competition, root: Digest, dir: PathBuf) -> anyhow::Result<Found> {
        Ok(match self.engine.inspect(&dir, rules)? {
            Ok(inspected) => Found::Here { dir, admission: inspected.admission(root) },
            Err(reason) => Found::Refused(reason),
        })
    }

    /// The model on the first hub that gives it.
    fn on_hubs(
        &self,
        rules: &Competition,
        (model, root): (&Model, Digest),
    ) -> anyhow::Result<Found> {
        let (Some(repo), Some(revision)) = (&model.repo, &model.revision) else {
            return Ok(Found::Missing("the record names no repo of it".to_owned()));
        };
        let commitment = Commitment::bound(repo, revision, &root, &model.hotkey, rules.id);
        let committed = Committed { hotkey: model.hotkey, commitment };
        let terms = Terms { known: None, bytes_max: u64::MAX };
        let mut why = no_hub();
        for (_, models) in &self.hubs {
            match models.have(rules, &committed, terms) {
                Ok(Had::Here { admission, .. }) => {
                    let dir = Intake::open(&self.folder)?.place(&admission.file_root);
                    return Ok(Found::Here { dir, admission });
                }
                Ok(Had::Refused { reason, .. }) if reason.code == ReasonCode::NotPublished => {
                    why = reason.detail;
                }
                Ok(Had::Refused { reason, .. } | Had::Hopeless(reason)) => {
                    return Ok(Found::Refused(reason));
                }
                Ok(Had::Postponed { n_bytes }) => why = format!("{n_bytes} bytes are too many"),
                Err(Trouble::Stopped(error)) => return Err(error),
                Err(Trouble::Refused(error) | Trouble::Unanswered(error) | Trouble::Own(error)) => {
                    why = failure::causes(&error);
                }
            }
        }
        Ok(Found::Missing(why))
    }
}

fn no_hub() -> String {
    "it is on no disk that was given: name a folder with --store, a --home, or a --hub".to_owned()
}

/// Whether a folder is one of a model.
pub fn is_model(dir: &Path) -> bool {
    dir.join(protocol::files::CONFIG).is_file()
}

/// Digest of the files of the model in a folder, or why it has none.
fn root_of(dir: &Path) -> Result<Digest, String> {
    list_folder(dir).map(|files| file_root(&files)).map_err(|error| error.to_string())
}
