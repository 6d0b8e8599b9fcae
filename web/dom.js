// Builds elements from values. Text only ever becomes text: nothing that a person, a file or the provider wrote is read
// as markup, and nothing sets a style attribute.

const SVG = "http://www.w3.org/2000/svg";

// Set as properties, because the attributes of these names only say how an element begins.
const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "muted",
  "selected",
  "open",
  "hidden",
  "readOnly",
  "defaultMuted",
  "playsInline",
  "required",
  "multiple",
  "loop",
]);

/** An element. `on…` are listeners; null, undefined and false leave an attribute or a child out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  set(element, props || {});
  add(element, children);
  return element;
}

export function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

export function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return add(element, children);
}

/** Changes text only if it differs, so that screen readers and selections are left alone. */
export function text(element, value) {
  const shown = value === null || value === undefined ? "" : String(value);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Brings the children of a list into the order of `items`. Each is made once and then only updated or moved, so focus,
 * scroll position and posters survive. `shown`: a map from key to {element, update}, which the caller keeps. */
export function keyed(parent, items, shown, key, make) {
  const wanted = new Set(items.map(key));
  for (const [id, one] of shown) {
    if (wanted.has(id)) continue;
    one.remove?.();
    one.element.remove();
    shown.delete(id);
  }
  let before = parent.firstElementChild;
  for (const item of items) {
    let one = shown.get(key(item));
    if (!one) {
      one = make(item);
      shown.set(key(item), one);
    }
    one.update(item);
    if (one.element === before) before = before.nextElementSibling;
    else parent.insertBefore(one.element, before);
  }
}

/** Saves what is at an address of S3, in a new tab if the browser shows such files instead. */
export function save(address, { shown = false } = {}) {
  const target = shown ? "_blank" : null;
  const anchor = h("a", { href: address, rel: "noopener noreferrer", download: true, target });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
}

const ICONS = {
  back: "M19 12H5M11 6l-6 6 6 6",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  film: "M4 5h16v14H4zM8 5v14M16 5v14M4 9.7h4M4 14.3h4M16 9.7h4M16 14.3h4",
  table: "M4 5h16v14H4zM4 10h16M4 14.5h16M10 5v14",
  play: "M8 5.5v13l11-6.5z",
  pause: "M8 5v14M16 5v14",
  check: "M5 12.5l4.5 4.5L19 7.5",
  alert: "M12 8v5M12 16.5h.01M12 3.5l9.5 16.5h-19z",
  out: "M10 4H5v16h5M10 12h10M16 8l4 4-4 4",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  again: "M20 12a8 8 0 1 1-2.3-5.7M20 4v5h-5",
};

/** An icon beside a text, so it says nothing by itself. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" })) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function button(label, onclick, props, iconName) {
  return h(
    "button",
    { type: "button", class: "button", onclick, ...props },
    iconName && icon(iconName),
    h("span", null, label),
  );
}

/** Tells screen readers about a change, without moving the focus. */
export function announce(message) {
  const region = document.getElementById("live");
  if (region) region.textContent = message;
}

// Kept here, because it moves: outside an open dialog nothing is read out or can be selected.
const region = document.getElementById("toast");
let toastTimer = 0;

/** A short message for everybody, at the bottom of the page, or of the dialog that is open. */
export function toast(message) {
  const open = [...document.querySelectorAll("dialog[open]")].at(-1);
  (open || document.body).append(region);
  region.textContent = message;
  region.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    region.hidden = true;
  }, 6000);
}

/** Shows a dialog until it is closed. Each one is opened here, so that none takes the message of toast() with it. */
export function modal(dialog, closed) {
  dialog.addEventListener("close", () => {
    if (dialog.contains(region)) document.body.append(region);
    dialog.remove();
    closed();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** Asks before something that can't be undone, or that costs money. Resolves to the form's values, or to null. */
export function ask({ title, lead, yes, no, danger, body }) {
  return new Promise((resolve) => {
    const id = `ask-${Date.now()}`;
    const form = h(
      "form",
      { method: "dialog", class: "ask" },
      h("h2", { id }, title),
      lead && h("p", null, lead),
      body,
      h(
        "div",
        { class: "actions" },
        button(no, () => dialog.close("no")), // no submit button: Enter in a field means the other one
        h("button", { type: "submit", value: "yes", class: danger ? "button danger" : "button primary" }, yes),
      ),
    );
    const dialog = h(
      "dialog",
      {
        class: "small",
        "aria-labelledby": id,
      },
      form,
    );
    modal(dialog, () => resolve(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null));
  });
}
