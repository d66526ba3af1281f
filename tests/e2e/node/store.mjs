// The official JavaScript client against the embedded store: prints what it saw as JSON.
import { createClient } from '@clickhouse/client'

const [url, username, password] = process.argv.slice(2)
const client = createClient({ url, username, password, compression: { response: true, request: true } })
const seen = { ping: (await client.ping()).success }

const asked = await client.query({
  query: 'SELECT {a:String} AS a, number FROM numbers({n:UInt8})',
  query_params: { a: "it's; a\\b\n漢", n: 3 },
  format: 'JSONEachRow',
})
seen.rows = await asked.json()

await client.command({ query: 'CREATE TABLE IF NOT EXISTS from_node (a Int64, b String) ENGINE = MergeTree ORDER BY a' })
await client.command({ query: 'TRUNCATE TABLE from_node' })
const inserted = await client.insert({
  table: 'from_node',
  values: [{ a: 1, b: 'x; y' }, { a: 2, b: '漢' }],
  format: 'JSONEachRow',
})
seen.written = inserted.summary?.written_rows
seen.stored = await (await client.query({ query: 'SELECT * FROM from_node ORDER BY a', format: 'JSON' })).json()

let streamed = 0
const many = await client.query({ query: 'SELECT number FROM numbers(150000)', format: 'JSONEachRow' })
for await (const rows of many.stream()) streamed += rows.length
seen.streamed = streamed

try {
  await client.query({ query: 'SELECT * FROM nowhere' })
} catch (error) {
  seen.error = { code: error.code, type: error.type }
}
await client.close()
console.log(JSON.stringify(seen))
