/** Figures as people read them; what is not known is a dash, never 0. */

const NUMBER = new Intl.NumberFormat("en");

/** @param {number | null | undefined} value */
export function count(value) {
  return value === null || value === undefined ? "–" : NUMBER.format(value);
}

/**
 * @param {number} value
 * @param {string} one
 */
export function counted(value, one) {
  return `${NUMBER.format(value)} ${one}${value === 1 ? "" : "s"}`;
}

/** @param {number | null | undefined} value */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * Tell the time between two instants in nanoseconds.
 * @param {number | null} start
 * @param {number | null} end
 */
export function between(start, end) {
  return start === null || end === null ? "–" : seconds((end - start) / 1e9);
}

/** @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  if (bytes < 1024) return counted(bytes, "byte");
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return bytes < 1024 ** 3 ? `${(bytes / 1024 ** 2).toFixed(1)} MiB` : `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

/**
 * Tell tokens as `in → out`.
 * @param {number | null} prompt
 * @param {number | null} completion
 */
export function tokens(prompt, completion) {
  if (prompt === null && completion === null) return "tokens unknown";
  return `${count(prompt)} → ${count(completion)} tokens`;
}

/**
 * Tell what a tool call took, as far as it is known.
 * @param {import("./types.js").MeasuredTool} tool
 */
export function measuredTool(tool) {
  const used = tool.resources ?? {};
  const told = [];
  if (tool.exit_code !== null) told.push(`exit code ${tool.exit_code}`);
  if (tool.started_at_ns !== null && tool.ended_at_ns !== null) told.push(between(tool.started_at_ns, tool.ended_at_ns));
  const cpu = sum(used.user_s, used.system_s);
  if (cpu !== null) told.push(`${seconds(cpu)} of CPU`);
  if (typeof used.peak_rss_bytes === "number") told.push(`${size(used.peak_rss_bytes)} of memory`);
  if (tool.background) told.push("left processes behind");
  return told.join(" · ");
}

/**
 * Add two figures; the sum of what is not known is not known.
 * @param {number | null | undefined} one
 * @param {number | null | undefined} other
 */
export function sum(one, other) {
  return typeof one === "number" && typeof other === "number" ? one + other : null;
}

/**
 * Return a text's first line that says something, short.
 * @param {string} text
 * @param {number} [limit]
 */
export function firstLine(text, limit = 120) {
  const line = text.slice(0, limit * 8).trimStart().split("\n", 1)[0].replace(/\s+/g, " ");
  return line.length > limit ? `${line.slice(0, limit - 1)}…` : line;
}
