//! What every [`Chain`] promises, as functions over a [`World`].

#[path = "weights.rs"]
mod weights;

pub(crate) use weights::{
    hidden_weights_are_read_by_nobody_until_the_chain_opens_them_and_they_pay,
    weights_are_committed_to_first_where_the_owner_wants_it,
    weights_are_not_hidden_where_an_epoch_is_about_to_end,
    weights_make_incentive_and_pay_at_the_tempo,
    what_a_subnet_demands_of_weights_is_known_before_they_are_handed_over,
};

use chain::{
    Call, CallError, CallId, CallStatus, Chain, Error, Genesis, HyperparameterChange,
    Hyperparameters, Keypair, Mechanism, Metagraph, Signed, SubnetGenesis, SubnetIdentity, Voter,
    Weights,
};
use protocol::{Block, NetUid, Seed, Uid};
use std::sync::Arc;

/// A chain under test and the means to let time pass on it.
pub(crate) struct World {
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) next_block: Box<dyn Fn()>,
}

pub(crate) const NETUID: NetUid = NetUid(1);
pub(crate) const TAO: u64 = 1_000_000_000;
const TEMPO: u16 = 10;

/// Runs the suite over the worlds that a function makes: `contract!(memory)`.
macro_rules! contract {
    ($make:ident) => {
        mod $make {
            $crate::suite::contract!(
                @ $make:
                the_head_moves_by_one_and_its_hash_is_kept,
                a_registered_hotkey_appears_with_its_owner_and_stake,
                those_who_may_set_weights_are_told_of_a_past_block_with_their_stakes,
                a_commitment_comes_with_the_block_that_holds_it,
                the_commitments_after_a_block_stay_what_they_were,
                states_that_are_not_held_are_named_in_the_error,
                a_refused_call_names_the_rule_and_changes_nothing,
                an_unknown_subnet_and_an_unknown_call_are_said_to_be_so,
                weights_make_incentive_and_pay_at_the_tempo,
                calls_of_one_key_apply_in_the_order_of_submission,
                a_signed_call_is_one_call_however_often_it_is_sent,
                a_signed_call_whose_nonce_is_used_never_is_included,
                a_call_is_in_no_block_after_its_last_whoever_holds_it_back,
                weights_are_committed_to_first_where_the_owner_wants_it,
                hidden_weights_are_read_by_nobody_until_the_chain_opens_them_and_they_pay,
                what_a_subnet_demands_of_weights_is_known_before_they_are_handed_over,
                weights_are_not_hidden_where_an_epoch_is_about_to_end,
                every_other_call_does_what_its_name_says,
                owners_say_what_a_subnet_is_and_find_it_started,
                a_subnet_has_one_mechanism_and_says_so,
            );
        }
    };
    (@ $make:ident: $($test:ident,)*) => {
        $(
            #[test]
            fn $test() {
                $crate::suite::$test(&super::$make);
            }
        )*
    };
}
pub(crate) use contract;

type Make<'a> = &'a dyn Fn(&Genesis) -> World;

pub(crate) fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// Coldkeys 0 to 9 hold 1,000 TAO each; coldkey 9 owns the subnet.
pub(crate) fn genesis() -> Genesis {
    let hyperparameters = Hyperparameters {
        tempo: TEMPO,
        max_validators: 2,
        max_registrations_per_block: 16,
        target_registrations: 16,
        weights_rate_limit: 3,
        commitment_rate_limit: 5,
        ..Hyperparameters::default()
    };
    Genesis {
        seed: 1,
        accounts: (0..10).map(|i| (key(i).public(), 1_000 * TAO)).collect(),
        subnets: vec![SubnetGenesis { owner: key(9).public(), hyperparameters }],
        ..Genesis::default()
    }
}

impl World {
    fn head(&self) -> Block {
        self.chain.head().unwrap().block
    }

    fn metagraph(&self) -> Metagraph {
        self.chain.metagraph(NETUID).unwrap()
    }

    fn submit(&self, signer: &Keypair, call: Call) -> CallId {
        self.chain.submit(call, signer).unwrap()
    }

    /// Submits and lets a block pass.
    fn call(&self, signer: &Keypair, call: Call) -> CallStatus {
        let id = self.submit(signer, call);
        (self.next_block)();
        self.chain.status(id).unwrap()
    }

