// Reads the flights with a KafkaJS group: read_kafkajs.js BOOTSTRAP TOPIC GROUP RECORDS. Prints the
// fingerprint that fingerprint.py describes, and commits.
const { createHash } = require('node:crypto')
const { Kafka, logLevel } = require('kafkajs')
require('../compat/kafkajs/codecs')

const [bootstrap, topic, groupId, wanted] = process.argv.slice(2)
const patienceMs = 180000

function int32(number) {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(number)
  return buffer
}

function sized(data) {
  return data === null ? int32(-1) : Buffer.concat([int32(data.length), data])
}

// KafkaJS gathers the headers of one name into an array; ours repeat only next to each other.
function headerPairs(headers) {
  return Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value) => [Buffer.from(name), value]),
  )
}

function contentOf({ key, value, headers }) {
  const pairs = headerPairs(headers)
  const parts = [sized(key), sized(value), int32(pairs.length)]
  for (const [name, headerValue] of pairs) parts.push(sized(name), sized(headerValue))
  return Buffer.concat(parts)
}

function placeOf(partition, { offset, timestamp }) {
  const buffer = Buffer.alloc(20)
  buffer.writeInt32BE(partition)
  buffer.writeBigInt64BE(BigInt(offset), 4)
  buffer.writeBigInt64BE(BigInt(timestamp), 12)
  return buffer
}

class Fingerprint {
  partitions = new Map()
  records = 0
  sum = 0n

  add(partition, message) {
    const content = contentOf(message)
    const state = this.stateOf(partition, Number(message.offset))
    state.hash.update(placeOf(partition, message)).update(content)
    state.records += 1
    state.next = Number(message.offset) + 1
    this.records += 1
    this.sum += createHash('sha256').update(content).digest().readBigUInt64BE()
  }

  stateOf(partition, first) {
    if (!this.partitions.has(partition)) {
      this.partitions.set(partition, { hash: createHash('sha256'), records: 0, first, next: 0 })
    }
    return this.partitions.get(partition)
  }

  print() {
    for (const [partition, s] of [...this.partitions].sort(([a], [b]) => a - b)) {
      const range = `records ${s.records} first ${s.first} next ${s.next}`
      console.log(`partition ${partition} ${range} sha256 ${s.hash.digest('hex')}`)
    }
    const sum = BigInt.asUintN(64, this.sum).toString(16).padStart(16, '0')
    console.log(`content records ${this.records} sum ${sum}`)
  }
}

async function main() {
  const kafka = new Kafka({ clientId: 'flights', brokers: [bootstrap], logLevel: logLevel.ERROR })
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200 })
  const fingerprint = new Fingerprint()
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${fingerprint.records} records`)), patienceMs).unref()
    consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const message of batch.messages) fingerprint.add(batch.partition, message)
        if (fingerprint.records >= Number(wanted)) resolve()
      },
    })
  })
  const ends = [...fingerprint.partitions].map(([partition, { next }]) => ({ topic, partition, offset: String(next) }))
  await consumer.commitOffsets(ends)
  fingerprint.print()
  await consumer.disconnect()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
