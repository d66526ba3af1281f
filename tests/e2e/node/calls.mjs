// Calls of the official Node client. Which one and with what comes as JSON on the command line; what was seen goes out as
// one line of JSON.
import OpenAI from "openai";

const { call, model, tags } = JSON.parse(process.argv[2]);
const client = new OpenAI({ maxRetries: 0, timeout: 60_000 });
const headers = { "x-penstock-tags": tags };
const messages = [{ role: "user", content: "Say hello." }];

const calls = {
  async unary() {
    const { data, response } = await client.chat.completions
      .create({ model, messages, max_tokens: 8 }, { headers })
      .withResponse();
    return { data, id: response.headers.get("x-penstock-request-id") };
  },

  async stream() {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 8, stream: true }, { headers });
    let text = "";
    let withoutChoices = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      withoutChoices += chunk.choices.length ? 0 : 1;
    }
    return { text, withoutChoices };
  },

  async abort() {
    // llama.cpp says no end then: the stream is not over, however late the third chunk is seen.
    const endless = { max_tokens: 1800, ignore_eos: true, stream: true };
    const stream = await client.chat.completions.create({ model, messages, ...endless }, { headers });
    let chunks = 0;
    for await (const _ of stream) {
      if (++chunks === 3) stream.controller.abort();
    }
    return { chunks };
  },

  async error() {
    try {
      await client.chat.completions.create({ model, messages }, { headers });
    } catch (error) {
      return { name: error.constructor.name, status: error.status, code: error.code, type: error.type };
    }
    return {};
  },

  async responses() {
    const stream = await client.responses.create(
      { model, input: "Say hello.", max_output_tokens: 8, stream: true },
      { headers },
    );
    const types = [];
    for await (const event of stream) types.push(event.type);
    return { types };
  },
};

console.log(JSON.stringify(await calls[call]()));
