//! Points of BLS12-381 and their pairing; the only file that knows which library computes them.
//!
//! Signatures are points of G1 and public keys points of G2, compressed as Zcash does. Everything
//! secret goes through the library's signing functions, which take the same time for all scalars.

use blst::{BLST_ERROR, blst_fp12, blst_p1_affine, blst_p2_affine, min_sig};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Tag under which the rounds of the beacon are hashed to G1 (RFC 9380; nothing is prefixed).
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// Order of both groups, least significant limb first.
const ORDER: [u64; 4] =
    [0xffff_ffff_0000_0001, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];

/// Bytes of one element of the base field.
const ELEMENT_BYTES: usize = 48;

/// Where blst writes the twelve elements of a pairing that arkworks writes first, second, …: blst
/// goes through the pairs of an element of `Fp12` by thirds and then halves, arkworks by halves.
const ELEMENTS: [usize; 12] = [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11];

/// A point of G1 that is not zero.
pub(crate) struct G1(min_sig::Signature);

/// A point of G2 that is not zero.
pub(crate) struct G2(min_sig::PublicKey);

/// A secret number from 1 to the order of the groups less 1; wiped from memory on drop.
pub(crate) struct Scalar(min_sig::SecretKey);

impl G1 {
    /// The point of these bytes; `None` for bytes that are none of the group, and for zero.
    pub(crate) fn from_bytes(bytes: &[u8; 48]) -> Option<Self> {
        min_sig::Signature::sig_validate(bytes, true).ok().map(Self)
    }

    pub(crate) fn to_bytes(&self) -> [u8; 48] {
        self.0.compress()
    }

    /// Whether this is what the secret of `key` makes of the identity of `round`.
    pub(crate) fn is_signature(&self, key: &G2, round: u64) -> bool {
        let verdict = self.0.verify(false, &identity(round), DOMAIN, &[], &key.0, false);
        verdict == BLST_ERROR::BLST_SUCCESS
    }
}

impl G2 {
    /// The point of these bytes; `None` for bytes that are none of the group, and for zero.
    pub(crate) fn from_bytes(bytes: &[u8; 96]) -> Option<Self> {
        min_sig::PublicKey::key_validate(bytes).ok().map(Self)
    }

    pub(crate) fn to_bytes(&self) -> [u8; 96] {
        self.0.compress()
    }
}

impl Scalar {
    /// The scalar of a hash, read as a big-endian number modulo the order; `None` for zero, which
    /// nobody finds.
    pub(crate) fn of_digest(digest: &[u8; 32]) -> Option<Self> {
        min_sig::SecretKey::from_bytes(&*reduced(digest)).ok().map(Self)
    }

    /// The scalar of a seed, by the key derivation of the IETF's draft on BLS signatures.
    pub(crate) fn of_seed(seed: &[u8; 32]) -> Self {
        let key = min_sig::SecretKey::key_gen(seed, b"agon beacon");
        Self(key.expect("32 bytes are enough for a key"))
    }

    /// The generator of G2 times this.
    pub(crate) fn of_generator(&self) -> G2 {
        G2(self.0.sk_to_pk())
    }

    /// The point that the identity of `round` is hashed to, times this: a signature.
    pub(crate) fn of_identity(&self, round: u64) -> G1 {
        G1(self.0.sign(&identity(round), DOMAIN, &[]))
    }
}

/// What stands for a round: SHA-256 of its number, big-endian.
fn identity(round: u64) -> [u8; 32] {
    Sha256::digest(round.to_be_bytes()).into()
}

/// SHA-256 of the pairing of two points, written as arkworks writes elements of `Fp12`: twelve
/// elements of the base field, 48 bytes little-endian each.
pub(crate) fn pairing_digest(p: &G1, q: &G2) -> Zeroizing<[u8; 32]> {
    let (p, q): (blst_p1_affine, blst_p2_affine) = (p.0.into(), q.0.into());
    let pairing = Zeroizing::new(blst_fp12::miller_loop(&q, &p).final_exp().to_bendian());
    let mut hasher = Sha256::new();
    for at in ELEMENTS {
        let mut element = Zeroizing::new([0; ELEMENT_BYTES]);
        let written = pairing.iter().skip(at * ELEMENT_BYTES);
        for (to, from) in element.iter_mut().rev().zip(written) {
            *to = *from;
        }
        hasher.update(*element);
    }
    Zeroizing::new(hasher.finalize().into())
}

