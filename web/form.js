// A form for a model's parameters, made from its JSON Schema: every parameter, with its help and its allowed values.

import { h, set, text } from "./dom.js";
import { words } from "./words.js";

const FEW = 5;
const FIRST = ["duration", "resolution", "aspect_ratio"];
const LEFT_OPEN = ["aspect_ratio", "transport"]; // the stack decides, unless something else is chosen

let made = 0;

/** What of a property's schema says which values are allowed: "or null" only means that it may be left out. */
function core(schema) {
  return schema.anyOf ? { ...schema, ...schema.anyOf.find((one) => one.type !== "null") } : schema;
}

const labelOf = (name, schema) => words.fields[name] || schema.title || name;

function helpOf(name, schema) {
  const parts = [words.fieldHelp[name], schema.description];
  if (schema.type === "array" && schema.maxItems) {
    parts.push(`${words.form.lines}, ${words.form.atMost(schema.maxItems)}.`);
  }
  if (schema.type === "integer" && schema.minimum !== undefined) {
    parts.push(words.form.range(schema.minimum, schema.maximum));
  }
  return parts.filter(Boolean).join(" ");
}

function choiceLabel(name, value) {
  if (value === undefined) return words.form.auto;
  if (name === "duration") return words.form.seconds(value);
  return value === "adaptive" ? words.form.adaptive : String(value);
}

/** The form of what depends on the model: its parameters, without prompt and first picture, and its transport if it has
 * more than one. `changed` is called after each change. */
export function modelForm(model, changed) {
  const { properties } = model.parameters;
  const left = new Set(["prompt", model.first_image]);
  const names = Object.keys(properties).filter((name) => !left.has(name));
  const fields = new Map(names.map((name) => [name, field(name, core(properties[name]), changed)]));
  const main = FIRST.filter((name) => fields.has(name));
  const transport = model.transports.length > 1 ? field("transport", { enum: model.transports }, changed) : null;
  if (transport) fields.set("transport", transport);
  return {
    main: main.map((name) => fields.get(name).element),
    more: [...fields].filter(([name]) => !main.includes(name)).map(([, one]) => one.element),
    /** What was chosen, as fields of an order. What is left as it is, is left out, so that the stack decides. */
    values() {
      const parameters = {};
      for (const name of names) {
        const value = fields.get(name).value();
        if (value !== undefined) parameters[name] = value;
      }
      return { parameters, transport: transport?.value() };
    },
    fill(values) {
      for (const name of names) fields.get(name).fill(values.parameters[name]);
      transport?.fill(values.transport);
    },
    /** Shows why a field is refused; with null, that none is. Returns whether the field is in this form. */
    problem(name, message) {
      for (const [key, one] of fields) one.problem(key === name ? message : null);
      return fields.has(name);
    },
  };
}

function field(name, schema, changed) {
  made += 1;
  const id = `field-${name}-${made}`;
  const help = helpOf(name, schema);
  const parts = { id, name, schema, changed, label: labelOf(name, schema), help, described: `${id}-help ${id}-error` };
  if (schema.enum && schema.enum.length <= FEW + 1) return choices(parts);
  if (schema.enum) return select(parts);
  if (schema.type === "boolean") return toggle(parts);
  if (schema.type === "array") return lines(parts);
  return input(parts);
}

/** A field's frame: label, control, help and error. */
export function frame({ id, label, help, described }, control, { group } = {}) {
  const error = h("p", { id: `${id}-error`, class: "field-error", hidden: true });
  const element = h(
    "div",
    {
      class: "field",
      ...(group ? { role: "group", "aria-labelledby": `${id}-label`, "aria-describedby": described } : {}),
    },
    h(group ? "span" : "label", { id: `${id}-label`, class: "label", for: group ? null : id }, label),
    control,
    h("p", { id: `${id}-help`, class: "help", hidden: !help }, help),
    error,
  );
  const problem = (message) => {
    text(error, message);
    error.hidden = !message;
    element.classList.toggle("wrong", Boolean(message));
  };
  return { element, problem };
}

