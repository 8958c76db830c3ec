/** The list of sessions: filters above, rows below, of which as many are made as are looked at. */

import { index, runOf } from "./data.js";
import { append, h, replace } from "./dom.js";
import { counted, seconds } from "./figures.js";
import { lookFor } from "./marks.js";
import { namedBy, saidIn } from "./search.js";

const PAGE = 200;
const WAIT_MS = 250;
const UNKNOWN = "\u2013";

/** @type {{ name: string, label: string, of: (facts: import("./types.js").Facts) => string }[]} */
const FILTERS = [
  { name: "run", label: "Run", of: runOf },
  { name: "agent", label: "Agent", of: (facts) => facts.agent ?? UNKNOWN },
  { name: "model", label: "Model", of: (facts) => facts.model ?? UNKNOWN },
  { name: "verdict", label: "Verdict", of: (facts) => facts.verdict ?? UNKNOWN },
  { name: "corpus", label: "Corpus", of: (facts) => facts.corpus ?? UNKNOWN },
];

/**
 * Make the list.
 * @param {(number: number) => void} open called with the session that is chosen
 * @param {() => void} looked called when what is looked for has changed
 */
export function makeList(open, looked) {
  /** @type {Record<string, string>} */
  const chosen = {};
  let wanted = "";
  /** @type {number[]} */
  let shown = [];
  let drawn = 0;
  let current = -1;
  let search = 0;

  const status = h("p", { role: "status", class: "status" });
  const rows = h("div", { role: "listbox", "aria-label": "Sessions", class: "rows", tabindex: 0, id: "sessions" });
  const input = /** @type {HTMLInputElement} */ (
    h("input", { type: "search", id: "text", placeholder: "Text in sessions  /", autocomplete: "off", spellcheck: "false" })
  );
  const filters = FILTERS.map((filter) => select(filter, chosen, () => void update())).filter((each) => each !== null);

  let timer = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      wanted = input.value.trim().toLowerCase();
      lookFor(input.value);
      void update();
      looked();
    }, WAIT_MS);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && input.value) {
      input.value = "";
      input.dispatchEvent(new Event("input"));
      event.stopPropagation();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      rows.focus();
      if (shown.length && !shown.includes(current)) open(shown[0]);
    }
  });

  /** Show what the filters and the text leave. */
  async function update() {
    const mine = (search += 1);
    const left = index.sessions.map((_, number) => number).filter((number) =>
      FILTERS.every(({ name, of }) => !chosen[name] || of(index.sessions[number]) === chosen[name]),
    );
    if (!wanted) {
      draw(left);
      return;
    }
    const found = new Set(left.filter((number) => namedBy(index.sessions[number], wanted)));
    draw(left.filter((number) => found.has(number)));
    let looked = 0;
    for (const number of left) {
      if (!found.has(number) && (await holds(number, () => search !== mine))) {
        if (search !== mine) return;
        found.add(number);
        draw(left.filter((each) => found.has(each)));
      }
      if (search !== mine) return;
      looked += 1;
      tell(` · looked through ${looked} of ${left.length}`);
    }
    tell("");
  }

  /**
   * @param {number} number
   * @param {() => boolean} given_up
   */
  async function holds(number, given_up) {
    try {
      return await saidIn(number, wanted, given_up);
    } catch (error) {
      console.error(error);
      return false;
    }
  }

  /** @param {string} more */
  function tell(more) {
    status.textContent = `${shown.length} of ${counted(index.sessions.length, "session")}${more}`;
  }

  /** @param {number[]} numbers */
  function draw(numbers) {
    const same = numbers.length === shown.length && numbers.every((number, at) => number === shown[at]) && drawn > 0;
    shown = numbers;
    tell("");
    if (same) return;
    replace(rows);
    drawn = 0;
    drawMore();
  }

  function drawMore() {
    append(rows, shown.slice(drawn, drawn + PAGE).map((number) => row(number, number === current, open)));
    drawn = Math.min(shown.length, drawn + PAGE);
    mark();
  }

  function mark() {
    for (const each of rows.children) each.setAttribute("aria-selected", String(each.id === `session-${current}`));
    const selected = document.getElementById(`session-${current}`);
    if (selected) rows.setAttribute("aria-activedescendant", selected.id);
    else rows.removeAttribute("aria-activedescendant");
  }

  rows.addEventListener("scroll", () => {
    if (drawn < shown.length && rows.scrollTop + rows.clientHeight * 2 > rows.scrollHeight) drawMore();
  });
  rows.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(steps[event.key]);
  });

  /** Choose another session. @param {number} by */
  function move(by) {
    if (shown.length === 0) return;
    const at = shown.indexOf(current);
    const next = Math.max(0, Math.min(shown.length - 1, at === -1 ? 0 : at + by));
    while (next >= drawn) drawMore();
    open(shown[next]);
  }

  /** Mark the session that is shown. @param {number} number */
  function select_(number) {
    current = number;
    mark();
    document.getElementById(`session-${number}`)?.scrollIntoView({ block: "nearest" });
  }

  const element = h(
    "nav",
    { class: "sessions", "aria-label": "Sessions" },
    h("div", { class: "filters", role: "search" }, h("label", { for: "text" }, "Text"), input, filters),
    status,
    rows,
  );
  void update();
  return { element, move, select: select_, focusSearch: () => input.select(), focusList: () => rows.focus() };
}

/**
 * @param {(typeof FILTERS)[number]} filter
 * @param {Record<string, string>} chosen
 * @param {() => void} update
 */
function select(filter, chosen, update) {
  const values = [...new Set(index.sessions.map(filter.of))].sort();
  if (values.length < 2 && filter.name === "run") return null;
  const options = values.map((value) => h("option", { value }, value));
  const id = `filter-${filter.name}`;
  const element = /** @type {HTMLSelectElement} */ (h("select", { id }, h("option", { value: "" }, "all"), options));
  element.addEventListener("change", () => {
    // Attributes hold what is printable, which may not be what was captured.
    chosen[filter.name] = element.selectedIndex === 0 ? "" : values[element.selectedIndex - 1];
    update();
  });
  return h("span", { class: "filter" }, h("label", { for: id }, filter.label), element);
}

/**
 * @param {number} number
 * @param {boolean} current
 * @param {(number: number) => void} open
 */
function row(number, current, open) {
  const facts = index.sessions[number];
  const again = [(facts.trial ?? 1) > 1 ? `trial ${facts.trial}` : "", (facts.attempt ?? 1) > 1 ? `attempt ${facts.attempt}` : ""];
  const who = [facts.agent, facts.model, ...again].filter(Boolean).join(" · ");
  return h(
    "div",
    { role: "option", id: `session-${number}`, class: "session", "aria-selected": String(current), onclick: () => open(number) },
    verdict(facts.verdict),
    h("b", null, facts.task_id ?? facts.session ?? "session"),
    h("small", null, who),
    h("small", null, `${counted(facts.calls, "call")} · ${seconds(facts.seconds)}`),
  );
}

/**
 * Show a verdict, in words and in a colour.
 * @param {string | null} verdict
 */
export function verdict(verdict) {
  const kind = verdict === null ? "open" : ["passed", "captured"].includes(verdict) ? "good" : verdict === "infra" ? "infra" : "bad";
  return h("span", { class: `verdict ${kind}` }, verdict ?? "no verdict");
}
