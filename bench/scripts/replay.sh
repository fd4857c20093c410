# Live traffic while history is replayed. Sourced by `run`.

replay_partitions=4

replay_usage() {
  cat >&2 <<'USAGE'
bench/run replay [--quick] [--peer-only | --subject-only] [--history SIZE] [--loads LIST]
                 [--rounds N] [--groups] [--bucket-here] [--brokers ADDRESS [--broker-pid PID] [--metrics URL]]
USAGE
  exit 2
}

parse_replay_options() {
  quick=0 rounds='' history='' loads='' given_address='' given_pid='' given_metrics=''
  systems=(antiphon kafka) groups=() minio_here=0
  while (($#)); do
    case $1 in
      --quick) quick=1 ;;
      --peer-only) systems=(kafka) ;;
      --subject-only) systems=(antiphon) ;;
      --groups) groups=(--groups) ;;
      --bucket-here) minio_here=1 ;;
      --history) history=${2:?--history needs a size such as 4GiB}; shift ;;
      --loads) loads=${2:?--loads needs a list such as 1,4,16,4@0}; shift ;;
      --rounds) rounds=${2:?--rounds needs a number}; shift ;;
      --brokers) given_address=${2:?--brokers needs HOST:PORT}; systems=(broker); shift ;;
      --broker-pid) given_pid=${2:?--broker-pid needs a process id}; shift ;;
      --metrics) given_metrics=${2:?--metrics needs http://HOST:PORT/metrics}; shift ;;
      *) replay_usage ;;
    esac
    shift
  done
}

# Every cache of the broker is far smaller than the history.
choose_replay_sizes() {
  tail_memory=128MiB cache_memory=64MiB flush_seconds=5
  if ((quick)); then
    history=${history:-1GiB} loads=${loads:-1,4,4@0} rounds=${rounds:-1}
    seconds=4 warmup_seconds=1 alone_seconds=3
  else
    history=${history:-6GiB} loads=${loads:-1,4,16,4@0} rounds=${rounds:-3}
    seconds=20 warmup_seconds=3 alone_seconds=10
  fi
  antiphon_flags=(--store "s3://$bucket/antiphon" --tail-memory "$tail_memory"
    --tail-cache-memory "$tail_memory" --cache-memory "$cache_memory" --flush-interval "$flush_seconds")
}

# 6GiB -> 6; less than one is one.
gibibytes() {
  case $1 in
    *GiB) echo "${1%GiB}" ;;
    *) echo 1 ;;
  esac
}

describe_replay() {
  echo "history $history over $replay_partitions partitions of 1 KiB records; loads $loads," \
    "alone for $alone_seconds s; 300 requests/s of 256 bytes for $seconds s"
  [[ $systems != broker ]] || return 0
  local where="MinIO at nice 19, data in $(df --output=fstype "$minio_data" | tail -1)"
  ((!minio_here)) || where="MinIO at nice 0, on the same disk"
  echo "; Antiphon: tail and tail cache $tail_memory each, cache $cache_memory, history in $where;" \
    "Kafka: defaults, history in its log; all of them up, taking turns"
}

start_replay_systems() {
  local system
  if [[ $systems == broker ]]; then
    address[broker]=$given_address
    return
  fi
  for system in "${systems[@]}"; do
    start_broker "$system" "$data/$system"
    printf '%-9s fill and warm-up\n' "$system" >&2
    replay_once "$system" --fill-only >/dev/null
    quietly "$system" consume --topic replay --partitions "$replay_partitions"
    quietly "$system" roundtrip --topic replay-live --seconds 2 --warmup-seconds 1
  done
}

# replay_once SYSTEM [OPTION]...
replay_once() {
  local system=$1 options=() broker_pid=${pid[$1]:-$given_pid} metrics=$given_metrics
  shift
  [[ $system != antiphon ]] || metrics=http://127.0.0.1:$((port_base + 1))/metrics
  [[ -z $broker_pid ]] || options+=(--broker-pid "$broker_pid")
  [[ -z $metrics ]] || options+=(--metrics "$metrics")
  if can_drop_caches && [[ $system != broker ]]; then options+=(--drop-page-cache); fi
  sync
  "$bench" replay --brokers "${address[$system]}" --topic replay --history "$history" \
    --partitions "$replay_partitions" --loads "$loads" --alone-seconds "$alone_seconds" \
    --seconds "$seconds" --warmup-seconds "$warmup_seconds" "${groups[@]}" "${options[@]}" "$@"
}

# The same objects without a broker: as many GETs at a time and as large as the broker's were.
raw_gets() {
  local round=$1 replays
  for replays in $(tr ',' '\n' <<<"$loads" | cut -d@ -f1 | sort -nu); do
    printf '%-9s %-16s round %s\n' raw "gets-$replays" "$round" >&2
    if can_drop_caches; then echo 1 >/proc/sys/vm/drop_caches; fi
    "$bench" gets --store "s3://$bucket/antiphon/objects" --seconds "$alone_seconds" \
      --like "$runs/antiphon.replay.$round.json" --consumers "$replays" \
      --json "$runs/raw.gets-$replays.$round.json" >/dev/null
  done
}

replay() {
  local round system name=replay
  parse_replay_options "$@"
  choose_replay_sizes
  build_bench
  open_data
  ! measures kafka || install_kafka
  if measures antiphon; then
    install_minio
    build_antiphon
  fi
  # The bucket stands for one elsewhere, which takes neither this machine's processors nor its disk.
  ((minio_here)) || minio_nice=19
  # Merging writes everything once more before the sources go.
  ! measures antiphon || start_minio $((2 * $(gibibytes "$history")))
  facts "$(describe_replay)"
  start_replay_systems
  for ((round = 1; round <= rounds; round++)); do
    for system in "${systems[@]}"; do
      printf '%-9s %-16s round %s\n' "$system" replay "$round" >&2
      replay_once "$system" --json "$runs/$system.replay.$round.json" >/dev/null ||
        failed "$system" replay
    done
    if [[ -e $runs/antiphon.replay.$round.json ]]; then raw_gets "$round"; fi
  done
  ((${#systems[@]} == 2)) || name+=-$systems
  ((!quick)) || name+=-quick
  ((!minio_here)) || name+=-bucket-here
  mkdir -p "$here/results"
  "$bench" replay-report --runs "$runs" --facts "$data/facts.json" --subject "$systems" \
    --output "$here/results/$(date +%F)-$name"
}
