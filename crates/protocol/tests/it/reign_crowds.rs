//! Crowds of challengers: what they cost a validator, and by how much they hold up who is better.

use protocol::{
    Digest, Loss, Record, Uid,
    duel::{Bout, DuelRules, Entrant, Progress, Verdict},
};
use std::collections::BTreeMap;

use crate::reign::{Player, Scene, few, fight, n_losses, player};

const N_DOCUMENTS: usize = 100;
const N_SYBILS: u16 = 200;
/// Challengers that may take in all documents of a round.
const N_WHOLE: usize = 16;
/// How many of them are the most promising.
const N_PROMISING: usize = 8;
/// Documents on which the others are heard.
const N_FIRST: usize = 15;

/// How it went for a challenger that took the crown.
#[derive(Debug)]
struct Course {
    n_rounds: u32,
    n_documents: u32,
    /// Most documents that the crowd took in a round, together.
    n_crowd: usize,
}

/// Lets a challenger and a crowd that is senior to it come in one round.
fn course(honest: Player, crowd: &[Player]) -> Course {
    let old = player(1, 0.0);
    let mut scene = Scene::new(N_DOCUMENTS, DuelRules::default());
    scene.play(&[old]);
    let mut players = vec![old, honest];
    players.extend(crowd);
    let mut n_crowd: usize = 0;
    for n_rounds in 1..=10 {
        let record = scene.play(&players);
        n_crowd = n_crowd.max(crowd.iter().map(|sybil| n_losses(record, sybil.uid)).sum());
        if record.champion == Some(Uid(honest.uid)) {
            let n_documents = fight(record, honest.uid).unwrap().evidence.n_documents();
            return Course { n_rounds, n_documents, n_crowd };
        }
        assert_eq!(record.champion, Some(Uid(1)), "nobody else is better");
    }
    panic!("it never takes the crown");
}

fn honest(luck: u64) -> Player {
    Player { luck: 9_000 + luck, ..player(500, 0.01) }
}

/// So many models of a quality, each with an owner of its own.
fn crowd(n: u16, quality: f64) -> Vec<Player> {
    (0..n).map(|k| player(10 + k, quality)).collect()
}

#[test]
fn attack_two_hundred_slots_of_one_owner_hold_nobody_up() {
    let of_one = |quality| -> Vec<Player> {
        crowd(N_SYBILS, quality).iter().map(|sybil| Player { coldkey: 7, ..*sybil }).collect()
    };
    let alone = course(honest(0), &[]);
    for quality in [-0.1, 0.004] {
        let among = course(honest(0), &of_one(quality));
        assert_eq!((among.n_rounds, among.n_documents), (alone.n_rounds, alone.n_documents));
        assert!(among.n_crowd <= N_DOCUMENTS, "{among:?}");
    }
}

#[test]
fn attack_two_hundred_owners_hold_somebody_better_up_by_a_round_at_most() {
    let n_most = N_WHOLE * N_DOCUMENTS + (usize::from(N_SYBILS) - N_WHOLE) * N_FIRST;
    for quality in [-0.1, 0.004] {
        let (mut n_alone, mut n_among) = (0, 0);
        for luck in 0..3 {
            let alone = course(honest(luck), &[]);
            let among = course(honest(luck), &crowd(N_SYBILS, quality));
            assert!(among.n_rounds <= alone.n_rounds + 1, "{alone:?}, {among:?}");
            assert!(among.n_crowd <= n_most, "{among:?}");
            (n_alone, n_among) = (n_alone + alone.n_documents, n_among + among.n_documents);
        }
        // Its own duel takes what it took: 10 % is what other documents make of it.
        assert!(f64::from(n_among) <= 1.1 * f64::from(n_alone), "{n_among}, not {n_alone}");
    }
}

#[test]
fn a_few_challengers_change_nothing_for_each_other() {
    let alone = course(honest(0), &[]);
    let among = course(honest(0), &crowd(N_WHOLE as u16 - 1, 0.004));
    assert_eq!((among.n_rounds, among.n_documents), (alone.n_rounds, alone.n_documents));
}

