/** A session on the page: what it is, its timeline, and its conversation, patch or outcome below. */

import { nameOf, renderComparison, sameTask } from "./compare.js";
import { renderConversation } from "./conversation.js";
import { openSession } from "./data.js";
import { button, h } from "./dom.js";
import { counted, seconds, tokens } from "./figures.js";
import { shown } from "./folding.js";
import { forgetPlaces } from "./lazy.js";
import { verdict } from "./list.js";
import { renderOutcome } from "./outcome.js";
import { renderPatch } from "./patch.js";
import { renderTimeline } from "./timeline.js";

/** What is shown of a session, by its key. */
export const TABS = { 1: "Conversation", 2: "Patch", 3: "Outcome", 4: "Side by side" };

/**
 * Show a session.
 * @param {import("./place.js").Place} place
 * @param {HTMLElement} into
 * @param {(change: Partial<import("./place.js").Place>) => void} go
 * @returns {Promise<import("./types.js").Session | null>} null when another was chosen meanwhile
 */
export async function renderSession(place, into, go) {
  forgetPlaces();
  const number = place.session ?? 0;
  into.dataset.session = String(number);
  into.replaceChildren(h("p", { class: "quiet", role: "status" }, "Reading the session…"));
  /** @type {import("./types.js").Session | null} */
  let session = null;
  await shown(into, async () => {
    const opened = await openSession(number);
    if (into.dataset.session !== String(number)) return;
    session = opened;
    const others = sameTask(number);
    const tab = Object.values(TABS).includes(place.tab) ? place.tab : "Conversation";
    const body = h("div", { class: "body", role: "tabpanel", "aria-label": tab });
    const parts = [head(session), tab === "Side by side" ? "" : renderTimeline(session), tabs(tab, others, go), body];
    into.replaceChildren(...parts.filter(Boolean));
    await shown(body, () => fill(tab, opened, place, others, body, go));
  });
  return session;
}

/**
 * @param {string} tab
 * @param {import("./types.js").Session} session
 * @param {import("./place.js").Place} place
 * @param {number[]} others
 * @param {HTMLElement} body
 * @param {(change: Partial<import("./place.js").Place>) => void} go
 */
async function fill(tab, session, place, others, body, go) {
  if (tab === "Patch") await renderPatch(session, body);
  else if (tab === "Outcome") renderOutcome(session, body);
  else if (tab === "Side by side") await sideBySide(session, place, others, body, go);
  else renderConversation(session, body);
}

/** @param {import("./types.js").Session} session */
function head(session) {
  const facts = session.facts;
  const version = facts.agent_version ? ` ${facts.agent_version}` : "";
  const who = [facts.corpus, `${facts.agent ?? "agent unknown"}${version}`, facts.model].filter(Boolean).join(" · ");
  const used = tokens(facts.prompt_tokens, facts.completion_tokens);
  const again = `trial ${facts.trial ?? 1}, attempt ${facts.attempt ?? 1}`;
  return h(
    "header",
    { class: "session-head" },
    h("h1", { tabindex: -1, id: "session-name" }, facts.task_id ?? facts.session ?? "Session", " ", verdict(facts.verdict)),
    facts.reason ? h("p", { class: "reason" }, facts.reason) : null,
    h("p", { class: "prompt" }, facts.prompt ?? ""),
    h("p", { class: "quiet" }, `${who} · ${again} · ${counted(facts.calls, "call")} · ${seconds(facts.seconds)} · ${used}`),
  );
}

/**
 * @param {string} current
 * @param {number[]} others
 * @param {(change: Partial<import("./place.js").Place>) => void} go
 */
function tabs(current, others, go) {
  const names = Object.values(TABS).filter((name) => name !== "Side by side" || others.length > 0);
  const list = h("div", { role: "tablist", class: "tabs", "aria-label": "What is shown of the session" });
  for (const name of names) {
    const selected = name === current;
    const label = name === "Side by side" ? `${name} (${others.length})` : name;
    const tab = button(label, () => go({ tab: name, call: null }), { role: "tab", "aria-selected": String(selected), tabindex: selected ? 0 : -1 });
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      go({ tab: names[(names.indexOf(name) + by + names.length) % names.length], call: null });
      queueMicrotask(() => /** @type {HTMLElement} */ (document.querySelector("[role=tab][aria-selected=true]"))?.focus());
    });
    list.appendChild(tab);
  }
  return list;
}

/**
 * @param {import("./types.js").Session} session
 * @param {import("./place.js").Place} place
 * @param {number[]} others
 * @param {HTMLElement} body
 * @param {(change: Partial<import("./place.js").Place>) => void} go
 */
async function sideBySide(session, place, others, body, go) {
  const chosen = place.beside.filter((number) => others.includes(number));
  const beside = chosen.length ? chosen : others.slice(0, 1);
  const boxes = others.map((number) => {
    const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: `beside-${number}` }));
    box.checked = beside.includes(number);
    box.addEventListener("change", () => {
      const now = box.checked ? [...beside, number] : beside.filter((each) => each !== number);
      go({ beside: now.sort((one, other) => one - other), call: null });
    });
    return h("span", { class: "choice" }, box, h("label", { for: box.id }, nameOf(number)));
  });
  body.appendChild(h("fieldset", null, h("legend", null, "Beside it"), boxes));
  await renderComparison([session.number, ...beside], body);
}
