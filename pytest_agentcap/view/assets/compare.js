/** The same task in several sessions, side by side: equal messages beside each other, the first difference marked. */

import { index, openSession, runOf } from "./data.js";
import { append, button, h } from "./dom.js";
import { counted, seconds, tokens } from "./figures.js";
import { fold, shown } from "./folding.js";
import { whenNear } from "./lazy.js";
import { renderMessage } from "./messages.js";
import { align } from "./sequences.js";

/** @typedef {{ message: number, call: number, answer: boolean, key: string, system: boolean }} Item */

/**
 * Return the other sessions of a session's task.
 * @param {number} number
 */
export function sameTask(number) {
  const { corpus, task_id: task } = index.sessions[number];
  return index.sessions
    .map((facts, other) => ({ facts, other }))
    .filter(({ facts, other }) => other !== number && task !== null && facts.task_id === task && facts.corpus === corpus)
    .map(({ other }) => other);
}

/**
 * Name a session among others of its task: by what they differ in.
 * @param {number} number
 */
export function nameOf(number) {
  const facts = index.sessions[number];
  const again = [facts.trial, facts.attempt].some((value) => (value ?? 1) > 1)
    ? `trial ${facts.trial ?? 1}, attempt ${facts.attempt ?? 1}`
    : "";
  return [facts.agent ?? "agent unknown", facts.model, again, runOf(facts)].filter(Boolean).join(" · ");
}

/**
 * Show sessions side by side; rows are filled when they come near.
 * @param {number[]} numbers
 * @param {HTMLElement} into
 */
export async function renderComparison(numbers, into) {
  const sessions = await Promise.all(numbers.map(openSession));
  const told = sessions.map(itemsOf);
  const rows = align(told.map((items) => items.map((item) => item.key)));
  // Agents have system prompts of their own: that they differ says nothing of how the task went.
  const isSystem = (row) => row.some((place, column) => place !== null && told[column][place].system);
  const first = rows.findIndex((row) => !isSame(row, told) && !isSystem(row));
  const prompts = rows.some((row) => isSystem(row) && !isSame(row, told)) ? " System prompts differ." : "";
  const grid = h("div", { class: "comparison", role: "table", "aria-label": "Sessions side by side" });
  grid.style.setProperty("--columns", String(sessions.length));
  grid.appendChild(h("div", { class: "row heads", role: "row" }, sessions.map(head)));
  rows.forEach((row, at) => {
    if (at === first) grid.appendChild(divergence());
    grid.appendChild(rowOf(row, told, sessions));
  });
  const before = rows.slice(0, Math.max(0, first)).filter((row) => !isSystem(row)).length;
  const summary = first === -1 ? "They say the same from beginning to end." : `${counted(before, "message")} the same, then they differ.`;
  const jump = first === -1 ? null : button("Go to the first difference", goToDifference);
  append(into, [h("p", { role: "status", class: "bar" }, summary + prompts, jump), grid]);
}

/** Bring the first difference to the top. */
export function goToDifference() {
  const mark = document.getElementById("divergence");
  mark?.scrollIntoView({ block: "start" });
  mark?.focus({ preventScroll: true });
}

/**
 * Return what was said in the main conversations of a session, in order.
 * @param {import("./types.js").Session} session
 * @returns {Item[]}
 */
function itemsOf(session) {
  const { calls, threads, messages } = session.document;
  const main = threads.filter((thread) => thread.kind === "main");
  return main.flatMap((thread) =>
    thread.steps.flatMap(([number]) => {
      const call = calls[number];
      const item = (message, answer) => {
        const { key, role } = messages[message];
        return { message, call: number, answer, key: key || `empty ${role}`, system: role === "system" };
      };
      return [...(call.told ?? []).map((message) => item(message, false)), ...(call.said === null ? [] : [item(call.said, true)])];
    }),
  );
}

/**
 * @param {(number | null)[]} row
 * @param {Item[][]} told
 */
function isSame(row, told) {
  return row.every((place, column) => place !== null && told[column][place].key === told[0][row[0] ?? -1]?.key);
}

/** @param {import("./types.js").Session} session */
function head(session) {
  const facts = session.facts;
  const figures = [facts.verdict ?? "no verdict", counted(facts.calls, "call"), seconds(facts.seconds)];
  const used = tokens(facts.prompt_tokens, facts.completion_tokens);
  return h("div", { role: "columnheader" }, h("b", null, nameOf(session.number)), h("br"), h("small", null, `${figures.join(" · ")} · ${used}`));
}

/** Mark where sessions begin to differ. */
function divergence() {
  return h("div", { class: "divergence", id: "divergence", role: "row", tabindex: -1 }, h("span", { role: "cell" }, "First difference"));
}

/**
 * @param {(number | null)[]} row
 * @param {Item[][]} told
 * @param {import("./types.js").Session[]} sessions
 */
function rowOf(row, told, sessions) {
  const same = isSame(row, told);
  const line = h("div", { class: same ? "row same" : "row", role: "row" });
  whenNear(line, async () => {
    if (same) line.appendChild(await sameCell(row, told, sessions[0]));
    else for (const [column, place] of row.entries()) line.appendChild(cell(place === null ? null : told[column][place], sessions[column]));
  });
  return line;
}

/**
 * @param {(number | null)[]} row
 * @param {Item[][]} told
 * @param {import("./types.js").Session} session
 */
async function sameCell(row, told, session) {
  const item = told[0][row[0] ?? 0];
  const role = session.document.messages[item.message].role;
  const calls = row.map((place, column) => told[column][place ?? 0].call + 1);
  const summary = [`The same ${role} message `, h("small", null, `calls ${calls.join(" and ")}`)];
  const body = fold(summary, async (box) => append(box, [await renderMessage(session, item.message)]), { open: role === "user" });
  return h("div", { role: "cell", class: "whole" }, body);
}

/**
 * @param {Item | null} item
 * @param {import("./types.js").Session} session
 */
function cell(item, session) {
  const box = h("div", { role: "cell" });
  if (item === null) append(box, [h("p", { class: "quiet" }, "nothing here")]);
  else void shown(box, async () => append(box, [await renderMessage(session, item.message, { note: `call ${item.call + 1}${item.answer ? ", answer" : ""}` })]));
  return box;
}
