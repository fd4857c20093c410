# One layer alone. Sourced by `run`.

# bench/run layer wal [--quick]: the write-ahead log without a broker.
layer() {
  [[ ${1:-} == wal ]] || usage
  shift
  local name=layer-wal options=()
  case ${1:-} in
    --quick) name+=-quick options=(--quick) ;;
    '') ;;
    *) usage ;;
  esac
  systems=() rounds=1
  build_bench
  open_data
  facts "$name"
  "$bench" layer-wal --directory "$data/wal" --facts "$data/facts.json" "${options[@]}" \
    --output "$here/results/$(date +%F)-$name"
}
