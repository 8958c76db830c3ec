/** Where a session's time went: lanes of the model, of tools, of neither, and of what tools used. */

import { append, h, svg } from "./dom.js";
import { between, seconds, size, sum } from "./figures.js";
import { callPlaces, goToCall } from "./conversation.js";

const WIDTH = 1000;
const LANE = 20;
const GAP = 6;
const THINNEST = 0.6;

/**
 * @typedef {{ start: number, end: number, height: number, title: string, call: number }} Bar
 * @typedef {{ name: string, kind: string, bars: Bar[] }} Lane
 */

/**
 * Show a session's timeline.
 * @param {import("./types.js").Session} session
 */
export function renderTimeline(session) {
  const { spans } = session.document;
  if (spans.length === 0) return h("p", { class: "quiet" }, "No times are known, so there is no timeline.");
  const start = spans.reduce((found, span) => Math.min(found, span.start), Infinity);
  const end = spans.reduce((found, span) => Math.max(found, span.end), -Infinity);
  const lanes = [...timeLanes(spans, start, end), ...resourceLanes(session)];
  const told = h("p", { class: "told", "aria-hidden": "true" }, "\u00a0");
  const box = h("section", { class: "timeline", "aria-label": "Timeline" });
  const names = h("div", { class: "lanes", "aria-hidden": "true" }, lanes.map((lane) => h("span", null, lane.name)));
  append(box, [h("div", { class: "drawing" }, names, drawing(lanes, start, end, told)), axis(start, end), told]);
  append(box, [shares(spans, start, end), resources(session)]);
  return box;
}

/**
 * @param {import("./types.js").Span[]} spans
 * @param {number} start
 * @param {number} end
 * @returns {Lane[]}
 */
function timeLanes(spans, start, end) {
  const bar = (span) => ({ start: span.start, end: span.end, height: 1, title: titleOf(span), call: span.call });
  const model = spans.filter((span) => span.kind === "model");
  const tools = spans.filter((span) => span.kind === "tool");
  return [
    { name: "Model", kind: "model", bars: model.map(bar) },
    { name: "Tools", kind: "tool", bars: tools.map(bar) },
    { name: "Idle", kind: "idle", bars: gaps(spans, start, end) },
  ];
}

/** @param {import("./types.js").Span} span */
function titleOf(span) {
  const lasted = between(span.start, span.end);
  if (span.kind === "tool") return `${(span.names ?? []).join(", ")} after call ${span.call + 1}: ${lasted}`;
  const first = span.first ? `, first byte after ${between(span.start, span.first)}` : "";
  return `Call ${span.call + 1}: ${lasted}${first}`;
}

/**
 * Return when neither model nor tools were at work.
 * @param {import("./types.js").Span[]} spans
 * @param {number} start
 * @param {number} end
 * @returns {Bar[]}
 */
function gaps(spans, start, end) {
  const found = [];
  let at = start;
  let call = 0;
  for (const span of [...spans, { start: end, end, call: 0 }]) {
    if (span.start > at) found.push({ start: at, end: span.start, height: 1, title: `Idle: ${between(at, span.start)}`, call });
    if (span.end > at) [at, call] = [span.end, span.call];
  }
  return found;
}

/**
 * @param {import("./types.js").Session} session
 * @returns {Lane[]}
 */
function resourceLanes(session) {
  const measured = Object.entries(session.document.measured?.tools ?? {}).flatMap(([call, tools]) =>
    tools.map((tool) => ({ ...tool, call: Number(call) })),
  );
  const timed = measured.filter((tool) => tool.started_at_ns !== null && tool.ended_at_ns !== null && tool.resources);
  const cpu = (tool) => sum(tool.resources.user_s, tool.resources.system_s);
  const memory = (tool) => tool.resources.peak_rss_bytes ?? null;
  return [
    lane("CPU", "cpu", timed, (tool) => perSecond(cpu(tool), tool), (tool) => `${tool.name}: ${seconds(cpu(tool))} of CPU`),
    lane("Memory", "memory", timed, memory, (tool) => `${tool.name}: ${size(memory(tool))} at most`),
  ].filter((each) => each.bars.length > 0);
}

/**
 * @param {string} name
 * @param {string} kind
 * @param {any[]} tools
 * @param {(tool: any) => number | null} value
 * @param {(tool: any) => string} title
 * @returns {Lane}
 */
function lane(name, kind, tools, value, title) {
  const known = tools.filter((tool) => value(tool) !== null);
  const most = known.reduce((found, tool) => Math.max(found, value(tool) ?? 0), 0) || 1;
  const bars = known.map((tool) => ({
    start: tool.started_at_ns,
    end: tool.ended_at_ns,
    height: Math.max(0.05, (value(tool) ?? 0) / most),
    title: title(tool),
    call: tool.call,
  }));
  return { name, kind, bars };
}

