// The elements of the console, and how a text gets into them: as a text node, whoever wrote it. Nothing here asks the API.

// h makes an element. Attributes are named by us only; children that are no elements become text.
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(attribute, value);
    else if (value === true) element.setAttribute(attribute, "");
    else if (value !== false && value !== undefined) element.setAttribute(attribute, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

// plain shows characters that could disguise a text (controls, and those that turn its direction) by their numbers.
const disguise = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const plain = (text) => String(text ?? "").replace(disguise, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

export const lines = (text) => text.split("\n").map(plain).join("\n");

export const clock = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
export function time(moment) {
  if (!moment) return "";
  const at = new Date(moment);
  return isNaN(at) ? plain(moment) : h("time", { datetime: at.toISOString(), title: at.toISOString().replace("T", " ").replace("Z", " UTC") }, clock.format(at));
}

const tones = {
  good: ["open", "active", "allow", "applied", "succeeded", "in force", "good"],
  bad: ["denied", "suspended", "deny", "dead", "failed", "refused", "revoked", "disputed"],
  wait: ["received", "unlinked", "to come"],
};
export const state = (word) => {
  const tone = Object.keys(tones).find((tone) => tones[tone].includes(word));
  return word ? h("span", { class: tone ? "state " + tone : "state" }, plain(word)) : "";
};

export const route = (view, query) => "#/" + view + (Object.values(query).some(Boolean) ? "?" + new URLSearchParams(Object.entries(query).filter(([, v]) => v)) : "");
export const link = (view, query, text) => (text ? h("a", { href: route(view, query) }, plain(text)) : "");
export const user = (id) => link("user", { id }, id);
export const id = (text) => h("span", { class: "id" }, plain(text));
export const list = (items, none) => (items?.length ? items.map(plain).join(", ") : none);
export const json = (value) => (value && Object.keys(value).length ? h("pre", null, lines(JSON.stringify(value, null, 2))) : "");
export const button = (text, click, grave) => h("button", { type: "button", click, class: grave ? "grave" : undefined }, text);
export const heading = (text) => h("h3", null, text);
export const facts = (pairs) => h("dl", null, pairs.filter(([, value]) => value || value === 0).map(([term, value]) => [h("dt", null, term), h("dd", null, value)]));

// bought is what an entitlement or a payment is for.
export const bought = (e) => plain((e.plan && "plan " + e.plan) || (e.stream && "stream " + e.stream) || (e.tag && "tag " + e.tag) || "");

export function failure(error) {
  const { detail, errors = [] } = error.problem ?? {};
  return h("div", { class: "failure", role: "alert" }, h("strong", null, plain(error.message)), detail ? ": " + plain(detail) : "",
    errors.map((e) => h("p", null, plain(e.field ? e.field + ": " + e.problem : e.problem))));
}

// field is an input with its label.
export function field(label, name, value, attributes = {}) {
  const input = h("input", { id: "f-" + name, name, autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...attributes });
  input.value = value ?? "";
  return h("div", null, h("label", { for: input.id }, label), input);
}

export function choice(label, name, value, options) {
  const select = h("select", { id: "f-" + name, name }, options.map(([v, text]) => h("option", { value: v }, text)));
  select.value = options.some(([v]) => v === value) ? value : options[0][0];
  return h("div", null, h("label", { for: select.id }, label), select);
}

// form hands over what its fields have, by name, without white space around.
export function form(label, verb, submit, ...fields) {
  return h("form", {
    class: "fields", "aria-label": label,
    submit: (event) => {
      event.preventDefault();
      submit(Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()])), event.target);
    },
  }, fields, h("button", null, verb));
}

// table keeps its rows by key: what has not changed is not touched, and keeps the focus.
export function table(caption, keyOf, columns) {
  const body = h("tbody");
  let rows = new Map();
  const element = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("thead", null, h("tr", null, columns.map((c) => h("th", { scope: "col" }, c.head)))), body));
  const put = (items) => {
    const wanted = new Map(items.map((item) => [keyOf(item), item]));
    for (const [k, row] of rows) if (!wanted.has(k)) row.remove();
    let place = 0;
    rows = new Map([...wanted].map(([k, item]) => {
      const row = rows.get(k) ?? h("tr");
      columns.forEach((c, n) => {
        const made = h("td", { class: c.class }, c.cell(item));
        if (!row.cells[n]) row.append(made);
        else if (!row.cells[n].isEqualNode(made)) row.cells[n].replaceWith(made);
      });
      if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
      place++;
      return [k, row];
    }));
    element.hidden = !items.length;
  };
  put([]);
  return { element, put };
}

export const decoded = (base64) => new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));

// pretty lays out JSON token by token, so that every number and name stays as it came in. What is no JSON stays as it is.
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let depth = 0;
  const newline = () => "\n" + "  ".repeat(Math.min(depth, 20));
  return text.replace(/"(?:[^"\\]|\\.)*"|\{\s*\}|\[\s*\]|[{}[\],:]|\s+|[^\s{}[\],:"]+/g, (token) => {
    if (/^\s/.test(token)) return "";
    if (token === "{" || token === "[") return depth++, token + newline();
    if (token === "}" || token === "]") return depth--, newline() + token;
    return token === "," ? token + newline() : token === ":" ? ": " : token;
  });
}
