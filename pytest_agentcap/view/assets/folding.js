/** Long things folded: what is hidden is made when it is asked for. */

import { append, button, h, replace } from "./dom.js";
import { count, counted } from "./figures.js";
import { marked } from "./marks.js";

const SHOWN_LINES = 14;
const SHOWN_CHARS = 1800;
const STEP_CHARS = 400000;

/**
 * Make a disclosure whose content is made when it is opened first.
 * @param {(Node | string)[]} summary
 * @param {(body: HTMLElement) => void | Promise<void>} fill
 * @param {{ open?: boolean, class?: string }} [options]
 */
export function fold(summary, fill, options = {}) {
  const body = h("div", { class: "folded" });
  const details = h("details", { class: options.class ?? "" }, h("summary", null, ...summary), body);
  let filled = false;
  const show = () => {
    if (filled) return;
    filled = true;
    void shown(body, fill);
  };
  details.addEventListener("toggle", () => {
    if (/** @type {HTMLDetailsElement} */ (details).open) show();
  });
  if (options.open) {
    details.setAttribute("open", "");
    show();
  }
  return details;
}

/**
 * Fill an element, and say there what went wrong if that fails.
 * @param {HTMLElement} body
 * @param {(body: HTMLElement) => void | Promise<void>} fill
 */
export async function shown(body, fill) {
  try {
    await fill(body);
  } catch (error) {
    replace(body, h("p", { class: "fault", role: "alert" }, `This cannot be shown: ${error}`));
  }
}

/**
 * Show a text; of a long one the beginning, and a button for the rest.
 * @param {string} text
 * @param {{ lines?: number, class?: string, of?: string }} [options]
 */
export function longText(text, options = {}) {
  const pre = h("pre", { class: options.class ?? "" });
  const cut = beginning(text, options.lines ?? SHOWN_LINES);
  if (cut >= text.length) {
    append(pre, [marked(text)]);
    return pre;
  }
  append(pre, [marked(text.slice(0, cut))]);
  const lines = text.split("\n").length;
  const label = `Show all of ${options.of ?? "it"}: ${counted(lines, "line")}, ${count(text.length)} characters`;
  const more = button(label, () => {
    showAll(pre, text);
    more.remove();
    pre.setAttribute("tabindex", "-1");
    pre.focus();
  });
  more.className = "more";
  return h("div", null, pre, more);
}

/**
 * Show a whole text, a very long one in steps.
 * @param {HTMLElement} pre
 * @param {string} text
 */
function showAll(pre, text) {
  replace(pre, marked(text.slice(0, STEP_CHARS)));
  if (text.length <= STEP_CHARS) return;
  let at = STEP_CHARS;
  const more = button(`Show ${count(Math.min(STEP_CHARS, text.length - at))} more of ${count(text.length)} characters`, () => {
    more.before(marked(text.slice(at, at + STEP_CHARS)));
    at += STEP_CHARS;
    if (at >= text.length) more.remove();
  });
  pre.appendChild(more);
}

/**
 * @param {string} text
 * @param {number} lines
 */
function beginning(text, lines) {
  let at = 0;
  for (let line = 0; line < lines; line += 1) {
    const next = text.indexOf("\n", at);
    if (next === -1) return text.length > SHOWN_CHARS * 1.3 ? SHOWN_CHARS : text.length;
    at = next + 1;
    if (at > SHOWN_CHARS) return Math.min(at - 1, SHOWN_CHARS);
  }
  // A few lines more are not worth a button.
  return text.length - at < 200 && text.slice(at).split("\n").length < 5 ? text.length : at - 1;
}
