import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.header.Header;

/**
 * Reads the flights with a Java group: FlightsReader BOOTSTRAP TOPIC GROUP RECORDS. Prints the
 * fingerprint that fingerprint.py describes, and commits.
 */
public final class FlightsReader {
    private static final Duration PATIENCE = Duration.ofSeconds(180);

    private static final class Partition {
        final MessageDigest digest = sha256();
        long records;
        long first = -1;
        long next;
    }

    private final Map<Integer, Partition> partitions = new TreeMap<>();
    private long records;
    private long sum;

    public static void main(String[] args) throws IOException {
        String deserializer = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        Map<String, Object> settings = Map.of("bootstrap.servers", args[0], "group.id", args[2],
            "auto.offset.reset", "earliest", "enable.auto.commit", "false", "max.poll.records", "5000",
            "key.deserializer", deserializer, "value.deserializer", deserializer);
        var reader = new FlightsReader();
        try (var consumer = new KafkaConsumer<byte[], byte[]>(settings)) {
            consumer.subscribe(List.of(args[1]));
            reader.read(consumer, Long.parseLong(args[3]));
            consumer.commitSync(PATIENCE);
        }
        reader.print();
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer, long wanted) throws IOException {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (records < wanted && System.nanoTime() < deadline) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                add(record);
            }
        }
    }

    private void add(ConsumerRecord<byte[], byte[]> record) throws IOException {
        byte[] content = contentOf(record);
        Partition partition = partitions.computeIfAbsent(record.partition(), p -> new Partition());
        if (partition.first < 0) {
            partition.first = record.offset();
        }
        partition.digest.update(ByteBuffer.allocate(20)
            .putInt(record.partition()).putLong(record.offset()).putLong(record.timestamp()).flip());
        partition.digest.update(content);
        partition.records++;
        partition.next = record.offset() + 1;
        records++;
        sum += ByteBuffer.wrap(sha256().digest(content)).getLong();
    }

    private static byte[] contentOf(ConsumerRecord<byte[], byte[]> record) throws IOException {
        var bytes = new ByteArrayOutputStream();
        var out = new DataOutputStream(bytes);
        writeSized(out, record.key());
        writeSized(out, record.value());
        Header[] headers = record.headers().toArray();
        out.writeInt(headers.length);
        for (Header header : headers) {
            writeSized(out, header.key().getBytes(StandardCharsets.UTF_8));
            writeSized(out, header.value());
        }
        return bytes.toByteArray();
    }

    private static void writeSized(DataOutputStream out, byte[] data) throws IOException {
        out.writeInt(data == null ? -1 : data.length);
        if (data != null) {
            out.write(data);
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private void print() {
        partitions.forEach((number, p) -> System.out.printf("partition %d records %d first %d next %d sha256 %s%n",
            number, p.records, p.first, p.next, HexFormat.of().formatHex(p.digest.digest())));
        System.out.printf("content records %d sum %016x%n", records, sum);
    }
}
