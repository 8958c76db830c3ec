/** The page: the list on the left, a session on the right, keys for everything. */

import { goToDifference } from "./compare.js";
import { callPlaces, goToCall, goToNextMatch, moveByCalls, togglePanel } from "./conversation.js";
import { index } from "./data.js";
import { button, h } from "./dom.js";
import { counted } from "./figures.js";
import { listen } from "./keys.js";
import { makeList } from "./list.js";
import { readPlace, writePlace } from "./place.js";
import { renderSession, TABS } from "./session.js";
import { themeButton } from "./theme.js";

/** @type {import("./types.js").Session | null} */
let session = null;
let place = readPlace(index.sessions.length);

const view = h("main", { tabindex: -1, id: "view", "aria-label": "Session" });
const list = makeList((number) => go({ session: number, beside: [], call: null }), () => void draw());
const help = listen([
  { keys: ["/"], does: "look for a text", run: () => list.focusSearch() },
  { keys: ["n", "p"], does: "next and previous session", run: (key) => list.move(key === "n" ? 1 : -1) },
  { keys: ["j", "k"], does: "next and previous call", run: (key) => moveByCalls(key === "j" ? 1 : -1) },
  { keys: ["g", "G"], does: "first and last call", run: (key) => goToCall(callPlaces().at(key === "g" ? 0 : -1)) },
  { keys: ["c"], does: "changes of the call's request", run: togglePanel },
  { keys: ["q"], does: "the call's request as it was sent", run: togglePanel },
  { keys: ["s"], does: "its response as it came", run: togglePanel },
  { keys: ["f"], does: "its other facts", run: togglePanel },
  { keys: ["m"], does: "next call that holds the text that is looked for", run: () => session && goToNextMatch(session) },
  { keys: Object.keys(TABS), does: Object.values(TABS).join(", ").toLowerCase(), run: (key) => go({ tab: TABS[key], call: null }) },
  { keys: ["d"], does: "first difference of sessions side by side", run: goToDifference },
  { keys: ["Escape"], does: "back to the list of sessions", run: () => list.focusList() },
  { keys: ["?"], does: "this list", run: () => help() },
]);

/**
 * Go elsewhere.
 * @param {Partial<import("./place.js").Place>} change
 */
function go(change) {
  place = { ...place, ...change };
  writePlace(place);
  void draw();
}

/** Show the place where somebody is. */
async function draw() {
  if (place.session === null) {
    view.replaceChildren(welcome());
    return;
  }
  list.select(place.session);
  const { call } = place;
  session = await renderSession(place, view, go);
  if (call === null) scrollTo(0, 0);
  else await goToCall(callPlaces().find((article) => article.id === `call-${call}`));
}

function welcome() {
  const calls = index.sessions.reduce((total, facts) => total + facts.calls, 0);
  const runs = index.runs.map((run) => h("li", null, [run.name, run.agent, run.model, run.upstream].filter(Boolean).join(" · ")));
  const faults = index.faults.length
    ? [h("h2", null, "What could not be read"), h("ul", { class: "faults" }, index.faults.map((line) => h("li", null, line)))]
    : null;
  const told = `${counted(index.runs.length, "run")}, ${counted(index.sessions.length, "session")}, ${counted(calls, "call")}`;
  return h("div", { class: "welcome" }, h("h1", null, index.title), h("p", null, told), h("ul", null, runs), faults);
}

document.body.append(
  h("a", { class: "skip", href: "#view", onclick: (event) => { event.preventDefault(); view.focus(); } }, "To the session"),
  h("header", { class: "top" }, h("strong", null, index.title), h("span", { class: "buttons" }, themeButton(), button("Keys", () => help()))),
  h("div", { class: "panes" }, list.element, view),
);
addEventListener("hashchange", () => {
  place = readPlace(index.sessions.length);
  void draw();
});
if (place.session === null && index.sessions.length > 0 && index.faults.length === 0) place = { ...place, session: 0 };
void draw();
