//! Eras: those of Substrate's own tests, and all others by their promises.

use super::*;
use parity_scale_codec::DecodeAll;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Option<Era> {
    Era::decode_all(&mut &*bytes).ok()
}

#[test]
fn eras_are_made_as_in_substrates_own_tests() {
    for (period, current, expected) in [
        (64, 42, (64, 42)),
        (32_768, 20_000, (32_768, 20_000)),
        (200, 513, (256, 1)),
        (2, 1, (4, 1)),
        (4, 5, (4, 1)),
        (1_000_000, 1_000_001, (65_536, 1_000_001 % 65_536 / 16 * 16)),
        (0, 0, (4, 0)),
        (u32::MAX, u64::MAX, (65_536, 65_520)),
    ] {
        let (period_of, phase) = expected;
        let expected = Era::Mortal { period: period_of, phase };
        assert_eq!(Era::mortal(period, Block(current)), expected, "{period} at {current}");
    }
}

#[test]
fn an_era_begins_and_ends_as_in_substrates_own_tests() {
    let era = Era::mortal(4, Block(6));
    for (blocks, birth) in [(6..10, 6), (10..14, 10)] {
        for block in blocks {
            assert_eq!(era.birth(Block(block)), Block(birth), "{block}");
            assert_eq!(era.death(Block(block)), Some(Block(birth + 4)), "{block}");
        }
    }
    // A block before the phase of the era.
    assert_eq!(Era::mortal(4, Block(3)).birth(Block(1)), Block(3));
    assert_eq!(Era::Immortal.death(Block(u64::MAX)), None);
    let last = Era::mortal(4, Block(0));
    assert_eq!(last.death(Block(u64::MAX)), Some(Block(u64::MAX)), "no block is later");
}

#[test]
fn attack_bytes_of_no_era_do_not_read() {
    assert_eq!(read(&[0]), Some(Era::Immortal));
    assert_eq!(read(&[0xa5, 0x02]), Some(Era::Mortal { period: 64, phase: 42 }));
    for (bytes, why) in [
        (&[][..], "nothing"),
        (&[1][..], "half a mortal era"),
        (&[0, 0][..], "more than an immortal one"),
        (&[0xa5, 0x02, 0][..], "more than a mortal one"),
        (&[0x10, 0][..], "a period of two blocks"),
        (&[0x41, 0][..], "a phase as long as its period of four"),
        (&[0xf1, 0xff][..], "a phase far beyond it"),
    ] {
        assert_eq!(read(bytes), None, "{why}");
    }
    // The longest: phases travel in sixteens there, so that all that fit are within the period.
    let longest = Era::Mortal { period: 65_536, phase: 65_520 };
    assert_eq!(read(&[0xff, 0xff]), Some(longest));
}

#[test]
fn an_era_may_begin_before_it_is_signed_so_that_it_ends_in_time() {
    let until = |last, head, period| Era::until(Block(last), Block(head), period);
    assert_eq!(until(1_000, 100, 64), Some(Era::mortal(64, Block(100))), "as without an end");
    assert_eq!(until(163, 100, 64), Some(Era::mortal(64, Block(100))));
    assert_eq!(until(162, 100, 64), Some(Era::mortal(64, Block(99))));
    assert_eq!(until(131, 100, 64), Some(Era::mortal(32, Block(100))));
    assert_eq!(until(101, 100, 64), Some(Era::mortal(4, Block(98))));
    assert_eq!(until(100, 100, 64), None, "the block has come");
    assert_eq!(until(99, 100, 64), None);
    // Where the chain is young.
    assert_eq!(until(9, 1, 64), Some(Era::mortal(8, Block(1))), "sooner, as 16 blocks do not fit");
    assert_eq!(until(3, 1, 64), Some(Era::mortal(4, Block(0))));
    assert_eq!(until(2, 1, 64), None, "no era ends before block 4");
    assert_eq!(until(u64::MAX, 7, 64), Some(Era::mortal(64, Block(7))));
}

proptest! {
    #[test]
    fn an_era_that_ends_by_a_block_takes_the_next_one_and_none_after_it(
        head in 0..u64::from(u32::MAX), blocks in 0..200_u64, period in 0..=8_192_u32,
    ) {
        let (last, head) = (Block(head + blocks), Block(head));
        let era = Era::until(last, head, period);
        prop_assert_eq!(era.is_some(), blocks > 0 && last.0 > 2, "{:?}", era);
        if let Some(era) = era {
            let (birth, death) = (era.birth(head), era.death(head).unwrap());
            prop_assert!(birth <= head && death.0 > head.0 + 1 && death.0 <= last.0 + 1);
            prop_assert_eq!(era.birth(Block(head.0 + 1)), birth, "the same era");
            prop_assert_eq!(read(&era.encode()), Some(era));
        }
    }

    #[test]
    fn the_block_for_which_an_era_is_made_is_in_it(
        period in any::<u32>(), current in 0..u64::from(u32::MAX), later in 0..70_000_u64,
    ) {
        let era = Era::mortal(period, Block(current));
        prop_assert_eq!(read(&era.encode()), Some(era));
        let (birth, death) = (era.birth(Block(current)), era.death(Block(current)).unwrap());
        prop_assert!(birth.0 <= current && current < death.0);
        // Whoever asks later in the same era gets the same answer.
        let later = Block(birth.0 + later % (death.0 - birth.0));
        prop_assert_eq!((era.birth(later), era.death(later)), (birth, Some(death)));
        prop_assert_eq!(era.birth(death), death, "the next begins where it ends");
    }
}
