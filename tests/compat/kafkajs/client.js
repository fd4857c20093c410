// KafkaJS: idempotent producer, group consumer, admin.
// Usage: client.js phase1|phase2 BOOTSTRAP PREFIX BASE_MS
const assert = require('node:assert/strict')
const { Kafka, logLevel } = require('kafkajs')
const codecs = require('./codecs')
const ledger = require('./ledger')

const [phase, bootstrap, prefix, baseMs] = process.argv.slice(2)
const base = Number(baseMs)
const topic = `${prefix}-kafkajs`
const groupId = `${topic}-group`
const patienceMs = 30000
const kafka = new Kafka({ clientId: 'compat', brokers: [bootstrap], logLevel: logLevel.ERROR })
const partitions = [...Array(ledger.PARTITIONS).keys()]

async function createTopic(admin) {
  const configEntries = Object.entries(ledger.TOPIC_CONFIG).map(([name, value]) => ({ name, value }))
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions: ledger.PARTITIONS, replicationFactor: 1, configEntries }],
  })
  // Type 2 is a topic.
  const resources = [{ type: 2, name: topic, configNames: Object.keys(ledger.TOPIC_CONFIG) }]
  const described = await admin.describeConfigs({ resources, includeSynonyms: false })
  for (const { configName, configValue } of described.resources[0].configEntries) {
    assert.equal(configValue, ledger.TOPIC_CONFIG[configName], configName)
  }
}

async function produce(from, to) {
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  for (const run of ledger.byCodec(from, to)) {
    const messages = []
    for (let i = run.from; i < run.to; i++) {
      const { partition, timestamp, key, value } = ledger.recordOf(base, i)
      messages.push({ partition, timestamp: String(timestamp), key, value, headers: { n: String(i) } })
    }
    const acks = await producer.send({ topic, messages, acks: -1, compression: codecs[run.codec] })
    for (const { partition, baseOffset } of acks) {
      assert.equal(Number(baseOffset), run.from / ledger.PARTITIONS, `acked offset of ${partition}`)
    }
  }
  await producer.disconnect()
}

function fromMessage(partition, message) {
  const headers = Object.entries(message.headers).map(([name, value]) => `${name}=${value}`)
  return {
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: String(message.key),
    value: String(message.value),
    headers: headers.join(','),
  }
}

// A consumer that is running and lets the story wait for its next so many records.
async function runningConsumer() {
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 200 })
  let got = []
  let arrived = () => {}
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      got.push(fromMessage(partition, message))
      arrived()
    },
  })
  const take = (wanted) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`only ${got.length} records`)), patienceMs)
      arrived = () => {
        if (got.length < wanted) return
        clearTimeout(timer)
        const taken = got
        got = []
        resolve(taken)
      }
      arrived()
    })
  return { consumer, take }
}

async function seekByTime(admin, { consumer, take }) {
  const found = await admin.fetchTopicOffsetsByTimestamp(topic, ledger.timestampOf(base, ledger.SOUGHT))
  for (const { partition, offset } of found) {
    assert.equal(Number(offset), ledger.SOUGHT / ledger.PARTITIONS, `offset in ${partition}`)
    consumer.seek({ topic, partition, offset })
  }
  const rest = await take(ledger.BEFORE_RESTART - ledger.SOUGHT)
  ledger.expectRecords(base, rest, ledger.SOUGHT, ledger.BEFORE_RESTART)
}

async function phase1(admin) {
  await ledger.step('creates a topic with its own settings', () => createTopic(admin))
  await ledger.step('produces with every codec, idempotently', () => produce(0, ledger.BEFORE_RESTART))
  let running
  await ledger.step('a group reads everything back', async () => {
    running = await runningConsumer()
    const all = await running.take(ledger.BEFORE_RESTART)
    ledger.expectRecords(base, all, 0, ledger.BEFORE_RESTART)
  })
  await ledger.step('commits half of each partition', () =>
    running.consumer.commitOffsets(
      partitions.map((partition) => ({ topic, partition, offset: String(ledger.COMMITTED_OFFSET) })),
    ),
  )
  await ledger.step('seeks by time', () => seekByTime(admin, running))
  await running.consumer.disconnect()
}

async function phase2(admin) {
  await ledger.step('finds its committed offsets after the restart', async () => {
    const [{ partitions: committed }] = await admin.fetchOffsets({ groupId, topics: [topic] })
    const offsets = committed.map(({ offset }) => Number(offset))
    assert.deepEqual(offsets, partitions.map(() => ledger.COMMITTED_OFFSET))
  })
  await ledger.step('produces after the restart', () => produce(ledger.BEFORE_RESTART, ledger.TOTAL))
  await ledger.step('reads on from the committed offsets', async () => {
    const { consumer, take } = await runningConsumer()
    const rest = await take(ledger.TOTAL - ledger.FIRST_UNCOMMITTED)
    ledger.expectRecords(base, rest, ledger.FIRST_UNCOMMITTED, ledger.TOTAL)
    await consumer.disconnect()
  })
}

async function main() {
  const admin = kafka.admin()
  await admin.connect()
  await { phase1, phase2 }[phase](admin)
  await admin.disconnect()
}

main().catch((error) => {
  console.log(`FAIL runs to its end: ${error.message}`)
  process.exit(1)
})
