//! What can happen at a validator: the entries of its journal.

use crate::{
    event::RoundSummary,
    legacy,
    roots::SentRoot,
    state::{Hidden, Lapse, Skips, State, Verdict},
};
use chain::{Head, Signed};
use journal::past::Happened;
use protocol::{AccountId, Block, Digest, Record, Uid};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::BTreeMap, sync::Arc};

/// Kind of the entries that hold records.
pub const DECIDED: &str = "decided";
/// Records that stay in the journal.
const RECORDS_KEPT: usize = 1_000;

/// One thing that happened; what follows from it, the state says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The state of an earlier version of this program was taken over.
    TakenOver(Box<State>),
    /// A round has begun: after a crash it is this one that goes on.
    Begun {
        /// Name of the competition.
        competition: String,
        /// Block that seeds the round.
        seed: Head,
    },
    /// A model was judged at rest.
    Inspected {
        /// Name of the competition.
        competition: String,
        /// Who committed to it.
        hotkey: AccountId,
        /// What was found.
        verdict: Verdict,
    },
    /// A round was given up because of our own trouble.
    GivenUp {
        /// Name of the competition.
        competition: String,
        /// Block that seeded the round.
        seed: Block,
        /// Whose model could not be had, where that counts.
        spared: Option<AccountId>,
    },
    /// A round ended: record, crown, averages and weights that are due are one decision.
    Decided {
        /// Name of the competition.
        competition: String,
        /// The record.
        record: RecordText,
        /// What else the round leaves.
        after: After,
        /// What it came to, for whoever asks later; nothing follows from it.
        #[serde(default)]
        summary: Option<Box<RoundSummary>>,
    },
    /// Weights are signed, and about to be sent.
    WeightsSigned {
        /// The call.
        signed: Signed,
        /// What it hides, where the subnet wants weights hidden.
        #[serde(default)]
        hidden: Option<Hidden>,
        /// The row that the chain keeps of them, where they are not hidden.
        #[serde(default)]
        row: Option<Vec<(Uid, u16)>>,
    },
    /// Their fate is known.
    WeightsSettled {
        /// Whether they have to be set again.
        again: bool,
        /// Block in which the chain took them.
        #[serde(default)]
        set: Option<Block>,
        /// Number of the epoch of that block, where they are hidden and it is known.
        #[serde(default)]
        epoch: Option<u64>,
    },
    /// Of hidden weights it is known whether the chain has opened them in time.
    WeightsOpened {
        /// Last block in which those could be opened, as it was reckoned when they were signed.
        until: Block,
        /// Whether weights have to be set again.
        again: bool,
        /// Their places among all that are hidden; entries of earlier versions mean all whose last
        /// block is no later.
        #[serde(default)]
        places: Option<Vec<usize>>,
        /// The row of ours that the chain had then.
        #[serde(default)]
        row: Option<Vec<(Uid, u16)>>,
    },
    /// A commitment to the root of the records is signed, and about to be sent.
    RootSigned(SentRoot),
    /// Its fate is known, or it is known that there shall be none for now.
    RootSettled {
        /// Block from which the time until the next is counted; absent where it is due again.
        since: Option<Block>,
        /// Text that the chain has now; absent where it has none of ours.
        set: Option<String>,
    },
}

/// A record as canonical JSON, which is what stands in the journal as it is; whoever has just made
/// it need not read it.
#[derive(Clone, Debug)]
pub struct RecordText {
    text: Box<RawValue>,
    digest: Digest,
    record: Option<Arc<Record>>,
}

impl RecordText {
    /// The text of a record.
    pub(crate) fn of(record: Record) -> serde_json::Result<Self> {
        // What it writes is canonical: fields in their order, and no spaces.
        let text = to_raw_value(&record)?;
        Ok(Self { record: Some(Arc::new(record)), ..Self::from(text) })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.text.get()
    }

    /// Digest of the text: the record's.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// What it says; an error where it is no record.
    pub(crate) fn record(&self) -> anyhow::Result<Arc<Record>> {
        match &self.record {
            Some(record) => Ok(Arc::clone(record)),
            None => Ok(Arc::new(legacy::record(self.as_str().as_bytes())?)),
        }
    }
}

impl From<Box<RawValue>> for RecordText {
    fn from(text: Box<RawValue>) -> Self {
        Self { digest: Digest::of(text.get().as_bytes()), text, record: None }
    }
}

impl Serialize for RecordText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RecordText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        // Earlier versions wrote the JSON of a record as a text in JSON.
        let text = match text.get().starts_with('"') {
            true => serde_json::from_str(text.get()).and_then(RawValue::from_string),
            false => Ok(text),
        };
        text.map(Self::from).map_err(D::Error::custom)
    }
}

impl PartialEq for RecordText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// What a round leaves besides its record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Who is measured if nobody who is paid can be.
    pub reserve: Vec<AccountId>,
    /// Who had to wait, and is heard in the next round.
    pub waiting: Vec<AccountId>,
    /// Commitments that were seen absent.
    pub lapses: BTreeMap<AccountId, Lapse>,
    /// Commitments that our own trouble kept from being measured.
    pub skips: BTreeMap<AccountId, Skips>,
    /// Everybody with a commitment to this competition.
    pub present: Vec<AccountId>,
    /// Commitments that this validator has the bytes of, with their blocks; under all rules, since
    /// those of tomorrow may ask.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<AccountId, Block>,
}

impl Happened for Entry {
    const KEPT: (&'static [&'static str], usize) = (&[DECIDED], RECORDS_KEPT);

    fn kind(&self) -> &'static str {
        match self {
            Self::TakenOver(_) => "taken-over",
            Self::Begun { .. } => "begun",
            Self::Inspected { .. } => "inspected",
            Self::GivenUp { .. } => "given-up",
            Self::Decided { .. } => DECIDED,
            Self::WeightsSigned { .. } => "weights-signed",
            Self::WeightsSettled { .. } => "weights-settled",
            Self::WeightsOpened { .. } => "weights-opened",
            Self::RootSigned(_) => "root-signed",
            Self::RootSettled { .. } => "root-settled",
        }
    }

    fn competition(&self) -> &str {
        match self {
            Self::Begun { competition, .. }
            | Self::Inspected { competition, .. }
            | Self::GivenUp { competition, .. }
            | Self::Decided { competition, .. } => competition,
            _ => "",
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Inspected { hotkey, .. } => hotkey.to_string(),
            Self::GivenUp { spared: Some(hotkey), .. } => hotkey.to_string(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen() -> Record {
        let json = include_bytes!("../../../testdata/scoring/record.json");
        Record::from_json(json.trim_ascii_end()).unwrap()
    }

    #[test]
    fn a_record_stands_in_the_journal_as_it_is_published() {
        let record = frozen();
        let text = RecordText::of(record.clone()).unwrap();
        assert_eq!(text.as_str().as_bytes(), record.to_json());
        assert_eq!(text.digest(), record.digest());
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(json, text.as_str());
        let read: RecordText = serde_json::from_str(&json).unwrap();
        assert_eq!((&read, read.digest()), (&text, text.digest()));
        assert_eq!(*read.record().unwrap(), record);
    }

    #[test]
    fn a_record_that_an_earlier_version_wrote_as_a_text_is_read() {
        let text = RecordText::of(frozen()).unwrap();
        let earlier = serde_json::to_string(text.as_str()).unwrap();
        assert_eq!(serde_json::from_str::<RecordText>(&earlier).unwrap(), text);
        let torn = serde_json::to_string("{\"format\":").unwrap();
        assert!(serde_json::from_str::<RecordText>(&torn).is_err());
    }
}
