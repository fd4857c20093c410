# Part `compat`: every client tells its story against one broker, which is restarted in between, and
# at the end the oracle reads what each of them wrote. Sourced.

# Names of stories; the functions below say how each is run.
COMPAT_STORIES=(
  kcat kafka-tools java-classic confluent-kafka kafka-python aiokafka
  franz-go kafka-go sarama kafkajs rskafka rdkafka
)
# KIP-848's group protocol is not served by Antiphon yet; Kafka tells this story in comparisons.
[ "$BROKER" != kafka ] || COMPAT_STORIES+=(java-consumer)

part_compat() {
  heading "compat: clients before and after a restart ($BROKER)"
  local data=$SCRATCH/compat store=file://$SCRATCH/compat-store log=$LOGS/compat-broker.log prefix=c base
  # Just past: newer than any default retention, older than any clock skew allowed to timestamps.
  base=$((($(date +%s) - 3600) * 1000))
  BOOTSTRAP=
  : >"$log"
  check "the broker starts" "$LOGS/compat-start.log" broker_start "$data" "$store" "$log" || return 0
  compat_phase phase1 "$prefix" "$base"
  check "the broker stops cleanly" "$LOGS/compat-stop.log" broker_stop || tail_of "$log"
  check "the broker starts again" "$LOGS/compat-start.log" broker_start "$data" "$store" "$log" || return 0
  compat_phase phase2 "$prefix" "$base"
  compat_cross_check "$prefix" "$base"
  check "the broker stops cleanly again" "$LOGS/compat-stop.log" broker_stop || tail_of "$log"
}

compat_phase() { # PHASE PREFIX BASE_MS
  local name
  for name in ${ANTIPHON_COMPAT:-"${COMPAT_STORIES[@]}"}; do
    timed "compat: $name $1" story "$name $1" "$LOGS/compat-$name-$1.log" 150 \
      compat_story "$name" "$1" "$BOOTSTRAP" "$2" "$3"
  done
}

# The command-line stories check their own reading, and their topics hold other records.
compat_cross_check() { # PREFIX BASE_MS
  local name clients=()
  for name in ${ANTIPHON_COMPAT:-"${COMPAT_STORIES[@]}"}; do
    case $name in kcat | kafka-tools) ;; *) clients+=("$name") ;; esac
  done
  [ ${#clients[@]} -eq 0 ] || story "confluent-kafka reads all of" "$LOGS/compat-cross.log" 150 \
    compat_python cross_check.py "$BOOTSTRAP" "$1" "$2" "${clients[@]}"
}

compat_story() { # NAME PHASE BOOTSTRAP PREFIX BASE_MS
  local name=$1
  shift
  case $name in
    kcat | kafka-tools) CACHE=$CACHE bash "$TESTS/compat/tools/$name.sh" "$@" ;;
    java-*) java_run JavaClient "$@" "${name#java-}" ;;
    confluent-kafka | kafka-python | aiokafka) compat_python "${name//-/_}_client.py" "$@" ;;
    franz-go | kafka-go | sarama) "$CACHE/go-bin/$name" "$@" ;;
    kafkajs) NODE_PATH=$CACHE/npm/node_modules node "$TESTS/compat/kafkajs/client.js" "$@" ;;
    rskafka | rdkafka) "$CACHE/compat-rust/release/client-$name" "$@" ;;
  esac
}

compat_python() {
  local program=$1
  shift
  PYTHONDONTWRITEBYTECODE=1 "$CACHE/venv/bin/python" "$TESTS/compat/python/$program" "$@"
}
