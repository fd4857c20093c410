# What is measured, and in which order. Sourced by `run`.
#
# Both brokers are up while the throughput and latency workloads run, and take turns, round by
# round: whatever the machine does in the meantime hits both. An idle broker costs the other next
# to nothing; stopping and starting would cost a JVM its warm-up each time. Start-up workloads run
# with nothing else up.

load_workloads=(produce-1k produce-200 produce-100p open-loop roundtrip history)
all_workloads=(startup partitions kill rows idle pressure "${load_workloads[@]}")

choose_sizes() {
  if ((quick)); then
    rounds=${rounds:-1} starts=3 idle_seconds=2 watch_seconds=45
    bytes_1k=512MiB bytes_200=128MiB bytes_100p=64MiB bytes_history=512MiB bytes_warmup=128MiB
    bytes_killed=256MiB row_passes=1 bytes_replayed=512MiB seconds=5
  else
    rounds=${rounds:-3} starts=5 idle_seconds=5 watch_seconds=300
    bytes_1k=1GiB bytes_200=384MiB bytes_100p=192MiB bytes_history=4GiB bytes_warmup=2GiB
    bytes_killed=1GiB row_passes=10 bytes_replayed=4GiB seconds=10
  fi
  open_rate=2000 request_rate=300 many=1000 very_many=10000 replays=16
}

describe_sizes() {
  echo "produce-1k $bytes_1k, produce-200 $bytes_200, produce-100p $bytes_100p," \
    "history $bytes_history, open loop $open_rate/s and round trip $request_rate/s for $seconds s;" \
    "killed with $bytes_killed in the log; idle requests extrapolated from $watch_seconds s;" \
    "pressure: $replays replays of $bytes_replayed beside a producer"
}

