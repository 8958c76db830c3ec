/** Keys: what they do, and the page that tells it. */

import { button, h } from "./dom.js";

const STORED = "agentcap-keys";

/** @typedef {{ keys: string[], does: string, run: (key: string) => unknown }} Binding */

/**
 * Listen for single keys, but not while somebody types.
 * @param {Binding[]} bindings
 */
export function listen(bindings) {
  let enabled = read() !== "off";
  const help = helpPage(bindings, enabled, (on) => {
    enabled = on;
    write(on ? "on" : "off");
  });
  document.body.appendChild(help);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !enabled || help.open) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("input:not([type=checkbox]), select, textarea")) return;
    const found = bindings.find((binding) => binding.keys.includes(event.key));
    if (!found) return;
    event.preventDefault();
    void found.run(event.key);
  });
  return () => help.showModal();
}

/**
 * @param {Binding[]} bindings
 * @param {boolean} enabled
 * @param {(on: boolean) => void} set
 */
function helpPage(bindings, enabled, set) {
  const rows = bindings.map(({ keys, does }) =>
    h("tr", null, h("td", null, keys.map((key) => [h("kbd", null, key), " "])), h("td", null, does)),
  );
  const box = /** @type {HTMLInputElement} */ (h("input", { type: "checkbox", id: "keys-on" }));
  box.checked = enabled;
  box.addEventListener("change", () => set(box.checked));
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-labelledby": "keys-title" }));
  dialog.append(
    h("h2", { id: "keys-title" }, "Keys"),
    h("table", null, h("tbody", null, rows)),
    h("p", null, box, " ", h("label", { for: "keys-on" }, "Use single keys")),
    button("Close", () => dialog.close()),
  );
  return dialog;
}

/** Read the setting; a page opened from disk may have no storage. */
function read() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

/** @param {string} value */
function write(value) {
  try {
    localStorage.setItem(STORED, value);
  } catch {
    // Then it holds until the page is closed.
  }
}
