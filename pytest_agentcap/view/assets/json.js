/** JSON laid out by its tokens: numbers, keys and strings stay as they are spelled, however odd the document. */

const TOKEN = /"(?:[^"\\]|\\[^])*"|[{}[\],:]|[^\s{}[\],:"]+|"/gu;
const DEEPEST = 100;

/**
 * Return the lines of a JSON text; a string with line breaks takes a line for each of its own.
 * @param {string} text
 * @returns {string[]}
 */
export function layOut(text) {
  const lines = [];
  let depth = 0;
  let line = "";
  let last = "";
  const indent = () => "  ".repeat(Math.min(depth, DEEPEST));
  const end = () => {
    lines.push(line);
    line = indent();
  };
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === "}" || token === "]") {
      depth = Math.max(0, depth - 1);
      if (last !== "{" && last !== "[") end();
      line += token;
    } else if (token === ":") {
      line += ": ";
    } else if (token === ",") {
      line += ",";
    } else {
      if (last === "," || last === "{" || last === "[") end();
      const parts = token.length > 2 && token.startsWith('"') ? brokenUp(token) : [token];
      line += parts[0];
      for (const part of parts.slice(1)) {
        lines.push(line);
        line = `${indent()}  ${part}`;
      }
      if (token === "{" || token === "[") depth += 1;
    }
    last = token;
  }
  lines.push(line);
  return lines;
}

/**
 * Cut a string's spelling behind each `\n`.
 * @param {string} token
 */
function brokenUp(token) {
  const parts = [];
  let start = 0;
  for (const found of token.matchAll(/\\(?:n|[^])/gu)) {
    const end = found.index + found[0].length;
    if (found[0] === "\\n" && end < token.length - 1) {
      parts.push(token.slice(start, end));
      start = end;
    }
  }
  return [...parts, token.slice(start)];
}

/** Tell whether a text is one JSON object or list. @param {string} text */
export function isJson(text) {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}
