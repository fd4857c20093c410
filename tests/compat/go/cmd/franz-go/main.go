// franz-go: idempotent producer (its default), group consumer, kadm for administration.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"antiphon/compat/ledger"
)

const patience = 30 * time.Second

func main() { ledger.Tell("franz-go", phase1, phase2) }

func phase1(bootstrap string, l ledger.Ledger) {
	admin := adminOf(bootstrap)
	defer admin.Close()
	ledger.Step("creates a topic with its own settings", func() error { return createTopic(admin, l) })
	ledger.Step("produces with every codec, idempotently", func() error {
		return produce(bootstrap, l, 0, ledger.BeforeRestart)
	})
	consumer := consumerOf(bootstrap, l)
	defer consumer.Close()
	ledger.Step("a group reads everything back", func() error {
		return l.Expect(read(consumer, ledger.BeforeRestart), 0, ledger.BeforeRestart)
	})
	ledger.Step("commits half of each partition", func() error { return commitHalf(consumer, l) })
	ledger.Step("seeks by time", func() error { return seekByTime(admin, consumer, l) })
}

func phase2(bootstrap string, l ledger.Ledger) {
	admin := adminOf(bootstrap)
	defer admin.Close()
	ledger.Step("finds its committed offsets after the restart", func() error {
		return committedIsHalf(admin, l)
	})
	ledger.Step("produces after the restart", func() error {
		return produce(bootstrap, l, ledger.BeforeRestart, ledger.Total)
	})
	ledger.Step("reads on from the committed offsets", func() error {
		consumer := consumerOf(bootstrap, l)
		defer consumer.Close()
		rest := read(consumer, ledger.Total-ledger.FirstUncommitted)
		return l.Expect(rest, ledger.FirstUncommitted, ledger.Total)
	})
}

func adminOf(bootstrap string) *kadm.Client {
	client, err := kadm.NewOptClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		panic(err)
	}
	return client
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func createTopic(admin *kadm.Client, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	configs := map[string]*string{}
	for name, value := range ledger.TopicConfig {
		configs[name] = kadm.StringPtr(value)
	}
	if _, err := admin.CreateTopic(ctx, ledger.Partitions, 1, configs, l.Topic); err != nil {
		return err
	}
	described, err := admin.DescribeTopicConfigs(ctx, l.Topic)
	if err != nil {
		return err
	}
	for _, config := range described[0].Configs {
		want, ours := ledger.TopicConfig[config.Key]
		if ours && config.MaybeValue() != want {
			return fmt.Errorf("%s is %s, not %s", config.Key, config.MaybeValue(), want)
		}
	}
	return nil
}

func codecOf(name string) kgo.CompressionCodec {
	return map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[name]
}

func produce(bootstrap string, l ledger.Ledger, from, to int) error {
	return ledger.ByCodec(from, to, func(codec string, from, to int) error {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(bootstrap),
			kgo.ProducerBatchCompression(codecOf(codec)),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
		)
		if err != nil {
			return err
		}
		defer client.Close()
		var records []*kgo.Record
		for i := from; i < to; i++ {
			records = append(records, recordOf(l, i))
		}
		ctx, cancel := within()
		defer cancel()
		results := client.ProduceSync(ctx, records...)
		return errors.Join(results.FirstErr(), acked(l, from, records))
	})
}

// acked compares the offsets that acknowledgements wrote into the records.
func acked(l ledger.Ledger, from int, records []*kgo.Record) error {
	for n, r := range records {
		if want := l.Record(from + n).Offset; r.Offset != want {
			return fmt.Errorf("record %d: acked at %d, not %d", from+n, r.Offset, want)
		}
	}
	return nil
}

func recordOf(l ledger.Ledger, i int) *kgo.Record {
	want := l.Record(i)
	return &kgo.Record{
		Topic: l.Topic, Partition: int32(want.Partition), Timestamp: l.Time(i),
		Key: []byte(want.Key), Value: []byte(want.Value),
		Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Appendf(nil, "%d", i)}},
	}
}

func fromKgo(r *kgo.Record) ledger.Record {
	headers := ""
	for _, h := range r.Headers {
		headers += h.Key + "=" + string(h.Value)
	}
	return ledger.Record{
		Partition: int(r.Partition), Offset: r.Offset, Millis: r.Timestamp.UnixMilli(),
		Key: string(r.Key), Value: string(r.Value), Headers: headers,
	}
}

func consumerOf(bootstrap string, l ledger.Ledger) *kgo.Client {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(l.Topic+"-group"), kgo.ConsumeTopics(l.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
	)
	if err != nil {
		panic(err)
	}
	return client
}

func read(client *kgo.Client, wanted int) (got []ledger.Record) {
	ctx, cancel := within()
	defer cancel()
	for len(got) < wanted && ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				fmt.Println("fetch error:", err)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, fromKgo(r)) })
	}
	return got
}

func commitHalf(client *kgo.Client, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	half := map[int32]kgo.EpochOffset{}
	for p := range int32(ledger.Partitions) {
		half[p] = kgo.EpochOffset{Epoch: -1, Offset: ledger.CommittedOffset}
	}
	// As a member: this commit carries the generation, which an outsider's commit cannot.
	var failure error
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{l.Topic: half},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, reply *kmsg.OffsetCommitResponse, err error) {
			failure = errors.Join(err, commitErrors(reply))
		})
	return failure
}

func commitErrors(reply *kmsg.OffsetCommitResponse) (failure error) {
	if reply == nil {
		return errors.New("no reply")
	}
	for _, topic := range reply.Topics {
		for _, p := range topic.Partitions {
			failure = errors.Join(failure, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	return failure
}

func seekByTime(admin *kadm.Client, consumer *kgo.Client, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	found, err := admin.ListOffsetsAfterMilli(ctx, l.Millis(ledger.Sought), l.Topic)
	if err != nil {
		return err
	}
	places := map[string]map[int32]kgo.EpochOffset{l.Topic: {}}
	for p := range int32(ledger.Partitions) {
		place, _ := found.Lookup(l.Topic, p)
		if place.Offset != ledger.Sought/ledger.Partitions {
			return fmt.Errorf("partition %d: found offset %d", p, place.Offset)
		}
		places[l.Topic][p] = kgo.EpochOffset{Epoch: -1, Offset: place.Offset}
	}
	consumer.SetOffsets(places)
	rest := read(consumer, ledger.BeforeRestart-ledger.Sought)
	return l.Expect(rest, ledger.Sought, ledger.BeforeRestart)
}

func committedIsHalf(admin *kadm.Client, l ledger.Ledger) error {
	ctx, cancel := within()
	defer cancel()
	committed, err := admin.FetchOffsets(ctx, l.Topic+"-group")
	if err != nil {
		return err
	}
	for p := range int32(ledger.Partitions) {
		place, ok := committed.Lookup(l.Topic, p)
		if !ok || place.At != ledger.CommittedOffset {
			return fmt.Errorf("partition %d: committed %d (found: %v)", p, place.At, ok)
		}
	}
	return nil
}
