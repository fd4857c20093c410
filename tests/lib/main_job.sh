# Part `main-job`: 336,776 real flights through two producers and five codecs into a bucket, read back
# alike by four consumer groups, then again by a new broker that has nothing but the bucket. Sourced.

FLIGHTS=336776
TOPIC=flights
MAIN_READERS=(java franz-go kafkajs confluent)

part_main_job() {
  heading "main-job: the flights of 2013 ($BROKER)"
  local work=$SCRATCH/main-job
  mkdir -p "$work/before" "$work/after"
  BOOTSTRAP=
  : >"$LOGS/main-job-broker.log"
  main_start && main_fill && main_read before && main_state before && main_new_broker && main_read after &&
    main_state after && main_compare && main_table
  check "the broker stops cleanly" "$LOGS/main-job-stop.log" broker_stop
  [ "$BROKER" = kafka ] || minio_stop
}

main_broker() { broker_start "$work/$1" s3://antiphon/main-job "$LOGS/main-job-broker.log"; }

main_start() {
  if [ "$BROKER" != kafka ]; then
    check "MinIO starts" "$LOGS/minio-start.log" minio_start antiphon || return 1
  fi
  check "the broker starts on an empty bucket" "$LOGS/main-job-start.log" main_broker data1
}

# ---- Filling the topic.

main_fill() {
  main_step "the flights are exported ($FLIGHTS rows, 19 columns)" 120 main_python flights.py export "$work/flights" &&
    main_step "the topic is created with its own settings" 60 main_topics --create --topic "$TOPIC" --partitions 6 \
      --replication-factor 1 --config retention.ms=-1 --config max.message.bytes=2097152 \
      --config segment.bytes=16777216 &&
    main_step "confluent-kafka produces its half, five codecs" 300 \
      main_python produce_confluent.py "$BOOTSTRAP" "$TOPIC" "$work/flights" &&
    main_step "kcat produces its half, five codecs" 300 main_kcat
}

main_step() { # NAME SECONDS COMMAND...
  local name=$1 limit=$2 log=$LOGS/main-job-step.log
  shift 2
  if timed "main-job: ${name%% (*}" bounded "$limit" "$log" "$@"; then
    pass "$name"
  else
    fail "$name"
    tail_of "$log"
    return 1
  fi
}

main_python() {
  local program=$1
  shift
  PYTHONDONTWRITEBYTECODE=1 "$CACHE/venv/bin/python" "$TESTS/main_job/$program" "$@"
}

main_topics() { java_run org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" "$@"; }

main_kcat() {
  local codec origin
  for codec in none gzip snappy lz4 zstd; do
    for origin in EWR JFK LGA; do
      kcat -b "$BOOTSTRAP" -P -t "$TOPIC" -K '\t' -z "$codec" -X enable.idempotence=true \
        -X topic.partitioner=murmur2_random -X linger.ms=50 \
        -H "origin=$origin" -H via=kcat -H "via=$codec" -l "$work/flights/kcat-$codec-$origin.tsv" || return 1
    done
  done
}

# ---- Reading everything back. In the first round each reader's group commits; the second round reads
# with new groups, because the first ones have nothing left to read.

main_read() { # before|after
  local reader out=$work/$1
  for reader in "${MAIN_READERS[@]}"; do
    timed "main-job: $reader reads $1" main_reader "$reader" "$1" >"$out/$reader" 2>"$LOGS/main-job-$reader-$1.log"
  done
  main_agree "$1"
  main_step "Java's console consumer prints every key and value ($1)" 240 main_console "$1"
}

main_reader() { # READER before|after
  local group=flights-$1
  [ "$2" = before ] || group=$group-again
  set -- "$1" "$BOOTSTRAP" "$TOPIC" "$group" "$FLIGHTS" "$work/$2/times"
  case $1 in
    java) timeout 240 java -Xmx512m -XX:+UseSerialGC -cp "$CACHE/classes:$CACHE/kafka/*" FlightsReader "${@:2:4}" ;;
    franz-go) timeout 240 "$CACHE/go-bin/flights-franz-go" "${@:2:4}" ;;
    kafkajs) NODE_PATH=$CACHE/npm/node_modules timeout 240 node "$TESTS/main_job/read_kafkajs.js" "${@:2:4}" ;;
    confluent)
      PYTHONDONTWRITEBYTECODE=1 timeout 240 "$CACHE/venv/bin/python" "$TESTS/main_job/read_confluent.py" "${@:2:5}" ;;
  esac
}

