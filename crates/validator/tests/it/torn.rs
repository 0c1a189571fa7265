//! What a crash leaves of a validator's journal: from every prefix of what it wrote it goes on.

use crate::{
    network::{Formula, GENESIS, NETUID, Network, hotkey},
    truth::{Formed, Truth, Unread},
};
use chain::{Chain as _, Head};
use journal::Journal;
use std::{fs, path::Path, sync::Arc};
use validator::{Config, Contest, Ports, Validator};

/// Most ends of the log that are tried.
const N_ENDS_MAX: usize = 40;

/// Bytes before the first frame of SQLite's log, and before the page of each.
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

fn enter(network: &Network, truth: &Truth, miner: &str, loss: f64) {
    truth.enter(network, miner, network.competition.id, Formed { loss, n_parameters: 1 });
}

fn open(network: &Network, truth: &Arc<Truth>, home: &Path) -> Validator {
    let ports = Ports {
        chain: network.chain.clone(),
        models: truth.clone(),
        evaluate: truth.clone(),
        publish: Arc::new(Unread),
    };
    let contest = Contest::new(network.competition.clone(), Arc::new(Formula::default()));
    // An early state knows nothing of the weights that were set after it.
    let config = Config { takes_over: true, ..Config::new(NETUID, GENESIS) };
    let journal = Journal::open(home).unwrap();
    Validator::open(config, ports, vec![contest], hotkey("val"), journal).unwrap()
}

/// Files of a journal as a crash leaves them.
struct Crashed {
    tables: Vec<u8>,
    log: Vec<u8>,
}

impl Crashed {
    fn of(home: &Path) -> Self {
        let read = |name: &str| fs::read(home.join(name)).unwrap();
        Self { tables: read(journal::FILE), log: read("journal.db-wal") }
    }

    /// Bytes of a frame of the log.
    fn frame_bytes(&self) -> usize {
        let page: [u8; 4] = self.log[8..12].try_into().unwrap();
        FRAME_HEADER_BYTES + u32::from_be_bytes(page) as usize
    }

    fn n_frames(&self) -> usize {
        (self.log.len() - LOG_HEADER_BYTES) / self.frame_bytes()
    }

    /// Leaves so many frames of the log in a folder, and as many bytes of the next one as are
    /// named; of these the second half is not what was written.
    fn leave(&self, home: &Path, n_frames: usize, n_more: usize) {
        let end = LOG_HEADER_BYTES + n_frames * self.frame_bytes();
        let mut log = self.log[..(end + n_more).min(self.log.len())].to_vec();
        let n_torn = (log.len() - end) / 2;
        let torn_from = log.len() - n_torn;
        log[torn_from..].fill(0xa5);
        fs::create_dir_all(home).unwrap();
        fs::write(home.join(journal::FILE), &self.tables).unwrap();
        fs::write(home.join("journal.db-wal"), log).unwrap();
    }
}

#[test]
fn from_every_prefix_of_its_journal_a_validator_goes_on() {
    let network = Network::new(&["ada", "ben", "eve"]);
    let truth = Arc::new(Truth::default());
    enter(&network, &truth, "ada", 3.0);
    enter(&network, &truth, "eve", 3.5);
    let home = network.home();
    let validator = open(&network, &truth, &home);
    let next = || -> Head { network.chain.produce_block().unwrap() };
    while network.chain.head().unwrap().block.0 < 59 {
        let head = next();
        if head.block.0 == 32 {
            enter(&network, &truth, "ben", 2.5);
        }
        validator.on_block(head, &|_| {}).unwrap();
    }
    let (crashed, whole) = (Crashed::of(&home), validator.state());
    drop(validator);
    let head = next();
    let n_frames = crashed.n_frames();
    // A log that was taken into the tables would begin anew.
    assert!((50..1_000).contains(&n_frames), "{n_frames} frames");
    let ends = (0..n_frames).step_by(n_frames.div_ceil(N_ENDS_MAX)).chain([n_frames]);
    let mut n_rounds_before = 0;
    for end in ends {
        let mut states = Vec::new();
        for n_more in [0, crashed.frame_bytes() / 2, crashed.frame_bytes()] {
            let what = format!("{end} of {n_frames} frames and {n_more} bytes");
            let home = network.folder.path().join(format!("crashed-{end}-{n_more}"));
            crashed.leave(&home, end, n_more);
            let validator = open(&network, &truth, &home);
            states.push(validator.state());
            // A round that was partly measured ends before the newest begins.
            for _ in 0..2 {
                validator.on_block(head, &|_| {}).unwrap();
            }
            let contest = validator.contest("tiny").unwrap();
            assert_eq!(contest.seed_block, head.block, "{what}");
            assert_eq!(contest.champion.unwrap().hotkey, hotkey("ben").public(), "{what}");
            drop(validator);
            fs::remove_dir_all(&home).unwrap();
        }
        assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{end}: a torn frame counts");
        let n_rounds = states[0].contest("tiny").map_or(0, |contest| contest.n_rounds);
        assert!(n_rounds >= n_rounds_before, "{end}: {n_rounds} rounds");
        n_rounds_before = n_rounds;
        if end == n_frames {
            assert_eq!(states[0], whole, "what was acknowledged is there");
        }
    }
    assert_eq!(n_rounds_before, 4);
}
