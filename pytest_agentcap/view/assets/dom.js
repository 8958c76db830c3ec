/** Elements are made here and nowhere else: whatever was captured becomes text, never markup. */

// Controls but newline and tab; marks that reorder, hide or end text; halves of surrogate pairs.
const UNSAFE = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]|\p{Surrogate}|[\u{e0000}-\u{e007f}]/gu;
const SVG = "http://www.w3.org/2000/svg";

/**
 * Show characters that could hide or reorder text as `\uXXXX`.
 * @param {string} text
 */
export function printable(text) {
  return text.replace(UNSAFE, (found) => {
    let escaped = "";
    for (let at = 0; at < found.length; at += 1) {
      escaped += "\\u" + found.charCodeAt(at).toString(16).padStart(4, "0");
    }
    return escaped;
  });
}

/**
 * Make an element: `on…` are listeners, booleans are attributes without a value, null and false are left out.
 * @param {string} tag
 * @param {Record<string, any> | null} [properties]
 * @param {...(Node | string | number | null | undefined | false | any[])} children
 * @returns {HTMLElement}
 */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  setAll(element, properties);
  append(element, children);
  return element;
}

/**
 * Make an element of SVG.
 * @param {string} tag
 * @param {Record<string, any> | null} [properties]
 * @param {...(Node | string | null)} children
 * @returns {SVGElement}
 */
export function svg(tag, properties, ...children) {
  const element = document.createElementNS(SVG, tag);
  setAll(element, properties);
  append(element, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Record<string, any> | null} [properties]
 */
function setAll(element, properties) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, printable(String(value)));
    }
  }
}

/**
 * Add children, text as text.
 * @param {Element} element
 * @param {any[]} children
 */
export function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) {
      append(element, child);
    } else if (child instanceof Node) {
      element.appendChild(child);
    } else if (child !== null && child !== undefined && child !== false) {
      element.appendChild(document.createTextNode(printable(String(child))));
    }
  }
}

/**
 * Put other children in the place of those that are there.
 * @param {Element} element
 * @param {...any} children
 */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * Make a button.
 * @param {string} label
 * @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [properties]
 */
export function button(label, onclick, properties) {
  return h("button", { type: "button", onclick, ...properties }, label);
}
