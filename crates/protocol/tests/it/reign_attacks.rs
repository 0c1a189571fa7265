//! The defects of the reference, and attacks on a crown, by rule `duel`.

use protocol::{
    Loss, ReasonCode, Record, Uid,
    duel::{DuelRules, Fight, Verdict},
    record::{Finding, Mismatch, Model, Setting},
    weights::MovingAverage,
};
use std::collections::BTreeSet;

use crate::{
    duel::{begin, fight as to_end},
    reign::{Player, Scene, few, fight, merit, player},
};

/// A round on all losses, in which those of the broken ones are not numbers.
fn play_with(scene: &mut Scene, players: &[Player], broken: &[Player]) -> Record {
    let first = scene.next_documents();
    let round = scene.next_round(first);
    let documents = first..first + round.documents.len() as u64;
    let sound = players.iter().map(|p| p.model(p.losses(documents.clone())));
    let finding = Finding::Disqualified(ReasonCode::NonFiniteLoss);
    let broken = broken.iter().map(|p| Model { finding: finding.clone(), ..p.model(Vec::new()) });
    let models = sound.chain(broken).collect();
    scene.record(round, models).clone()
}

#[test]
fn d1_by_duels_a_loss_that_is_not_a_number_neither_wins_nor_shields() {
    let (old, better) = (player(3, 0.0), player(7, 0.05));
    let mut without = Scene::new(100, DuelRules::default());
    without.play(&[old]);
    let crown = without.play(&[old, better]).crown;
    // Before everybody, and between the two.
    for broken in [player(1, 0.0), player(5, 0.0)] {
        let mut scene = Scene::new(100, DuelRules::default());
        let first = play_with(&mut scene, &[old], &[broken]);
        let second = play_with(&mut scene, &[old, better], &[broken]);
        assert_eq!((first.champion, second.champion), (Some(Uid(3)), Some(Uid(7))));
        assert_eq!(second.crown, crown);
        for record in [&first, &second] {
            let is_it = |judged: &&protocol::record::Judged| judged.model.uid == Uid(broken.uid);
            let judged = record.models.iter().find(is_it).unwrap();
            assert!(!judged.verdict.present && judged.fight.is_none());
            assert_eq!(judged.verdict.weight, 0.0);
        }
    }
}

#[test]
fn attack_a_loss_that_is_not_finite_gives_no_record() {
    let (old, better) = (player(3, 0.0), player(7, 0.05));
    let mut scene = Scene::new(100, DuelRules::default());
    scene.play(&[old]);
    let round = scene.next_round(1_000);
    let mut losses = better.losses(1_000..1_100);
    losses[7] = Loss::INFINITE;
    let models = vec![old.model(old.losses(1_000..1_100)), better.model(losses)];
    let mut average = MovingAverage::default();
    let before = &scene.reign;
    let setting = Setting { before, paid: None, settling_blocks: 0, skipped: Vec::new() };
    let record = Record::of_duels(round, &scene.competition, models, setting, &mut average);
    assert_eq!(record, Err(Mismatch::NotFinite(Uid(7))));
}

#[test]
fn d2_by_duels_when_no_model_could_be_measured_nobody_is_crowned() {
    let (one, other) = (player(1, 0.0), player(2, 0.01));
    let mut scene = Scene::new(100, DuelRules::default());
    let record = play_with(&mut scene, &[], &[one, other]);
    assert_eq!((record.champion, record.crown), (None, None));
    assert!(record.averages.iter().all(|average| average.weight == 0.0));
    scene.play(&[one]);
    let before = scene.last.as_ref().unwrap().averages.clone();
    let record = play_with(&mut scene, &[], &[one, other]);
    assert_eq!((record.champion, record.crown), (None, None));
    let weight = |averages: &[protocol::weights::Average]| {
        averages.iter().find(|average| average.uid == Uid(1)).unwrap().weight
    };
    let left = scene.competition.scoring.alpha * weight(&before);
    assert!((weight(&record.averages) - left).abs() < 1e-12, "it decays, and passes to nobody");
}

