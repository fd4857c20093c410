// kafka-go: Writer, and Reader with a group, which speaks the oldest group protocol of all clients here
// (JoinGroup v1). It has no idempotent producer.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"antiphon/compat/ledger"
)

const patience = 30 * time.Second

func main() { ledger.Tell("kafka-go", phase1, phase2) }

func phase1(bootstrap string, l ledger.Ledger) {
	client := &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: patience}
	ledger.Step("creates a topic with its own settings", func() error { return createTopic(client, l) })
	ledger.Step("produces with every codec", func() error {
		return produce(bootstrap, l, 0, ledger.BeforeRestart)
	})
	reader := groupReader(bootstrap, l)
	defer reader.Close()
	ledger.Step("a group reads everything back", func() error {
		got, err := read(reader, ledger.BeforeRestart)
		return errors.Join(err, l.Expect(got, 0, ledger.BeforeRestart))
	})
	ledger.Step("commits half of each partition", func() error { return commitHalf(reader, l) })
	ledger.Step("seeks by time", func() error { return seekByTime(bootstrap, l) })
}

func phase2(bootstrap string, l ledger.Ledger) {
	client := &kafka.Client{Addr: kafka.TCP(bootstrap), Timeout: patience}
	ledger.Step("finds its committed offsets after the restart", func() error {
		return committedIsHalf(client, l)
	})
	ledger.Step("produces after the restart", func() error {
		return produce(bootstrap, l, ledger.BeforeRestart, ledger.Total)
	})
	ledger.Step("reads on from the committed offsets", func() error {
		reader := groupReader(bootstrap, l)
		defer reader.Close()
		rest, err := read(reader, ledger.Total-ledger.FirstUncommitted)
		return errors.Join(err, l.Expect(rest, ledger.FirstUncommitted, ledger.Total))
	})
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func createTopic(client *kafka.Client, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	config := kafka.TopicConfig{Topic: l.Topic, NumPartitions: ledger.Partitions, ReplicationFactor: 1}
	for name, value := range ledger.TopicConfig {
		config.ConfigEntries = append(config.ConfigEntries,
			kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	reply, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return err
	}
	return reply.Errors[l.Topic]
}

func codecOf(name string) kafka.Compression {
	return map[string]kafka.Compression{
		"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}[name]
}

// byHeader sends a record where its header says it belongs.
func byHeader(message kafka.Message, _ ...int) int {
	i, _ := strconv.Atoi(string(message.Headers[0].Value))
	return i % ledger.Partitions
}

func produce(bootstrap string, l ledger.Ledger, from, to int) error {
	return ledger.ByCodec(from, to, func(codec string, from, to int) error {
		writer := &kafka.Writer{
			Addr: kafka.TCP(bootstrap), Topic: l.Topic, Balancer: kafka.BalancerFunc(byHeader),
			RequiredAcks: kafka.RequireAll, Compression: codecOf(codec), BatchTimeout: 20 * time.Millisecond,
		}
		defer writer.Close()
		var messages []kafka.Message
		for i := from; i < to; i++ {
			want := l.Record(i)
			messages = append(messages, kafka.Message{
				Key: []byte(want.Key), Value: []byte(want.Value), Time: l.Time(i),
				Headers: []kafka.Header{{Key: "n", Value: fmt.Appendf(nil, "%d", i)}},
			})
		}
		ctx, cancel := within()
		defer cancel()
		return writer.WriteMessages(ctx, messages...)
	})
}

func groupReader(bootstrap string, l ledger.Ledger) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, GroupID: l.Topic + "-group", Topic: l.Topic,
		StartOffset: kafka.FirstOffset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 200 * time.Millisecond,
	})
}

func read(reader *kafka.Reader, wanted int) (got []ledger.Record, err error) {
	ctx, cancel := within()
	defer cancel()
	for len(got) < wanted {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			return got, err
		}
		got = append(got, fromMessage(message))
	}
	return got, nil
}

func fromMessage(m kafka.Message) ledger.Record {
	headers := ""
	for _, h := range m.Headers {
		headers += h.Key + "=" + string(h.Value)
	}
	return ledger.Record{
		Partition: m.Partition, Offset: m.Offset, Millis: m.Time.UnixMilli(),
		Key: string(m.Key), Value: string(m.Value), Headers: headers,
	}
}

func commitHalf(reader *kafka.Reader, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	var last []kafka.Message
	for p := range ledger.Partitions {
		// Committing a message commits the offset after it.
		last = append(last, kafka.Message{Topic: l.Topic, Partition: p, Offset: ledger.CommittedOffset - 1})
	}
	return reader.CommitMessages(ctx, last...)
}

func seekByTime(bootstrap string, l ledger.Ledger) error {
	var got []ledger.Record
	for p := range ledger.Partitions {
		records, err := readFromTime(bootstrap, l, p)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		got = append(got, records...)
	}
	return l.Expect(got, ledger.Sought, ledger.BeforeRestart)
}

func readFromTime(bootstrap string, l ledger.Ledger, partition int) ([]ledger.Record, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{bootstrap}, Topic: l.Topic, Partition: partition,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	ctx, cancel := within()
	defer cancel()
	if err := reader.SetOffsetAt(ctx, l.Time(ledger.Sought)); err != nil {
		return nil, err
	}
	return read(reader, (ledger.BeforeRestart-ledger.Sought)/ledger.Partitions)
}

func committedIsHalf(client *kafka.Client, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	committed, err := client.ConsumerOffsets(ctx, kafka.TopicAndGroup{Topic: l.Topic, GroupId: l.Topic + "-group"})
	if err != nil {
		return err
	}
	for p := range ledger.Partitions {
		if committed[p] != ledger.CommittedOffset {
			return fmt.Errorf("partition %d: committed %d", p, committed[p])
		}
	}
	return nil
}
