# Parts that cargo runs: `unit`, and one integration test binary each for `e2e`, `sim`, `hostile` and
# `minio`. Their counts are cargo's own. Sourced.

# cargo_check NAME SECONDS ARGS...: a cargo command whose exit code is the verdict.
cargo_check() {
  local name=$1 limit=$2 log
  shift 2
  log=$LOGS/cargo-${name//[^a-z0-9]/-}.log
  if timed "cargo: $name" bounded "$limit" "$log" cargo_here "$@"; then
    pass "$name"
  else
    fail "$name"
    tail_of "$log" 60
  fi
}

# cargo_tests NAME SECONDS ARGS...: a cargo test run whose tests are counted one by one.
cargo_tests() {
  local name=$1 limit=$2 log code=0 ok bad
  shift 2
  log=$LOGS/cargo-${name//[^a-z0-9]/-}.log
  timed "cargo: $name" bounded "$limit" "$log" cargo_here test "$@" || code=$?
  sed -nE "s/^test (.*) \.\.\. ok.*/  ok   $name: \1/p; s/^test (.*) \.\.\. FAILED.*/  FAIL $name: \1/p" "$log"
  ok=$(sum_of passed "$log")
  bad=$(sum_of failed "$log")
  count "$ok" "$bad"
  if [ "$code" -eq 124 ]; then
    fail "$name: finishes within $limit s"
  elif [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
    fail "$name: builds and runs (exit $code)"
  elif [ $((ok + bad)) -eq 0 ]; then
    fail "$name: runs at least one test"
  fi
  [ "$code" -eq 0 ] || tail_of "$log" 80
}

# The sum of one of the counts in cargo's "test result:" lines.
sum_of() { # passed|failed LOG
  sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" "$2" | awk '{ n += $1 } END { print n + 0 }'
}

cargo_here() { cd "$REPO" && cargo "$@"; }

part_unit() {
  heading "unit: format, lints, documentation, tests of every crate"
  cargo_check "fmt" 120 fmt --all --check
  cargo_check "clippy" 1500 clippy --workspace --all-targets --locked -- -D warnings
  RUSTDOCFLAGS="-D warnings" cargo_check "doc" 900 doc --workspace --no-deps --locked
  # The test kit's integration tests are parts of their own, and run optimised.
  cargo_tests "unit" 1800 --workspace --exclude antiphon-tests --locked --no-fail-fast
  if grep -rqE '#\[(test|tokio::test)' "$TESTS/src"; then
    cargo_tests "test kit" 900 "${OPTIMISED[@]}" --lib --no-fail-fast
  fi
}

part_integration() { # NAME SECONDS
  heading "$1: cargo test --test $1"
  cargo_tests "$1" "$2" "${OPTIMISED[@]}" --test "$1" --no-fail-fast
}

part_e2e() { part_integration e2e 900; }
part_sim() { part_integration sim 1200; }
part_hostile() {
  part_integration hostile 600
  heading "fuzz: every hand-written decoder, ${ANTIPHON_FUZZ_SECONDS:-5} seconds each"
  timed "fuzz" story fuzz "$LOGS/fuzz.log" 1200 "$TESTS/fuzz/run" "${ANTIPHON_FUZZ_SECONDS:-5}"
}

# The tests start MinIO servers of their own, from the cache, because they stop and freeze them.
part_minio() { part_integration minio 900; }

part_deny() {
  heading "deny: licences and sources of every dependency"
  story deny "$LOGS/deny.log" 120 python3 "$TESTS/lib/deny.py" "$REPO"
}