/// A big-endian number modulo the order of the groups.
fn reduced(number: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut limbs = Zeroizing::new([0; 4]);
    for (limb, bytes) in limbs.iter_mut().zip(number.rchunks_exact(8)) {
        *limb = bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    // 2^256 is less than three times the order.
    for _ in 0..2 {
        subtract_order_once(&mut limbs);
    }
    let mut out = Zeroizing::new([0; 32]);
    for (bytes, limb) in out.rchunks_exact_mut(8).zip(limbs.iter()) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    out
}

/// Takes the order off a number that is not less; the same steps whether or not it is.
fn subtract_order_once(limbs: &mut [u64; 4]) {
    let mut difference = Zeroizing::new([0; 4]);
    let mut borrow = false;
    for ((to, limb), order) in difference.iter_mut().zip(limbs.iter()).zip(ORDER) {
        let (less, borrowed) = limb.overflowing_sub(order);
        let (less, borrowed_again) = less.overflowing_sub(u64::from(borrow));
        (*to, borrow) = (less, borrowed | borrowed_again);
    }
    let keep = 0_u64.wrapping_sub(u64::from(borrow));
    for (limb, less) in limbs.iter_mut().zip(difference.iter()) {
        *limb = (*limb & keep) | (less & !keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes32(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn one() -> Scalar {
        let mut number = [0; 32];
        number[31] = 1;
        Scalar::of_digest(&number).unwrap()
    }

    fn vectors() -> serde_json::Value {
        let text = include_str!("../../../testdata/timelock/ciphertexts.json");
        serde_json::from_str(text).unwrap()
    }

    fn bytes<const N: usize>(value: &serde_json::Value) -> [u8; N] {
        hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_round_is_hashed_to_the_point_and_paired_to_the_bytes_that_others_compute() {
        let vectors = vectors();
        let quicknet = &vectors["quicknet"];
        assert_eq!(quicknet["dst"].as_str().unwrap().as_bytes(), DOMAIN);
        let known = &quicknet["known_round"];
        let round = known["round"].as_u64().unwrap();
        let point = one().of_identity(round);
        assert_eq!(point.to_bytes(), bytes(&known["identity_point_g1"]));
        let key = G2::from_bytes(&bytes(&quicknet["public_key_g2"])).unwrap();
        let digest = pairing_digest(&point, &key);
        assert_eq!(*digest, bytes(&known["sha256_of_pairing_identity_key"]));
    }

    #[test]
    fn whichever_point_is_multiplied_the_pairing_is_the_same() {
        let (r, s) = (Scalar::of_seed(&[1; 32]), Scalar::of_seed(&[2; 32]));
        let one_way = pairing_digest(&r.of_identity(7), &s.of_generator());
        assert_eq!(*one_way, *pairing_digest(&s.of_identity(7), &r.of_generator()));
        assert_ne!(*one_way, *pairing_digest(&s.of_identity(8), &r.of_generator()));
    }

    #[test]
    fn numbers_are_reduced_by_the_order() {
        let order = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
        let below = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000";
        let twice = "e7db4ea6533afa906673b0101343b00aa77b4805fffcb7fdfffffffe00000002";
        let (zero, max) = ([0; 32], [0xff; 32]);
        assert_eq!(*reduced(&bytes32(below)), bytes32(below));
        assert_eq!(*reduced(&bytes32(order)), zero);
        assert_eq!(*reduced(&bytes32(twice)), zero);
        let mut above = bytes32(twice);
        above[31] += 3;
        assert_eq!(reduced(&above)[31], 3);
        // 2^256 - 1 less twice the order.
        let rest = "1824b159acc5056f998c4fefecbc4ff55884b7fa0003480200000001fffffffd";
        assert_eq!(*reduced(&max), bytes32(rest));
        assert!(Scalar::of_digest(&zero).is_none());
        assert!(Scalar::of_digest(&bytes32(order)).is_none());
    }

    #[test]
    fn points_outside_the_groups_and_zero_are_refused() {
        let (mut n_g1, mut n_g2) = (0, 0);
        for last in 0..32 {
            let (mut g1, mut g2) = ([0; 48], [0; 96]);
            (g1[0], g1[47], g2[0], g2[95]) = (0x80, last, 0x80, last);
            assert!(G1::from_bytes(&g1).is_none() && G2::from_bytes(&g2).is_none(), "{last}");
            n_g1 += usize::from(min_sig::Signature::uncompress(&g1).is_ok());
            n_g2 += usize::from(min_sig::PublicKey::uncompress(&g2).is_ok());
        }
        assert!(n_g1 > 0 && n_g2 > 0, "some were on the curve: {n_g1} and {n_g2}");
        let (mut zero1, mut zero2) = ([0; 48], [0; 96]);
        (zero1[0], zero2[0]) = (0xc0, 0xc0);
        assert!(G1::from_bytes(&zero1).is_none() && G2::from_bytes(&zero2).is_none());
        assert!(G1::from_bytes(&[0; 48]).is_none() && G2::from_bytes(&[0xff; 96]).is_none());
    }
}
