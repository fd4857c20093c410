import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;

/**
 * The Java client: idempotent producer (its default), group consumer, Admin.
 *
 * <p>Usage: JavaClient phase1|phase2 BOOTSTRAP PREFIX BASE_MS [classic|consumer]. The last word is the
 * group protocol: the classic one, or that of KIP-848.
 *
 * <p>Record i goes to partition i % 3 and so gets offset i / 3; its key, value, header and timestamp
 * all tell i. The first 300 records come 60 per codec; the 60 from 300 on follow the restart.
 */
public final class JavaClient {
    private static final int PARTITIONS = 3;
    private static final int BEFORE_RESTART = 300;
    private static final int TOTAL = 360;
    private static final int RECORDS_PER_CODEC = 60;
    private static final long COMMITTED_OFFSET = 50;
    private static final int FIRST_UNCOMMITTED = (int) COMMITTED_OFFSET * PARTITIONS;
    private static final int SOUGHT = 150;
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    private static final Map<String, String> TOPIC_CONFIG =
        Map.of("retention.ms", "864000000", "max.message.bytes", "1500000");
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private record Entry(int partition, long offset, long timestamp, String key, String value, String headers) {}

    private interface Work {
        void run() throws Exception;
    }

    private final String bootstrap;
    private final String topic;
    private final long baseMs;
    private final String groupProtocol;

    private JavaClient(String bootstrap, String topic, long baseMs, String groupProtocol) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.baseMs = baseMs;
        this.groupProtocol = groupProtocol;
    }

    public static void main(String[] args) {
        String groupProtocol = args.length > 4 ? args[4] : "classic";
        var client = new JavaClient(args[1], args[2] + "-java-" + groupProtocol, Long.parseLong(args[3]), groupProtocol);
        if (args[0].equals("phase1")) {
            client.phase1();
        } else {
            client.phase2();
        }
    }

    private void phase1() {
        step("creates a topic with its own settings", this::createTopic);
        step("produces with every codec, idempotently", () -> produce(0, BEFORE_RESTART));
        try (var consumer = consumer()) {
            consumer.subscribe(List.of(topic));
            step("a group reads everything back", () -> expect(read(consumer, BEFORE_RESTART), 0, BEFORE_RESTART));
            step("commits half of each partition", () -> commitHalf(consumer));
            step("seeks by time", () -> seekByTime(consumer));
        }
    }

    private void phase2() {
        step("finds its committed offsets after the restart", this::committedIsHalf);
        step("produces after the restart", () -> produce(BEFORE_RESTART, TOTAL));
        try (var consumer = consumer()) {
            consumer.subscribe(List.of(topic));
            step("reads on from the committed offsets",
                () -> expect(read(consumer, TOTAL - FIRST_UNCOMMITTED), FIRST_UNCOMMITTED, TOTAL));
        }
    }

    /** One line of verdict; a story ends at its first broken step, since the rest builds on it. */
    private static void step(String name, Work work) {
        try {
            work.run();
        } catch (Exception | AssertionError failure) {
            System.out.println("FAIL " + name + ": " + failure);
            System.exit(1);
        }
        System.out.println("ok " + name);
    }

    private static void same(String what, Object wanted, Object got) {
        if (!Objects.equals(wanted, got)) {
            throw new AssertionError(what + ": wanted " + wanted + ", got " + got);
        }
    }

    private Properties properties(Map<String, String> more) {
        var properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.putAll(more);
        return properties;
    }

    private void createTopic() throws Exception {
        try (var admin = Admin.create(properties(Map.of()))) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1).configs(TOPIC_CONFIG))).all().get();
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            var described = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            TOPIC_CONFIG.forEach((name, value) -> same(name, value, described.get(name).value()));
        }
    }

    private Entry entry(int i) {
        return new Entry(i % PARTITIONS, i / PARTITIONS, baseMs + i * 1000L, "k-" + i, "v-" + i, "n=" + i);
    }

    private void produce(int from, int to) throws Exception {
        for (int start = from; start < to; start += RECORDS_PER_CODEC) {
            String codec = CODECS.get(start / RECORDS_PER_CODEC % CODECS.size());
            produceRun(codec, start, Math.min(start + RECORDS_PER_CODEC, to));
        }
    }

    private void produceRun(String codec, int from, int to) throws Exception {
        String serializer = "org.apache.kafka.common.serialization.StringSerializer";
        var settings = properties(Map.of("compression.type", codec, "linger.ms", "20",
            "key.serializer", serializer, "value.serializer", serializer));
        try (var producer = new KafkaProducer<String, String>(settings)) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (int i = from; i < to; i++) {
                Entry e = entry(i);
                var header = new RecordHeader("n", String.valueOf(i).getBytes());
                acks.add(producer.send(
                    new ProducerRecord<>(topic, e.partition, e.timestamp, e.key, e.value, List.of(header))));
            }
            for (int i = from; i < to; i++) {
                same("acked offset of " + i, entry(i).offset, acks.get(i - from).get().offset());
            }
        }
    }

    private KafkaConsumer<String, String> consumer() {
        String deserializer = "org.apache.kafka.common.serialization.StringDeserializer";
        return new KafkaConsumer<>(properties(Map.of("group.id", topic + "-group", "group.protocol", groupProtocol,
            "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "key.deserializer", deserializer, "value.deserializer", deserializer)));
    }

    private static List<Entry> read(KafkaConsumer<String, String> consumer, int wanted) {
        List<Entry> got = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (got.size() < wanted && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofSeconds(1)).forEach(record -> got.add(fromRecord(record)));
        }
        return got;
    }

    private static Entry fromRecord(ConsumerRecord<String, String> r) {
        var headers = new StringBuilder();
        r.headers().forEach(h -> headers.append(h.key()).append('=').append(new String(h.value())));
        return new Entry(r.partition(), r.offset(), r.timestamp(), r.key(), r.value(), headers.toString());
    }

    /** Exactly the records from..to, in order within each partition. */
    private void expect(List<Entry> got, int from, int to) {
        int[] next = new int[PARTITIONS];
        for (Entry have : got) {
            int i = from + have.partition + PARTITIONS * next[have.partition]++;
            same("record", entry(i), have);
        }
        same("number of records", to - from, got.size());
    }

    private <T> Map<TopicPartition, T> everyPartition(T value) {
        Map<TopicPartition, T> all = new HashMap<>();
        for (int p = 0; p < PARTITIONS; p++) {
            all.put(new TopicPartition(topic, p), value);
        }
        return all;
    }

    private void commitHalf(KafkaConsumer<String, String> consumer) {
        consumer.commitSync(everyPartition(new OffsetAndMetadata(COMMITTED_OFFSET, "half")), PATIENCE);
    }

    private void committedIsHalf() {
        try (var consumer = consumer()) {
            var wanted = everyPartition(new OffsetAndMetadata(COMMITTED_OFFSET, "half"));
            same("committed", wanted, consumer.committed(wanted.keySet(), PATIENCE));
        }
    }

    private void seekByTime(KafkaConsumer<String, String> consumer) {
        var found = consumer.offsetsForTimes(everyPartition(entry(SOUGHT).timestamp), PATIENCE);
        found.forEach((partition, place) -> {
            same("offset in " + partition, (long) SOUGHT / PARTITIONS, place.offset());
            consumer.seek(partition, place.offset());
        });
        expect(read(consumer, BEFORE_RESTART - SOUGHT), SOUGHT, BEFORE_RESTART);
    }
}
