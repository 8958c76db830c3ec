/** Messages and tools as they are read: texts open, system prompts, reasoning and long results folded. */

import { held } from "./data.js";
import { append, h } from "./dom.js";
import { count, counted, firstLine, measuredTool } from "./figures.js";
import { fold, longText } from "./folding.js";
import { isJson, layOut } from "./json.js";

const DRAWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const ROLES = { system: "System", user: "User", assistant: "Assistant", tool: "Tool" };

/**
 * Show a message.
 * @param {import("./types.js").Session} session
 * @param {number} number
 * @param {{ note?: string, tools?: import("./types.js").MeasuredTool[] }} [options] `tools` are what its tool calls took
 */
export async function renderMessage(session, number, options = {}) {
  const message = session.document.messages[number];
  const role = ROLES[message.role] ?? message.role;
  const box = h("section", { class: `message ${role.toLowerCase()}`, "aria-label": `${role} message` });
  box.appendChild(h("h4", null, role, options.note ? h("small", null, ` ${options.note}`) : null));
  if (message.role === "system") {
    const texts = await Promise.all(message.parts.map((part) => held(session.number, part.text)));
    const text = texts.join("\n");
    const summary = ["System prompt ", small(`${count(text.length)} characters · ${firstLine(text, 80)}`)];
    box.appendChild(fold(summary, (body) => append(body, [longText(text, { lines: 400, of: "the system prompt" })])));
    return box;
  }
  let position = 0;
  for (const part of message.parts) {
    const shown = box.appendChild(await renderPart(session, part));
    if (part.type !== "call") continue;
    const took = options.tools?.find((tool) => tool.position === position);
    if (took) shown.appendChild(h("p", { class: "quiet took" }, measuredTool(took)));
    position += 1;
  }
  if (message.parts.length === 0) box.appendChild(h("p", { class: "quiet" }, "(empty)"));
  return box;
}

/**
 * @param {import("./types.js").Session} session
 * @param {import("./types.js").Part} part
 * @returns {Promise<HTMLElement>}
 */
async function renderPart(session, part) {
  const read = (value) => held(session.number, value);
  switch (part.type) {
    case "text":
      return longText(await read(part.text), { lines: 40, class: "said", of: "the text" });
    case "refusal":
      return h("div", { class: "refusal" }, "Refused: ", longText(await read(part.text)));
    case "thinking":
      return reasoning(await read(part.text), part.encrypted === true);
    case "image":
      return image(part.media_type ?? null, await read(part.data), await read(part.url));
    case "call":
      return toolCall(part, await read(part.arguments));
    case "result":
      return toolResult(session, part);
    default:
      return h("div", null, small(`A part of the type ${part.kind}`), json(await read(part.json)));
  }
}

/** @param {string} text */
function small(text) {
  return h("small", null, text);
}

/**
 * @param {string} text
 * @param {boolean} encrypted
 */
function reasoning(text, encrypted) {
  if (!text) return h("p", { class: "quiet" }, encrypted ? "Reasoning, encrypted" : "Reasoning without a text");
  const summary = ["Reasoning ", small(`${count(text.length)} characters · ${firstLine(text, 80)}`)];
  return fold(summary, (body) => append(body, [longText(text, { lines: 400, of: "the reasoning" })]), { class: "reasoning" });
}

/**
 * @param {import("./types.js").Part} part
 * @param {string} text
 */
function toolCall(part, text) {
  const kind = part.kind && part.kind !== "function" ? ` (${part.kind})` : "";
  const title = h("p", { class: "tool-name" }, h("span", { "aria-hidden": "true" }, "→ "), h("b", null, part.name), kind);
  if (part.id) title.appendChild(small(` ${part.id}`));
  return h("div", { class: "tool-call", role: "group", "aria-label": `Call of the tool ${part.name}` }, title, toolArguments(text));
}

