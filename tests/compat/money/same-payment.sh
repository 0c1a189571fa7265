#!/usr/bin/env bash
# Two processes make the same payment with the same key in the same moment, again and again, and
# eight make different ones: as many TAO leave as are reported.
. "$(dirname "$0")/lib.sh"
pairs=${AGON_MONEY_PAIRS:-5}
tao=1000000000

start 200ms
before=$(balance //Alice)
reported=0
# pay AMOUNT…: a process for each, all at once.
pay() {
  local pids=() amount pid
  for amount; do
    chain transfer --wallet //Alice --to $bob "$amount" >/dev/null 2>>"$work/errors" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    if wait "$pid"; then reported=$((reported + 1)); fi
  done
}
for _ in $(seq "$pairs"); do pay 1 1; done
is "every one of two equal payments is reported" $reported $((2 * pairs))
is "and paid" $(((before - $(balance //Alice)) / tao)) $reported

before=$(balance //Alice)
reported=0
pay 1 2 3 4 5 6 7 8
is "eight different payments at once are reported" "$reported $(cat "$work/errors")" "8 "
is "and paid" $(((before - $(balance //Alice)) / tao)) 36