main_agree() { # before|after
  local reader out=$work/$1
  expect "confluent-kafka's group reads the source's content, times included ($1)" \
    "$(cat "$work/flights/source.content")" "$(tail -n 1 "$out/confluent")" || tail_of "$LOGS/main-job-confluent-$1.log"
  for reader in java franz-go kafkajs; do
    expect "$reader's group reads the same records at the same places ($1)" "$(cat "$out/confluent")" \
      "$(cat "$out/$reader")" || tail_of "$LOGS/main-job-$reader-$1.log"
  done
}

# One row per reader and round; equal rows are equal data. `places` covers every partition's hash.
main_table() {
  local round reader
  printf '\n  %-8s %-10s %10s  %-16s  %-16s\n' round reader records content places
  for round in before after; do
    for reader in "${MAIN_READERS[@]}"; do
      printf '  %-8s %-10s %10s  %-16s  %-16.16s\n' "$round" "$reader" \
        $(awk '$1 == "content" { print $3, $5 }' "$work/$round/$reader" 2>/dev/null || echo "- -") \
        "$(grep ^partition "$work/$round/$reader" 2>/dev/null | sha256sum)"
    done
  done
  printf '  %-8s %-10s %10s  %-16s\n' "" source $(awk '{ print $3, $5 }' "$work/flights/source.content")
}

main_console() { # before|after
  java_run org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic "$TOPIC" \
    --group "flights-console-$1" --command-property auto.offset.reset=earliest --max-messages "$FLIGHTS" \
    --timeout-ms 60000 --formatter-property print.key=true 2>/dev/null | main_python flights.py sum-pairs >"$work/$1/pairs"
  cat "$work/$1/pairs"
  cmp "$work/flights/source.pairs" "$work/$1/pairs"
}

# ---- What a broker knows besides the records, as Kafka's tools show it.

main_state() { # before|after
  local out=$work/$1 kind
  main_offsets earliest >"$out/earliest"
  main_offsets latest >"$out/latest"
  java_run kafka.admin.ConfigCommand --bootstrap-server "$BOOTSTRAP" --describe --entity-type topics \
    --entity-name "$TOPIC" 2>/dev/null | grep = | sed 's/ sensitive.*//; s/^ *//' | sort >"$out/configs"
  main_committed >"$out/committed"
  for kind in earliest latest configs committed times; do
    [ -s "$out/$kind" ] || fail "$kind can be asked for ($1)"
  done
  [ "$1" = after ] || main_state_is_right
}

main_offsets() { # earliest|latest
  java_run org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$BOOTSTRAP" --topic "$TOPIC" --time "$1" 2>/dev/null
}

# Group, topic, partition, committed offset, end offset and lag of the first round's groups.
main_committed() {
  local reader
  for reader in "${MAIN_READERS[@]}"; do
    java_run org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" --describe \
      --group "flights-$reader" 2>/dev/null | awk -v topic="$TOPIC" '$2 == topic { print $1, $2, $3, $4, $5, $6 }' | sort
  done
}

main_state_is_right() {
  local out=$work/before
  expect "kafka-get-offsets: every partition begins at 0" 0 "$(awk -F: '{ n += $3 } END { print n + 0 }' "$out/earliest")"
  expect "kafka-get-offsets: the ends add up to every flight" "$FLIGHTS" \
    "$(awk -F: '{ n += $3 } END { print n + 0 }' "$out/latest")"
  expect "kafka-consumer-groups: four groups committed everything" "$((4 * FLIGHTS)) 0" \
    "$(awk '{ n += $4; lag += $6 } END { print n + 0, lag + 0 }' "$out/committed")"
  expect "kafka-configs: the settings are those given" \
    "max.message.bytes=2097152 retention.ms=-1 segment.bytes=16777216" "$(tr '\n' ' ' <"$out/configs" | sed 's/ $//')"
}

# ---- The same bucket under a new broker. (Kafka has no bucket: it restarts on its own disk.)

main_new_broker() {
  local folder=data2
  check "SIGTERM stops the broker with exit code 0" "$LOGS/main-job-stop.log" broker_stop || return 1
  if [ "$BROKER" = kafka ]; then folder=data1; else rm -rf "$work/data1"; fi
  check "a new broker starts with an empty data folder on the same bucket" "$LOGS/main-job-start.log" \
    main_broker "$folder"
}

main_compare() {
  local kind
  declare -A meaning=(
    [earliest]="earliest offsets" [latest]="latest offsets" [times]="offsets found by time"
    [configs]="topic settings" [committed]="committed offsets of four groups" [confluent]="hashes of every partition"
  )
  for kind in earliest latest times configs committed confluent; do
    expect "unchanged under the new broker: ${meaning[$kind]}" "$(cat "$work/before/$kind")" "$(cat "$work/after/$kind")"
  done
}
