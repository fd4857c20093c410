# Shared by every part: where things live, how a result is written down, how processes are ended.
# Sourced, never run. Callers have `set -uo pipefail`; a failed check is counted, not fatal.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TESTS=$REPO/tests
CACHE=${ANTIPHON_CACHE:-$HOME/.cache/antiphon}
LOGS=$REPO/target/test-logs
mkdir -p "$CACHE" "$LOGS"
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/antiphon-tests.XXXXXX")

# Verdicts are appended to files, because parts run in subshells and pipelines whose variables
# would be lost.
RESULTS=$SCRATCH/results
TIMINGS=$SCRATCH/timings
PIDS=$SCRATCH/pids
touch "$RESULTS" "$TIMINGS" "$PIDS"

say() { printf '%s\n' "$*"; }
heading() { printf '\n== %s\n' "$*"; }

pass() { echo "pass 1" >>"$RESULTS"; say "  ok   $*"; }
fail() { echo "fail 1" >>"$RESULTS"; say "  FAIL $*"; }

# count PASSED FAILED: adds what another runner (cargo) has counted itself.
count() { printf 'pass %d\nfail %d\n' "$1" "$2" >>"$RESULTS"; }

passed() { awk '$1 == "pass" { n += $2 } END { print n + 0 }' "$RESULTS"; }
failed() { awk '$1 == "fail" { n += $2 } END { print n + 0 }' "$RESULTS"; }

# tail_of LOG: the end of a log under a failed check, indented so that it reads as its detail.
tail_of() {
  [ -s "$1" ] || return 0
  say "       --- end of ${1#"$REPO"/}"
  tail -n "${2:-25}" "$1" | cut -c1-400 | sed 's/^/       | /'
}

# check NAME LOG COMMAND...: runs the command with its output in LOG; its exit code is the verdict.
check() {
  local name=$1 log=$2
  shift 2
  if "$@" >"$log" 2>&1 </dev/null; then
    pass "$name"
  else
    fail "$name (exit $?)"
    tail_of "$log"
    return 1
  fi
}

# expect NAME WANTED GOT: one equality, shown in full when it does not hold.
expect() {
  if [ "$2" = "$3" ]; then
    pass "$1"
  else
    fail "$1"
    printf 'wanted: %s\ngot:    %s\n' "$2" "$3" | head -n 40 | sed 's/^/       | /'
    return 1
  fi
}

# bounded SECONDS LOG COMMAND...: runs a command or function with its output in LOG, in a process group
# of its own that is ended as a whole when the time is up (124) or when the run is broken off.
bounded() {
  local limit=$1 log=$2 pid code=0
  shift 2
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  own "-$pid"
  if wait_gone "$pid" $((limit * 10)); then
    wait "$pid" || code=$?
  else
    kill -TERM -- "-$pid" 2>/dev/null
    wait_gone "$pid" 50 || kill -KILL -- "-$pid" 2>/dev/null
    code=124
  fi
  disown_process "-$pid"
  return "$code"
}

# story LABEL LOG SECONDS COMMAND...: a client program that prints one `ok NAME` or
# `FAIL NAME: why` line per check. Its lines become our results; a program that dies, hangs, or
# checks nothing is itself a failure.
story() {
  local label=$1 log=$2 limit=$3 code=0 broken
  shift 3
  bounded "$limit" "$log" "$@" || code=$?
  sed -n "s/^ok /  ok   $label: /p; s/^FAIL /  FAIL $label: /p" "$log"
  count "$(grep -c '^ok ' "$log")" "$(grep -c '^FAIL ' "$log")"
  broken=$(story_fault "$log" "$code" "$limit")
  [ -z "$broken" ] || fail "$label: $broken"
  [ "$code" -eq 0 ] && [ -z "$broken" ] && return 0
  tail_of "$log"
  return 1
}

# What is wrong with a story that its own verdicts do not tell.
story_fault() { # LOG CODE LIMIT
  if [ "$2" -eq 124 ]; then
    echo "finishes within $3 s"
  elif [ "$2" -ne 0 ] && ! grep -q '^FAIL ' "$1"; then
    echo "exits with 0, not $2"
  elif [ "$2" -eq 0 ] && ! grep -q '^ok ' "$1"; then
    echo "runs at least one check"
  fi
}

# timed LABEL COMMAND...: the step's wall time goes into the table that closes the run.
timed() {
  local label=$1 began=$EPOCHREALTIME code=0
  shift
  "$@" || code=$?
  printf '%s\t%s\n' "$label" "$(seconds_since "$began")" >>"$TIMINGS"
  return "$code"
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

timing_table() {
  heading "time per step (seconds; steps marked with + ran beside others)"
  awk -F'\t' '{ printf "  %-46s %8.1f\n", $1, $2 }' "$TIMINGS"
}

# Every process a part starts is registered here by its number (a group by its negative number), and
# taken off when it has ended, so that no number is used after the system has given it to another.
own() { echo "$1" >>"$PIDS"; }

disown_process() {
  grep -vx -e "$1" "$PIDS" >"$PIDS.rest" || true
  mv "$PIDS.rest" "$PIDS"
}

# wait_gone PID TENTHS: true once the process has ended; a child that waits to be reaped has ended.
wait_gone() {
  local left=$2
  while kill -0 "$1" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    sleep 0.1
  done
}

end_process() {
  kill -TERM -- "$1" 2>/dev/null || return 0
  wait_gone "${1#-}" 50 || kill -KILL -- "$1" 2>/dev/null || true
}

cleanup() {
  local pid
  tac "$PIDS" 2>/dev/null | while read -r pid; do end_process "$pid"; done
  rm -rf "$SCRATCH"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# wait_ready PID SECONDS COMMAND...: polls, for servers that cannot tell us when they are ready, and gives
# up at once when the server has ended.
wait_ready() {
  local pid=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if wait_gone "$pid" 1; then echo "the server has ended"; return 1; fi
    if [ "$SECONDS" -ge "$deadline" ]; then echo "the server is not ready in time"; return 1; fi
    sleep 0.2
  done
}