    fn must(&self, signer: &Keypair, call: Call) -> Block {
        match self.call(signer, call) {
            CallStatus::Applied(block) => block,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, signer: &Keypair, call: Call) -> CallError {
        match self.call(signer, call) {
            CallStatus::Refused(_, reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Registers hotkey `100 + i` under coldkey `i`.
    fn register(&self, i: u64) -> Keypair {
        let hotkey = key(100 + i);
        self.must(&key(i), register(&hotkey));
        hotkey
    }

    fn pass_epoch(&self) {
        let before = self.metagraph().last_epoch;
        let mut n_blocks = 0;
        while self.metagraph().last_epoch == before {
            (self.next_block)();
            n_blocks += 1;
            assert!(n_blocks <= u64::from(TEMPO) + 1, "no epoch within a tempo");
        }
    }
}

fn register(hotkey: &Keypair) -> Call {
    Call::BurnedRegister { netuid: NETUID, hotkey: hotkey.public() }
}

fn commit(data: &[u8]) -> Call {
    Call::SetCommitment { netuid: NETUID, data: data.to_vec() }
}

fn weigh(weights: &[(u16, u16)]) -> Call {
    let (uids, weights) = weights.iter().map(|(uid, weight)| (Uid(*uid), *weight)).unzip();
    Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 }
}

pub(crate) fn the_head_moves_by_one_and_its_hash_is_kept(make: Make<'_>) {
    let world = make(&genesis());
    let before = world.chain.head().unwrap();
    (world.next_block)();
    let after = world.chain.head().unwrap();
    assert_eq!(after.block.0, before.block.0 + 1);
    assert_ne!(after.hash, before.hash);
    assert_eq!(world.chain.block_hash(before.block).unwrap(), Some(before.hash));
    assert_eq!(world.chain.block_hash(after.block).unwrap(), Some(after.hash));
    assert_eq!(world.chain.block_hash(Block(after.block.0 + 1)).unwrap(), None);
}

pub(crate) fn a_registered_hotkey_appears_with_its_owner_and_stake(make: Make<'_>) {
    let world = make(&genesis());
    let balance = world.chain.balance(key(0).public()).unwrap();
    let hotkey = world.register(0);
    let registered_at = world.head();
    world.must(
        &key(0),
        Call::AddStake { hotkey: hotkey.public(), netuid: NETUID, amount_rao: 5 * TAO },
    );
    let metagraph = world.metagraph();
    let neuron = &metagraph.neurons[0];
    assert_eq!(
        (neuron.uid, neuron.hotkey, neuron.coldkey),
        (Uid(0), hotkey.public(), key(0).public())
    );
    assert_eq!(neuron.stake_rao, 5 * TAO);
    assert_eq!(neuron.block_at_registration, registered_at);
    assert_eq!((metagraph.netuid, metagraph.block), (NETUID, world.head()));
    assert_eq!(world.chain.balance(key(0).public()).unwrap(), balance - 6 * TAO);
}

pub(crate) fn those_who_may_set_weights_are_told_of_a_past_block_with_their_stakes(make: Make<'_>) {
    let world = make(&genesis());
    let hotkeys: Vec<Keypair> = (0..3).map(|i| world.register(i)).collect();
    let voters = |at: Block| world.chain.voters(NETUID, at).unwrap();
    let stake = |i: u64, amount_rao: u64| {
        let hotkey = hotkeys[i as usize].public();
        world.must(&key(i), Call::AddStake { hotkey, netuid: NETUID, amount_rao })
    };
    stake(1, 5 * TAO);
    stake(2, 7 * TAO);
    world.pass_epoch();
    let before = world.head();
    let told = voters(before);
    assert_eq!(told, Voter::of(&world.metagraph()));
    let stake_of = |voters: &[Voter], i: u16| {
        let voter = voters.iter().find(|voter| voter.uid == Uid(i)).unwrap();
        assert_eq!(voter.hotkey, hotkeys[usize::from(i)].public());
        voter.stake_rao
    };
    assert!(stake_of(&told, 1) >= 5 * TAO && stake_of(&told, 2) >= 7 * TAO);
    let after = stake(1, 3 * TAO);
    assert_eq!(stake_of(&voters(after), 1), stake_of(&told, 1) + 3 * TAO);
    assert_eq!(voters(before), told, "of a past block, what was so then");
    let nowhere = NetUid(77);
    let error = world.chain.voters(nowhere, before).unwrap_err();
    assert!(matches!(error, Error::NoSubnet(id) if id == nowhere), "{error}");
}

pub(crate) fn a_commitment_comes_with_the_block_that_holds_it(make: Make<'_>) {
    let world = make(&genesis());
    let hotkey = world.register(0);
    for text in [&b"first"[..], &b"second"[..]] {
        let block = world.must(&hotkey, commit(text));
        let commitments = world.chain.commitments(NETUID, world.head()).unwrap();
        assert_eq!(commitments.len(), 1);
        assert_eq!((commitments[0].hotkey, commitments[0].uid), (hotkey.public(), Uid(0)));
        assert_eq!(commitments[0].coldkey, key(0).public(), "its owner in the same state");
        assert_eq!((&commitments[0].data[..], commitments[0].block), (text, block));
        assert_eq!(Some(commitments[0].block_hash), world.chain.block_hash(block).unwrap());
        (0..5).for_each(|_| (world.next_block)());
    }
}

pub(crate) fn the_commitments_after_a_block_stay_what_they_were(make: Make<'_>) {
    let world = make(&genesis());
    let (a, b) = (world.register(0), world.register(1));
    let empty = world.head();
    let first = world.must(&b, commit(b"first"));
    (0..5).for_each(|_| (world.next_block)());
    let before = world.head();
    world.submit(&b, commit(b"second"));
    let second = world.must(&a, commit(b"other"));
    (0..20).for_each(|_| (world.next_block)());
    let at = |block| {
        let commitments = world.chain.commitments(NETUID, block).unwrap();
        commitments.into_iter().map(|c| (c.uid.0, c.block, c.data)).collect::<Vec<_>>()
    };
    assert_eq!(at(empty), []);
    assert_eq!(at(first), [(1, first, b"first".to_vec())]);
    assert_eq!(at(before), at(first), "content and block of one commitment, never of two");
    let both = [(0, second, b"other".to_vec()), (1, second, b"second".to_vec())];
    assert_eq!(at(second), both);
    assert_eq!(at(world.head()), both);
}

pub(crate) fn states_that_are_not_held_are_named_in_the_error(make: Make<'_>) {
    let world = make(&genesis());
    (0..256).for_each(|_| (world.next_block)());
    let future = Block(world.head().0 + 1);
    let error = world.chain.commitments(NETUID, future).unwrap_err();
    assert!(matches!(error, Error::NoState { at, .. } if at == future), "{error}");
    assert!(error.is_transient() && error.to_string().contains("257"), "{error}");
    assert!(world.chain.commitments(NETUID, Block(world.head().0 - 255)).is_ok());
}

pub(crate) fn a_refused_call_names_the_rule_and_changes_nothing(make: Make<'_>) {
    let world = make(&genesis());
    let stranger = key(77);
    let refusal = world.chain.submit(commit(b"x"), &stranger).unwrap_err();
    assert!(matches!(refusal, Error::Refused(CallError::UnknownSigner)), "{refusal}");
    world.must(&key(0), Call::Transfer { to: stranger.public(), amount_rao: 1 });
    assert_eq!(world.refused(&stranger, commit(b"x")), CallError::AccountNotAllowedCommit);
    assert_eq!(world.refused(&stranger, weigh(&[(0, 1)])), CallError::UidsLengthExceedUidsInSubNet);
    assert_eq!(world.refused(&stranger, register(&stranger)), CallError::NotEnoughBalanceToStake);
    let hotkey = world.register(0);
    assert_eq!(
        world.refused(&key(1), register(&hotkey)),
        CallError::HotKeyAlreadyRegisteredInSubNet
    );
    let before = world.metagraph().neurons;
    assert_eq!(world.refused(&hotkey, weigh(&[(0, 1)])), CallError::SettingWeightsTooFast);
    assert_eq!(world.metagraph().neurons, before);
}

pub(crate) fn an_unknown_subnet_and_an_unknown_call_are_said_to_be_so(make: Make<'_>) {
    let world = make(&genesis());
    let nowhere = NetUid(7);
    assert!(matches!(world.chain.metagraph(nowhere), Err(Error::NoSubnet(id)) if id == nowhere));
    assert!(matches!(
        world.chain.commitments(nowhere, world.head()),
        Err(Error::NoSubnet(id)) if id == nowhere
    ));
    assert_eq!(world.chain.status(CallId([9; 32])).unwrap(), CallStatus::Unknown);
    let id = world.submit(&key(0), register(&key(100)));
    assert_eq!(world.chain.status(id).unwrap(), CallStatus::Pending);
}

pub(crate) fn calls_of_one_key_apply_in_the_order_of_submission(make: Make<'_>) {
    let world = make(&genesis());
    let hotkey = key(100);
    let ids = [
        world.submit(&key(0), register(&hotkey)),
        world.submit(
            &key(0),
            Call::AddStake { hotkey: hotkey.public(), netuid: NETUID, amount_rao: TAO },
        ),
        world.submit(
            &key(0),
            Call::RemoveStake { hotkey: hotkey.public(), netuid: NETUID, amount_rao: TAO },
        ),
    ];
    (world.next_block)();
    for id in ids {
        assert!(matches!(world.chain.status(id).unwrap(), CallStatus::Applied(_)));
    }
}

pub(crate) fn a_signed_call_is_one_call_however_often_it_is_sent(make: Make<'_>) {
    let world = make(&genesis());
    let hotkey = world.register(1);
    let chain = &world.chain;
    let signed = chain.sign(commit(b"once"), &hotkey, None).unwrap();
    let text = serde_json::to_string(&signed).unwrap();
    let kept: Signed = serde_json::from_str(&text).unwrap();
    assert_eq!(kept, signed, "it can be kept");
    (world.next_block)();
    assert!(world.metagraph().neurons.len() == 1, "signing sends nothing");
    chain.send(&kept).unwrap();
    chain.resume(&kept).unwrap();
    assert_eq!(chain.status(kept.id).unwrap(), CallStatus::Pending);
    (world.next_block)();
    let included = world.head();
    assert_eq!(chain.status(kept.id).unwrap(), CallStatus::Applied(included));
    for _ in 0..3 {
        chain.resume(&kept).unwrap();
        (world.next_block)();
        assert_eq!(chain.status(kept.id).unwrap(), CallStatus::Applied(included));
    }
    let stored = chain.commitments(NETUID, world.head()).unwrap();
    assert_eq!(stored[0].block, included, "it was made once");
}

pub(crate) fn a_signed_call_whose_nonce_is_used_never_is_included(make: Make<'_>) {
    let world = make(&genesis());
    let hotkey = world.register(1);
    let chain = &world.chain;
    let first = chain.sign(commit(b"kept"), &hotkey, None).unwrap();
    // Another process of the same key is quicker.
    world.must(&hotkey, commit(b"other"));
    chain.resume(&first).unwrap();
    (world.next_block)();
    assert_eq!(chain.status(first.id).unwrap(), CallStatus::Displaced);
    let stored = chain.commitments(NETUID, world.head()).unwrap();
    assert_eq!(stored[0].data, b"other");
}

pub(crate) fn a_call_is_in_no_block_after_its_last_whoever_holds_it_back(make: Make<'_>) {
    let world = make(&genesis());
    let hotkey = world.register(1);
    let (chain, head) = (&world.chain, world.head());
    let until = |blocks: u64| {
        let last = Block(world.head().0 + blocks);
        chain.sign(commit(b"in time"), &hotkey, Some(last))
    };
    let come = until(0).unwrap_err();
    assert!(matches!(come, Error::TooLate { .. }) && come.is_transient(), "{come}");
    // Held back until its last block has come, it is taken by none.
    for (blocks, is_resumed) in [(3, false), (1, true), (2, true)] {
        let signed = until(blocks).unwrap();
        assert!(signed.last <= Block(world.head().0 + blocks) && signed.last > world.head());
        while world.head() < signed.last {
            (world.next_block)();
        }
        if is_resumed {
            chain.resume(&signed).unwrap();
            (world.next_block)();
            assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Expired);
        } else {
            let refused = chain.send(&signed).unwrap_err();
            let bad = matches!(refused, Error::Refused(CallError::BadSignature));
            assert!(bad, "{refused}");
            (world.next_block)();
        }
        assert!(chain.commitments(NETUID, world.head()).unwrap().is_empty());
    }
    assert!(world.head() > head);
    // Its nonce is free, and the very next block may be the last.
    let signed = until(1).unwrap();
    chain.send(&signed).unwrap();
    (world.next_block)();
    assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Applied(signed.last));
}

pub(crate) fn every_other_call_does_what_its_name_says(make: Make<'_>) {
    let world = make(&genesis());
    let balance = |i| world.chain.balance(key(i).public()).unwrap();
    world.must(&key(0), Call::Remark { data: b"only a remark".to_vec() });
    world.must(&key(0), Call::Transfer { to: key(1).public(), amount_rao: 5 });
    assert_eq!((balance(0), balance(1)), (1_000 * TAO - 5, 1_000 * TAO + 5));
    let hotkey = world.register(2);
    let (netuid, stake) = (NETUID, 7 * TAO);
    world.must(&key(2), Call::AddStake { hotkey: hotkey.public(), netuid, amount_rao: stake });
    world.must(&key(2), Call::RemoveStake { hotkey: hotkey.public(), netuid, amount_rao: TAO });
    assert_eq!((world.metagraph().neurons[0].stake_rao, balance(2)), (6 * TAO, 993 * TAO));
    let opened = NetUid(2);
    let owner = key(103);
    world.must(&key(3), Call::RegisterNetwork { hotkey: owner.public() });
    assert_eq!(world.chain.metagraph(opened).unwrap().neurons[0].hotkey, owner.public());
    let change = HyperparameterChange::Tempo(5);
    world.must(&key(3), Call::SetHyperparameter { netuid: opened, change });
    assert_eq!(world.chain.metagraph(opened).unwrap().tempo, 5);
}

pub(crate) fn owners_say_what_a_subnet_is_and_find_it_started(make: Make<'_>) {
    let world = make(&genesis());
    let said = |name: &[u8]| SubnetIdentity { name: name.to_vec(), ..SubnetIdentity::default() };
    let say = |name: &[u8]| Call::SetSubnetIdentity { netuid: NETUID, identity: said(name) };
    let (owner, start) = (key(9), Call::StartSubnet { netuid: NETUID });
    assert_eq!(world.refused(&key(0), say(b"not mine")), CallError::NotSubnetOwner);
    assert_eq!(world.refused(&owner, say(&[b'x'; 257])), CallError::InvalidIdentity);
    world.must(&owner, say(&[b'x'; 256]));
    world.must(&owner, say(b"agon"));
    assert_eq!(world.refused(&key(0), start.clone()), CallError::BadOrigin);
    assert_eq!(world.refused(&owner, start), CallError::FirstEmissionBlockNumberAlreadySet);
    let nowhere = Call::StartSubnet { netuid: NetUid(7) };
    assert_eq!(world.refused(&owner, nowhere), CallError::SubnetNotExists);
}

pub(crate) fn a_subnet_has_one_mechanism_and_says_so(make: Make<'_>) {
    let world = make(&genesis());
    let validator = world.register(0);
    let weights = |mechanism| {
        let (uids, weights) = (vec![Uid(0)], vec![1]);
        Weights { netuid: NETUID, mechanism, uids, weights, version_key: 0 }
    };
    (0..3).for_each(|_| (world.next_block)());
    let other = world.chain.hand(&weights(Mechanism(1)), &validator).unwrap();
    assert_eq!(world.refused(&validator, other.call), CallError::MechanismDoesNotExist);
    let first = world.chain.hand(&weights(Mechanism::FIRST), &validator).unwrap();
    world.must(&validator, first.call);
    let hide = HyperparameterChange::CommitReveal(true);
    world.must(&key(9), Call::SetHyperparameter { netuid: NETUID, change: hide });
    let hidden = world.chain.hand(&weights(Mechanism(15)), &validator).unwrap();
    assert!(hidden.reveal.is_some());
    assert_eq!(world.refused(&validator, hidden.call), CallError::MechanismDoesNotExist);
}
