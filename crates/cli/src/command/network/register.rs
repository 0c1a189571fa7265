//! Slots and stakes of a network, by real calls; whatever is there already is not made again.

use super::file::{Config, Network, Participant};
use crate::{failure::HintExt as _, private};
use anyhow::Context as _;
use chain::{Call, CallStatus, Chain as _, Error, Keypair, Metagraph, ledger::RAO_PER_TAO};
use keys::wallet::Password;
use protocol::{AccountId, Block, NetUid};
use std::time::Duration;
use substrate::{ClientConfig, SubstrateChain};

/// How often the chain is asked.
const TICK: Duration = Duration::from_millis(100);
/// How long the node is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Blocks in which a call of an earlier process has its place, if it was sent.
const N_BLOCKS_TO_SETTLE: u64 = 2;
/// How often what is missing is looked for; two would do, if nothing went wrong.
const N_TRIES: usize = 20;

/// Called while something is waited for; an error ends the waiting.
pub type Meanwhile<'a> = dyn FnMut() -> anyhow::Result<()> + 'a;

/// Who needs a slot, or a stake.
struct Member {
    name: String,
    hotkey: AccountId,
    stake_rao: u64,
    coldkey: Keypair,
}

/// Buys slots and puts stakes where they are missing; tells what it did.
///
/// A process that is killed meanwhile has sent some calls and not others. They are in a block soon,
/// and only what is missing after that is done.
pub fn complete(
    network: &Network,
    tell: &mut dyn FnMut(&str),
    meanwhile: &mut Meanwhile<'_>,
) -> anyhow::Result<()> {
    let members: Vec<Member> =
        network.participants().map(|one| member(network, one)).collect::<anyhow::Result<_>>()?;
    if members.is_empty() {
        return Ok(());
    }
    let config = ClientConfig { patience: PATIENCE, ..ClientConfig::new(network.chain_url()) };
    let chain = SubstrateChain::connect(config).context("cannot reach the chain of the network")?;
    let netuid = NetUid(network.netuid);
    let mut has_settled = false;
    let mut refused = None;
    for _ in 0..N_TRIES {
        let metagraph = again(meanwhile, || chain.metagraph(netuid))?;
        let missing = missing(&members, &metagraph, netuid);
        if missing.is_empty() {
            return Ok(());
        }
        if !has_settled {
            settle(&chain, meanwhile)?;
            has_settled = true;
            continue;
        }
        tell(&format!("the chain gets {} calls: slots and stakes", missing.len()));
        refused = make(&chain, &missing, meanwhile)?.or(refused);
    }
    let why = refused.unwrap_or_else(|| "calls were not included".to_owned());
    Err(anyhow::anyhow!("validators and miners cannot be registered: {why}"))
        .hint("`agon chain subnet show` and `agon chain balance` tell the rules and what is left")
}

/// A participant with its keys.
fn member(network: &Network, participant: &Participant) -> anyhow::Result<Member> {
    let config: Config = network.config(participant)?;
    let wallet = config.wallet()?;
    private::warn_of_open(&[&wallet.coldkey_path(), &wallet.hotkey_path()]);
    // There is nobody to ask at a start in the night.
    let password = Password::Ask { environment: &|_| None, person: &|_| None };
    let coldkey = wallet.load_coldkey(password).hint(
        "a network signs by itself: `agon network new` makes wallets without passwords, for it alone",
    )?;
    Ok(Member {
        name: participant.name.clone(),
        hotkey: wallet.hotkey_address()?,
        stake_rao: participant.stake_tao.saturating_mul(RAO_PER_TAO),
        coldkey,
    })
}

/// The calls that are missing: first all slots, then all stakes.
fn missing<'a>(
    members: &'a [Member],
    metagraph: &Metagraph,
    netuid: NetUid,
) -> Vec<(&'a Member, Call)> {
    let stake_of = |member: &Member| {
        let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey == member.hotkey);
        neuron.map(|neuron| neuron.stake_rao)
    };
    let slots: Vec<_> = members
        .iter()
        .filter(|member| stake_of(member).is_none())
        .map(|member| (member, Call::BurnedRegister { netuid, hotkey: member.hotkey }))
        .collect();
    if !slots.is_empty() {
        return slots;
    }
    let stake = |member: &'a Member| {
        let there = stake_of(member)?;
        let amount_rao = member.stake_rao.checked_sub(there).filter(|rao| *rao > 0)?;
        Some((member, Call::AddStake { hotkey: member.hotkey, netuid, amount_rao }))
    };
    members.iter().filter_map(stake).collect()
}