#[test]
fn d3_by_duels_equal_models_of_one_block_leave_one_champion_in_every_order() {
    let equal = |uid: u16| Player { block: 9, luck: 7, ..player(uid, 0.0) };
    let players = [1, 2, 3, 4].map(equal);
    let orders = (0..256_usize).map(|code| [0, 2, 4, 6].map(|shift| (code >> shift) & 3));
    let is_order = |order: &[usize; 4]| order.iter().collect::<BTreeSet<_>>().len() == 4;
    let play = |order: [usize; 4]| {
        let mut scene = Scene::new(25, few());
        let players = order.map(|place| players[place]);
        [scene.play(&players).clone(), scene.play(&players).clone()]
    };
    let seasons: Vec<[Record; 2]> = orders.filter(is_order).map(play).collect();
    assert_eq!(seasons.len(), 24);
    let [first, second] = &seasons[0];
    assert!(first.champion.is_some() && first.champion == second.champion);
    assert!(seasons.iter().all(|season| *season == seasons[0]));
}

/// Champion, then its own tweak better by 0.3 %, then a rival better by 0.7 %, which is better than
/// the tweak by less than epsilon.
#[test]
fn d4_by_duels_a_tweak_under_a_second_key_does_not_shield_the_champion() {
    let precise = |uid, quality| Player { noise: 0.0002, ..player(uid, quality) };
    let (old, tweak, rival) = (precise(1, 0.0), precise(2, 0.003), precise(3, 0.007));
    let play = |players: &[Player]| {
        let mut scene = Scene::new(400, DuelRules::default());
        scene.play(&[old]);
        [(); 3].map(|()| scene.play(players).clone())
    };
    let course = |records: &[Record]| -> Vec<(Option<Uid>, Option<Fight>)> {
        records.iter().map(|record| (record.champion, fight(record, 3).cloned())).collect()
    };
    let (alone, shielded) = (play(&[old, rival]), play(&[old, tweak, rival]));
    assert_eq!(course(&shielded), course(&alone), "to the bit");
    assert_eq!(shielded[2].champion, Some(Uid(3)));
    assert_eq!(fight(&shielded[0], 2).unwrap().verdict, Some(Verdict::Rejected));
    assert_eq!(merit(&shielded[2], 2).1, 0.0);
}

#[test]
fn attack_whoever_is_better_on_most_documents_and_worse_on_average_is_rejected() {
    let mut n = 0;
    let specialist = || {
        n += 1;
        if n % 5 < 3 { 0.006 } else { -0.05 }
    };
    let (verdict, duel) = to_end(begin(1_500), specialist);
    assert_eq!(verdict, Verdict::Rejected);
    assert!(duel.evidence().n_documents() <= 50, "{}", duel.evidence().n_documents());
}

#[test]
fn attack_a_few_documents_known_by_heart_take_no_crown() {
    let mut n = 0;
    let memory = || {
        n += 1;
        if n % 50 == 7 { 0.5 } else { -0.001 }
    };
    let (verdict, duel) = to_end(begin(1_500), memory);
    assert_eq!(verdict, Verdict::Rejected);
    assert!(duel.evidence().mean_unclipped() > 0.005, "without a clip it would be better");
}

#[test]
fn attack_any_number_of_commitments_of_one_owner_share_one_chance_and_twelve_duels() {
    let mut scene = Scene::new(25, few());
    let old = player(1, 0.0);
    scene.play(&[old]);
    let mut spent = 0.0;
    for n in 1..=100_u16 {
        let ticket = Player { coldkey: 7, ..player(10 + n, 0.0) };
        let record = scene.play(&[old, ticket]);
        assert_eq!(record.champion, Some(Uid(1)));
        if n > 12 {
            assert_eq!(fight(record, ticket.uid), None, "the {n}th takes no time of others");
            continue;
        }
        let of = fight(record, ticket.uid).unwrap();
        assert_eq!(of.attempts.n, u32::from(n));
        spent += of.terms.alpha;
    }
    assert!(spent < few().alpha && spent > 0.9 * few().alpha, "{spent}");
}

#[test]
fn attack_a_clone_of_the_same_round_never_goes_before_its_original() {
    let old = player(1, 0.0);
    // An owner that tries for the first time, and one that tries for the last.
    for n_tries in [0, 11_u16] {
        let mut scene = Scene::new(100, DuelRules::default());
        scene.play(&[old]);
        for n in 0..n_tries {
            scene.play(&[old, Player { coldkey: 7, ..player(10 + n, -0.1) }]);
        }
        let original = Player { coldkey: 7, ..player(200, 0.05) };
        let clone = Player { luck: original.luck, ..player(201, 0.05) };
        for _ in 0..3 {
            assert_eq!(scene.play(&[clone, old, original]).champion, Some(Uid(200)));
        }
    }
}
