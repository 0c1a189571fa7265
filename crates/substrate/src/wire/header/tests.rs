//! Headers: their bytes, and what their hash binds.

use super::*;
use parity_scale_codec::DecodeAll;

fn header(number: u32) -> Header {
    Header {
        parent_hash: H256([0; 32]),
        number,
        state_root: H256([1; 32]),
        extrinsics_root: H256([2; 32]),
        digest: Digest::default(),
    }
}

#[test]
fn a_header_has_the_bytes_and_the_hash_of_substrate() {
    let expected = [&[0; 32][..], &[4], &[1; 32], &[2; 32], &[0]].concat();
    assert_eq!(header(1).encode(), expected);
    // By another implementation of BLAKE2b.
    let hash = "e15f902a7517a6984098bc6f9b51510cb97919e4a5aa261c8c1b3117812cd78c";
    assert_eq!(hex::encode(header(1).hash()), hash);
}

#[test]
fn numbers_of_all_lengths_read_back() {
    for (number, n_bytes) in [
        (0, 1),
        (63, 1),
        (64, 2),
        (16_383, 2),
        (16_384, 4),
        ((1 << 30) - 1, 4),
        (1 << 30, 5),
        (u32::MAX, 5),
    ] {
        let bytes = header(number).encode();
        assert_eq!(bytes.len(), 97 + n_bytes, "{number}");
        assert_eq!(Header::decode_all(&mut &bytes[..]), Ok(header(number)));
    }
}

#[test]
fn every_field_changes_the_hash() {
    let base = header(7);
    let logs = vec![DigestItem::Other(Vec::new())];
    let others = [
        Header { parent_hash: H256([9; 32]), ..base.clone() },
        Header { number: 8, ..base.clone() },
        Header { state_root: H256([9; 32]), ..base.clone() },
        Header { extrinsics_root: H256([9; 32]), ..base.clone() },
        Header { digest: Digest { logs }, ..base },
    ];
    for other in others {
        assert_ne!(other.hash(), base.hash(), "{other:?}");
        assert_eq!(Header::decode_all(&mut &other.encode()[..]), Ok(other));
    }
}

#[test]
fn attack_bytes_of_no_header_do_not_read() {
    let bytes = header(20_000).encode();
    for n in 0..bytes.len() {
        assert!(Header::decode_all(&mut &bytes[..n]).is_err(), "{n} bytes");
    }
    let more = [&bytes[..], &[0]].concat();
    assert!(Header::decode_all(&mut &more[..]).is_err());
    // A log of a kind that is not there, and a list that only says it is long.
    for tail in [&[4, 6, 0][..], &[0xfe, 0xff, 0xff, 0xff]] {
        let bent = [&bytes[..bytes.len() - 1], tail].concat();
        assert!(Header::decode_all(&mut &bent[..]).is_err(), "{tail:?}");
    }
    // A number in more bytes than it needs: a header has one spelling.
    let mut long = header(1).encode();
    drop(long.splice(32..33, [0x05, 0x00]));
    assert!(Header::decode_all(&mut &long[..]).is_err());
}

#[test]
fn the_root_of_extrinsics_binds_their_number_their_order_and_their_bytes() {
    let empty = "03170a2e7597b7b7e3d84c05391d139a62b157e78786d8c082f29dcf4c111314";
    assert_eq!(hex::encode(extrinsics_root(&[]).0), empty, "that of Substrate's empty trie");
    let (one, two): (&[u8], &[u8]) = (&[4, 1], &[4, 2]);
    let lists = [&[][..], &[one], &[two], &[one, two], &[two, one], &[one, one], &[one, two, one]];
    for (i, list) in lists.iter().enumerate() {
        let root = extrinsics_root(list);
        assert!(lists[..i].iter().all(|other| extrinsics_root(other) != root), "list {i}");
    }
}