#[test]
fn attack_of_a_crowd_the_most_promising_go_on_and_nobody_waits_for_ever() {
    let mut scene = Scene::new(25, few());
    let old = player(1, 0.0);
    scene.round(&[old]);
    let mut players = vec![old];
    players.extend(crowd(20, 0.004));
    let first = scene.round(&players);
    let taken =
        |record: &Record| -> Vec<usize> { (10..30).map(|uid| n_losses(record, uid)).collect() };
    let mut expected = vec![25_usize; N_WHOLE];
    expected.extend([15; 4]);
    assert_eq!(taken(&first), expected, "seniors first");
    let second = scene.round(&players);
    let of = |record: &Record, uid| fight(record, uid).unwrap().clone();
    let mut ranked: Vec<u16> = (10..30).collect();
    let gain = |uid: u16| of(&first, uid).evidence.mean();
    ranked.sort_by(|a, b| gain(*b).total_cmp(&gain(*a)));
    ranked[N_PROMISING..].sort_by_key(|uid| (of(&first, *uid).evidence.n_documents(), *uid));
    for (place, uid) in ranked.into_iter().enumerate() {
        let (before, after) = (of(&first, uid), of(&second, uid));
        assert_eq!(after.verdict, None);
        if place < N_WHOLE {
            assert_eq!(n_losses(&second, uid), 25);
        } else {
            assert_eq!((n_losses(&second, uid), after), (0, before));
        }
    }
    let n_least = (10..30).map(|uid| of(&second, uid).evidence.n_documents()).min();
    assert_eq!(n_least, Some(25), "whoever had the fewest documents was heard");
    // Whoever is far worse is decided on the first part, and costs nothing from then on.
    let mut players = vec![old];
    players.extend(crowd(20, -0.2).iter().map(|junk| Player { uid: junk.uid + 100, ..*junk }));
    let third = scene.round(&players);
    let rejected = |uid| fight(&third, uid).unwrap().verdict == Some(Verdict::Rejected);
    assert!((110..130).all(rejected));
    let fourth = scene.round(&players);
    assert!((110..130).all(|uid| n_losses(&fourth, uid) == 0));
}

#[test]
fn a_round_that_goes_on_with_one_more_is_decided_as_if_it_began_with_it() {
    let old = player(1, 0.0);
    let mut scene = Scene::new(N_DOCUMENTS, DuelRules::default());
    scene.play(&[old]);
    let first = scene.next_documents();
    let round = scene.next_round(first);
    let documents: Vec<Digest> = round.documents.iter().map(|drawn| drawn.sha256).collect();
    let decide = |players: &[Player], progress: &mut Progress| {
        let entrants: Vec<Entrant> = players.iter().map(Player::entrant).collect();
        let measured =
            |player: &Player| (player.root(), player.losses(first..first + N_DOCUMENTS as u64));
        let all: Vec<(Digest, Vec<Loss>)> = players.iter().map(measured).collect();
        let losses: BTreeMap<Digest, &[Loss]> =
            all.iter().map(|(root, losses)| (*root, losses.as_slice())).collect();
        let bout = Bout {
            block: round.block,
            rules: round.competition_digest,
            paid: None,
            settling_blocks: u64::MAX,
            entrants: &entrants,
            hidden: &[],
            skipped: &[],
            documents: &documents,
            losses: &losses,
        };
        scene.reign.round_from(progress, &scene.competition.scoring, &bout).unwrap()
    };
    let mut players = vec![old];
    players.extend(crowd(N_WHOLE as u16, 0.004));
    let last = Uid(players[N_WHOLE].uid);
    let mut progress = Progress::default();
    assert!(decide(&players, &mut progress).n_used[&last] > N_FIRST);
    // Senior to all of them: the last of them is heard on a first part alone.
    players.push(player(2, 0.004));
    let whole = decide(&players, &mut Progress::default());
    assert_eq!(whole.n_used[&last], N_FIRST);
    assert_eq!(decide(&players, &mut progress), whole);
}
