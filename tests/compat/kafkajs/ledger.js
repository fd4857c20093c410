// What every client writes and must read back: record i goes to partition i % 3 and so gets offset
// floor(i / 3); its key, value, header and timestamp all tell i. The first 300 records come 60 per
// codec; the 60 from 300 on are written after the broker's restart.
const assert = require('node:assert/strict')

const PARTITIONS = 3
const BEFORE_RESTART = 300
const TOTAL = 360
const RECORDS_PER_CODEC = 60
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
// The group commits the first half of each partition; reading on begins at this record.
const COMMITTED_OFFSET = 50
const FIRST_UNCOMMITTED = COMMITTED_OFFSET * PARTITIONS
const SOUGHT = 150
const TOPIC_CONFIG = { 'retention.ms': '864000000', 'max.message.bytes': '1500000' }

const timestampOf = (base, i) => base + i * 1000

const recordOf = (base, i) => ({
  partition: i % PARTITIONS,
  offset: Math.floor(i / PARTITIONS),
  timestamp: timestampOf(base, i),
  key: `k-${i}`,
  value: `v-${i}`,
  headers: `n=${i}`,
})

// `got` must be exactly the records from..to, in order within each partition.
function expectRecords(base, got, from, to) {
  const next = Array(PARTITIONS).fill(from)
  for (const have of got) {
    const i = next[have.partition] + have.partition
    next[have.partition] += PARTITIONS
    assert.deepEqual(have, recordOf(base, i))
  }
  assert.equal(got.length, to - from)
}

function byCodec(from, to) {
  const runs = []
  for (let start = from; start < to; start += RECORDS_PER_CODEC) {
    const codec = CODECS[(start / RECORDS_PER_CODEC) % CODECS.length]
    runs.push({ codec, from: start, to: Math.min(start + RECORDS_PER_CODEC, to) })
  }
  return runs
}

// One line of verdict; a story ends at its first broken step, since the rest builds on it.
async function step(name, work) {
  try {
    await work()
  } catch (error) {
    console.log(`FAIL ${name}: ${String(error.message).replace(/\s+/g, ' ')}`)
    process.exit(1)
  }
  console.log(`ok ${name}`)
}

module.exports = {
  PARTITIONS, BEFORE_RESTART, TOTAL, COMMITTED_OFFSET, FIRST_UNCOMMITTED, SOUGHT, TOPIC_CONFIG,
  timestampOf, recordOf, expectRecords, byCodec, step,
}
