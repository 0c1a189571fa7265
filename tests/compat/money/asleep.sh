#!/usr/bin/env bash
# A client is stopped between sending a payment and hearing of it, as on a laptop that is closed,
# until the node has dropped the state of its block: what is told is that the call is there.
. "$(dirname "$0")/lib.sh"
start 3s
before=$(balance //Alice)
"$AGON" chain transfer --wallet //Alice --to $bob 5 --chain "$url" >"$work/out" 2>&1 &
client=$!
# It sleeps as soon as the call waits for a block.
pending='{"jsonrpc":"2.0","id":1,"method":"author_pendingExtrinsics","params":[]}'
for _ in $(seq 100); do
  curl -s -H 'content-type: application/json' -d "$pending" "http://127.0.0.1:$port" |
    grep -q '"result":\["0x' && break
  sleep 0.02
done
kill -STOP $client
stop
start 10ms
until [ "$(height)" -ge 1100 ]; do sleep 0.2; done
is "a payment is made while its sender sleeps" $(((before - $(balance //Alice)) / 1000000000)) 5
kill -CONT $client
wait $client
is "its sender ends with an error" $? 2
told=$(cat "$work/out")
has "which names the block" "$told" "stands in block "
has "and what to look at" "$told" "look at the balance"
is "and nothing that asks to pay again" "$(grep -c 'try again\|never will be' "$work/out")" 0
