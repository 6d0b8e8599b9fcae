// Work of which only so many pieces are under way at a time.

/** A queue. What it returns adds a piece, a function that returns a promise, and resolves to its result.
 * `first`: before those that wait. */
export function queueOf(most) {
  let running = 0;
  const waiting = [];

  function next() {
    while (running < most && waiting.length) {
      running += 1;
      waiting
        .shift()()
        .finally(() => {
          running -= 1;
          next();
        });
    }
  }

  return (work, { first = false } = {}) =>
    new Promise((resolve, reject) => {
      const piece = () => work().then(resolve, reject);
      if (first) waiting.unshift(piece);
      else waiting.push(piece);
      next();
    });
}
