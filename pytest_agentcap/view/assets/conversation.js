/** A session's conversation: its threads, each with its calls in order. */

import { held, textOf } from "./data.js";
import { callPlace, fillCall, PANELS } from "./call.js";
import { h } from "./dom.js";
import { counted } from "./figures.js";
import { fillNow, whenNear } from "./lazy.js";
import { lookedFor } from "./marks.js";

const KINDS = { main: "Conversation", subagent: "Sub-agent", side: "Side question", compaction: "Summary of the history" };

/**
 * Show all threads; calls are filled when they come near.
 * @param {import("./types.js").Session} session
 * @param {HTMLElement} into
 */
export function renderConversation(session, into) {
  const { calls, threads } = session.document;
  if (calls.length === 0) into.appendChild(h("p", { class: "quiet" }, "This session made no call."));
  const seen = new Set();
  const first = threads.filter((thread) => thread.kind === "main");
  for (const thread of [...first, ...threads.filter((thread) => thread.kind !== "main")]) {
    const places = thread.steps.map((step) => place(session, step[0], step, seen));
    into.appendChild(threadBox(thread, threads.length > 1, places));
  }
  const apart = calls.map((_, number) => number).filter((number) => !seen.has(number));
  if (apart.length) {
    const places = apart.map((number) => place(session, number, null, seen));
    const title = h("h2", null, "Calls of no conversation ", h("small", null, counted(apart.length, "call")));
    into.appendChild(h("section", { class: "thread" }, title, places));
  }
}

/**
 * @param {import("./types.js").Thread} thread
 * @param {boolean} several
 * @param {HTMLElement[]} places
 */
function threadBox(thread, several, places) {
  const name = KINDS[thread.kind] ?? thread.kind;
  const parent = thread.parent === null ? "" : `of call ${thread.parent + 1} · `;
  const told = h("small", null, `${parent}${counted(places.length, "call")}`);
  const title = h("h2", { class: several ? "" : "hidden" }, `${name} `, told);
  return h("section", { class: `thread ${thread.kind}`, "aria-label": name }, title, places);
}

/**
 * @param {import("./types.js").Session} session
 * @param {number} number
 * @param {import("./types.js").Step | null} step
 * @param {Set<number>} seen
 */
function place(session, number, step, seen) {
  seen.add(number);
  const article = callPlace(session, number);
  whenNear(article, () => fillCall(session, number, step, article));
  return article;
}

/** Return the places of calls as they stand on the page. */
export function callPlaces() {
  return /** @type {HTMLElement[]} */ ([...document.querySelectorAll("article.call")]);
}

/** Return the call that has the focus, or that stands at the top of the window. */
export function currentCall() {
  const focused = document.activeElement?.closest("article.call");
  if (focused) return /** @type {HTMLElement} */ (focused);
  return callPlaces().find((article) => article.getBoundingClientRect().bottom > 120) ?? null;
}

/**
 * Bring a call to the top and give it the focus.
 * @param {HTMLElement | null | undefined} article
 */
export async function goToCall(article) {
  if (!article) return;
  // Places above are of guessed height until they are drawn: once more when this one is.
  article.scrollIntoView({ block: "start" });
  article.focus({ preventScroll: true });
  await fillNow(article);
  article.scrollIntoView({ block: "start" });
}

/** Go some calls further. @param {number} by */
export function moveByCalls(by) {
  const places = callPlaces();
  const current = currentCall();
  const at = current ? places.indexOf(current) : -1;
  const focused = current !== null && current.contains(document.activeElement);
  const next = focused || by < 0 ? at + by : at;
  return goToCall(places[Math.max(0, Math.min(places.length - 1, next))]);
}

/** Open or close a panel of the current call. @param {string} key */
export async function togglePanel(key) {
  const article = currentCall();
  if (!article || !(key in PANELS)) return;
  await fillNow(article);
  /** @type {HTMLElement | null} */ (article.querySelector(`[data-panel="${key}"]`))?.click();
  if (!article.contains(document.activeElement)) article.focus({ preventScroll: true });
}

/**
 * Go to the next call in which something that was said holds what is looked for.
 * @param {import("./types.js").Session} session
 */
export async function goToNextMatch(session) {
  const wanted = lookedFor();
  const places = callPlaces();
  if (!wanted || places.length === 0) return false;
  const current = currentCall();
  const start = current?.contains(document.activeElement) ? places.indexOf(current) + 1 : 0;
  for (let by = 0; by < places.length; by += 1) {
    const article = places[(start + by) % places.length];
    const number = Number(article.id.slice("call-".length));
    if (await holds(session, number, wanted)) {
      await goToCall(article);
      return true;
    }
  }
  return false;
}

/**
 * @param {import("./types.js").Session} session
 * @param {number} number
 * @param {string} wanted
 */
async function holds(session, number, wanted) {
  const call = session.document.calls[number];
  const messages = [...(call.told ?? []), ...(call.said === null ? [] : [call.said])];
  for (const message of messages) {
    for (const part of session.document.messages[message].parts) {
      for (const text of textsOf(part)) {
        if ((await held(session.number, text)).toLowerCase().includes(wanted)) return true;
      }
    }
  }
  if (call.told !== undefined || call.response === null) return false;
  return (await textOf(session.number, call.response)).toLowerCase().includes(wanted);
}

/**
 * Return what a part says.
 * @param {import("./types.js").Part} part
 * @returns {import("./types.js").Held[]}
 */
export function textsOf(part) {
  const own = [part.text, part.arguments, part.name, part.json].filter((text) => text !== undefined);
  return [...own, ...(part.parts ?? []).flatMap(textsOf)];
}
