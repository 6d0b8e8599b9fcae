// Leaving the page while something is under way that ends with it: the browser asks first, in its own words.

const losses = [];
let agreed = false;

/** Adds a test of whether something is under way that would be lost. */
export const holdIf = (test) => losses.push(test);

export const isUnderWay = () => losses.some((test) => test());

/** The page may leave: a person has agreed, or nothing can be saved any more. */
export const letGo = () => {
  agreed = true;
};

addEventListener("beforeunload", (event) => {
  if (agreed || !isUnderWay()) return;
  event.preventDefault();
  event.returnValue = true; // for browsers that ask for this only
});
