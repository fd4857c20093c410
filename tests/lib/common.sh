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

# story LABEL LOG SECONDS COMMAND...: a client program that prints one `ok NAME` or
# `FAIL NAME: why` line per check. Its lines become our results; a program that dies, hangs, or
# checks nothing is itself a failure.
story() {
  local label=$1 log=$2 limit=$3
  shift 3
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
  local code=$? verdicts=0 line
  while IFS= read -r line; do
    case $line in
      "ok "*) pass "$label: ${line#ok }" ;;
      "FAIL "*) fail "$label: ${line#FAIL }" ;;
      *) continue ;;
    esac
    verdicts=$((verdicts + 1))
  done <"$log"
  if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
    fail "$label: finishes within $limit s"
    tail_of "$log"
  elif [ "$code" -ne 0 ] && ! grep -q '^FAIL ' "$log"; then
    fail "$label: exits with 0 (exit $code)"
    tail_of "$log"
  elif [ "$verdicts" -eq 0 ]; then
    fail "$label: runs at least one check"
    tail_of "$log"
  elif [ "$code" -ne 0 ]; then
    tail_of "$log"
  fi
  return "$code"
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
  awk -F'\t' '{ printf "  %-34s %8.1f\n", $1, $2 }' "$TIMINGS"
}

# Every process a part starts is registered here, and ended by its number when the run ends.
own() { echo "$1" >>"$PIDS"; }

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
  kill -TERM "$1" 2>/dev/null || return 0
  wait_gone "$1" 50 || kill -KILL "$1" 2>/dev/null || true
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

# wait_for SECONDS COMMAND...: polls, for servers that cannot tell us when they are ready.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}
