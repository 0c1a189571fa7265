//! Records that cannot be published for a long time: all that the journal has are published then.

use crate::network::{Network, hotkey};
use journal::{Journal, Past, Snapshot};
use records::Folder;
use std::{
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use validator::{Event, Ports, Publish, State, Validator, entry::DECIDED};

/// A folder of records on a disk that is full at times.
struct Disk {
    folder: Folder,
    is_full: AtomicBool,
}

impl Publish for Disk {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_full.load(Ordering::SeqCst), "no space left");
        self.folder.record(competition, number, bytes)
    }

    fn lacks(
        &self,
        competition: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        self.folder.lacks(competition, numbers)
    }
}

/// A validator whose disk is full after its first records, for more rounds than can be guessed.
struct Scene {
    network: Network,
    disk: Arc<Disk>,
    /// Records that were written before.
    n_before: u64,
    n_records: u64,
}

impl Scene {
    fn new() -> Self {
        let network = Network::new(&["ada"]);
        network.enter("ada", "first", 3.0);
        let folder = Folder::new(network.home().join("records"));
        let disk = Arc::new(Disk { folder, is_full: AtomicBool::new(false) });
        let mut scene = Self { network, disk, n_before: 0, n_records: 0 };
        let mut validator = scene.open();
        scene.network.run_to(&mut validator, 25);
        scene.n_before = validator.contest("tiny").unwrap().n_rounds;
        scene.disk.is_full.store(true, Ordering::SeqCst);
        let heard = scene.network.run_to(&mut validator, 225);
        scene.n_records = validator.contest("tiny").unwrap().n_rounds;
        assert_eq!(scene.n_records, scene.n_before + 20);
        assert_eq!(validator.n_unpublished(), 20);
        assert!(heard.0.iter().any(|event| matches!(event, Event::RecordDelayed(_))));
        assert_eq!(validator.lost_before("tiny"), None, "some are on their way");
        scene.disk.is_full.store(false, Ordering::SeqCst);
        scene
    }

    fn open(&self) -> Validator {
        let home = self.network.home();
        let ports = Ports { publish: self.disk.clone(), ..self.network.ports(&home) };
        self.network.validator_with(ports, &home)
    }

    /// Numbers of the records that are there.
    fn there(&self) -> Vec<u64> {
        self.disk.folder.list("tiny").unwrap()
    }
}

/// Numbers of records that were told to be lost.
fn lost(events: &[Event]) -> Vec<(u64, u64)> {
    let lost = |event: &Event| match event {
        Event::RecordsLost { first, last, .. } => Some((*first, *last)),
        _ => None,
    };
    events.iter().filter_map(lost).collect()
}

#[test]
fn records_of_more_rounds_than_a_crash_can_hide_are_published_after_it() {
    let scene = Scene::new();
    let mut validator = scene.open();
    assert!(validator.n_unpublished() >= 20);
    let heard = scene.network.run_to(&mut validator, 226);
    assert_eq!(scene.there(), (1..=scene.n_records).collect::<Vec<u64>>());
    assert_eq!((validator.n_unpublished(), lost(&heard.0)), (0, Vec::new()));
    assert_eq!(validator.lost_before("tiny"), Some(1));
    let newest = scene.disk.folder.read("tiny", scene.n_records).unwrap().unwrap();
    assert!(newest.is_genuine() && newest.record.round.validator == hotkey("val").public());
    // A file that somebody deleted comes again when it is missed.
    std::fs::remove_file(scene.disk.folder.path("tiny", 2)).unwrap();
    validator.publish(&|_| {});
    assert!(!scene.there().contains(&2));
    validator.look_for_missing_records();
    assert_eq!(validator.lost_before("tiny"), None);
    validator.publish(&|_| {});
    assert!(scene.there().contains(&2));
}

/// Lets a journal forget all records but the newest.
fn forget_records(home: &Path, n_kept: usize) {
    let past = Past::<State>::open(Journal::open(home).unwrap()).unwrap();
    let body = serde_json::to_string(past.state()).unwrap();
    let mut journal = past.into_journal();
    let mut seq = 0;
    let each = |entry: journal::Entry| -> Result<(), journal::Error> {
        seq = entry.seq;
        Ok(())
    };
    journal.after(0, each).unwrap();
    journal.condense(&Snapshot { seq, body }, &[DECIDED], n_kept).unwrap();
}

#[test]
fn records_that_the_journal_has_no_more_are_told_once_and_others_come_after_them() {
    let scene = Scene::new();
    forget_records(&scene.network.home(), 5);
    let mut validator = scene.open();
    let heard = scene.network.run_to(&mut validator, 230);
    let last_lost = scene.n_records - 5;
    assert_eq!(lost(&heard.0), [(scene.n_before + 1, last_lost)]);
    let there: Vec<u64> = (1..=scene.n_records).collect();
    let is_there = |number: &u64| *number <= scene.n_before || *number > last_lost;
    let there: Vec<u64> = there.into_iter().filter(is_there).collect();
    assert_eq!(scene.there()[..there.len()], there);
    assert_eq!(validator.lost_before("tiny"), Some(last_lost + 1));
}
