// Reads the flights of the main job with a franz-go group: flights-franz-go BOOTSTRAP TOPIC GROUP RECORDS.
// Prints the fingerprint that main_job/fingerprint.py describes, and commits.
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 180 * time.Second

func main() {
	wanted, err := strconv.ParseInt(os.Args[4], 10, 64)
	if err == nil {
		err = run(os.Args[1], os.Args[2], os.Args[3], wanted)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(bootstrap, topic, group string, wanted int64) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f := fingerprint{partitions: map[int32]*partition{}}
	for f.records < wanted {
		fetches := client.PollFetches(ctx)
		if err := cmp.Or(fetches.Err0(), ctx.Err()); err != nil {
			return fmt.Errorf("after %d records: %w", f.records, err)
		}
		fetches.EachRecord(f.add)
	}
	f.print()
	return client.CommitUncommittedOffsets(ctx)
}

type partition struct {
	hash                 hash.Hash
	records, first, next int64
}

type fingerprint struct {
	partitions map[int32]*partition
	records    int64
	sum        uint64
}

func (f *fingerprint) add(r *kgo.Record) {
	content := contentOf(r)
	p, known := f.partitions[r.Partition]
	if !known {
		p = &partition{hash: sha256.New(), first: r.Offset}
		f.partitions[r.Partition] = p
	}
	place := binary.BigEndian.AppendUint32(nil, uint32(r.Partition))
	place = binary.BigEndian.AppendUint64(place, uint64(r.Offset))
	place = binary.BigEndian.AppendUint64(place, uint64(r.Timestamp.UnixMilli()))
	p.hash.Write(place)
	p.hash.Write(content)
	p.records++
	p.next = r.Offset + 1
	f.records++
	digest := sha256.Sum256(content)
	f.sum += binary.BigEndian.Uint64(digest[:8])
}

func contentOf(r *kgo.Record) []byte {
	data := appendSized(nil, r.Key)
	data = appendSized(data, r.Value)
	data = binary.BigEndian.AppendUint32(data, uint32(len(r.Headers)))
	for _, h := range r.Headers {
		data = appendSized(data, []byte(h.Key))
		data = appendSized(data, h.Value)
	}
	return data
}

func appendSized(data, part []byte) []byte {
	if part == nil {
		return binary.BigEndian.AppendUint32(data, ^uint32(0))
	}
	return append(binary.BigEndian.AppendUint32(data, uint32(len(part))), part...)
}

func (f *fingerprint) print() {
	for _, number := range slices.Sorted(maps.Keys(f.partitions)) {
		p := f.partitions[number]
		fmt.Printf("partition %d records %d first %d next %d sha256 %s\n",
			number, p.records, p.first, p.next, hex.EncodeToString(p.hash.Sum(nil)))
	}
	fmt.Printf("content records %d sum %016x\n", f.records, f.sum)
}
