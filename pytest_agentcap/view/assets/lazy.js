/** Places that are filled when they come near the window. */

/** @type {Map<Element, () => Promise<void>>} */
const waiting = new Map();

const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) void fillNow(entry.target);
  },
  { rootMargin: "1200px 0px" },
);

/**
 * Fill a place when it comes near the window.
 * @param {Element} place
 * @param {() => Promise<void>} fill
 */
export function whenNear(place, fill) {
  waiting.set(place, fill);
  observer.observe(place);
}

/**
 * Fill a place at once, unless that was done.
 * @param {Element} place
 */
export async function fillNow(place) {
  const fill = waiting.get(place);
  if (!fill) return;
  waiting.delete(place);
  observer.unobserve(place);
  place.classList.add("filled");
  await fill();
}

/** Forget the places that are not shown any more. */
export function forgetPlaces() {
  observer.disconnect();
  waiting.clear();
}
