//! How many bytes strangers can make a validator fetch, and whose models come first.

use crate::{
    network::{Heard, Network},
    tapped::{HubTap, TappedHub},
};
use protocol::{ReasonCode, Repo};
use std::{
    fs,
    sync::{Arc, Mutex},
};
use validator::{Event, Validator};

/// Bytes of the parameters of a large model.
const LARGE: usize = 300_000;

/// Counts what is taken from a hub.
#[derive(Default)]
struct Counting {
    /// Repo and number of bytes of each file and part, in order.
    taken: Mutex<Vec<(String, u64)>>,
}

impl Counting {
    fn n_bytes(&self) -> u64 {
        self.taken.lock().unwrap().iter().map(|(_, n_bytes)| n_bytes).sum()
    }

    /// Owners of the large files that were fetched, in order.
    fn fetched(&self) -> Vec<String> {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap());
        let large = taken.into_iter().filter(|(_, n_bytes)| *n_bytes >= LARGE as u64);
        large.map(|(repo, _)| repo.split('/').next().unwrap().to_owned()).collect()
    }
}

impl HubTap for Counting {
    fn alters(&self, repo: &Repo, _path: &str, n_bytes: u64) -> bool {
        self.taken.lock().unwrap().push((repo.to_string(), n_bytes));
        false
    }
}

/// A network of these miners whose validator's hub counts.
fn counted(miners: &[&str]) -> (Network, Arc<Counting>) {
    let mut network = Network::new(miners);
    network.competition.model.size_bytes_max = 1 << 30;
    let counting = Arc::new(Counting::default());
    network.hub = Arc::new(TappedHub { inner: network.hub.clone(), tap: counting.clone() });
    (network, counting)
}

fn validator(network: &Network, fetched_bytes_max: u64) -> Validator {
    let home = network.home();
    let max = Some(fetched_bytes_max);
    network.try_open(Arc::default(), network.ports(&home), &home, max).unwrap()
}

/// Publishes and commits to a model with large parameters.
fn enter(network: &Network, miner: &str, model: &str, loss: f64) {
    let dir = network.model(model, Some(loss));
    let parameters = model.repeat(1 + LARGE / model.len());
    fs::write(dir.join("model.safetensors"), parameters).unwrap();
    network.commit(miner, &network.publish(miner, &dir));
}

fn postponed(network: &Network, heard: &Heard, miners: &[&str]) -> Vec<String> {
    let is_postponed = |miner: &&&str| {
        heard.0.iter().any(|event| {
            matches!(event, Event::Skipped { uid, error }
            if *uid == network.uid(miner) && error.contains("has to wait"))
        })
    };
    miners.iter().filter(is_postponed).map(|miner| (*miner).to_owned()).collect()
}

#[test]
fn attack_models_that_their_config_or_headers_give_away_cost_headers_and_no_parameters() {
    let names: Vec<String> = (0..10).map(|i| format!("evil-{i}")).collect();
    let miners: Vec<&str> = names.iter().map(String::as_str).chain(["ada"]).collect();
    let (network, hub) = counted(&miners);
    let mut validator = network.validator();
    for name in &names {
        enter(&network, name, &format!("hopeless-{name}"), 1.0);
    }
    enter(&network, "ada", "honest", 2.5);
    let heard = network.run_to(&mut validator, 21);
    for name in &names {
        let reason = heard.reason_of(network.uid(name));
        assert_eq!(reason, Some(ReasonCode::ArchitectureRefused), "{name}");
    }
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
    // The start of the one file of each, twice, and its config: 131 kB of 300, or of 29 GiB.
    let n_bytes = hub.n_bytes();
    let per_key = 2 * (64 << 10) + 1_000;
    assert!(n_bytes <= 11 * per_key + 2 * LARGE as u64, "{n_bytes} bytes");
    assert_eq!(hub.fetched(), ["ada"]);
    // In the next round they are looked at again, as nothing proved what was seen.
    network.run_to(&mut validator, 31);
    assert!(hub.n_bytes() <= 10 * per_key && hub.fetched().is_empty());
}

#[test]
fn attack_many_large_models_take_no_more_than_the_bytes_of_a_round_and_come_after_all_others() {
    let names: Vec<String> = (0..10).map(|i| format!("evil-{i}")).collect();
    let miners: Vec<&str> = names.iter().map(String::as_str).chain(["ada", "ben"]).collect();
    let (network, hub) = counted(&miners);
    let mut validator = validator(&network, 3 * LARGE as u64 + 10_000);
    enter(&network, "ada", "champion", 2.5);
    let heard = network.run_to(&mut validator, 21);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
    assert_eq!(hub.fetched(), ["ada"]);

    // An honest newcomer is older than the flood, and the champion's next model younger.
    enter(&network, "ben", "newcomer", 2.4);
    network.chain.produce_block().unwrap();
    for name in &names {
        enter(&network, name, name, 9.0);
    }
    network.chain.produce_block().unwrap();
    enter(&network, "ada", "next", 2.2);
    let heard = network.run_to(&mut validator, 31);
    let fetched = hub.fetched();
    assert!(fetched[..2] == ["ada", "ben"] && fetched.len() == 3, "in this order: {fetched:?}");
    assert_eq!(postponed(&network, &heard, &miners).len(), 9);
    let round = heard.rounds()[0];
    assert_eq!((heard.n_suspended(), round.champion.unwrap().uid), (0, network.uid("ada")));
    assert_eq!(round.rows.len(), 3, "postponed is no verdict");

    // The rest has its turn, round by round, and known models cost nothing.
    let mut n_fetched = 1;
    for block in [41, 51, 61] {
        network.run_to(&mut validator, block);
        let fetched = hub.fetched();
        assert!(fetched.len() <= 3 && fetched.iter().all(|owner| owner.starts_with("evil")));
        n_fetched += fetched.len();
    }
    assert_eq!(n_fetched, 10);
}

#[test]
fn attack_a_model_with_weight_is_fetched_however_little_a_round_may_fetch() {
    let (network, hub) = counted(&["ada", "eve"]);
    let mut validator = validator(&network, 10);
    enter(&network, "ada", "best", 2.5);
    network.run_to(&mut validator, 21);
    assert!(hub.fetched().is_empty(), "it is unknown yet");
    drop(validator);
    let mut validator = self::validator(&network, LARGE as u64 * 2);
    network.run_to(&mut validator, 31);
    assert_eq!(hub.fetched(), ["ada"]);
    drop(validator);
    let mut validator = self::validator(&network, 0);
    enter(&network, "eve", "other", 2.0);
    enter(&network, "ada", "better", 2.3);
    let heard = network.run_to(&mut validator, 41);
    assert_eq!(hub.fetched(), ["ada"]);
    assert_eq!(postponed(&network, &heard, &["ada", "eve"]), ["eve"]);
    assert_eq!(heard.rounds()[0].champion.unwrap().uid, network.uid("ada"));
}
