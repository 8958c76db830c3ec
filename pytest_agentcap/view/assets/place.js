/** Where somebody is, in the address behind `#`: the session, what of it, beside which others, at which call. */

/** @typedef {{ session: number | null, tab: string, beside: number[], call: number | null }} Place */

/**
 * Read the address.
 * @param {number} sessions how many there are
 * @returns {Place}
 */
export function readPlace(sessions) {
  const told = new URLSearchParams(location.hash.slice(1));
  const number = (text) => (/^\d+$/.test(text ?? "") ? Number(text) : null);
  /** @type {(value: number | null) => value is number} */
  const known = (value) => value !== null && value < sessions;
  const session = number(told.get("session"));
  const beside = (told.get("beside") ?? "").split(",").map(number).filter(known);
  return { session: known(session) ? session : null, tab: told.get("tab") ?? "", beside, call: number(told.get("call")) };
}

/**
 * Write the address, without a step in the browser's history for each session that is passed.
 * @param {Place} place
 */
export function writePlace({ session, tab, beside, call }) {
  const told = new URLSearchParams();
  if (session !== null) told.set("session", String(session));
  if (tab) told.set("tab", tab);
  if (beside.length) told.set("beside", beside.join(","));
  if (call !== null) told.set("call", String(call));
  history.replaceState(null, "", `#${told}`);
}
