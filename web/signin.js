// The first page: it asks for the stack's key, and says in words why one is not accepted.

import { api, possibleKey, session } from "./api.js";
import { h, set, text } from "./dom.js";
import { words } from "./words.js";

/** Shows the page in `root` until a key is accepted. `said`: why it is asked for again. */
export function signIn(root, said) {
  return new Promise((resolve) => {
    const key = h("input", {
      id: "key",
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      autocapitalize: "off",
      required: true,
      "aria-describedby": "key-error key-help",
    });
    const error = h("p", { id: "key-error", class: "field-error", role: "alert", hidden: !said }, said);
    const go = h("button", { type: "submit", class: "button primary wide" }, words.signIn.button);
    const complain = (message) => {
      text(error, message);
      error.hidden = !message;
      set(key, { "aria-invalid": message ? "true" : null });
      if (message) key.focus();
    };

    async function submit(event) {
      event.preventDefault();
      const given = key.value.trim();
      if (!given) return complain(words.signIn.empty);
      if (!possibleKey(given)) return complain(words.signIn.wrong);
      go.disabled = true;
      text(go, words.signIn.busy);
      complain("");
      try {
        await api.check(given);
        session.key = given;
        resolve();
      } catch (problem) {
        complain(problem.status === 403 ? words.signIn.wrong : problem.passing ? words.signIn.lost : problem.message);
      } finally {
        go.disabled = false;
        text(go, words.signIn.button);
      }
      return undefined;
    }

    const form = h(
      "form",
      { class: "sign-in", novalidate: true, onsubmit: submit, "aria-labelledby": "sign-in-title" },
      h("p", { class: "brand" }, words.title),
      h("h1", { id: "sign-in-title" }, words.signIn.title),
      h("p", { class: "lead" }, words.signIn.lead),
      h("div", { class: "field" }, h("label", { for: "key", class: "label" }, words.signIn.label), key, error),
      go,
      h(
        "details",
        { id: "key-help" },
        h("summary", null, words.signIn.help),
        h("p", { class: "help" }, words.signIn.helpText),
      ),
    );
    root.replaceChildren(h("main", { class: "sign-in-page" }, form));
    key.focus();
  });
}
