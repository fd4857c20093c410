# Sourced by the stories that drive command-line tools. Their command line is that of every story:
# PROGRAM phase1|phase2 BOOTSTRAP PREFIX BASE_MS. CACHE tells where the tools are installed.

PHASE=$1
BOOTSTRAP=$2
PREFIX=$3
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# step NAME COMMAND...: one line of verdict, and the command's output when it failed; a story ends at
# its first broken step, since the rest builds on it.
step() {
  local name=$1
  shift
  if "$@" >"$WORK/step" 2>&1; then
    echo "ok $name"
  else
    echo "FAIL $name"
    cat "$WORK/step"
    exit 1
  fi
}

# same WANTED GOT: fails with both sides.
same() {
  [ "$1" = "$2" ] || { printf 'wanted: %s\ngot:    %s\n' "$1" "$2"; return 1; }
}

# says FILE PATTERN...: every extended regular expression matches some line of the output.
says() {
  local file=$1 pattern
  shift
  for pattern in "$@"; do
    grep -Eq -- "$pattern" "$file" || { echo "no line matches: $pattern"; cat "$file"; return 1; }
  done
}

# kafka CLASS ARGS...: one of Kafka's own tools, by its class.
kafka() {
  timeout -k 5 60 java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$CACHE/kafka/*" "$@"
}
