//! Casts: who plays where, with an attack and without it.

use super::*;

fn scenario(text: &str) -> Scenario {
    Scenario::from_toml(text).unwrap()
}

/// Three honest miners and so many validators.
fn base(n_validators: usize) -> Cast {
    let players = vec![Part { kind: Kind::Scratch, n_slots: 1 }; 3];
    Cast { players, n_validators, cabals: Vec::new() }
}

#[test]
fn a_cast_is_what_the_rows_of_its_scenario_list_in_their_order() {
    let cast = Cast::of(&scenario(
        "validators = 3\n\
         [[cabals]]\ncabal = \"censor\"\n[[cabals]]\ncabal = \"pay-own\"\ncount = 2\n\
         [[miners]]\nstrategy = \"sybil\"\n[[miners]]\nstrategy = \"copy\"\nslots = 2\ncount = 2\n\
         [[miners]]\nstrategy = \"hoard\"\ncount = 0\n[[miners]]\nstrategy = \"rebase\"\n",
    ));
    let players: Vec<(Kind, usize)> =
        cast.players.iter().map(|part| (part.kind, part.n_slots)).collect();
    assert_eq!(players, [(Kind::Sybil, 4), (Kind::Copy, 2), (Kind::Copy, 2), (Kind::Rebase, 1)]);
    assert_eq!(cast.cabals, [Cabal::Censor, Cabal::PayOwn, Cabal::PayOwn]);
    assert_eq!((cast.n_validators, cast.n_all_validators()), (3, 6));
}

#[test]
fn every_attack_has_a_name_of_its_own_by_which_it_is_found() {
    let all = Attack::all();
    assert_eq!(all.len(), Kind::ALL.len() - 3 + Cabal::ALL.len());
    for (place, attack) in all.iter().enumerate() {
        assert_eq!(Attack::named(attack.name()), Ok(*attack));
        assert_eq!(attack.to_string(), attack.name());
        assert!(all[..place].iter().all(|other| other.name() != attack.name()), "{attack}");
    }
    for honest in [Kind::Scratch, Kind::Rebase, Kind::Idle] {
        assert!(Attack::named(honest.name()).is_err(), "{honest} is no attack");
    }
    assert_eq!(Attack::named("qqq"), Err(None));
}

#[test]
fn an_attack_takes_the_last_place_and_honest_play_as_many_slots_in_its_stead() {
    for attack in Attack::all() {
        let base = base(5);
        let (with, honest) = (base.with(attack), base.with_honest_for(attack));
        assert_eq!(with.players[..2], base.players[..2], "{attack}");
        assert_eq!(honest.players[..2], base.players[..2], "{attack}");
        assert_eq!((with.players.len(), honest.players.len()), (3, 3), "{attack}");
        let (own, other) = (with.players[2], honest.players[2]);
        assert_eq!((other.kind, other.n_slots), (Kind::Rebase, own.n_slots), "{attack}");
        assert_eq!((honest.n_validators, honest.cabals.len()), (5, 0), "{attack}");
        match attack {
            Attack::Miner(kind) => assert_eq!((own.kind, with.n_validators), (kind, 5)),
            Attack::Cabal(cabal) => assert_eq!(with.cabals, [cabal, cabal]),
        }
    }
    let paid = base(5).with(Attack::Cabal(Cabal::PayOwn)).players[2].kind;
    assert_eq!(paid, Kind::Idle, "whoever is paid for nothing does nothing");
}

#[test]
fn a_cabal_is_less_than_half_of_five_and_never_all_validators() {
    for (n_validators, n_cabal) in [(1, 0), (2, 1), (3, 2), (5, 2), (64, 2)] {
        for cabal in Cabal::ALL {
            let attack = Attack::Cabal(cabal);
            let (with, honest) =
                (base(n_validators).with(attack), base(n_validators).with_honest_for(attack));
            assert_eq!(with.cabals.len(), n_cabal, "{n_validators} {cabal}");
            assert_eq!(with.n_all_validators(), n_validators, "{n_validators} {cabal}");
            // Its place is the same in both casts, so that what it earned can be compared.
            let first = with.n_validators;
            assert_eq!(with.place(attack), (2, Some(first)), "{n_validators} {cabal}");
            assert_eq!(honest.place(attack), with.place(attack), "{n_validators} {cabal}");
        }
    }
    assert_eq!(base(5).place(Attack::Miner(Kind::Copy)), (2, None));
}
