/** Looking for a text in all that sessions hold, one block of them after another. */

import { blockOf, index, openSession } from "./data.js";
import { textsOf } from "./conversation.js";

const UTF8 = new TextDecoder();

/**
 * Tell whether what the list shows of a session holds a text.
 * @param {import("./types.js").Facts} facts
 * @param {string} wanted in lower case
 */
export function namedBy(facts, wanted) {
  const shown = [facts.task_id, facts.prompt, facts.reason, facts.session, facts.agent, facts.model, facts.verdict, facts.corpus];
  return shown.some((text) => text?.toLowerCase().includes(wanted));
}

/**
 * Tell whether a session's bodies or messages hold a text, looked for as it is spelled in JSON.
 * @param {number} number
 * @param {string} wanted in lower case
 * @param {() => boolean} given_up whether nobody waits for it any more
 */
export async function saidIn(number, wanted, given_up) {
  const session = await openSession(number);
  const short = (held) => typeof held === "string" && held.toLowerCase().includes(wanted);
  if (session.document.messages.some((message) => message.parts.flatMap(textsOf).some(short))) return true;
  const spelled = JSON.stringify(wanted).slice(1, -1).toLowerCase();
  let before = "";
  for (let block = 0; block < index.sessions[number].blocks; block += 1) {
    if (given_up()) return false;
    const text = before + UTF8.decode(await blockOf(number, block)).toLowerCase();
    if (text.includes(spelled)) return true;
    // What stands across two blocks is found too.
    before = text.slice(-4 * spelled.length);
  }
  return false;
}