/** The values to choose from, and the one that stands for no choice. */
function valuesOf(name, schema) {
  if (LEFT_OPEN.includes(name)) return { values: [undefined, ...schema.enum], usual: undefined };
  return { values: schema.enum, usual: schema.default };
}

/** Few values: all are seen, and one press chooses. */
function choices(parts) {
  const { id, name, schema, changed } = parts;
  const { values, usual } = valuesOf(name, schema);
  const radios = values.map((value, index) =>
    h("input", {
      type: "radio",
      name: id,
      id: `${id}-${index}`,
      value: index,
      checked: value === usual,
      onchange: changed,
    }),
  );
  const control = h(
    "div",
    { class: "choices" },
    values.map((value, index) => [radios[index], h("label", { for: `${id}-${index}` }, choiceLabel(name, value))]),
  );
  return {
    ...frame(parts, control, { group: true }),
    value: () => {
      const value = values[radios.findIndex((radio) => radio.checked)];
      return value === usual ? undefined : value;
    },
    fill: (value) => {
      const index = values.indexOf(value);
      radios[index < 0 ? values.indexOf(usual) : index].checked = true;
    },
  };
}

function select(parts) {
  const { id, name, schema, changed, described } = parts;
  const { values, usual } = valuesOf(name, schema);
  const control = h(
    "select",
    { id, "aria-describedby": described, onchange: changed },
    values.map((value, index) => h("option", { value: index, selected: value === usual }, choiceLabel(name, value))),
  );
  return {
    ...frame(parts, control),
    value: () => (values[control.value] === usual ? undefined : values[control.value]),
    fill: (value) => {
      control.value = String(Math.max(0, values.includes(value) ? values.indexOf(value) : values.indexOf(usual)));
    },
  };
}

function toggle(parts) {
  const { id, label, help, schema, changed, described } = parts;
  const usual = schema.default ?? false;
  const control = h("input", {
    id,
    type: "checkbox",
    role: "switch",
    checked: usual,
    "aria-describedby": described,
    onchange: changed,
  });
  const error = h("p", { id: `${id}-error`, class: "field-error", hidden: true });
  const element = h(
    "div",
    { class: "field toggle" },
    h("label", { for: id }, h("span", { class: "label" }, label), control),
    h("p", { id: `${id}-help`, class: "help", hidden: !help }, help),
    error,
  );
  return {
    element,
    problem: (message) => {
      text(error, message);
      error.hidden = !message;
    },
    value: () => (control.checked === usual ? undefined : control.checked),
    fill: (value) => {
      control.checked = value ?? usual;
    },
  };
}

function lines(parts) {
  const { id, changed, described } = parts;
  const control = h("textarea", {
    id,
    rows: 2,
    "aria-describedby": described,
    placeholder: words.form.address,
    spellcheck: "false",
    oninput: changed,
  });
  return {
    ...frame(parts, control),
    value: () => {
      const given = control.value
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
      return given.length ? given : undefined;
    },
    fill: (value) => {
      control.value = (value || []).join("\n");
    },
  };
}

function input(parts) {
  const { id, name, schema, changed, described } = parts;
  const whole = schema.type === "integer";
  const control = h("input", { id, "aria-describedby": described, oninput: changed, autocomplete: "off" });
  set(
    control,
    whole
      ? { type: "text", inputmode: "numeric", placeholder: name === "seed" ? words.form.seedAuto : "" }
      : {
          type: schema.format === "uri" ? "url" : "text",
          maxlength: schema.maxLength,
          placeholder: words.form.address,
        },
  );
  return {
    ...frame(parts, control),
    value: () => {
      const given = control.value.trim();
      if (!given) return undefined;
      // What is no number is sent as it is: the stack says what is allowed, in the same words as everywhere.
      return whole && /^-?\d{1,15}$/.test(given) ? Number(given) : given;
    },
    fill: (value) => {
      control.value = value ?? "";
    },
  };
}