/**
 * @param {number | null} used
 * @param {any} tool
 */
function perSecond(used, tool) {
  const lasted = (tool.ended_at_ns - tool.started_at_ns) / 1e9;
  return used === null || lasted <= 0 ? null : used / lasted;
}

/**
 * @param {Lane[]} lanes
 * @param {number} start
 * @param {number} end
 * @param {HTMLElement} told
 */
function drawing(lanes, start, end, told) {
  const height = lanes.length * (LANE + GAP);
  const scale = WIDTH / Math.max(1, end - start);
  const paths = lanes.map((each, row) => {
    const floor = row * (LANE + GAP) + LANE;
    const pieces = each.bars.map((bar) => {
      const width = Math.max(THINNEST, (bar.end - bar.start) * scale);
      const tall = bar.height * LANE;
      return `M${((bar.start - start) * scale).toFixed(2)} ${(floor - tall).toFixed(2)}h${width.toFixed(2)}v${tall.toFixed(2)}h-${width.toFixed(2)}z`;
    });
    return svg("path", { class: each.kind, d: pieces.join("") });
  });
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths);
  picture.style.setProperty("height", `${height / 16}rem`);
  const barAt = (event) => nearest(picture, event, lanes, start, scale);
  picture.addEventListener("mousemove", (event) => {
    told.textContent = barAt(event)?.title ?? "\u00a0";
  });
  picture.addEventListener("click", (event) => {
    const bar = barAt(event);
    if (bar) void goToCall(callPlaces().find((article) => article.id === `call-${bar.call}`));
  });
  return picture;
}

/**
 * Return the bar of the lane below the pointer that is nearest to it, within a hundredth of the width.
 * @param {SVGElement} picture
 * @param {MouseEvent} event
 * @param {Lane[]} lanes
 * @param {number} start
 * @param {number} scale
 */
function nearest(picture, event, lanes, start, scale) {
  const box = picture.getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * lanes.length);
  const at = start + (((event.clientX - box.left) / box.width) * WIDTH) / scale;
  let [found, least] = [/** @type {Bar | null} */ (null), WIDTH / 100 / scale];
  for (const bar of lanes[row]?.bars ?? []) {
    const away = Math.max(bar.start - at, at - bar.end, 0);
    if (away < least) [found, least] = [bar, away];
  }
  return found;
}

/**
 * @param {number} start
 * @param {number} end
 */
function axis(start, end) {
  const began = new Date(start / 1e6).toISOString().replace("T", " ").slice(0, 19);
  return h("p", { class: "axis" }, h("span", null, `${began} UTC`), h("span", null, `after ${between(start, end)}`));
}

/**
 * Tell the shares in words, which is all that a screen reader needs of the drawing.
 * @param {import("./types.js").Span[]} spans
 * @param {number} start
 * @param {number} end
 */
function shares(spans, start, end) {
  const whole = end - start;
  const share = (used) => (whole > 0 ? `${seconds(used / 1e9)}, ${Math.round((100 * used) / whole)} %` : seconds(used / 1e9));
  const idle = gaps(spans, start, end).reduce((total, bar) => total + bar.end - bar.start, 0);
  const rows = [
    ["model", "Model", share(covered(spans.filter((span) => span.kind === "model")))],
    ["tool", "Tools", share(covered(spans.filter((span) => span.kind === "tool")))],
    ["idle", "Idle", share(idle)],
  ];
  return h("dl", { class: "shares" }, rows.map(([kind, name, value]) => h("div", { class: kind }, h("dt", null, name), h("dd", null, value))));
}

/**
 * Return how long at least one of the spans lasts.
 * @param {import("./types.js").Span[]} spans
 */
function covered(spans) {
  let [total, until] = [0, -Infinity];
  for (const span of spans) {
    if (span.end > until) total += span.end - Math.max(span.start, until);
    until = Math.max(until, span.end);
  }
  return total;
}

/** @param {import("./types.js").Session} session */
function resources(session) {
  const measured = session.document.measured;
  if (!measured || !measured.session || (measured.session.source ?? "none") === "none") {
    return h("p", { class: "quiet" }, "Resources were not measured.");
  }
  const used = measured.session;
  const rows = [
    ["CPU", seconds(sum(used.user_s, used.system_s))],
    ["Peak memory of a process", size(used.peak_rss_bytes)],
    ["Read from storage", size(used.storage_read_bytes)],
    ["Written to storage", size(used.storage_write_bytes)],
    ["Processes", used.processes ?? "–"],
    ["Measured by", `${used.source}, ${used.quality}`],
  ];
  return h("dl", { class: "shares" }, rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}
