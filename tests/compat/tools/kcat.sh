#!/usr/bin/env bash
# kcat: topic made by producing to it, every codec, keys and headers, group, seek by time. kcat has no
# way to set a timestamp, so times are those it read back.
set -uo pipefail
. "$(dirname "$0")/story.sh"

TOPIC=$PREFIX-kcat
GROUP=$TOPIC-group

lines() { seq "$1" "$2" | sed 's/.*/k-&\tv-&/'; }

produce_with() { # CODEC FROM TO
  lines "$2" "$3" | kcat -b "$BOOTSTRAP" -P -t "$TOPIC" -p 0 -K '\t' -z "$1" -H "codec=$1" -H twice=a -H twice=b \
    -X enable.idempotence=true
}

produce_all() {
  local from=0 codec
  for codec in none gzip snappy lz4 zstd; do
    produce_with "$codec" "$from" $((from + 59)) || return 1
    from=$((from + 60))
  done
}

# The partition as lines of "offset key value", which must number the records without a gap.
read_all() { kcat -b "$BOOTSTRAP" -C -t "$TOPIC" -p 0 -o beginning -e -q -f '%o %k %s\n'; }
wanted() { seq "$1" "$2" | sed 's/.*/& k-& v-&/'; }

reads_everything() { same "$(wanted 0 "$1")" "$(read_all)"; }

carries_headers() {
  local got
  got=$(kcat -b "$BOOTSTRAP" -C -t "$TOPIC" -p 0 -o 70 -c 1 -q -f '%h')
  same 'codec=gzip,twice=a,twice=b' "$got"
}

group_reads() { # FIRST COUNT
  local got
  got=$(timeout 40 kcat -b "$BOOTSTRAP" -G "$GROUP" -c "$2" -q -X auto.offset.reset=earliest -f '%o %k %s\n' "$TOPIC")
  same "$(wanted "$1" $(($1 + $2 - 1)))" "$got"
}

# The first record that is not older than record 150 is what a query for its time must find.
seeks_by_time() {
  local time first found
  time=$(kcat -b "$BOOTSTRAP" -C -t "$TOPIC" -p 0 -o 150 -c 1 -q -f '%T') || return 1
  first=$(kcat -b "$BOOTSTRAP" -C -t "$TOPIC" -p 0 -o beginning -e -q -f '%o %T\n' \
    | awk -v time="$time" '$2 >= time { print $1; exit }')
  found=$(kcat -b "$BOOTSTRAP" -Q -t "$TOPIC:0:$time" | awk '{ print $NF }')
  same "$first" "$found" || return 1
  found=$(kcat -b "$BOOTSTRAP" -C -t "$TOPIC" -p 0 -o "s@$time" -c 1 -q -f '%o')
  same "$first" "$found"
}

lists_the_topic() {
  kcat -b "$BOOTSTRAP" -L -J >"$WORK/metadata" || return 1
  same "$TOPIC" "$(jq -r --arg t "$TOPIC" '.topics[] | select(.topic == $t) | .topic' "$WORK/metadata")"
}

if [ "$PHASE" = phase1 ]; then
  step "makes a topic by producing to it, with every codec" produce_all
  step "lists the topic" lists_the_topic
  step "reads everything back" reads_everything 299
  step "reads headers back, a repeated name included" carries_headers
  step "a group reads half and commits" group_reads 0 150
  step "seeks by time" seeks_by_time
else
  step "produces after the restart" produce_with none 300 359
  step "reads on from the committed offset" group_reads 150 210
  step "reads everything back after the restart" reads_everything 359
fi