wanted() {
  ((${#only[@]} == 0)) || [[ " ${only[*]} " == *" $1 "* ]]
}

# measure SYSTEM WORKLOAD ROUND SUBCOMMAND [OPTION]...: one report. Dirty pages of earlier runs are
# written out first, so that nobody pays for somebody else's. A failed run is reported, not fatal.
measure() {
  local system=$1 workload=$2 round=$3 subcommand=$4
  shift 4
  sync
  printf '%-9s %-16s round %s\n' "$system" "$workload" "$round" >&2
  "$bench" "$subcommand" --brokers "${address[$system]}" --broker-pid "${pid[$system]}" \
    --json "$runs/$system.$workload.$round.json" "$@" >"$data/last.txt" || cat "$data/last.txt" >&2
}

# A workload that cannot run leaves its rows empty; the others still count.
failed() {
  printf '%s %s FAILED; the end of its log:\n' "$1" "$2" >&2
  tail -5 "$data/$1.log" >&2 || true
}

quietly() {
  local system=$1 subcommand=$2
  shift 2
  "$bench" "$subcommand" --brokers "${address[$system]}" "$@" >/dev/null
}

drop_topic() {
  quietly "$1" delete --topic "$2"
}

can_drop_caches() {
  [[ -w /proc/sys/vm/drop_caches ]]
}

run_workloads() {
  local system
  for system in "${systems[@]}"; do
    if wanted startup; then startup "$system"; fi
    if wanted partitions; then partitions "$system" "$many"; fi
    if wanted kill; then kill_and_restart "$system"; fi
  done
  # What has bars of its own and no peer.
  if measures antiphon; then
    if wanted partitions; then partitions antiphon "$very_many"; fi
    if wanted rows; then rows; fi
    if wanted idle; then idle; fi
    if wanted pressure; then pressure; fi
  fi
  load_workloads
}

# restart SYSTEM WORKLOAD STARTS [OPTION]...: from the command to what `startup` measures. The command
# line is in `command`.
restart() {
  local system=$1 workload=$2 times=$3
  shift 3
  printf '%-9s %-16s %s starts\n' "$system" "$workload" "$times" >&2
  "$bench" startup --address "${address[$system]}" --rounds "$times" \
    --idle-seconds "$idle_seconds" --json "$runs/$system.$workload.1.json" \
    --log "$data/$system.log" "$@" -- "${command[@]}" >/dev/null || failed "$system" "$workload"
}

startup() {
  local system=$1 command
  broker_command "$system" "$data/$system-empty"
  restart "$system" startup "$starts"
  rm -rf "$data/$system-empty"
}

# Many partitions created, written and read; then the broker restarts with them.
partitions() {
  local system=$1 count=$2 command
  start_broker "$system" "$data/$system-many"
  measure "$system" "partitions-$count" 1 partitions --topic many --partitions "$count"
  stop_broker "$system"
  broker_command "$system" "$data/$system-many"
  restart "$system" "restart-$count" 1
  rm -rf "$data/$system-many"
}

# kill -9 while everything that was acknowledged is in the log alone, and back to the first
# acknowledgement. Antiphon is told not to flush; Kafka has not synced by itself.
kill_and_restart() {
  local antiphon_flags=(--flush-interval 3600 --tail-memory 4GiB --wal-disk 8GiB)
  start_broker "$1" "$data/$1-killed"
  quietly "$1" produce --topic killed --bytes "$bytes_killed"
  kill_broker "$1" kill killed
}

# Ten segment rows in the catalog, and many: the same number of partitions, written to more often.
rows() {
  local passes antiphon_flags=(--flush-interval 1)
  for passes in 0 "$row_passes"; do
    start_broker antiphon "$data/antiphon-killed"
    quietly antiphon partitions --topic many --partitions "$very_many" --passes "$passes" \
      --pause-ms 2000
    quietly antiphon partitions --topic few --partitions 10
    sleep 3
    kill_broker antiphon "kill-rows-$((very_many * passes + 10))" few
  done
}

# kill_broker SYSTEM WORKLOAD TOPIC: kills it and measures its way back to an acknowledgement on TOPIC.
kill_broker() {
  local system=$1 workload=$2 topic=$3 command
  kill -9 "${pid[$system]}"
  wait "${pid[$system]}" 2>/dev/null || true
  unset "pid[$system]"
  broker_command "$system" "$data/$system-killed"
  restart "$system" "$workload" 1 --ack-topic "$topic"
  rm -rf "$data/$system-killed"
}

# An idle broker's requests to its bucket, as MinIO counts them.
idle() {
  local antiphon_flags=(--store "s3://$bucket/idle")
  start_minio
  start_broker antiphon "$data/antiphon-idle"
  quietly antiphon produce --topic idle --bytes 16MiB
  # Until the last flush and what follows from it are over.
  sleep "$((quick ? 5 : 60))"
  measure antiphon idle 1 idle --metrics "$AWS_ENDPOINT/minio/v2/metrics/cluster" \
    --seconds "$watch_seconds"
  stop_broker antiphon
  stop_minio
  rm -rf "$data/antiphon-idle"
}

# Memory while history is replayed by many and a producer goes as fast as it can. A broker whose metrics
# do not say its budgets is held to what the defaults of the five large ones add up to.
pressure() {
  local antiphon_flags=(--store "s3://$bucket/pressure" --flush-interval 5)
  start_minio
  start_broker antiphon "$data/antiphon-pressure"
  measure antiphon pressure 1 replay --history "$bytes_replayed" --loads "$replays" \
    --pressure "$((2 * seconds))" --budget 1856MiB \
    --metrics "http://127.0.0.1:$((port_base + 1))/metrics"
  stop_broker antiphon
  stop_minio
  rm -rf "$data/antiphon-pressure" "$data/minio"
}

# Everything that needs running, warmed-up brokers.
load_workloads() {
  local workload system round any=0
  for workload in "${load_workloads[@]}"; do
    if wanted "$workload"; then any=1; fi
  done
  ((any)) || return 0
  for system in "${systems[@]}"; do
    start_broker "$system" "$data/$system"
    warm_up "$system"
  done
  for workload in produce-1k produce-200 produce-100p open-loop roundtrip; do
    wanted "$workload" || continue
    if [[ $workload == open-loop || $workload == roundtrip ]]; then settle; fi
    for ((round = 1; round <= rounds; round++)); do
      for system in "${systems[@]}"; do "run_$workload" "$system" "$round"; done
    done
  done
  if wanted history; then history; fi
  for system in "${systems[@]}"; do stop_broker "$system"; done
}

# Waits until the files of dropped topics are gone, once. Kafka deletes them a minute after their topic
# (file.delete.delay.ms), and what that costs a disk that trims deleted files belongs to neither broker's requests: see README.md, pitfalls.
settled=0
settle() {
  ((settled)) && return
  printf 'waiting 65 s for the files of dropped topics to be deleted\n' >&2
  sleep 65
  sync
  settled=1
}

# Compiles a JVM's hot paths, opens files, fills pools. How much a JVM
# needs is not settled (README, pitfalls); 2 GiB is what the disk budget allows. Also writes the history that is read last.
warm_up() {
  local system=$1
  printf '%-9s warm-up\n' "$system" >&2
  quietly "$system" produce --topic warmup --bytes "$bytes_warmup"
  quietly "$system" consume --topic warmup
  quietly "$system" produce --topic warmup --record-size 200 --linger-ms 0 --bytes 32MiB
  quietly "$system" produce --topic warmup --rate "$open_rate" --linger-ms 0 --seconds "$seconds"
  quietly "$system" roundtrip --topic warmup --seconds 1 --warmup-seconds 2 --rate "$request_rate"
  drop_topic "$system" warmup
  if wanted history; then quietly "$system" produce --topic history --bytes "$bytes_history"; fi
}

run_produce-1k() {
  local system=$1 round=$2 topic=p1k-$2
  measure "$system" produce-1k "$round" produce --topic "$topic" --bytes "$bytes_1k"
  measure "$system" consume-hot "$round" consume --topic "$topic"
  drop_topic "$system" "$topic"
}

run_produce-200() {
  local system=$1 round=$2 topic=p200-$2
  measure "$system" produce-200 "$round" produce --topic "$topic" --record-size 200 \
    --bytes "$bytes_200"
  drop_topic "$system" "$topic"
}

run_produce-100p() {
  local system=$1 round=$2 topic=p100-$2
  measure "$system" produce-100p "$round" produce --topic "$topic" --partitions 100 \
    --record-size 200 --linger-ms 0 --bytes "$bytes_100p"
  drop_topic "$system" "$topic"
}

run_open-loop() {
  local system=$1 round=$2 topic=open-$2
  measure "$system" open-loop "$round" produce --topic "$topic" --rate "$open_rate" \
    --linger-ms 0 --seconds "$seconds"
  drop_topic "$system" "$topic"
}

run_roundtrip() {
  measure "$1" roundtrip "$2" roundtrip --topic roundtrip --rate "$request_rate" \
    --seconds "$seconds"
}

# Reads what was written at the beginning: from the page cache, which a first, unmeasured read fills,
# and from the disk where we may empty it.
history() {
  local round system
  for system in "${systems[@]}"; do quietly "$system" consume --topic history; done
  for ((round = 1; round <= rounds; round++)); do
    for system in "${systems[@]}"; do
      measure "$system" consume-history "$round" consume --topic history
    done
  done
  can_drop_caches || return 0
  for ((round = 1; round <= rounds; round++)); do
    for system in "${systems[@]}"; do
      sync
      echo 3 >/proc/sys/vm/drop_caches
      measure "$system" consume-cold "$round" consume --topic history
    done
  done
}
