// Asks a server through Vercel's AI SDK as its users do, and prints what came back as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, streamText } from "ai";
import { readFileSync } from "node:fs";

const { url, key, picture, provider, stream } = JSON.parse(readFileSync(0, "utf8"));
const settings = { name: "guard", baseURL: `${url}/v1`, apiKey: key };
const model = provider === "compatible"
  ? createOpenAICompatible(settings)("red")
  : provider === "chat" ? createOpenAI(settings).chat("red") : createOpenAI(settings)("red");
const image = Buffer.from(picture, "base64");
const content = [
  { type: "text", text: "what is it?" },
  { type: "file", data: image, mediaType: "image/png" },
];
const asked = { model, messages: [{ role: "user", content }], maxRetries: 0 };
const told = {};
try {
  if (stream) {
    told.pieces = [];
    const answer = streamText({ ...asked, onError: ({ error }) => { throw error; } });
    for await (const piece of answer.textStream) told.pieces.push(piece);
    told.reason = await answer.finishReason;
  } else {
    const answer = await generateText(asked);
    told.text = answer.text;
    told.reason = answer.finishReason;
    told.tokens = answer.usage.outputTokens;
  }
} catch (error) {
  told.status = APICallError.isInstance(error) ? error.statusCode : null;
  told.error = error.message;
}
console.log(JSON.stringify(told));
