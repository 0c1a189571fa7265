# Read by the checks beside it: a node of their own, and how they say what they found.
# AGON is the program; PORT may name a free port.
set -uo pipefail
: "${AGON:?names the program}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
check=$(basename "$0" .sh)
port=${PORT:-$((20000 + RANDOM % 20000))}
url=ws://127.0.0.1:$port
bob=5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty
work=$(mktemp -d "${TMPDIR:-/tmp}/agon-money.XXXXXX")
node_pid=
cleanup() {
  trap - EXIT
  [ -z "$node_pid" ] || kill "$node_pid" 2>/dev/null
  wait 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# Keys and settings of the caller have no business here.
export HOME=$work
unset "${!BT_@}" "${!AGON_WALLET@}"

# start BLOCK_TIME OPTION…: runs the node in its folder until it listens.
start() {
  : >"$work/ready"
  "$AGON" node --json --listen "127.0.0.1:$port" --home "$work/node" --block-time "$@" \
    >"$work/ready" 2>"$work/node.log" &
  node_pid=$!
  for _ in $(seq 300); do
    [ ! -s "$work/ready" ] || return 0
    kill -0 "$node_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "FAILED money: $check: the node does not start: $(tail -n 1 "$work/node.log")"
  exit 1
}
stop() {
  kill "$node_pid"
  wait "$node_pid" 2>/dev/null
  node_pid=
}
chain() { "$AGON" chain "$@" --chain "$url"; }
# number FIELD: the first number of a name in JSON.
number() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -n 1; }
height() { chain info --json | number block; }
balance() { chain balance --wallet "$1" --json | number balance_rao; }

# is WHAT GOT WANTED: one line of the report; a failure is the end.
is() {
  if [ "$2" = "$3" ]; then
    echo "ok  money: $1"
  else
    echo "FAILED money: $1: \`$2\` instead of \`$3\`"
    exit 1
  fi
}
# has WHAT TEXT PART: the same for a part of a text.
has() { case $2 in *"$3"*) is "$1" yes yes ;; *) is "$1" "$2" "… $3 …" ;; esac; }
