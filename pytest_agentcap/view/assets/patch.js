/** What a session changed in its workspace. */

import { textOf } from "./data.js";
import { append, h } from "./dom.js";
import { count, counted } from "./figures.js";
import { fold, longText } from "./folding.js";

const OPEN_LINES = 300;

/**
 * Show a session's patch, file by file.
 * @param {import("./types.js").Session} session
 * @param {HTMLElement} into
 */
export async function renderPatch(session, into) {
  const slices = session.document.patch;
  if (slices === null || slices === undefined) {
    append(into, [h("p", { class: "quiet" }, "No patch of the workspace is known.")]);
    return;
  }
  const text = await textOf(session.number, slices);
  const files = text.split(/^(?=diff --git )/m).filter((each) => each.trim());
  if (files.length === 0) append(into, [h("p", { class: "quiet" }, "The session changed no file of its workspace.")]);
  for (const file of files) into.appendChild(renderFile(file));
}

/** @param {string} text */
function renderFile(text) {
  const lines = text.replace(/\n$/, "").split("\n");
  const body = lines.slice(Math.max(0, lines.findIndex((line) => line.startsWith("@@"))));
  const came = body.filter((line) => line.startsWith("+")).length;
  const gone = body.filter((line) => line.startsWith("-")).length;
  const summary = [h("b", null, nameOf(lines)), " ", h("small", null, `+${count(came)} −${count(gone)}`)];
  const fill = (box) => append(box, [lines.length > 20000 ? longText(text) : drawn(lines)]);
  return fold(summary, fill, { open: lines.length <= OPEN_LINES, class: "file" });
}

/** @param {string[]} lines */
function nameOf(lines) {
  const named = lines.find((line) => line.startsWith("+++ ") && !line.endsWith("/dev/null"));
  const gone = lines.find((line) => line.startsWith("--- ") && !line.endsWith("/dev/null"));
  const told = named ?? gone;
  return told ? told.slice(4).replace(/^"?[ab]\//, "").replace(/\t$/, "") : lines[0].replace(/^diff --git /, "");
}

/** @param {string[]} lines */
function drawn(lines) {
  let inside = false;
  const rows = lines.map((line) => {
    inside ||= line.startsWith("@@");
    const kind = !inside ? "head" : ({ "+": "added", "-": "removed", "@": "hunk" }[line[0]] ?? "kept");
    return h("div", { class: kind }, line || " ");
  });
  return h("div", { class: "lines", role: "group", "aria-label": counted(lines.length, "line") }, rows);
}
