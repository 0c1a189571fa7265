//! Whose a model is that several have committed to: one model counts once.
//!
//! A commitment costs nothing but a slot, and a listing on the hub is enough to make one. If copies
//! counted, their number would be weight.
//!
//! This saves measuring the same model again and again, and makes a bare listing worthless. Whoever
//! has the bytes can change one, and has another root: what keeps such copies from earning is the
//! line of succession.

use crate::{Digest, Reason, ReasonCode, Uid, wins::Seniority};
use std::collections::BTreeMap;

/// One commitment to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Slot of whoever committed; no two claims of a round share one.
    pub uid: Uid,
    /// When it was committed to.
    pub seniority: Seniority,
    /// [`crate::content::tensor_root`] of the model: the same for equal files, and for equal
    /// tensors in other files.
    pub root: Digest,
}

/// The claims to models that are somebody else's, or nobody's, by uid, with the reason.
///
/// The model belongs to the only commitment of the earliest block that has one. Where that block
/// has several, one of them may have taken what it committed to from a listing, and nothing shows
/// which: the model is nobody's, so that no number of keys makes a listing worth trying.
pub fn duplicates(claims: &[Claim]) -> BTreeMap<Uid, Reason> {
    let mut by_root: Vec<&Claim> = claims.iter().collect();
    by_root.sort_unstable_by_key(|claim| (claim.root, claim.seniority, claim.uid));
    let mut reasons = BTreeMap::new();
    for claims in by_root.chunk_by(|a, b| a.root == b.root) {
        let Some(&&Claim { uid: first, seniority: Seniority { block, .. }, .. }) = claims.first()
        else {
            continue;
        };
        let n_first = claims.iter().filter(|claim| claim.seniority.block == block).count();
        let is_owned = n_first == 1;
        for claim in &claims[usize::from(is_owned)..] {
            let detail = if is_owned {
                format!("the model of uid {first}, committed to in block {block}")
            } else {
                format!("{n_first} committed to this model in block {block}; it is nobody's")
            };
            reasons.insert(claim.uid, Reason::new(ReasonCode::Duplicate, detail));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    fn claim(uid: u16, block: u64, root: u8) -> Claim {
        let seniority = Seniority { block: Block(block), tie_break: Digest([uid as u8; 32]) };
        Claim { uid: Uid(uid), seniority, root: Digest([root; 32]) }
    }

    fn refused(claims: &[Claim]) -> Vec<u16> {
        duplicates(claims).into_keys().map(|uid| uid.0).collect()
    }

    #[test]
    fn the_senior_commitment_owns_a_model_and_its_copies_are_named() {
        let claims = [claim(9, 20, 1), claim(3, 30, 1), claim(4, 25, 1), claim(5, 10, 2)];
        assert_eq!(refused(&claims), [3, 4]);
        let reason = &duplicates(&claims)[&Uid(3)];
        assert_eq!(reason.to_string(), "duplicate: the model of uid 9, committed to in block 20");
        assert_eq!(refused(&[]), [0; 0]);
    }

    #[test]
    fn attack_a_model_committed_to_twice_in_one_block_is_nobodys() {
        let claims = [claim(1, 20, 1), claim(2, 20, 1), claim(3, 30, 1), claim(4, 20, 2)];
        assert_eq!(refused(&claims), [1, 2, 3], "not the later one's either");
        let mut reversed = claims;
        reversed.reverse();
        assert_eq!(duplicates(&reversed), duplicates(&claims));
    }
}
