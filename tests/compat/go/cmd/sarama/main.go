// sarama: idempotent SyncProducer, ConsumerGroup, ClusterAdmin.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"antiphon/compat/ledger"
)

const patience = 30 * time.Second

func main() { ledger.Tell("sarama", phase1, phase2) }

func phase1(bootstrap string, l ledger.Ledger) {
	client := clientOf(bootstrap, "none")
	defer client.Close()
	ledger.Step("creates a topic with its own settings", func() error { return createTopic(client, l) })
	ledger.Step("produces with every codec, idempotently", func() error {
		return produce(bootstrap, l, 0, ledger.BeforeRestart)
	})
	ledger.Step("a group reads everything back and commits half", func() error {
		got, err := consume(client, l, ledger.BeforeRestart, true)
		return errors.Join(err, l.Expect(got, 0, ledger.BeforeRestart))
	})
	ledger.Step("seeks by time", func() error { return seekByTime(client, l) })
}

func phase2(bootstrap string, l ledger.Ledger) {
	client := clientOf(bootstrap, "none")
	defer client.Close()
	ledger.Step("finds its committed offsets after the restart", func() error {
		return committedIsHalf(client, l)
	})
	ledger.Step("produces after the restart", func() error {
		return produce(bootstrap, l, ledger.BeforeRestart, ledger.Total)
	})
	ledger.Step("reads on from the committed offsets", func() error {
		rest, err := consume(client, l, ledger.Total-ledger.FirstUncommitted, false)
		return errors.Join(err, l.Expect(rest, ledger.FirstUncommitted, ledger.Total))
	})
}

func clientOf(bootstrap, codec string) sarama.Client {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Flush.Messages = ledger.RecordsPerCodec / ledger.Partitions
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Net.MaxOpenRequests = 1 // sarama's own condition for idempotence
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	if err := config.Producer.Compression.UnmarshalText([]byte(codec)); err != nil {
		panic(err)
	}
	client, err := sarama.NewClient([]string{bootstrap}, config)
	if err != nil {
		fmt.Println("FAIL connects:", err)
		panic(err)
	}
	return client
}

func createTopic(client sarama.Client, l ledger.Ledger) error {
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	detail := &sarama.TopicDetail{NumPartitions: ledger.Partitions, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{}}
	for name, value := range ledger.TopicConfig {
		detail.ConfigEntries[name] = &value
	}
	if err := admin.CreateTopic(l.Topic, detail, false); err != nil {
		return err
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: l.Topic})
	for _, entry := range entries {
		if want, ours := ledger.TopicConfig[entry.Name]; ours && entry.Value != want {
			err = errors.Join(err, fmt.Errorf("%s is %s, not %s", entry.Name, entry.Value, want))
		}
	}
	return err
}

func produce(bootstrap string, l ledger.Ledger, from, to int) error {
	return ledger.ByCodec(from, to, func(codec string, from, to int) error {
		client := clientOf(bootstrap, codec)
		defer client.Close()
		producer, err := sarama.NewSyncProducerFromClient(client)
		if err != nil {
			return err
		}
		defer producer.Close()
		var messages []*sarama.ProducerMessage
		for i := from; i < to; i++ {
			messages = append(messages, messageOf(l, i))
		}
		if err := producer.SendMessages(messages); err != nil {
			return err
		}
		for n, message := range messages {
			if want := l.Record(from + n).Offset; message.Offset != want {
				return fmt.Errorf("record %d: acked at %d, not %d", from+n, message.Offset, want)
			}
		}
		return nil
	})
}

func messageOf(l ledger.Ledger, i int) *sarama.ProducerMessage {
	want := l.Record(i)
	return &sarama.ProducerMessage{
		Topic: l.Topic, Partition: int32(want.Partition), Timestamp: l.Time(i),
		Key: sarama.StringEncoder(want.Key), Value: sarama.StringEncoder(want.Value),
		Headers: []sarama.RecordHeader{{Key: []byte("n"), Value: fmt.Appendf(nil, "%d", i)}},
	}
}

func fromMessage(m *sarama.ConsumerMessage) ledger.Record {
	headers := ""
	for _, h := range m.Headers {
		headers += string(h.Key) + "=" + string(h.Value)
	}
	return ledger.Record{
		Partition: int(m.Partition), Offset: m.Offset, Millis: m.Timestamp.UnixMilli(),
		Key: string(m.Key), Value: string(m.Value), Headers: headers,
	}
}

// collector gathers what the claims of one session bring until it has as many as wanted.
type collector struct {
	mutex      sync.Mutex
	got        []ledger.Record
	wanted     int
	commitHalf bool
	enough     context.CancelFunc
}

func (c *collector) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (c *collector) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c *collector) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			c.add(session, message)
		case <-session.Context().Done():
			return nil
		}
	}
}

func (c *collector) add(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.got = append(c.got, fromMessage(message))
	if len(c.got) != c.wanted {
		return
	}
	if c.commitHalf {
		for p := range int32(ledger.Partitions) {
			session.MarkOffset(message.Topic, p, ledger.CommittedOffset, "half")
		}
		session.Commit()
	}
	c.enough()
}

func consume(client sarama.Client, l ledger.Ledger, wanted int, commitHalf bool) ([]ledger.Record, error) {
	group, err := sarama.NewConsumerGroupFromClient(l.Topic+"-group", client)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := &collector{wanted: wanted, commitHalf: commitHalf, enough: cancel}
	for ctx.Err() == nil && err == nil {
		err = group.Consume(ctx, []string{l.Topic}, c)
	}
	return c.got, err
}

func seekByTime(client sarama.Client, l ledger.Ledger) error {
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	defer consumer.Close()
	var got []ledger.Record
	for p := range int32(ledger.Partitions) {
		offset, err := client.GetOffset(l.Topic, p, l.Millis(ledger.Sought))
		if err != nil || offset != ledger.Sought/ledger.Partitions {
			return errors.Join(err, fmt.Errorf("partition %d: found offset %d", p, offset))
		}
		records, err := readPartition(consumer, l.Topic, p, offset)
		if err != nil {
			return err
		}
		got = append(got, records...)
	}
	return l.Expect(got, ledger.Sought, ledger.BeforeRestart)
}

func readPartition(consumer sarama.Consumer, topic string, partition int32, offset int64) (got []ledger.Record, err error) {
	claim, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	defer claim.Close()
	wanted := ledger.BeforeRestart/ledger.Partitions - int(offset)
	for len(got) < wanted {
		select {
		case message := <-claim.Messages():
			got = append(got, fromMessage(message))
		case <-time.After(patience):
			return got, fmt.Errorf("partition %d: only %d records", partition, len(got))
		}
	}
	return got, nil
}

func committedIsHalf(client sarama.Client, l ledger.Ledger) error {
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	reply, err := admin.ListConsumerGroupOffsets(l.Topic+"-group", map[string][]int32{l.Topic: {0, 1, 2}})
	if err != nil {
		return err
	}
	for p := range int32(ledger.Partitions) {
		block := reply.GetBlock(l.Topic, p)
		if block == nil || block.Offset != ledger.CommittedOffset {
			return fmt.Errorf("partition %d: committed %+v", p, block)
		}
	}
	return nil
}
