// Call a function of the module named in argv, the first of the exports named after it: JSON on stdin, its result as
// JSON on file descriptor 3.
// Standard output is the standard error already: what the module and its children print does no harm to the result.

import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

try {
  const given = { hint: undefined, trajectory: [], metadata: {}, ...JSON.parse(readFileSync(0, "utf8")) };
  const [path, ...names] = process.argv.slice(2);
  const exported = await import(pathToFileURL(path).href);
  const name = names.find((each) => typeof exported[each] === "function");
  if (name === undefined) {
    throw new TypeError(`the module exports no function ${names.join(" or ")}`);
  }
  const text = JSON.stringify(await exported[name](given));
  writeSync(3, text === undefined ? "null" : text);
  process.exit(0);
} catch (error) {
  console.error(error);
  console.error(`${error?.name ?? "Error"}: ${String(error?.message ?? error).replace(/\s+/g, " ")}`);
  process.exit(1);
}
