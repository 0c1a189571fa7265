//! What the owner of a subnet says of it.

use super::{Event, Ledger};
use crate::CallError;
use protocol::{AccountId, NetUid};
use serde::{Deserialize, Serialize};

/// What the owner of a subnet says of it, as bytes: nobody checks that they are text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetIdentity {
    /// Its name.
    pub name: Vec<u8>,
    /// Where its code is.
    pub github: Vec<u8>,
    /// Whom to write to.
    pub contact: Vec<u8>,
    /// Its page.
    pub url: Vec<u8>,
    /// Where its people talk.
    pub discord: Vec<u8>,
    /// What it is for.
    pub description: Vec<u8>,
    /// Address of its logo.
    pub logo_url: Vec<u8>,
    /// Anything else.
    pub additional: Vec<u8>,
}

impl SubnetIdentity {
    /// The parts: names, bytes, and how many bytes the chain takes of each.
    pub fn parts(&self) -> [(&'static str, &[u8], usize); 8] {
        [
            ("name", &self.name, 256),
            ("github", &self.github, 1_024),
            ("contact", &self.contact, 1_024),
            ("url", &self.url, 1_024),
            ("discord", &self.discord, 256),
            ("description", &self.description, 1_024),
            ("logo-url", &self.logo_url, 1_024),
            ("additional", &self.additional, 1_024),
        ]
    }

    /// The first part that is longer than the chain takes, with its limit in bytes.
    pub fn too_long(&self) -> Option<(&'static str, usize)> {
        let part = self.parts().into_iter().find(|(_, bytes, most)| bytes.len() > *most);
        part.map(|(name, _, most)| (name, most))
    }

    /// Bytes of all parts.
    pub fn n_bytes(&self) -> usize {
        self.parts().iter().map(|(_, bytes, _)| bytes.len()).sum()
    }
}

impl Ledger {
    /// `set_subnet_identity`: the checks of the pallet in its order, then the whole identity.
    pub(super) fn set_subnet_identity(
        &mut self,
        signer: AccountId,
        netuid: NetUid,
        identity: SubnetIdentity,
    ) -> Result<Event, CallError> {
        let subnet = self.subnets.get_mut(&netuid).ok_or(CallError::SubnetNotExists)?;
        if subnet.owner != signer {
            return Err(CallError::NotSubnetOwner);
        }
        if identity.too_long().is_some() {
            return Err(CallError::InvalidIdentity);
        }
        subnet.identity = Some(identity);
        Ok(Event::SubnetIdentitySet { netuid })
    }

    /// `start_call`: refused to everybody, because here a subnet is started as it is opened.
    ///
    /// Deviation: on the chain no epoch of a new subnet pays before its owner has made this call.
    pub(super) fn start_subnet(
        &self,
        signer: AccountId,
        netuid: NetUid,
    ) -> Result<Event, CallError> {
        let subnet = self.subnets.get(&netuid).ok_or(CallError::SubnetNotExists)?;
        if subnet.owner != signer {
            return Err(CallError::BadOrigin);
        }
        Err(CallError::FirstEmissionBlockNumberAlreadySet)
    }
}
