#!/usr/bin/env bash
# Kafka's own console clients and administration tools, as an operator uses them.
set -uo pipefail
. "$(dirname "$0")/story.sh"

TOPIC=$PREFIX-tools
GROUP=$TOPIC-group
SERVER=(--bootstrap-server "$BOOTSTRAP")

topics() { kafka org.apache.kafka.tools.TopicCommand "${SERVER[@]}" "$@"; }
configs() { kafka kafka.admin.ConfigCommand "${SERVER[@]}" "$@"; }
groups() { kafka org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "${SERVER[@]}" "$@"; }

creates_a_topic() {
  topics --create --topic "$TOPIC" --partitions 3 --replication-factor 1 \
    --config retention.ms=864000000 --config max.message.bytes=1500000
}

describes_the_topic() {
  topics --describe --topic "$TOPIC" >"$WORK/out" || return 1
  says "$WORK/out" 'PartitionCount: 3' 'retention.ms=864000000' 'Partition: 2.*Leader: [0-9]+'
  topics --list >"$WORK/out" || return 1
  says "$WORK/out" "^$TOPIC\$"
}

changes_configs() {
  configs --alter --entity-type topics --entity-name "$TOPIC" \
    --add-config segment.bytes=2097152 --delete-config max.message.bytes || return 1
  configs --describe --entity-type topics --entity-name "$TOPIC" >"$WORK/out" || return 1
  says "$WORK/out" 'segment.bytes=2097152' 'retention.ms=864000000' || return 1
  ! grep -q 'max.message.bytes=1500000' "$WORK/out"
}

adds_partitions() {
  topics --alter --topic "$TOPIC" --partitions 4 || return 1
  topics --describe --topic "$TOPIC" >"$WORK/out" || return 1
  says "$WORK/out" 'PartitionCount: 4'
}

lines() { seq "$1" "$2" | sed 's/.*/n:&,twice:a,twice:b\tk-&\tv-&/'; }

produce_with() { # CODEC FROM TO
  lines "$2" "$3" | kafka org.apache.kafka.tools.ConsoleProducer "${SERVER[@]}" --topic "$TOPIC" \
    --compression-codec "$1" --reader-property parse.key=true --reader-property parse.headers=true
}

produces_with_every_codec() {
  local from=0 codec
  for codec in none gzip snappy lz4 zstd; do
    produce_with "$codec" "$from" $((from + 39)) || return 1
    from=$((from + 40))
  done
}

group_reads() { # FROM TO: exactly these records, in whatever order the partitions came
  kafka org.apache.kafka.tools.consumer.ConsoleConsumer "${SERVER[@]}" --topic "$TOPIC" --group "$GROUP" \
    --command-property auto.offset.reset=earliest --max-messages $(($2 - $1 + 1)) --timeout-ms 30000 \
    --formatter-property print.key=true --formatter-property print.headers=true >"$WORK/out" || return 1
  same "$(lines "$1" "$2" | sort)" "$(sort "$WORK/out")"
}

group_is_listed() {
  groups --list >"$WORK/out" || return 1
  says "$WORK/out" "^$GROUP\$"
}

# The fourth column is the committed offset, the sixth the lag.
describe_group() { groups --describe --group "$GROUP" | awk -v topic="$TOPIC" '$2 == topic'; }
committed_total() { describe_group | awk '{ n += $4 } END { print n + 0 }'; }

group_has_no_lag() { # RECORDS
  same "$1 0" "$(describe_group | awk '{ n += $4; lag += $6 } END { print n + 0, lag + 0 }')"
}

end_offsets_are() { # RECORDS
  local sum
  sum=$(kafka org.apache.kafka.tools.GetOffsetShell "${SERVER[@]}" --topic "$TOPIC" --time latest \
    | awk -F: '{ n += $3 } END { print n + 0 }')
  same "$1" "$sum"
}

