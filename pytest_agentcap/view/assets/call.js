/** One call: what it told anew and what was answered, and on demand its changes, its bodies, its facts. */

import { textOf } from "./data.js";
import { append, button, h, replace } from "./dom.js";
import { between, count, counted, tokens } from "./figures.js";
import { longText, shown } from "./folding.js";
import { isJson, layOut } from "./json.js";
import { renderMessage, renderTools } from "./messages.js";
import { changes } from "./changes.js";

const RELATIONS = {
  starts: "begins",
  continues: "continues",
  retries: "tries again",
  rewrites: "rewrites the history of",
  compacts: "goes on from a summary after",
};
/** What can be shown of a call beside what was said, by its key. */
export const PANELS = { c: "Changes", q: "Request", s: "Response", f: "Facts" };

/**
 * Say on one line what came of a call.
 * @param {import("./types.js").Call} call
 */
export function outcomeOf(call) {
  const status = call.status === null ? "no status" : `status ${call.status}`;
  const end = call.finish ?? (call.ended === false ? "broke off" : call.said === null ? "no answer" : "");
  const told = [status, between(call.start, call.end), tokens(call.usage.prompt_tokens, call.usage.completion_tokens)];
  if (call.usage.cached_tokens) told.push(`${count(call.usage.cached_tokens)} cached`);
  return [...told, end].filter(Boolean).join(" · ");
}

/**
 * Make the place of a call; what is in it is made by `fillCall`.
 * @param {import("./types.js").Session} session
 * @param {number} number
 */
export function callPlace(session, number) {
  const call = session.document.calls[number];
  const failed = call.error !== null || call.said === null;
  return h(
    "article",
    { class: failed ? "call failed" : "call", id: `call-${number}`, tabindex: -1, "aria-labelledby": `name-${number}` },
    h("h3", { id: `name-${number}` }, `Call ${number + 1}`, h("small", null, ` ${outcomeOf(call)}`)),
  );
}

/**
 * Show what a call told and what was answered.
 * @param {import("./types.js").Session} session
 * @param {number} number
 * @param {import("./types.js").Step | null} step its place in a thread
 * @param {HTMLElement} place
 */
export async function fillCall(session, number, step, place) {
  const call = session.document.calls[number];
  const panel = h("div", { class: "panel", hidden: true });
  place.append(bar(session, number, step, panel), panel);
  const box = h("div", { class: "messages" });
  place.appendChild(box);
  await shown(box, async () => {
    const before = step && step[2] !== null ? session.document.calls[step[2]] : null;
    if (call.tools !== null && call.tools !== before?.tools) {
      box.appendChild(renderTools(session, session.document.tools[call.tools], before ? "Tools, changed" : "Tools"));
    }
    for (const message of call.told ?? []) {
      box.appendChild(await renderMessage(session, message, { note: call.copied ? "told again, history rewritten" : "" }));
    }
    if (call.error !== null) box.appendChild(h("p", { class: "fault" }, `Failed: ${call.error}`));
    if (call.said !== null) {
      const tools = session.document.measured?.tools[number];
      box.appendChild(await renderMessage(session, call.said, { note: "answer", tools }));
    }
    for (const other of call.others) box.appendChild(await renderMessage(session, other, { note: "another choice" }));
  });
}

/**
 * @param {import("./types.js").Session} session
 * @param {number} number
 * @param {import("./types.js").Step | null} step
 * @param {HTMLElement} panel
 */
function bar(session, number, step, panel) {
  const call = session.document.calls[number];
  const told = [call.turn === null ? "" : `turn ${call.turn}`, call.api, call.model ?? "", relation(step), sampling(call)];
  const row = h("div", { class: "bar" }, h("span", { class: "quiet" }, told.filter(Boolean).join(" · ")));
  const buttons = h("span", { class: "buttons", role: "group", "aria-label": `More of call ${number + 1}` });
  for (const [key, name] of Object.entries(PANELS)) {
    const toggle = button(name, () => showPanel(session, number, step, panel, name, buttons), {
      "aria-expanded": "false",
      "data-panel": key,
    });
    buttons.appendChild(toggle);
  }
  row.appendChild(buttons);
  return row;
}

/** @param {import("./types.js").Step | null} step */
function relation(step) {
  if (!step) return "of no conversation";
  const [, how, previous, , removed, added] = step;
  const delta = removed ? `−${removed} +${added} messages` : `+${counted(added, "message")}`;
  return previous === null ? `begins with ${counted(added, "message")}` : `${RELATIONS[how]} call ${previous + 1}, ${delta}`;
}

/** @param {import("./types.js").Call} call */
function sampling(call) {
  return Object.entries(call.sampling)
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");
}

/**
 * @param {import("./types.js").Session} session
 * @param {number} number
 * @param {import("./types.js").Step | null} step
 * @param {HTMLElement} panel
 * @param {string} name
 * @param {HTMLElement} buttons
 */
function showPanel(session, number, step, panel, name, buttons) {
  const open = panel.dataset.name !== name;
  panel.dataset.name = open ? name : "";
  panel.hidden = !open;
  for (const each of buttons.children) each.setAttribute("aria-expanded", String(open && each.textContent === name));
  replace(panel);
  if (open) void shown(panel, () => fillPanel(session, session.document.calls[number], step, panel, name));
}

/**
 * @param {import("./types.js").Session} session
 * @param {import("./types.js").Call} call
 * @param {import("./types.js").Step | null} step
 * @param {HTMLElement} panel
 * @param {string} name
 */
async function fillPanel(session, call, step, panel, name) {
  if (name === "Changes") {
    append(panel, [await changes(session, call, step)]);
  } else if (name === "Facts") {
    append(panel, [h("pre", { class: "json" }, layOut(await textOf(session.number, call.facts)).join("\n"))]);
  } else {
    const slices = name === "Request" ? call.request : call.response;
    if (slices === null) append(panel, [h("p", { class: "quiet" }, "There is no response.")]);
    else append(panel, [body(await textOf(session.number, slices), `${call.rid}.${name.toLowerCase()}`)]);
  }
}

/**
 * Show a body as it was on the wire, or laid out.
 * @param {string} text
 * @param {string} name
 */
function body(text, name) {
  const holder = h("div", null);
  const whole = isJson(text);
  let laidOut = whole;
  const draw = () => replace(holder, longText(laidOut ? layOut(text).join("\n") : text, { lines: 60, class: "json", of: "the body" }));
  const style = button("As on the wire", () => {
    laidOut = !laidOut;
    style.textContent = laidOut ? "As on the wire" : "Laid out";
    draw();
  });
  const keep = button("Save", () => save(text, `${name}.${whole ? "json" : "txt"}`));
  draw();
  const told = h("small", null, `${count(text.length)} characters${whole ? "" : ", not one JSON value"}`);
  return h("div", null, h("div", { class: "bar" }, told, h("span", { class: "buttons" }, whole ? style : null, keep)), holder);
}

/**
 * @param {string} text
 * @param {string} name
 */
function save(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
