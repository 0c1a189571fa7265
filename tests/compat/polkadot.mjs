// Checks that polkadot.js works with a running node.
//
//     polkadot.mjs URL GENESIS AGON
//
// Each check prints a line: "ok" or "FAILED", the client, what was looked at. The first failure
// ends the run. What polkadot.js shows is compared with what was sent, and with what our own
// command line, given as AGON, says.

import { execFileSync } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';
import { ApiPromise, Keyring, WsProvider } from '@polkadot/api';

const [url, genesis, agonPath] = process.argv.slice(2);
const RAO = 1_000_000_000n;
const NETUID = 1;

function equal(what, got, wanted) {
  if (!isDeepStrictEqual(got, wanted)) {
    const show = (value) =>
      JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? v.toString() : v));
    throw new Error(`${what} is ${show(got)} instead of ${show(wanted)}`);
  }
}

/** What our own command line says, as JSON. */
function agon(...words) {
  const text = execFileSync(agonPath, ['chain', ...words, '--chain', url, '--json'], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return JSON.parse(text);
}

/** Signs a call, sends it and waits until it is final; gives all that polkadot.js reported. */
function send(call, signer) {
  return new Promise((resolve, reject) => {
    const seen = [];
    call
      .signAndSend(signer, (result) => {
        seen.push(result.status.type);
        if (result.isError) {
          reject(new Error(`the call became ${result.status.type}`));
        } else if (result.status.isFinalized) {
          const { dispatchError: error, events } = result;
          resolve({ seen, error, events, block: result.status.asFinalized });
        }
      })
      .catch(reject);
  });
}

const provider = new WsProvider(url, 1_000, {}, 30_000);
// Without its warnings about methods that only full nodes of Substrate have.
const api = new ApiPromise({ provider, noInitWarn: true });
const keyring = new Keyring({ type: 'sr25519' });
const sender = keyring.addFromUri('//Charlie');
// Nobody's, and new: so that the whole balance is what was sent.
const receiver = keyring.addFromUri('//agon//compat//receiver');

async function account(address) {
  const { nonce, data } = await api.query.system.account(address);
  return { nonce: nonce.toNumber(), free: data.free.toBigInt() };
}

async function connects() {
  await api.isReadyOrError;
  equal('the genesis hash', api.genesisHash.toHex(), genesis);
  equal('the prefix of addresses', api.registry.chainSS58, 42);
  equal('the token', [api.registry.chainTokens[0], api.registry.chainDecimals[0]], ['TAO', 9]);
  const info = agon('info');
  equal('the spec version', api.runtimeVersion.specVersion.toNumber(), info.spec_version);
  equal('the chain', (await api.rpc.system.chain()).toString(), info.chain);
  return `connects to ${info.chain}`;
}

async function followsBlocks() {
  const [first, second, third] = await new Promise((resolve, reject) => {
    const heads = [];
    const timer = setTimeout(() => reject(new Error(`only ${heads.length} heads`)), 30_000);
    const end = api.rpc.chain.subscribeNewHeads((head) => {
      heads.push(head);
      if (heads.length === 3) {
        clearTimeout(timer);
        end.then((stop) => stop()).then(() => resolve(heads), reject);
      }
    });
    end.catch(reject);
  });
  for (const [before, after] of [[first, second], [second, third]]) {
    equal('the number of the next head', after.number.toNumber(), before.number.toNumber() + 1);
    // polkadot.js hashes the header itself: its own encoding must give the node's hash.
    equal('the parent of the next head', after.parentHash.toHex(), before.hash.toHex());
  }
  return 'follows new blocks, each with the hash of the one before';
}

async function readsAccounts() {
  const { free } = await account(sender.address);
  const ours = agon('balance', '--account', sender.address);
  equal('our balance', BigInt(ours.balance_rao), free);
  equal('an account that nobody funded', (await account(receiver.address)).free, 0n);
  return `reads an account (${free / RAO} TAO)`;
}

async function transfers() {
  const amount = 12n * RAO + 345_678_901n;
  const before = await account(sender.address);
  const call = api.tx.balances.transferKeepAlive(receiver.address, amount);
  const { seen, block, error, events } = await send(call, sender);
  equal('the error', error?.toHuman(), undefined);
  equal('the last two steps', seen.slice(-2), ['InBlock', 'Finalized']);
  const after = await account(sender.address);
  equal('the balance of the sender', after.free, before.free - amount);
  equal('the nonce of the sender', after.nonce, before.nonce + 1);
  equal('the balance of the receiver', (await account(receiver.address)).free, amount);
  const names = events.map(({ event }) => `${event.section}.${event.method}`);
  for (const name of ['balances.Transfer', 'system.ExtrinsicSuccess']) {
    if (!names.includes(name)) throw new Error(`there is no ${name} among ${names.join(', ')}`);
  }
  // The call must read back from its block as it was sent.
  const { block: { extrinsics } } = await api.rpc.chain.getBlock(block);
  const own = extrinsics.filter((extrinsic) => extrinsic.signer.toString() === sender.address);
  const calls = own.map((extrinsic) => extrinsic.method.toHex());
  equal('the call in the block', calls, [call.method.toHex()]);
  return 'submits a signed transfer, in a block and final, with its events and the right balances';
}

async function failsByName() {
  const nowhere = 999;
  const call = api.tx.subtensorModule.burnedRegister(nowhere, receiver.address);
  const { seen, error } = await send(call, sender);
  equal('the last two steps', seen.slice(-2), ['InBlock', 'Finalized']);
  if (!error?.isModule) throw new Error(`no error of a pallet, but ${error}`);
  const { section, name } = api.registry.findMetaError(error.asModule);
  equal('the error', `${section}.${name}`, 'subtensorModule.SubnetNotExists');
  return `submits a call that must fail: ${section}.${name}`;
}

async function readsMetagraph() {
  const graph = (await api.call.subnetInfoRuntimeApi.getMetagraph(NETUID)).unwrap();
  const block = graph.block.toNumber();
  const ours = agon('metagraph', '--netuid', String(NETUID), '--block', String(block));
  equal('the hotkeys', graph.hotkeys.map(String), ours.neurons.map((n) => n.hotkey));
  equal('the coldkeys', graph.coldkeys.map(String), ours.neurons.map((n) => n.coldkey));
  const stakes = graph.totalStake.map((stake) => stake.toBigInt());
  equal('the stakes', stakes, ours.neurons.map((n) => BigInt(n.stake_rao)));
  const at = await api.at(await api.rpc.chain.getBlockHash(block));
  const weights = await at.query.subtensorModule.weights.entries(NETUID);
  const rows = weights.map(([key, row]) => [key.args[1].toNumber(), row.toJSON()]);
  const wanted = ours.neurons.filter((n) => n.weights.length > 0).map((n) => [n.uid, n.weights]);
  equal('the weights', rows.sort(([a], [b]) => a - b), wanted);
  return `reads the metagraph of block ${block}, the same that we read`;
}

async function readsCommitments() {
  const entries = await api.query.commitments.commitmentOf.entries(NETUID);
  const theirs = entries.map(([key, value]) => {
    const { block, info } = value.unwrap();
    const text = Buffer.from(info.fields[0].inner.toU8a(true)).toString();
    return [key.args[1].toString(), block.toNumber(), text];
  });
  const ours = agon('commitments', '--netuid', String(NETUID));
  const list = ours.map((c) => [c.hotkey, c.block, c.text]);
  if (list.length === 0) throw new Error('there is none');
  equal('the list', theirs.sort(), list.sort());
  return `reads the commitments (${list.length})`;
}

const steps = [
  connects, followsBlocks, readsAccounts, transfers, failsByName, readsMetagraph, readsCommitments,
];
let passed = true;
for (const step of steps) {
  try {
    console.log(`ok  polkadot.js: ${await step()}`);
  } catch (error) {
    console.log(`FAILED polkadot.js: ${step.name}: ${error.message ?? error}`);
    passed = false;
    break;
  }
}
await api.disconnect().catch(() => {});
process.exit(passed ? 0 : 1);
