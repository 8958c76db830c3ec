/** How a session ended: its turns, graders, outputs, safety events and notes, as its result file tells them. */

import { append, h } from "./dom.js";
import { count, seconds } from "./figures.js";
import { fold, longText } from "./folding.js";
import { layOut } from "./json.js";

const OUTPUTS = ["Output", "Verdict", "Expected", "Actual", "Weight"];
const EVENTS = ["Safety event", "Detail", "Told by"];

/**
 * @param {import("./types.js").Session} session
 * @param {HTMLElement} into
 */
export function renderOutcome(session, into) {
  const result = session.document.result;
  if (Object.keys(result).length === 0) {
    append(into, [h("p", { class: "quiet" }, "There is no result file beside these captures: a parquet has the verdict alone.")]);
    return;
  }
  const { outputs = [], safety_events: events = [] } = result.assessment ?? {};
  append(into, [turns(result.turns ?? []), graders(result.graders ?? []), table(OUTPUTS, "Outputs", outputs.map(output))]);
  append(into, [table(EVENTS, "Safety events", events.map(event)), notes(result.notes ?? [])]);
  const whole = (body) => append(body, [h("pre", { class: "json" }, layOut(JSON.stringify(result)).join("\n"))]);
  into.appendChild(fold(["The result file"], whole));
}

/** @param {any[]} list */
function turns(list) {
  if (list.length === 0) return h("p", { class: "quiet" }, "No turn was finished.");
  return h("section", null, h("h2", null, "Turns"), list.map((turn) => {
    const ending = turn.timed_out ? "timed out" : turn.returncode === null ? "was ended" : `return code ${turn.returncode}`;
    const told = [`Turn ${turn.turn}`, seconds(turn.duration_s), ending, turn.limit].filter(Boolean).join(" · ");
    const prompt = h("section", { class: "message user" }, h("h4", null, "Prompt"), longText(String(turn.prompt ?? "")));
    const reply = h("section", { class: "message assistant" }, h("h4", null, "Reply"), longText(String(turn.reply ?? "")));
    return h("article", null, h("h3", null, told), prompt, reply);
  }));
}

/** @param {any[]} list */
function graders(list) {
  const rows = list.map((grader) => [
    grader.name,
    grader.passed === null || grader.passed === undefined ? "–" : grader.passed ? "passed" : "failed",
    count(grader.score),
    seconds(grader.duration_s),
    longText(String(grader.reasoning ?? "")),
  ]);
  return table(["Grader", "Verdict", "Score", "Time", "Reasoning"], "Graders", rows);
}

/** @param {any} told */
function output(told) {
  const actual = told.problem ? String(told.problem) : longText(JSON.stringify(told.actual) ?? "");
  return [told.key, told.ok ? "right" : "wrong", longText(JSON.stringify(told.expected) ?? ""), actual, count(told.weight)];
}

/** @param {any} told */
function event(told) {
  return [told.kind, longText(String(told.detail ?? "")), String(told.source ?? "–")];
}

/**
 * Show rows below their heads; nothing without rows.
 * @param {string[]} heads
 * @param {string} title
 * @param {any[][]} rows the first cell of each names it
 */
function table(heads, title, rows) {
  if (rows.length === 0) return null;
  const head = h("tr", null, heads.map((name) => h("th", { scope: "col" }, name)));
  const body = rows.map(([name, ...cells]) =>
    h("tr", null, h("th", { scope: "row" }, String(name)), cells.map((each) => h("td", null, each))),
  );
  return h("section", null, h("h2", null, title), h("table", null, h("thead", null, head), h("tbody", null, body)));
}

/** @param {string[]} lines */
function notes(lines) {
  if (lines.length === 0) return null;
  return h("section", null, h("h2", null, "Notes"), h("ul", null, lines.map((line) => h("li", null, line))));
}
