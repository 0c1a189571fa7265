#!/usr/bin/env bash
# Four wallets open a subnet in the same block: each is told the number of its own.
. "$(dirname "$0")/lib.sh"
start 1s
wallets="Alice Bob Charlie Dave"
pids=()
for wallet in $wallets; do
  chain subnet create --wallet "//$wallet" --json >"$work/$wallet" 2>&1 &
  pids+=($!)
done
wait "${pids[@]}"
for wallet in $wallets; do
  netuid=$(number netuid <"$work/$wallet")
  mine=$(chain balance --wallet "//$wallet" --json | sed -n 's/.*"account": "\([^"]*\)".*/\1/p')
  owner=$(chain subnet show --netuid "${netuid:-0}" --json 2>&1 |
    sed -n 's/.*"owner": "\([^"]*\)".*/\1/p')
  is "the subnet that //$wallet is told of is its own" "$owner" "$mine"
done
