# Starting and stopping the two brokers. Sourced by `run`.

KAFKA_VERSION=4.3.1
KAFKA_HEAP='-Xmx1G -Xms1G' # what kafka-server-start.sh sets
# What kafka-run-class.sh sets.
KAFKA_JVM=(-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35
  -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true)
kafka_jars=${ANTIPHON_CACHE:-$HOME/.cache/antiphon}/kafka
# Below the kernel's ephemeral ports: one of those may be taken by an outgoing connection.
port_base=${BENCH_PORT_BASE:-21092}

declare -A pid=() address=([antiphon]=127.0.0.1:$port_base [kafka]=127.0.0.1:$((port_base + 2)))
data=''
antiphon_flags=() # what a benchmark asks of Antiphon beyond its defaults

install_kafka() {
  [[ -e $kafka_jars/kafka_2.13-$KAFKA_VERSION.jar ]] && return
  echo "installing Kafka $KAFKA_VERSION into $kafka_jars" >&2
  mvn -q -f "$here/kafka/pom.xml" dependency:copy-dependencies \
    -Dkafka.version="$KAFKA_VERSION" -DincludeScope=runtime -DoutputDirectory="$kafka_jars"
}

# Everything lives in one directory that goes away with us. /var/tmp, because /tmp may be memory.
open_data() {
  data=$(mktemp -d "${ANTIPHON_BENCH_DATA:-/var/tmp}/antiphon-bench.XXXXXX")
  runs=$data/runs
  mkdir "$runs"
  trap close_data EXIT
  trap 'exit 130' INT TERM
}

close_data() {
  local system
  for system in "${!pid[@]}"; do stop_broker "$system"; done
  stop_minio
  [[ -z $data ]] || rm -rf "$data"
}

# Writes Kafka's settings for the data directory $1 and formats it once. The values are those of
# the server.properties that Kafka ships, with replication 1 for its internal topics.
prepare_kafka() {
  local directory=$1 controller=127.0.0.1:$((port_base + 3))
  [[ -e $directory/server.properties ]] && return
  mkdir -p "$directory/logs"
  cat >"$directory/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$controller
listeners=PLAINTEXT://${address[kafka]},CONTROLLER://$controller
advertised.listeners=PLAINTEXT://${address[kafka]}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=$directory/logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
PROPERTIES
  java -cp "$kafka_jars/*" kafka.tools.StorageTool format \
    -t AAAAAAAAQACAAAAAAAAAAQ -c "$directory/server.properties" >"$directory/format.log" 2>&1
}

# Sets `command` to the command line that runs system $1 on data directory $2.
broker_command() {
  local system=$1 directory=$2
  mkdir -p "$directory"
  if [[ $system == kafka ]]; then
    prepare_kafka "$directory"
    # shellcheck disable=SC2206 # the heap options are two words
    command=(java $KAFKA_HEAP "${KAFKA_JVM[@]}" -cp "$kafka_jars/*" kafka.Kafka
      "$directory/server.properties")
  else
    command=("$ANTIPHON_BIN" --listen "${address[antiphon]}"
      --http "127.0.0.1:$((port_base + 1))" --data-dir "$directory"
      "${antiphon_flags[@]}")
  fi
}

start_broker() {
  local system=$1 directory=$2 command
  broker_command "$system" "$directory"
  "${command[@]}" >"$data/$system.log" 2>&1 &
  pid[$system]=$!
  "$bench" wait --brokers "${address[$system]}" --timeout 120 >/dev/null || {
    echo "bench/run: $system did not start:" >&2
    tail -20 "$data/$system.log" >&2
    exit 1
  }
}

stop_broker() {
  local system=$1 broker=${pid[$1]:-}
  [[ -n $broker ]] || return 0
  kill "$broker" 2>/dev/null || true
  wait "$broker" 2>/dev/null || true
  unset "pid[$system]"
}