/// Makes calls and waits until the fate of each is known; gives one refusal, if there is one.
fn make(
    chain: &SubstrateChain,
    calls: &[(&Member, Call)],
    meanwhile: &mut Meanwhile<'_>,
) -> anyhow::Result<Option<String>> {
    let mut refused = None;
    let mut sent = Vec::new();
    for (member, call) in calls {
        match chain.submit(call.clone(), &member.coldkey) {
            Ok(id) => sent.push((member, id)),
            Err(error) if error.is_transient() => {}
            Err(Error::Refused(reason)) => refused = Some(format!("{}: {reason}", member.name)),
            Err(other) => return Err(other.into()),
        }
        meanwhile()?;
    }
    for (member, id) in sent {
        loop {
            match again(meanwhile, || chain.status(id))? {
                CallStatus::Pending => pause(meanwhile)?,
                CallStatus::Refused(_, reason) => {
                    refused = Some(format!("{}: {reason}", member.name));
                    break;
                }
                // Whether it is done, the next look at the chain tells.
                _ => break,
            }
        }
    }
    pause(meanwhile)?;
    Ok(refused)
}

/// Waits until calls that an earlier process has sent are in a block.
fn settle(chain: &SubstrateChain, meanwhile: &mut Meanwhile<'_>) -> anyhow::Result<()> {
    let head = again(meanwhile, || chain.head())?.block;
    let until = Block(head.0.saturating_add(N_BLOCKS_TO_SETTLE));
    while again(meanwhile, || chain.head())?.block < until {
        pause(meanwhile)?;
    }
    Ok(())
}

/// Asks until there is an answer: a node that was killed is started again meanwhile.
fn again<T>(
    meanwhile: &mut Meanwhile<'_>,
    ask: impl Fn() -> Result<T, Error>,
) -> anyhow::Result<T> {
    loop {
        match ask() {
            Err(error) if error.is_transient() => pause(meanwhile)?,
            answer => return answer.map_err(Into::into),
        }
    }
}

fn pause(meanwhile: &mut Meanwhile<'_>) -> anyhow::Result<()> {
    std::thread::sleep(TICK);
    meanwhile()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::Neuron;
    use protocol::{Seed, Uid};

    const NETUID: NetUid = NetUid(1);

    fn member(number: u64, stake_tao: u64) -> Member {
        let coldkey = Keypair::from_seed(Seed::of_number(number));
        let hotkey = Keypair::from_seed(Seed::of_number(100 + number)).public();
        Member { name: number.to_string(), hotkey, stake_rao: stake_tao * RAO_PER_TAO, coldkey }
    }

    fn neuron(uid: u16, member: &Member, stake_rao: u64) -> Neuron {
        Neuron {
            uid: Uid(uid),
            hotkey: member.hotkey,
            coldkey: member.coldkey.public(),
            stake_rao,
            validator_permit: false,
            active: false,
            last_update: Block(0),
            block_at_registration: Block(0),
            consensus: 0,
            incentive: 0,
            dividends: 0,
            validator_trust: 0,
            emission_rao: 0,
            weights: Vec::new(),
            bonds: Vec::new(),
        }
    }

    #[test]
    fn what_is_there_is_not_made_again_and_slots_come_before_stakes() {
        let members = [member(1, 10), member(2, 0), member(3, 10)];
        let calls = |neurons: Vec<Neuron>| {
            let (block, last_epoch) = (Block(1), Block(0));
            let metagraph = Metagraph {
                netuid: NETUID,
                block,
                tempo: 9,
                weights_rate_limit: 0,
                last_epoch,
                neurons,
            };
            let found = missing(&members, &metagraph, NETUID);
            found.into_iter().map(|(member, call)| (member.name.clone(), call)).collect::<Vec<_>>()
        };
        let hotkey = |number: usize| members[number].hotkey;
        let slot = |number: usize| {
            let call = Call::BurnedRegister { netuid: NETUID, hotkey: hotkey(number) };
            (members[number].name.clone(), call)
        };
        assert_eq!(calls(Vec::new()), [slot(0), slot(1), slot(2)]);
        assert_eq!(calls(vec![neuron(0, &members[1], 0)]), [slot(0), slot(2)]);
        let all = |first: u64, third: u64| {
            let stakes = [first, 0, third].into_iter().zip(&members).zip(0..);
            stakes
                .map(|((stake, member), uid)| neuron(uid, member, stake * RAO_PER_TAO))
                .collect::<Vec<_>>()
        };
        let amount_rao = 7 * RAO_PER_TAO;
        let stake = Call::AddStake { hotkey: hotkey(2), netuid: NETUID, amount_rao };
        assert_eq!(calls(all(10, 3)), [("3".to_owned(), stake)]);
        assert!(calls(all(11, 10)).is_empty());
    }
}
