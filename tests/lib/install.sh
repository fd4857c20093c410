# Installs what the tests need, into the cache folder, once. Sourced. Every step is a function that
# returns at once when its work is already there, and leaves nothing half done when it is broken off.

KAFKA_VERSION=4.3.1
MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c

# ---- What must already be on the machine: toolchains are a developer's own business.

require() { # COMMAND WHAT...
  local command=$1
  shift
  command -v "$command" >/dev/null && return 0
  say "tests need $command, which is not installed: $*"
  return 1
}

require_toolchains() {
  local missing=0
  require cargo "Rust, see rust-toolchain.toml" || missing=1
  require cc "a C compiler (Debian: build-essential)" || missing=1
  require go "Go 1.26 or newer" || missing=1
  require javac "a JDK, 17 or newer (Debian: openjdk-17-jdk-headless)" || missing=1
  require mvn "Maven (Debian: maven)" || missing=1
  require npm "Node.js 20 or newer with npm" || missing=1
  require python3 "Python 3.11 or newer with venv" || missing=1
  return "$missing"
}

# ---- Debian packages.

install_apt() {
  local wanted=() pair
  for pair in kcat:kcat jq:jq curl:curl make:make; do
    command -v "${pair%%:*}" >/dev/null || wanted+=("${pair##*:}")
  done
  [ ${#wanted[@]} -eq 0 ] || apt_install "${wanted[@]}"
}

apt_install() {
  local root=()
  if [ "$(id -u)" -ne 0 ]; then root=(sudo -n); fi
  "${root[@]}" apt-get update -q &&
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -q -y --no-install-recommends "$@"
}

# ---- Downloads: each into a folder named after nothing but itself, complete or absent.

kafka_complete() {
  local name
  for name in kafka_2.13 kafka-tools kafka-clients kafka-streams connect-runtime; do
    [ -s "$CACHE/kafka/$name-$KAFKA_VERSION.jar" ] || return 1
  done
}

install_kafka() {
  kafka_complete && return 0
  local fresh=$CACHE/kafka.fresh
  rm -rf "$fresh" "$CACHE/kafka"
  mkdir -p "$fresh"
  mvn -B -q -f "$TESTS/compat/java/pom.xml" "-Dkafka.version=$KAFKA_VERSION" \
    dependency:copy-dependencies "-DoutputDirectory=$fresh" -DincludeScope=runtime &&
    mv "$fresh" "$CACHE/kafka" && kafka_complete
}

install_python() {
  local wanted=$TESTS/compat/python/requirements.txt
  cmp -s "$wanted" "$CACHE/venv/requirements.txt" && return 0
  rm -rf "$CACHE/venv"
  python3 -m venv "$CACHE/venv" &&
    "$CACHE/venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$wanted" &&
    cp "$wanted" "$CACHE/venv/requirements.txt"
}

install_npm() {
  local wanted=$TESTS/compat/kafkajs/package.json
  [ -e "$CACHE/npm/complete" ] && cmp -s "$wanted" "$CACHE/npm/package.json" && return 0
  rm -rf "$CACHE/npm"
  mkdir -p "$CACHE/npm"
  cp "$wanted" "$CACHE/npm/package.json"
  (cd "$CACHE/npm" && npm install --no-package-lock --no-audit --no-fund --loglevel=error) && touch "$CACHE/npm/complete"
}

# ---- Builds: minutes of both cores on a new machine, seconds afterwards.

install_minio() {
  [ -x "$CACHE/bin/minio" ] && return 0
  mkdir -p "$CACHE/bin"
  GOBIN=$CACHE/bin go install "github.com/minio/minio@$MINIO_VERSION"
}

build_go_clients() { (cd "$TESTS/compat/go" && go build -o "$CACHE/go-bin/" ./cmd/...); }

build_java_clients() {
  local sources=("$TESTS/compat/java/JavaClient.java" "$TESTS/main_job/FlightsReader.java") built=$CACHE/classes/built
  [ "$built" -nt "${sources[0]}" ] && [ "$built" -nt "${sources[1]}" ] && return 0
  mkdir -p "$CACHE/classes"
  javac -nowarn -proc:none -d "$CACHE/classes" -cp "$CACHE/kafka/*" "${sources[@]}" && touch "$built"
}

build_rust_clients() {
  (cd "$TESTS/compat/rust" && CARGO_TARGET_DIR=$CACHE/compat-rust cargo build --release --locked)
}

# The broker and the tests that drive it in one selection of packages: each selection has its own set
# of features, and another one would build most dependencies a second time.
OPTIMISED=(--release --locked -p antiphon-cli -p antiphon-tests)

build_broker() {
  [ -n "${ANTIPHON_BIN:-}" ] || (cd "$REPO" && cargo build "${OPTIMISED[@]}" --bins --tests)
}

# ---- Putting them together. `installed NAME STEP` runs a step once per run, with its own log.

installed() { # NAME COMMAND...
  local name=$1
  shift
  [ -e "$SCRATCH/installed-$name" ] && return 0
  local log=$LOGS/install-$name.log
  if timed "install: $name${MARK:-}" "$@" >"$log" 2>&1 </dev/null; then
    touch "$SCRATCH/installed-$name"
  else
    fail "install: $name"
    tail_of "$log"
    return 1
  fi
}

# install_for PART...: everything these parts need, least first. Returns non-zero when a step failed.
install_for() {
  local part failed=0
  for part in "$@"; do
    case $part in
      compat) install_compat || failed=1 ;;
      main-job) install_main_job || failed=1 ;;
      minio) installed minio install_minio || failed=1 ;;
    esac
  done
  return "$failed"
}

# Downloads wait for the network, not for a core, so they run side by side.
install_downloads() {
  local pids=() pid failed=0
  installed apt install_apt & pids+=($!)
  installed kafka install_kafka & pids+=($!)
  installed python install_python & pids+=($!)
  installed npm install_npm & pids+=($!)
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}

install_clients() {
  install_downloads && installed go-clients build_go_clients && installed java-clients build_java_clients
}

install_compat() { install_clients && installed rust-clients build_rust_clients; }

install_main_job() { install_clients && installed minio install_minio; }
