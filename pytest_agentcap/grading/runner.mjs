// Call `grade` of the module named in argv: JSON on stdin, its result as JSON on file descriptor 3.
// Standard output is the standard error already: what the module and its children print does no harm to the result.

import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

try {
  const given = { hint: undefined, trajectory: [], metadata: {}, ...JSON.parse(readFileSync(0, "utf8")) };
  const { grade } = await import(pathToFileURL(process.argv[2]).href);
  if (typeof grade !== "function") {
    throw new TypeError("the module exports no function grade");
  }
  const text = JSON.stringify(await grade(given));
  writeSync(3, text === undefined ? "null" : text);
  process.exit(0);
} catch (error) {
  console.error(error);
  console.error(`${error?.name ?? "Error"}: ${String(error?.message ?? error).replace(/\s+/g, " ")}`);
  process.exit(1);
}
