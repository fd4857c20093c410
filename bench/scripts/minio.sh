# A bucket for the benchmarks that need one. Sourced by `run`.

bucket=bench
minio_pid=
minio_data=

# The same MinIO as the tests', installed the same way.
install_minio() {
  (
    CACHE=${ANTIPHON_CACHE:-$HOME/.cache/antiphon}
    . "$repo/tests/lib/install.sh"
    install_minio
  )
}

# Where MinIO keeps its data: in memory if there is room for $1 GiB and 4 more, or on the disk of the brokers, where
# its reads stand before their writes as no bucket's on another machine would.
place_minio() {
  local free_gib
  free_gib=$(awk '$1 == "MemAvailable:" { print int($2 / 2 ^ 20) - 4 }' /proc/meminfo)
  if [[ ${minio_here:-0} == 0 && $1 -gt 0 && ${free_gib:-0} -ge $1 && -d /dev/shm ]]; then
    mktemp -d /dev/shm/antiphon-bench.XXXXXX
  else
    echo "$data/minio"
  fi
}

# start_minio [GIB]
start_minio() {
  local address=127.0.0.1:$((port_base + 4)) waited
  export AWS_ENDPOINT=http://$address AWS_ENDPOINT_URL=http://$address
  export AWS_ACCESS_KEY_ID=antiphon AWS_SECRET_ACCESS_KEY=antiphon-bench
  export AWS_ALLOW_HTTP=true AWS_REGION=us-east-1
  # MinIO serves a folder of its data directory as a bucket, so no S3 client is needed to make one.
  minio_data=$(place_minio "${1:-0}")
  mkdir -p "$minio_data/$bucket"
  MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY MINIO_BROWSER=off \
    MINIO_PROMETHEUS_AUTH_TYPE=public \
    nice -n "${minio_nice:-0}" "${ANTIPHON_CACHE:-$HOME/.cache/antiphon}/bin/minio" server --quiet --address "$address" \
    --console-address "127.0.0.1:$((port_base + 5))" "$minio_data" >"$data/minio.log" 2>&1 &
  minio_pid=$!
  for ((waited = 0; waited < 300; waited++)); do
    if minio_is_ready "$address"; then return 0; fi
    sleep 0.1
  done
  echo "bench/run: MinIO did not start:" >&2
  tail -20 "$data/minio.log" >&2
  exit 1
}

# The shell's own HTTP: curl need not be there.
minio_is_ready() {
  local status=''
  { exec 9<>"/dev/tcp/${1%:*}/${1#*:}"; } 2>/dev/null || return 1
  printf 'GET /minio/health/ready HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" >&9
  read -r status <&9
  exec 9>&-
  [[ $status == *" 200 "* ]]
}

stop_minio() {
  [[ -n $minio_pid ]] || return 0
  kill "$minio_pid" 2>/dev/null || true
  wait "$minio_pid" 2>/dev/null || true
  [[ -z $minio_data ]] || rm -rf "$minio_data"
  minio_pid=
}
