# Starts and stops the servers under test: Antiphon, MinIO and, to compare with, Apache Kafka.
# Sourced. `BROKER=kafka` runs the same client suites against a real single-node Kafka, which is
# how the suites themselves were proven.

BROKER=${BROKER:-antiphon}
BROKER_PID=
BOOTSTRAP=

antiphon_binary() { echo "${ANTIPHON_BIN:-$REPO/target/release/antiphon}"; }

# ---- MinIO: the bucket of the tests, on a free port, with its data in the scratch folder.

minio_start() {
  local port console
  port=$(free_port)
  console=$(free_port)
  MINIO_ROOT_USER=antiphon MINIO_ROOT_PASSWORD=antiphon-tests MINIO_BROWSER=off \
    "$CACHE/bin/minio" server --quiet --address "127.0.0.1:$port" \
    --console-address "127.0.0.1:$console" "$SCRATCH/minio" >"$LOGS/minio.log" 2>&1 </dev/null &
  MINIO_PID=$!
  own "$MINIO_PID"
  # MinIO serves a folder of its data directory as a bucket, so no S3 client is needed to make one.
  mkdir -p "$SCRATCH/minio/${1:-antiphon}"
  export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ENDPOINT=http://127.0.0.1:$port
  export AWS_ACCESS_KEY_ID=antiphon AWS_SECRET_ACCESS_KEY=antiphon-tests
  export AWS_ALLOW_HTTP=true AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
  wait_ready "$MINIO_PID" 60 curl -fs "$AWS_ENDPOINT_URL/minio/health/ready"
}

minio_stop() {
  end_process "$MINIO_PID"
  disown_process "$MINIO_PID"
}

# ---- The broker. broker_start DATA_DIR STORE_URL LOG: sets BOOTSTRAP and BROKER_PID.
# A restart keeps the port: clients that stayed connected are part of what is tested.

broker_start() {
  [ -n "$BOOTSTRAP" ] || BOOTSTRAP=127.0.0.1:$(free_port)
  if [ "$BROKER" = kafka ]; then kafka_start "$1" "$3"; else antiphon_start "$1" "$2" "$3"; fi || {
    end_process "$BROKER_PID"
    return 1
  }
}

broker_stop() {
  [ -n "$BROKER_PID" ] || return 0
  kill -TERM "$BROKER_PID" 2>/dev/null
  if ! wait_gone "$BROKER_PID" 900; then
    kill -KILL "$BROKER_PID" 2>/dev/null
    echo "still running 90 s after SIGTERM"
    return 1
  fi
  # Kafka ends with 143 after a clean stop by SIGTERM, as the JVM does; Antiphon promises 0.
  local code=0
  wait "$BROKER_PID" || code=$?
  disown_process "$BROKER_PID"
  BROKER_PID=
  [ "$code" -eq 0 ] || { [ "$BROKER" = kafka ] && [ "$code" -eq 143 ]; }
}

antiphon_start() {
  local http=127.0.0.1:$(free_port)
  "$(antiphon_binary)" serve --listen "$BOOTSTRAP" --http "$http" --data-dir "$1" --store "$2" \
    >>"$3" 2>&1 </dev/null &
  BROKER_PID=$!
  own "$BROKER_PID"
  wait_ready "$BROKER_PID" 60 curl -fs "http://$http/health/ready" || { tail -n 25 "$3"; return 1; }
}

kafka_start() {
  local data=$1 config=$1/server.properties
  if [ ! -e "$config" ]; then
    mkdir -p "$data"
    kafka_config "$data" "$(free_port)" >"$config"
    java_run kafka.tools.StorageTool format -t "$(kafka_cluster_id)" -c "$config" >>"$2" 2>&1 || return 1
  fi
  java -Xms256m -Xmx512m -XX:+UseSerialGC "-Dlog4j2.configurationFile=$TESTS/lib/kafka-log4j2.xml" \
    -cp "$CACHE/kafka/*" kafka.Kafka "$config" >>"$2" 2>&1 </dev/null &
  BROKER_PID=$!
  own "$BROKER_PID"
  wait_ready "$BROKER_PID" 90 kcat -b "$BOOTSTRAP" -m 2 -L || { tail -n 25 "$2"; return 1; }
}

kafka_cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='; }

# kafka_config DATA CONTROLLER_PORT: one node that is broker and controller, all on loopback.
kafka_config() {
  cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
listeners=PLAINTEXT://$BOOTSTRAP,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://$BOOTSTRAP
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$1/log
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
END
}

# ---- Java: Kafka's own tools, called by their class because the jars come without the scripts.

java_run() { # CLASS ARGS...
  java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$CACHE/classes:$CACHE/kafka/*" "$@"
}
