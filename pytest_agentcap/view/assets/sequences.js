/** What two sequences have in common: for lines of requests, and for messages of sessions. */

const MOST_EDITS = 1500;

/**
 * Return the pairs of places that belong together, in order: the longest common subsequence, by Myers' algorithm.
 * Beyond 1,500 edits the rest counts as replaced.
 * @template T
 * @param {T[]} one
 * @param {T[]} other
 * @returns {[number, number][]}
 */
export function matches(one, other) {
  let start = 0;
  const shorter = Math.min(one.length, other.length);
  while (start < shorter && one[start] === other[start]) start += 1;
  let behind = 0;
  while (behind < shorter - start && one[one.length - 1 - behind] === other[other.length - 1 - behind]) behind += 1;
  /** @type {[number, number][]} */
  const found = [];
  for (let at = 0; at < start; at += 1) found.push([at, at]);
  const middle = myers(one.slice(start, one.length - behind), other.slice(start, other.length - behind));
  for (const [a, b] of middle) found.push([a + start, b + start]);
  for (let at = behind; at > 0; at -= 1) found.push([one.length - at, other.length - at]);
  return found;
}

/**
 * @template T
 * @param {T[]} one
 * @param {T[]} other
 * @returns {[number, number][]}
 */
function myers(one, other) {
  const most = Math.min(one.length + other.length, MOST_EDITS);
  const furthest = new Int32Array(2 * most + 3);
  /** @type {Int32Array[]} */
  const trace = [];
  for (let edits = 0; edits <= most; edits += 1) {
    trace.push(furthest.slice(most - edits, most + edits + 3));
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const at = diagonal + most + 1;
      const down = diagonal === -edits || (diagonal !== edits && furthest[at - 1] < furthest[at + 1]);
      let x = down ? furthest[at + 1] : furthest[at - 1] + 1;
      while (x < one.length && x - diagonal < other.length && one[x] === other[x - diagonal]) x += 1;
      furthest[at] = x;
      if (x >= one.length && x - diagonal >= other.length) return walkBack(trace, one.length, other.length);
    }
  }
  return [];
}

/**
 * @param {Int32Array[]} trace
 * @param {number} x
 * @param {number} y
 */
function walkBack(trace, x, y) {
  /** @type {[number, number][]} */
  const found = [];
  for (let edits = trace.length - 1; edits >= 0; edits -= 1) {
    const before = trace[edits];
    const diagonal = x - y;
    const at = diagonal + edits + 1;
    const down = diagonal === -edits || (diagonal !== edits && before[at - 1] < before[at + 1]);
    const startX = edits === 0 ? 0 : down ? before[at + 1] : before[at - 1] + 1;
    while (x > startX && y > startX - diagonal) {
      x -= 1;
      y -= 1;
      found.push([x, y]);
    }
    if (edits > 0) {
      if (down) y -= 1;
      else x -= 1;
    }
  }
  return found.reverse();
}

/**
 * Put other sequences beside a base: rows of places, null where a sequence has nothing.
 * What lies between two common items stands beside each other in the order it has.
 * @template T
 * @param {T[][]} sequences the base first
 * @returns {(number | null)[][]}
 */
export function align(sequences) {
  const [base, ...others] = sequences;
  const width = sequences.length;
  /** @type {(number | null)[][]} */
  const beside = base.map((_, place) => [place, ...others.map(() => null)]);
  /** @type {(number | null)[][][]} */
  const extra = Array.from({ length: base.length + 1 }, () => []);
  others.forEach((other, column) => {
    let [a, b] = [0, 0];
    for (const [nextA, nextB] of [...matches(base, other), /** @type {[number, number]} */ ([base.length, other.length])]) {
      for (; a < nextA && b < nextB; a += 1, b += 1) beside[a][column + 1] = b;
      for (let row = 0; b < nextB; b += 1, row += 1) {
        extra[nextA][row] ??= new Array(width).fill(null);
        extra[nextA][row][column + 1] = b;
      }
      if (nextA < base.length) beside[nextA][column + 1] = nextB;
      [a, b] = [nextA + 1, nextB + 1];
    }
  });
  return [...beside.flatMap((row, place) => [...extra[place], row]), ...extra[base.length]];
}
