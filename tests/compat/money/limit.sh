#!/usr/bin/env bash
# A slot is bought with a limit in the last block of a price interval, and the call stands in the
# next, where it costs twice as much: it is refused, and nothing is paid.
. "$(dirname "$0")/lib.sh"
start 1s --spec "$here/limit.toml"
until [ $(($(height) % 10)) -eq 1 ]; do sleep 0.05; done
for hotkey in a b d; do
  chain register --wallet //Alice --hotkey $hotkey --netuid 1 >/dev/null 2>>"$work/errors"
done
is "three slots are sold in an interval" "$(cat "$work/errors")" ""
until [ $(($(height) % 10)) -eq 9 ]; do sleep 0.02; done
before=$(balance //Bob)
chain register --wallet //Bob --netuid 1 --limit 1 >"$work/out" 2>&1
is "a slot above its limit is refused" $? 2
has "by name" "$(cat "$work/out")" RegistrationPriceLimitExceeded
is "and nothing is paid" $((before - $(balance //Bob))) 0
chain register --wallet //Bob --netuid 1 --limit 2 --json >"$work/out" 2>&1
is "at its price it is sold" "$? $(number uid <"$work/out")" "0 3"
