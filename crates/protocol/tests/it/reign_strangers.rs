//! Ten thousand tournaments into which strangers come who are not better than what is there.

use protocol::{Record, Seed, Uid, seed::uniform_below};
use rand_core::RngCore;

use crate::{
    duel::uniform,
    reign::{Player, Scene, few, player},
};

const SEED: u64 = 29;
const EPSILON: f64 = 0.005;
const N_TOURNAMENTS: u64 = 10_000;
const N_ROUNDS: u64 = 3;
const N_DOCUMENTS: usize = 25;

/// A player and the first round that it is in.
#[derive(Clone, Copy, Debug)]
struct Guest {
    player: Player,
    from: u64,
}

/// Models of one owner each, in order of seniority: each is far better than the one before, far
/// worse, or as good as that.
fn honest(random: &mut impl RngCore) -> Vec<Guest> {
    const STEPS: [f64; 6] = [-0.06, -0.002, 0.0, 0.001, 0.06, 0.06];
    let n = 2 + uniform_below(random, 3);
    let (mut quality, mut from) = (0.0, 1);
    let mut guests = Vec::new();
    for k in 0..n {
        let uid = 1 + 10 * k as u16;
        let of = Player { noise: 0.001, block: 100 * from + k, ..player(uid, quality) };
        guests.push(Guest { player: of, from });
        quality += STEPS[uniform_below(random, STEPS.len() as u64) as usize];
        from = N_ROUNDS.min(from + uniform_below(random, 2));
    }
    guests
}

/// What somebody else makes of a model that is there: a clone, a clone packed anew, or a tweak of
/// the champion that is better by at most 60 % of epsilon.
fn stranger(uid: u16, honest: &[Guest], champions: &[f64], random: &mut impl RngCore) -> Guest {
    let original = honest[uniform_below(random, honest.len() as u64) as usize];
    let from = original.from.max(2) + uniform_below(random, 2);
    let junior = Player { coldkey: 5_000 + uid, block: 100 * from + 50, ..player(uid, 0.0) };
    let Player { quality, luck, .. } = original.player;
    let player = match uniform_below(random, 3) {
        0 => Player { quality, luck, noise: original.player.noise, ..junior },
        1 => Player { quality, luck: 7_000 + u64::from(uid), noise: 5e-5, ..junior },
        _ => {
            let at = champions[(from as usize - 2).min(champions.len() - 1)];
            let quality = at + EPSILON * (1.6 * uniform(random) - 1.0);
            Player { quality, luck: 7_000 + u64::from(uid), noise: 0.001, ..junior }
        }
    };
    Guest { player, from }
}

/// The records of a tournament.
fn play(scene: &Scene, guests: &[Guest]) -> Vec<Record> {
    let mut scene = scene.clone();
    let round = |number: u64| {
        let present = guests.iter().filter(|guest| guest.from <= number);
        let players: Vec<Player> = present.map(|guest| guest.player).collect();
        scene.play(&players).clone()
    };
    (1..=N_ROUNDS).map(round).collect()
}

/// Who holds the crown, and all weight that anybody has, with the bits of every number.
fn outcome(record: &Record) -> (Option<Uid>, [Vec<(Uid, u64)>; 2]) {
    let weights = record.models.iter().map(|judged| (judged.model.uid, judged.verdict.weight));
    let weights = weights.filter(|(_, weight)| *weight > 0.0);
    let averages = record.averages.iter().map(|average| (average.uid, average.weight.to_bits()));
    let bits = weights.map(|(uid, weight)| (uid, weight.to_bits()));
    (record.champion, [bits.collect(), averages.collect()])
}

#[test]
fn attack_clones_repackings_and_tweaks_below_epsilon_change_no_bit_of_any_weight() {
    let scene = Scene::new(N_DOCUMENTS, few());
    let (mut n_dethroned, mut n_open) = (0, 0);
    for tournament in 0..N_TOURNAMENTS {
        let seed = Seed::of_number(SEED).derive(&format!("tournament {tournament}"));
        let mut random = seed.stream();
        let honest = honest(&mut random);
        let before = play(&scene, &honest);
        let quality = |record: &Record| {
            let is_it = |guest: &&Guest| Some(Uid(guest.player.uid)) == record.champion;
            honest.iter().find(is_it).map_or(0.0, |guest| guest.player.quality)
        };
        let champions: Vec<f64> = before.iter().map(quality).collect();
        let mut all = honest.clone();
        for k in 0..1 + uniform_below(&mut random, 4) {
            all.push(stranger(200 + k as u16, &honest, &champions, &mut random));
        }
        let after = play(&scene, &all);
        for (before, after) in before.iter().zip(&after) {
            let number = before.round.number;
            assert_eq!(
                outcome(after),
                outcome(before),
                "tournament {tournament}, round {number}, seed {SEED}: {all:?}"
            );
        }
        n_dethroned += before.windows(2).filter(|two| two[0].champion != two[1].champion).count();
        let fights =
            after.iter().flat_map(|record| &record.models).filter_map(|j| j.fight.as_ref());
        n_open += fights.filter(|fight| fight.verdict.is_none()).count();
    }
    assert!(n_dethroned > 1_000 && n_open > 1_000, "{n_dethroned} crowns, {n_open} open duels");
}
