/** What the page holds: the list of sessions at once, a session's document and its bytes when they are asked for. */

const BLOCK_BYTES = 1 << 18;
const KEPT_BLOCKS = 96;
const KEPT_DOCUMENTS = 6;
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * @type {{ title: string, version: string, runs: Record<string, any>[], sessions: import("./types.js").Facts[],
 *   faults: string[] }}
 */
export const index = JSON.parse(document.getElementById("index")?.textContent ?? "");

/** @type {Map<string, Promise<Uint8Array>>} */
const blocks = new Map();
/** @type {Map<number, Promise<import("./types.js").Session>>} */
const documents = new Map();

/**
 * Name the run of a session: a parquet may hold several.
 * @param {import("./types.js").Facts} facts
 */
export function runOf(facts) {
  return facts.run_id ?? index.runs[facts.run].name;
}

/**
 * Return what a key stands for, made once; of many, those that were last asked for are kept.
 * @template K, V
 * @param {Map<K, V>} kept
 * @param {number} most
 * @param {K} key
 * @param {() => V} make
 * @returns {V}
 */
function remember(kept, most, key, make) {
  const value = kept.get(key) ?? make();
  kept.delete(key);
  kept.set(key, value);
  for (const oldest of kept.keys()) {
    if (kept.size <= most) break;
    kept.delete(oldest);
  }
  return value;
}

/**
 * Return the text of a packed element, which may not have been read yet.
 * @param {string} id
 */
async function packed(id) {
  for (;;) {
    const element = document.getElementById(id);
    // The parser fills an element bit by bit; it is whole when something follows it.
    if (element?.nextSibling) return element.textContent;
    if (document.readyState !== "loading") {
      if (element) return element.textContent;
      throw new Error(`the page is cut off: ${id} is not in it`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** @param {string} text */
function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** @param {string} id */
async function inflate(id) {
  const bytes = fromBase64(await packed(id));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Read a session's document.
 * @param {number} number
 * @returns {Promise<import("./types.js").Session>}
 */
export function openSession(number) {
  return remember(documents, KEPT_DOCUMENTS, number, async () => {
    const document = JSON.parse(UTF8.decode(await inflate(`document-${number}`)));
    return { number, facts: index.sessions[number], document };
  });
}

/**
 * Return a block of a session's bytes.
 * @param {number} session
 * @param {number} block
 */
export function blockOf(session, block) {
  const id = `block-${session}-${block}`;
  return remember(blocks, KEPT_BLOCKS, id, () => inflate(id));
}

/**
 * Return the bytes that stand at places of a session's pool.
 * @param {number} session
 * @param {import("./types.js").Slices} slices
 */
export async function bytesOf(session, slices) {
  let length = 0;
  for (let at = 1; at < slices.length; at += 2) length += slices[at];
  const bytes = new Uint8Array(length);
  let filled = 0;
  for (let at = 0; at < slices.length; at += 2) {
    let start = slices[at];
    const end = start + slices[at + 1];
    while (start < end) {
      const block = Math.floor(start / BLOCK_BYTES);
      const from = start - block * BLOCK_BYTES;
      const piece = (await blockOf(session, block)).subarray(from, Math.min(BLOCK_BYTES, from + end - start));
      bytes.set(piece, filled);
      filled += piece.length;
      start += piece.length;
      if (piece.length === 0) throw new Error(`block ${block} of session ${session} is too short`);
    }
  }
  return bytes;
}

/**
 * Return the text that stands at places of a session's pool.
 * @param {number} session
 * @param {import("./types.js").Slices} slices
 */
export async function textOf(session, slices) {
  return UTF8.decode(await bytesOf(session, slices));
}

/**
 * Return a text that is told as it is, or by where it stands.
 * @param {number} session
 * @param {import("./types.js").Held | undefined} held
 * @returns {Promise<string>}
 */
export async function held(session, held) {
  if (held === null || held === undefined) return "";
  return typeof held === "string" ? held : JSON.parse(`"${await textOf(session, held)}"`);
}
