// What is in the form and not ordered yet. It outlives a reload, and is gone with the tab, as the key is.

const KEPT = "seedance-draft";

let forgotten = false;

export function keep(draft) {
  if (!forgotten) sessionStorage.setItem(KEPT, JSON.stringify(draft));
}

/** What was kept, or an empty object. */
export function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) || {};
  } catch {
    return {};
  }
}

/** For a person who signs out. */
export function forget() {
  forgotten = true;
  sessionStorage.removeItem(KEPT);
}