resets_offsets() {
  groups --reset-offsets --group "$GROUP" --topic "$TOPIC" --to-earliest --execute >"$WORK/out" || return 1
  same 0 "$(committed_total)" || return 1
  groups --reset-offsets --group "$GROUP" --topic "$TOPIC" --to-latest --execute >"$WORK/out" || return 1
  same 200 "$(committed_total)"
}

deletes_records() {
  printf '{"partitions":[{"topic":"%s","partition":0,"offset":5}],"version":1}' "$TOPIC" >"$WORK/delete.json"
  kafka org.apache.kafka.tools.DeleteRecordsCommand "${SERVER[@]}" --offset-json-file "$WORK/delete.json" \
    >"$WORK/out" || return 1
  says "$WORK/out" 'low_watermark: 5' || return 1
  same "$TOPIC:0:5" "$(earliest_of_first)"
}

earliest_of_first() {
  kafka org.apache.kafka.tools.GetOffsetShell "${SERVER[@]}" --topic-partitions "$TOPIC:0" --time earliest
}

shows_log_dirs() {
  kafka org.apache.kafka.tools.LogDirsCommand "${SERVER[@]}" --describe --topic-list "$TOPIC" >"$WORK/out" || return 1
  says "$WORK/out" "\"partition\":\"$TOPIC-0\"" '"error":null'
}

shows_api_versions() {
  kafka org.apache.kafka.tools.BrokerApiVersionsCommand "${SERVER[@]}" >"$WORK/out" || return 1
  says "$WORK/out" 'Produce\(0\): .*\[usable: ' 'Fetch\(1\): .*\[usable: '
}

shows_the_cluster() {
  kafka org.apache.kafka.tools.ClusterTool cluster-id "${SERVER[@]}" >"$WORK/out" || return 1
  says "$WORK/out" '^Cluster ID: .+'
}

low_watermark_survived() { same "$TOPIC:0:5" "$(earliest_of_first)"; }

configs_survived() {
  topics --describe --topic "$TOPIC" >"$WORK/out" || return 1
  says "$WORK/out" 'PartitionCount: 4' 'retention.ms=864000000' 'segment.bytes=2097152'
}

deletes_the_group() {
  groups --delete --group "$GROUP" || return 1
  groups --list >"$WORK/out" || return 1
  ! grep -q "^$GROUP\$" "$WORK/out"
}

deletes_the_topic() {
  topics --delete --topic "$TOPIC" || return 1
  topics --list >"$WORK/out" || return 1
  ! grep -q "^$TOPIC\$" "$WORK/out"
}

if [ "$PHASE" = phase1 ]; then
  step "kafka-topics creates a topic" creates_a_topic
  step "kafka-topics lists and describes it" describes_the_topic
  step "kafka-configs sets and deletes settings" changes_configs
  step "kafka-topics adds a partition" adds_partitions
  step "the console producer writes with every codec" produces_with_every_codec
  step "the console consumer reads it all in a group" group_reads 0 199
  step "kafka-consumer-groups lists the group" group_is_listed
  step "kafka-consumer-groups shows no lag" group_has_no_lag 200
  step "kafka-get-offsets tells the ends" end_offsets_are 200
  step "kafka-consumer-groups resets offsets" resets_offsets
  step "kafka-delete-records moves the start" deletes_records
  step "kafka-log-dirs describes the topic" shows_log_dirs
  step "kafka-broker-api-versions answers" shows_api_versions
  step "kafka-cluster tells the cluster id" shows_the_cluster
else
  step "kafka-topics shows the same settings after the restart" configs_survived
  step "the start moved by kafka-delete-records survived" low_watermark_survived
  step "kafka-consumer-groups shows the committed offsets" group_has_no_lag 200
  step "the console producer writes after the restart" produce_with none 200 239
  step "the console consumer reads on from the committed offsets" group_reads 200 239
  step "kafka-consumer-groups deletes the group" deletes_the_group
  step "kafka-topics deletes the topic" deletes_the_topic
fi
