/** What a request changed against the one that it follows: line by line, of both laid out. */

import { textOf } from "./data.js";
import { append, button, h } from "./dom.js";
import { count, counted } from "./figures.js";
import { layOut } from "./json.js";
import { matches } from "./sequences.js";

const AROUND = 3;
const SHOWN = 400;

/**
 * Show a call's request against that of the call before it in its conversation.
 * @param {import("./types.js").Session} session
 * @param {import("./types.js").Call} call
 * @param {import("./types.js").Step | null} step
 */
export async function changes(session, call, step) {
  const previous = step?.[2];
  if (previous === null || previous === undefined) {
    return h("p", { class: "quiet" }, "This request follows no other one.");
  }
  const earlier = session.document.calls[previous];
  const [before, after] = await Promise.all([earlier, call].map((each) => textOf(session.number, each.request)));
  if (before === after) return h("p", { class: "quiet" }, `The same request as that of call ${previous + 1}, byte for byte.`);
  const rows = difference(layOut(before), layOut(after));
  const gone = rows.filter((row) => row.sign === "−").length;
  const came = rows.filter((row) => row.sign === "+").length;
  const title = `Against call ${previous + 1}: ${counted(came, "line")} more, ${counted(gone, "line")} gone`;
  return h("div", null, h("p", null, title), drawn(rows));
}

/**
 * @param {string[]} before
 * @param {string[]} after
 */
function difference(before, after) {
  /** @type {{ sign: string, text: string }[]} */
  const rows = [];
  let [a, b] = [0, 0];
  const pairs = matches(before, after);
  for (const [nextA, nextB] of [...pairs, [before.length, after.length]]) {
    for (; a < nextA; a += 1) rows.push({ sign: "−", text: before[a] });
    for (; b < nextB; b += 1) rows.push({ sign: "+", text: after[b] });
    if (nextA < before.length) rows.push({ sign: " ", text: before[nextA] });
    [a, b] = [nextA + 1, nextB + 1];
  }
  return rows;
}

/** @param {{ sign: string, text: string }[]} rows */
function drawn(rows) {
  const near = new Set();
  rows.forEach((row, at) => {
    if (row.sign !== " ") for (let by = -AROUND; by <= AROUND; by += 1) near.add(at + by);
  });
  /** @type {Node[]} */
  const lines = [];
  let skipped = 0;
  const skip = () => {
    if (skipped) lines.push(h("div", { class: "skipped" }, `${counted(skipped, "equal line")}`));
    skipped = 0;
  };
  rows.forEach((row, at) => {
    if (!near.has(at)) {
      skipped += 1;
      return;
    }
    skip();
    const kind = { "+": "added", "−": "removed", " ": "kept" }[row.sign];
    lines.push(h("div", { class: kind }, `${row.sign} ${row.text}`));
  });
  skip();
  const box = h("div", { class: "lines", role: "group", "aria-label": "Changed lines" }, lines.slice(0, SHOWN));
  if (lines.length <= SHOWN) return box;
  const more = button(`Show all ${count(lines.length)} lines`, () => {
    more.remove();
    append(box, lines.slice(SHOWN));
  });
  return h("div", null, box, more);
}
