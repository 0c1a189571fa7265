#!/usr/bin/env bash
# The states of the last 1,024 blocks can be asked for, after a restart as well.
. "$(dirname "$0")/lib.sh"
start 10ms
chain subnet create --wallet //Alice >/dev/null 2>&1
until [ "$(height)" -ge 1400 ]; do sleep 0.2; done
stop
start 12s
newest=$(height)
for back in 200 600 900 1020; do
  chain metagraph --netuid 1 --block $((newest - back)) >/dev/null 2>"$work/errors"
  is "the state of $back blocks ago is held after a restart" "$? $(cat "$work/errors")" "0 "
done
chain metagraph --netuid 1 --block $((newest - 1024)) >/dev/null 2>"$work/errors"
has "an older one is not, and the error says which are" "$(cat "$work/errors")" \
  "only blocks $((newest - 1023)) to $newest are"
