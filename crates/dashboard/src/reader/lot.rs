//! The next records of a place, each looked at.

use super::{Place, Reader, checks, flaw::Flaw};
use crate::index::{Checked, Common, Last, Progress};
use protocol::{
    Block, BlockHash, Competition, Record,
    competition::{Published, Rule},
    duel::Reign,
    record::{Mismatch, verify_duels, verify_link},
};
use records::{Links, Records, Signed, Source};

/// Most records that are taken in at once.
const LOT_MAX: usize = 128;
/// Bytes after which no more records come into a lot: they are held in memory.
const LOT_BYTES_MAX: usize = 4 << 20;
/// Blocks before the newest whose hashes are asked for: older ones many nodes have no more.
const HASHES_MAX: u64 = 256;

impl Reader {
    /// The next records that are true, and what is wrong with the one after them.
    pub(super) fn next_lot(
        &self,
        (place, known): (&Place, &records::Index),
        competition: &str,
        progress: &mut Progress,
    ) -> (Vec<Checked>, Option<Flaw>) {
        let (mut lot, mut n_bytes) = (Vec::new(), 0);
        let after = |last: &Last| Links::after(&last.record.round, last.digest);
        let links = progress.last.as_ref().map(after).unwrap_or_default();
        let source: &dyn Source = &*place.source;
        let from = progress.n_records().saturating_add(1);
        let measured = |rest: &Record, part: &[u8]| self.recall.read(rest, part);
        let records = Records::new(source, known, competition, from..=u64::MAX);
        let records = records.following(links).measured_by(&measured);
        for read in records.take(LOT_MAX) {
            let signed = match read {
                Ok(signed) => signed,
                Err(error) => return (lot, Some(Flaw::of_reading(&error))),
            };
            match self.check(signed, progress) {
                Err(flaw) => return (lot, Some(flaw)),
                Ok(checked) => {
                    match progress.reign.as_mut().filter(|_| checked.is_derived) {
                        Some(reign) => reign.follow(&checked.record),
                        None => progress.reign = None,
                    }
                    progress.last = Some(checked.last());
                    n_bytes += checked.n_bytes;
                    lot.push(checked);
                }
            }
            if n_bytes > LOT_BYTES_MAX {
                break;
            }
        }
        (lot, None)
    }

    /// Looks at a record whose signature and link are good: whether it follows from its rules,
    /// where those are known, and says of the chain what that tells.
    fn check(&self, signed: Signed, progress: &Progress) -> Result<Checked, Flaw> {
        let record = &signed.record;
        let round = &record.round;
        checks::lengths(record).map_err(Flaw::False)?;
        self.check_seed(round.block, round.block_hash)?;
        let common = self.recall.of(&signed);
        let rules = self.rules.of(round.competition_digest);
        let (is_derived, is_paid_checked) = match rules.zip(progress.reign.as_ref()) {
            Some((rules, reign)) => {
                let last = progress.last.as_ref().map(|last| (&*last.record, last.digest));
                derive(record, rules, reign, common.as_deref())
                    .and_then(|()| verify_link(record, last, rules))
                    .map_err(|mismatch| Flaw::False(mismatch.to_string()))?;
                (true, self.check_paid(record, rules)?)
            }
            // What follows from a record that could not be derived cannot be, either.
            None => {
                checks::outline(record).map_err(Flaw::False)?;
                (false, record.crown.is_none())
            }
        };
        let mut checked = Checked::new(signed, common);
        checked.is_derived = is_derived;
        checked.is_paid_checked = is_paid_checked;
        Ok(checked)
    }

    /// Whether whom the chain paid is what a record says of it; false where the chain does not tell
    /// any more.
    fn check_paid(&self, record: &Record, rules: &Competition) -> Result<bool, Flaw> {
        let Some(crown) = &record.crown else { return Ok(true) };
        let (Some(chain), Some(head)) = (&self.chain, self.clock.head()) else {
            return Ok(false);
        };
        if head.since(record.round.block) >= HASHES_MAX {
            return Ok(false);
        }
        // A node that has let go of the state answers with an error, and never otherwise.
        let Ok(told) = checks::paid(&**chain, rules, &record.round) else { return Ok(false) };
        if told == (crown.paid, crown.settling_blocks) {
            return Ok(true);
        }
        // Which commitments count there, statements of validators tell: a replay reads them.
        let is_own = rules.evaluation.published == Published::Own;
        if !is_own && told.1 == crown.settling_blocks {
            return Ok(false);
        }
        let uid =
            |uid: Option<protocol::Uid>| uid.map_or("nobody".to_owned(), |uid| uid.to_string());
        Err(Flaw::False(format!(
            "it says that the chain paid {} most, and pays within {} blocks; the chain: {} and {}",
            uid(crown.paid),
            crown.settling_blocks,
            uid(told.0),
            told.1
        )))
    }

    /// Whether the chain has this hash at this block, as far as it still tells.
    fn check_seed(&self, block: Block, hash: BlockHash) -> Result<(), Flaw> {
        let (Some(chain), Some(head)) = (&self.chain, self.clock.head()) else { return Ok(()) };
        if head.since(block) >= HASHES_MAX {
            return Ok(());
        }
        match chain.block_hash(block) {
            Ok(Some(found)) if found != hash => {
                Err(Flaw::False(format!("the chain has another hash at block {block}")))
            }
            Ok(None) => Err(Flaw::OfPlace(format!("the chain has no block {block} yet"))),
            Ok(_) => Ok(()),
            Err(error) => Err(Flaw::OfPlace(error.to_string())),
        }
    }
}

/// Whether the verdict of a record follows from its rules and from what the records before it tell.
fn derive(
    record: &Record,
    rules: &Competition,
    before: &Reign,
    common: Option<&Common>,
) -> Result<(), Mismatch> {
    // By any other rule it follows from the round: of records that have that in common, once.
    let common = common.filter(|_| rules.scoring.rule != Rule::Duel);
    if common.is_some_and(Common::is_derived) {
        return Ok(());
    }
    verify_duels(record, rules, before)?;
    if let Some(common) = common {
        common.note_derived();
    }
    Ok(())
}
