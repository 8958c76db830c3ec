/** How a session ended: its facts, turns, graders and notes, as its result file tells them. */

import { append, h } from "./dom.js";
import { count, seconds } from "./figures.js";
import { fold, longText } from "./folding.js";
import { layOut } from "./json.js";

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
  append(into, [turns(result.turns ?? []), graders(result.graders ?? []), notes(result.notes ?? [])]);
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
  if (list.length === 0) return null;
  const rows = list.map((grader) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, grader.name),
      h("td", null, grader.passed === null || grader.passed === undefined ? "–" : grader.passed ? "passed" : "failed"),
      h("td", null, count(grader.score)),
      h("td", null, seconds(grader.duration_s)),
      h("td", null, longText(String(grader.reasoning ?? ""))),
    ),
  );
  const head = ["Grader", "Verdict", "Score", "Time", "Reasoning"].map((name) => h("th", { scope: "col" }, name));
  return h("section", null, h("h2", null, "Graders"), h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
}

/** @param {string[]} lines */
function notes(lines) {
  if (lines.length === 0) return null;
  return h("section", null, h("h2", null, "Notes"), h("ul", null, lines.map((line) => h("li", null, line))));
}