/**
 * Show arguments by name, texts as they read; what is no JSON object as it was written.
 * @param {string} text
 */
function toolArguments(text) {
  const values = isJson(text) ? JSON.parse(text) : null;
  if (values === null || Array.isArray(values) || Object.keys(values).length === 0) return json(text);
  // A repeated key, or a number that no double holds, would be shown as something else.
  if (layOut(JSON.stringify(values)).join("\n") !== layOut(text).join("\n")) return json(text);
  const shown = Object.entries(values).map(([name, value]) => {
    const told = typeof value === "string" ? longText(value, { of: name }) : json(JSON.stringify(value));
    return h("div", null, h("dt", null, name), h("dd", null, told));
  });
  return h("dl", { class: "arguments" }, shown);
}

/**
 * @param {import("./types.js").Session} session
 * @param {import("./types.js").Part} part
 */
async function toolResult(session, part) {
  const label = part.error ? "Result, an error" : "Result";
  const title = h("p", { class: "tool-name" }, h("span", { "aria-hidden": "true" }, "← "), label, part.name ? ` of ${part.name}` : "");
  if (part.id) title.appendChild(small(` ${part.id}`));
  const box = h("div", { class: part.error ? "tool-result error" : "tool-result" }, title);
  for (const inner of part.parts ?? []) {
    const text = inner.type === "text" ? await held(session.number, inner.text) : null;
    box.appendChild(text === null ? await renderPart(session, inner) : longText(text, { lines: 10, of: "the result" }));
  }
  return box;
}

/**
 * Show an image that the call holds. One that it only names by an address is not fetched.
 * @param {string | null} type
 * @param {string} data
 * @param {string} url
 */
function image(type, data, url) {
  if (!data) return h("p", { class: "quiet" }, `An image at ${url || "no address"}, which this page does not fetch`);
  if (!DRAWN.has(type ?? "")) return h("p", { class: "quiet" }, `An image of the type ${type ?? "unknown"}, which is not drawn`);
  let bytes;
  try {
    bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  } catch {
    return h("p", { class: "fault" }, `An image, ${type}, whose data are not base64`);
  }
  const picture = /** @type {HTMLImageElement} */ (h("img", { alt: `Image in the message, ${type}`, loading: "lazy" }));
  const address = URL.createObjectURL(new Blob([bytes], { type: type ?? "" }));
  picture.addEventListener("load", () => URL.revokeObjectURL(address));
  picture.addEventListener("error", () => picture.replaceWith(h("p", { class: "fault" }, `An image, ${type}, that cannot be read`)));
  picture.src = address;
  return h("figure", null, picture, h("figcaption", null, `${type}, ${count(bytes.length)} bytes`));
}

/**
 * Show a text laid out if it is JSON.
 * @param {string} text
 */
export function json(text) {
  return longText(isJson(text) ? layOut(text).join("\n") : text, { class: "json", of: "it" });
}

/**
 * Show the tools that a request offers.
 * @param {import("./types.js").Session} session
 * @param {import("./types.js").Tool[]} tools
 * @param {string} title
 */
export function renderTools(session, tools, title) {
  const names = tools.map((tool) => tool.name).join(", ");
  const summary = [`${title} `, small(`${counted(tools.length, "definition")} · ${firstLine(names, 100)}`)];
  return fold(summary, (body) => append(body, tools.map((tool) => renderTool(session, tool))), { class: "tools" });
}

/**
 * @param {import("./types.js").Session} session
 * @param {import("./types.js").Tool} tool
 */
function renderTool(session, tool) {
  const kind = tool.kind === "function" ? null : small(` ${tool.kind}`);
  return fold([h("b", null, tool.name), kind ?? ""], async (body) => {
    const description = await held(session.number, tool.description);
    if (description) body.appendChild(longText(description, { lines: 30, of: "the description" }));
    if (tool.parameters !== null) body.appendChild(json(await held(session.number, tool.parameters)));
  });
}
