/** What somebody looks for, marked where it stands. */

import { h, printable } from "./dom.js";

let wanted = "";

/** Set what is looked for. @param {string} text */
export function lookFor(text) {
  wanted = text.trim().toLowerCase();
}

/** Return what is looked for, in lower case. */
export function lookedFor() {
  return wanted;
}

/**
 * Return a text as nodes, what is looked for marked in it.
 * @param {string} text
 */
export function marked(text) {
  const fragment = document.createDocumentFragment();
  const lower = wanted ? text.toLowerCase() : "";
  let at = 0;
  // Letters whose lower case is longer would shift what follows them.
  let found = lower.length === text.length && wanted ? lower.indexOf(wanted) : -1;
  while (found !== -1) {
    fragment.append(printable(text.slice(at, found)), h("mark", null, text.slice(found, found + wanted.length)));
    at = found + wanted.length;
    found = lower.indexOf(wanted, at);
  }
  fragment.append(printable(text.slice(at)));
  return fragment;
}
