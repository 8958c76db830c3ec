// An adapter that speaks JSON-RPC on lines, in JavaScript.
import { createInterface } from 'node:readline'

const send = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }))
const said = []

const answers = {
  initialize: () => ({ protocolVersion: 1, agentInfo: { name: 'echo' } }),
  'session/new': () => ({ sessionId: 'js' }),
  'session/prompt': async ({ sessionId, prompt }) => {
    said.push({ role: 'user', content: prompt.map((block) => block.text).join('\n') })
    const response = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: process.env.OPENAI_MODEL, messages: said }),
    })
    const text = (await response.json()).choices[0].message.content
    const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } }
    send({ method: 'session/update', params: { sessionId, update } })
    return { content: [] }
  },
}

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, method, params } = JSON.parse(line)
  if (id !== undefined) send({ id, result: await answers[method](params) })
})
