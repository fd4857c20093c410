// Package ledger is what every client writes and must read back, and how a story reports its steps.
//
// Record i goes to partition i % 3 and so gets offset i / 3; its key, value, header and timestamp all
// tell i, so that any mix-up of records, partitions or offsets shows. The first 300 records come 60 per
// codec; the 60 from 300 on are written after the broker's restart.
package ledger

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

const (
	Partitions      = 3
	BeforeRestart   = 300
	Total           = 360
	RecordsPerCodec = 60
	// CommittedOffset is what the group commits in each partition: the first half.
	CommittedOffset  = 50
	FirstUncommitted = CommittedOffset * Partitions
	// Sought is the record whose timestamp the stories seek.
	Sought = 150
)

var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

var TopicConfig = map[string]string{"retention.ms": "864000000", "max.message.bytes": "1500000"}

// Record is one record in the terms all clients share.
type Record struct {
	Partition int
	Offset    int64
	Millis    int64
	Key       string
	Value     string
	Headers   string // name=value, comma separated
}

type Ledger struct {
	Topic  string
	BaseMs int64
}

func (l Ledger) Millis(i int) int64 { return l.BaseMs + int64(i)*1000 }

func (l Ledger) Time(i int) time.Time { return time.UnixMilli(l.Millis(i)) }

func (l Ledger) Record(i int) Record {
	return Record{
		Partition: i % Partitions,
		Offset:    int64(i / Partitions),
		Millis:    l.Millis(i),
		Key:       fmt.Sprintf("k-%d", i),
		Value:     fmt.Sprintf("v-%d", i),
		Headers:   fmt.Sprintf("n=%d", i),
	}
}

// Expect says whether got is exactly the records from..to, in order within each partition.
func (l Ledger) Expect(got []Record, from, to int) error {
	next := map[int]int{}
	for _, have := range got {
		i := from + have.Partition + Partitions*next[have.Partition]
		next[have.Partition]++
		if i >= to {
			return fmt.Errorf("a record past the end: %+v", have)
		}
		if want := l.Record(i); have != want {
			return fmt.Errorf("wanted %+v, got %+v", want, have)
		}
	}
	if len(got) != to-from {
		return fmt.Errorf("wanted %d records, got %d", to-from, len(got))
	}
	return nil
}

// ByCodec calls write with each run of records that share a codec, in order.
func ByCodec(from, to int, write func(codec string, from, to int) error) error {
	for start := from; start < to; start += RecordsPerCodec {
		codec := Codecs[start/RecordsPerCodec%len(Codecs)]
		if err := write(codec, start, min(start+RecordsPerCodec, to)); err != nil {
			return fmt.Errorf("codec %s: %w", codec, err)
		}
	}
	return nil
}

// Step gives one line of verdict; a story ends at its first broken step, since the rest builds on it.
func Step(name string, do func() error) {
	if err := do(); err != nil {
		fmt.Printf("FAIL %s: %v\n", name, err)
		os.Exit(1)
	}
	fmt.Printf("ok %s\n", name)
}

// Tell is the command line of a story: PROGRAM phase1|phase2 BOOTSTRAP PREFIX BASE_MS.
func Tell(client string, phase1, phase2 func(bootstrap string, l Ledger)) {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: PROGRAM phase1|phase2 BOOTSTRAP PREFIX BASE_MS")
		os.Exit(2)
	}
	base, err := strconv.ParseInt(os.Args[4], 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, "BASE_MS:", err)
		os.Exit(2)
	}
	story := map[string]func(string, Ledger){"phase1": phase1, "phase2": phase2}[os.Args[1]]
	story(os.Args[2], Ledger{Topic: os.Args[3] + "-" + client, BaseMs: base})
}
