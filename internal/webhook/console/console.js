// The console: views over /api/v1, a function each, chosen by the part of the address after #. Whatever the API answers
// is strangers' text: it becomes text nodes and nothing else.

import {
  h, plain, lines, clock, time, state, route, link, user, id, list, json, button, heading, facts, bought, failure,
  field, choice, form, table, decoded, pretty,
} from "./elements.js";

const api = new URL("../api/v1/", document.baseURI); // relative, for a proxy may serve all of this below a directory
const pageSize = 100;
const refreshEvery = 4000; // milliseconds
const stored = "authhook-key";
const ranks = { read: 1, billing: 2, admin: 3 };

let key = sessionStorage.getItem(stored) ?? "";
let role = ""; // what the key permits
let ahead = 0; // milliseconds that the service's clock is ahead of ours
let leaving = new AbortController(); // aborted when the view is left

const $ = (id) => document.getElementById(id);

// ---- Asking

// Failure is a problem document, or what stands in for one.
class Failure extends Error {
  constructor(status, problem) {
    super(problem?.title || "The service answered " + status);
    this.status = status;
    this.problem = problem ?? {};
  }
}

// below is a path of the API. No part may be a step: a browser would take it.
function below(...parts) {
  if (parts.some((part) => part === "." || part === "..")) throw new Failure(404, { title: "No path can name this" });
  return parts.map(encodeURIComponent).join("/");
}

async function ask(path, { method = "GET", query = {}, body, headers = {}, signal = leaving.signal } = {}) {
  const url = new URL(path, api);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const init = { method, signal, cache: "no-store", redirect: "error", headers: { ...headers, Authorization: "Bearer " + key } };
  if (body) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Failure(0, { title: "The service does not answer" });
  }
  const date = Date.parse(answer.headers.get("Date"));
  if (date) ahead = date - Date.now();
  const document = await answer.json().catch(() => null); // 204 has none
  if (signal.aborted) throw signal.reason;
  if (answer.status === 401) forget("This key is not good: it may be misspelt or withdrawn.");
  if (!answer.ok) throw new Failure(answer.status, document);
  return { data: document, etag: answer.headers.get("ETag") };
}

// findRole tries what only some roles may, and has no effect for any.
async function findRole(signal) {
  const allowed = (request) => request.then(() => true, (failure) => {
    if (failure.status === 403) return false;
    if (failure.status === 404) return true;
    throw failure;
  });
  if (await allowed(ask("audit", { query: { limit: 1 }, signal }))) return "admin";
  const none = below("billing", "events", String(Number.MAX_SAFE_INTEGER), "replay");
  return (await allowed(ask(none, { method: "POST", query: { dry_run: "true" }, signal }))) ? "billing" : "read";
}

const may = (least) => ranks[role] >= ranks[least];

// ---- Listing and changing

// listing is a table of one page of a list of the API, with the way to the next.
function listing({ caption, path, query, keyOf, columns, none, every }) {
  const signal = leaving.signal;
  const line = h("p", { class: "line" }, "Loading…");
  const shown = table(caption, keyOf, columns);
  const first = button("First page", () => go(""));
  const next = button("Next page", () => go(following, page + 1));
  const turns = h("p", { class: "buttons" }, first, next);
  let cursor = "", following = "", page = 1, turn = 0, rows = 0;
  turns.hidden = true;
  function go(to, number = 1) {
    [cursor, page] = [to, number];
    return load();
  }
  async function load() {
    const mine = ++turn; // an answer that was overtaken is not shown
    try {
      const { data } = await ask(path, { query: { ...query, limit: pageSize, cursor }, signal });
      if (mine !== turn) return;
      following = data.next;
      shown.put(data.items);
      rows = data.items.length;
      const count = (following || page > 1 ? "page " + page + ": " : "") + data.items.length + " shown" + (following ? ", and there may be more" : "");
      line.replaceChildren(data.items.length ? count : page > 1 ? "Nothing more." : none, every ? h("span", null, " · as of ", clock.format(Date.now())) : "");
      turns.hidden = !following && page === 1;
      first.disabled = page === 1;
      next.disabled = !following;
    } catch (error) {
      if (signal.aborted || mine !== turn) return;
      line.replaceChildren(failure(error), rows ? "What is below is older." : "");
    }
  }
  if (every) {
    const timer = setInterval(() => document.hidden || load(), every);
    const back = () => document.hidden || load();
    document.addEventListener("visibilitychange", back);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", back);
    });
  }
  load();
  return { element: h("div", null, line, shown.element, turns), load };
}

function say(text) {
  $("message").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => ($("message").textContent = ""), 8000);
}

function confirmed(question, consequence, verb) {
  const dialog = $("confirm");
  $("question").textContent = question;
  $("consequence").textContent = consequence;
  $("yes").textContent = verb;
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
  });
}

// change asks back, does it, and says what came of it.
async function change({ question, consequence, verb, path, request, done, after }) {
  const signal = leaving.signal;
  if (!(await confirmed(question, consequence, verb)) || signal.aborted) return;
  say("One moment…");
  try {
    await ask(path, { ...request, signal });
    say(done);
  } catch (error) {
    if (signal.aborted) return say("You left before there was an answer: it may have been done.");
    const { detail, errors = [] } = error.problem ?? {};
    say("Not done. " + [error.message, detail, ...errors.map((e) => e.field + " " + e.problem)].filter(Boolean).map(plain).join(": "));
  }
  if (!signal.aborted) await after();
}

// ---- Views

// allowing are the reasons of an allow: an open session with another is about to end.
const allowing = ["public", "authenticated", "entitled", "grace", "preview", "publisher"];

function sessionsOf(query, every) {
  const columns = [
    { head: "Stream", cell: (s) => plain(s.stream) },
    { head: "User", cell: (s) => user(s.user) },
    { head: "State", cell: (s) => state(s.state), class: "short" },
    { head: "Reason", cell: (s) => (s.state === "open" && s.reason && !allowing.includes(s.reason) ? h("span", { class: "state bad" }, plain(s.reason)) : plain(s.reason)), class: "short" },
    { head: "Since", cell: (s) => time(s.opened), class: "short" },
    { head: "Until", cell: (s) => time(s.until), class: "short" },
    { head: "Address", cell: (s) => plain(s.address), class: "short" },
    { head: "Connector", cell: (s) => plain(s.connector), class: "narrow" },
    { head: "Node", cell: (s) => plain(s.node), class: "narrow" },
    { head: "Session", cell: (s) => h("span", { class: "id", title: plain(s.id) }, plain(s.id.slice(0, 8))), class: "short" },
  ];
  if (may("admin")) columns.splice(4, 0, { head: "End", cell: (s) => (s.state === "open" ? button("End", () => end(s), true) : ""), class: "short" });
  const sessions = listing({
    caption: "Sessions", path: "sessions", query, keyOf: (s) => JSON.stringify([s.node, s.id]), columns, none: "No session is like this.", every,
  });
  const end = (s) => change({
    question: "End the session of " + plain(s.user || s.address || "somebody") + " on " + plain(s.stream) + "?",
    consequence: "Its player may come back. To keep somebody out, take the right away or put up a hold.", verb: "End it",
    path: below("sessions", s.id), request: { method: "DELETE", query: { node: s.node } },
    done: "The node has been told. The session is gone when it is no longer listed as open.", after: sessions.load,
  });
  return sessions;
}

function now(query) {
  const { user = "", stream = "", node = "", state: which = "open" } = query;
  return [
    form("Which sessions", "Show", (f) => go("now", { ...f, state: f.state === "open" ? "" : f.state }),
      choice("State", "state", which, [["open", "open"], ["denied", "denied"], ["ended", "ended"], ["any", "any"]]),
      field("User", "user", user, { maxlength: 256 }), field("Stream, whole", "stream", stream, { maxlength: 1024 }), field("Node", "node", node, { maxlength: 256 })),
    sessionsOf({ user, stream, node, state: which === "any" ? "" : which }, refreshEvery).element,
  ];
}

const eventColumns = [
  { head: "Number", cell: (e) => link("billing", { number: String(e.number) }, String(e.number)), class: "short" },
  { head: "Received", cell: (e) => time(e.received), class: "short" },
  { head: "State", cell: (e) => state(e.state), class: "short" },
  { head: "Provider", cell: (e) => plain(e.provider), class: "short" },
  { head: "Type", cell: (e) => plain(e.type) },
  { head: "User", cell: (e) => user(e.user) },
  { head: "Why", cell: (e) => plain(e.reason), class: "wide" },
];
const eventsOf = (query, none) => listing({
  caption: "Billing events", path: "billing/events", query: { ...query, order: "latest" }, keyOf: (e) => e.number, columns: eventColumns, none,
}).element;

function userView({ id: who, prefix = "" }) {
  if (!who) {
    const users = listing({
      caption: "Users", path: "users", query: { prefix }, keyOf: (u) => u.id, none: prefix ? "No user's id begins like this." : "There are no users.",
      columns: [{ head: "User", cell: (u) => user(u.id) }, { head: "Status", cell: (u) => state(u.status), class: "short" }, { head: "Changed", cell: (u) => time(u.updated), class: "short" }],
    });
    return [finder(""), form("Users by beginning", "List", (f) => go("user", f), field("Ids that begin with", "prefix", prefix, { maxlength: 256 })), users.element];
  }
  const about = h("div", null, h("p", { class: "line" }, "Loading…"));
  userFacts(who, about);
  const payments = listing({
    caption: "Payments", path: "payments", query: { user: who }, keyOf: (p) => JSON.stringify([p.provider, p.id]), none: "No payment is known.",
    columns: [
      { head: "At", cell: (p) => time(p.at ?? p.recorded), class: "short" },
      { head: "Status", cell: (p) => state(p.status), class: "short" },
      { head: "Amount (smallest unit)", cell: (p) => plain(p.amount + " " + (p.currency ?? "")), class: "narrow" },
      { head: "Refunded", cell: (p) => (p.refunded ? String(p.refunded) : ""), class: "narrow" },
      { head: "For", cell: bought },
      { head: "Provider", cell: (p) => plain(p.provider), class: "short" },
      { head: "Payment", cell: (p) => id(p.id) },
      { head: "Why", cell: (p) => plain(p.reason), class: "wide" },
    ],
  }).element;
  return [
    finder(who), about, heading("Sessions"), sessionsOf({ user: who }).element, heading("Payments"), payments,
    heading("Billing events"), eventsOf({ user: who }, "No billing event turned out to be about this user."),
  ];
}

const finder = (who) => form("Look up a user", "Look up", (f) => go("user", f), field("User id", "id", who, { required: true, maxlength: 256 }));

const validity = ({ from, until }) => {
  const at = Date.now() + ahead;
  return Date.parse(from) > at ? "to come" : Date.parse(until) <= at ? "past its end" : "in force";
};

async function userFacts(who, place) {
  const signal = leaving.signal;
  const again = () => userFacts(who, place);
  let found;
  try {
    found = await ask(below("users", who), { signal });
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(failure(error));
    return;
  }
  const u = found.data;
  const name = plain(u.id);
  const to = u.status === "active" ? "suspended" : "active";
  const part = (caption, items, columns, none) => {
    const t = table(caption, (item) => item.id, columns.filter(Boolean));
    t.put(items);
    return [heading(caption), items.length ? t.element : h("p", { class: "line" }, none), items.length >= 1000 ? h("p", { class: "line" }, "These are the first 1000.") : ""];
  };
  // taking is the column with what takes one away.
  const taking = (head, kind, question, consequence, done) => may("billing") && {
    head, cell: (item) => button(head, () => change({
      question: question(item), consequence, verb: head, path: below("users", who, kind, item.id), request: { method: "DELETE" }, done, after: again,
    }), true), class: "short",
  };
  const status = () => change({
    question: to === "suspended" ? "Suspend " + name + "?" : "Make " + name + " active?",
    consequence: to === "suspended" ? "Live sessions end, and nothing may be watched until the user is active again." : "What the user has a right to may be watched again.",
    verb: to === "suspended" ? "Suspend" : "Activate", path: below("users", who),
    request: { method: "PUT", body: { status: to }, headers: { "If-Match": found.etag } }, done: name + " is " + to + ".", after: again,
  });
  const hold = (f) => change({
    question: "Put up a hold against " + name + "?", consequence: "Live sessions end, and nothing may be watched until it is lifted.", verb: "Put it up",
    path: below("users", who, "holds"), request: { method: "POST", body: f.ref ? f : { kind: f.kind } }, done: "The hold stands.", after: again,
  });
  place.replaceChildren(
    h("h2", null, name),
    facts([["Status", state(u.status)], ["Made", time(u.created)], ["Changed", time(u.updated)], ["Attributes", json(u.attributes)]]),
    may("billing") ? h("p", { class: "buttons" }, button(to === "suspended" ? "Suspend" : "Activate", status, to === "suspended")) : "",
    ...part("Holds", u.holds, [
      { head: "Kind", cell: (d) => h("span", { class: "state bad" }, plain(d.kind)) }, { head: "Reference", cell: (d) => plain(d.ref) },
      { head: "From", cell: (d) => time(d.from ?? d.created), class: "short" },
      taking("Lift", "holds", (d) => "Lift the hold " + plain(d.kind) + " of " + name + "?", "What the user has a right to may be watched again, unless something else is in the way.", "The hold is lifted."),
    ], "Nothing is held against this user."),
    may("billing") ? form("Put up a hold", "Put up a hold", hold, field("Kind", "kind", "admin", { required: true, maxlength: 256 }), field("Reference", "ref", "", { maxlength: 1024 })) : "",
    ...part("Entitlements", u.entitlements, [
      { head: "For", cell: bought }, { head: "State", cell: (e) => state(validity(e)), class: "short" }, { head: "From", cell: (e) => time(e.from), class: "short" },
      { head: "Until", cell: (e) => time(e.until) || "for good", class: "short" }, { head: "Grace from", cell: (e) => time(e.grace_from), class: "short" }, { head: "Source", cell: (e) => plain(e.source) },
      taking("Remove", "entitlements", (e) => "Remove the entitlement of " + name + " for " + bought(e) + "?", "It cannot be put back as it was, and live sessions that rest on it end.", "The entitlement is removed."),
      { head: "Id", cell: (e) => id(e.id), class: "short" },
    ], "No entitlements."),
    ...part("Credentials", u.credentials, [
      { head: "Kind", cell: (c) => (c.kind === "address" ? "bound address" : plain(c.kind)), class: "short" },
      { head: "State", cell: (c) => (c.revoked ? [state("revoked"), " ", time(c.revoked)] : state(validity(c))) },
      { head: "Streams", cell: (c) => list(c.streams, "all") }, { head: "Addresses", cell: (c) => list(c.addresses, "all") }, { head: "Publish", cell: (c) => (c.publish ? "yes" : "no"), class: "short" },
      { head: "From", cell: (c) => time(c.from), class: "short" }, { head: "Until", cell: (c) => time(c.until) || "for good", class: "short" }, { head: "Made", cell: (c) => time(c.created), class: "short" }, { head: "Id", cell: (c) => id(c.id), class: "short" },
    ], "No credentials."),
  );
}

function why({ stream = "", address = "", connector = "", node = "", publish = "" }) {
  const signal = leaving.signal;
  const result = h("div", { "aria-live": "polite" });
  const check = h("input", { type: "checkbox", id: "f-publish", name: "publish", value: "true" });
  check.checked = publish === "true";
  async function run({ token, url, at, publish, ...named }) {
    // The address of the page may be passed on: the token is not in it, and neither is the URL, where one may stand.
    history.replaceState(null, "", route("why", { ...named, publish }));
    const body = { ...named, token, url, publish: publish === "true", at: at && new Date(at).toISOString() };
    for (const name of Object.keys(body)) if (!body[name]) delete body[name];
    result.replaceChildren(h("p", { class: "line" }, "Loading…"));
    try {
      const { data: d } = await ask("explain", { method: "POST", body, signal });
      const rules = table("What each rule found", (f) => f.rule, [
        { head: "Rule", cell: (f) => plain(f.rule), class: "short" }, { head: "Outcome", cell: (f) => state(f.outcome), class: "short" }, { head: "Detail", cell: (f) => plain(f.detail), class: "wide" },
      ]);
      rules.put(d.findings);
      result.replaceChildren(h("h3", null, state(d.allow ? "allow" : "deny"), ": " + plain(d.reason)), facts([
        ["At", time(d.at)], ["Until", time(d.until)], ["User", user(d.user)], ["Plan", plain(d.plan)], ["Tags", list(d.tags, "")],
        ["Credential", d.credential ? id(d.credential) : ""], ["Stream", plain(d.stream)], ["Rendition", plain(d.rendition)],
      ]), rules.element);
    } catch (error) {
      if (!signal.aborted) result.replaceChildren(failure(error));
    }
  }
  if (stream) run({ stream, address, connector, node, publish });
  return [
    h("p", { class: "note" }, "How a request would be decided, rule by rule. Nothing follows from asking: no place is taken, no preview begun. Who asks is told by the token, or by an address that is bound to a user."),
    form("Explain a request", "Explain", run,
      field("Stream", "stream", stream, { required: true, maxlength: 1024, placeholder: "live+fight" }),
      field("Address", "address", address, { required: true, maxlength: 64, placeholder: "192.0.2.1" }),
      field("Token: a key or a JWT", "token", "", { type: "password", maxlength: 8192 }),
      field("Connector", "connector", connector, { maxlength: 256, placeholder: "HLS" }),
      field("URL of the request", "url", "", { maxlength: 16384 }), field("Node", "node", node, { maxlength: 256 }),
      field("At, your time", "at", "", { type: "datetime-local", step: 1 }),
      h("div", { class: "check" }, check, h("label", { for: "f-publish" }, "publish instead of watch"))),
    result,
  ];
}

const eventStates = ["received", "applied", "stale", "ignored", "unlinked", "failed", "dead"];

function billing({ number, state: which = "", provider = "", user = "" }) {
  if (number) return event(number);
  return [
    form("Which billing events", "Show", (f) => go("billing", f), choice("State", "state", which, [["", "any"], ...eventStates.map((s) => [s, s])]),
      field("Provider", "provider", provider, { maxlength: 128 }), field("User", "user", user, { maxlength: 256 })),
    eventsOf({ state: which, provider, user }, "No billing event is like this."),
  ];
}

function event(number) {
  const signal = leaving.signal;
  const place = h("div", null, h("p", { class: "line" }, "Loading…"));
  const path = ["billing", "events", number];
  const load = async () => {
    try {
      const { data: e } = await ask(below(...path), { signal });
      const effect = h("div", { "aria-live": "polite" });
      const dropped = may("admin") ? "It was dropped for its age." : "It is shown to the role admin only.";
      place.replaceChildren(
        h("h2", null, "Billing event " + e.number),
        facts([["State", state(e.state)], ["Why", plain(e.reason)], ["Provider", plain(e.provider)], ["Type", plain(e.type)], ["Id", id(e.id)], ["User", user(e.user)], ["Subject", plain(e.subject)],
          ["Happened", time(e.at)], ["Received", time(e.received)], ["Applied", time(e.applied)], ["Next try", time(e.next)], ["Failed tries", e.tries ? String(e.tries) : ""]]),
        may("billing") ? h("div", null, button("What would it change now?", () => dry(effect)), effect) : "",
        heading("Body"), e.body ? h("pre", { tabindex: "0", "aria-label": "Body" }, lines(pretty(decoded(e.body)))) : h("p", { class: "line" }, dropped));
    } catch (error) {
      if (!signal.aborted) place.replaceChildren(failure(error));
    }
  };
  const dry = async (effect) => {
    effect.replaceChildren(h("p", { class: "line" }, "Loading…"));
    try {
      const { data } = await ask(below(...path, "replay"), { method: "POST", query: { dry_run: "true" }, signal });
      effect.replaceChildren(h("div", { class: "panel" }, consequences(data.effect), h("p", { class: "buttons" }, button("Apply it again", replay, true))));
    } catch (error) {
      if (!signal.aborted) effect.replaceChildren(failure(error));
    }
  };
  const replay = () => change({
    question: "Apply billing event " + number + " again?", consequence: "What would change is shown behind this, as of a moment ago.", verb: "Apply it again",
    path: below(...path, "replay"), request: { method: "POST" }, done: "It is applied soon. Its state is shown as it stands now.", after: load,
  });
  load();
  return [h("p", null, h("a", { href: "#/billing" }, "All billing events")), place];
}

// consequences are what would follow from a billing event, a line each.
function consequences(e) {
  const right = (word) => (x) => [word, " the entitlement of ", user(x.user), " for " + bought(x) + ", from ", time(x.from) || "ever", " until ", time(x.until) || "for good", x.grace_from ? [", in grace from ", time(x.grace_from)] : ""];
  const hold = (word) => (x) => [word, " the hold " + plain(x.kind) + " against ", user(x.user)];
  const all = [
    ...e.entitlements_added.map(right("add")), ...e.entitlements_changed.map(right("change")), ...e.entitlements_removed.map(right("remove")),
    ...e.holds_added.map(hold("put up")), ...e.holds_removed.map(hold("lift")),
    ...e.payments.map((p) => ["payment " + plain(p.id) + ": " + plain([p.status, p.amount, p.currency, p.refunded ? "refunded " + p.refunded : "", p.reason].filter(Boolean).join(" "))]),
    ...e.statuses.map((s) => [user(s.user), " becomes " + plain(s.status)]),
  ];
  return [h("h3", null, "If it were applied now"), h("p", null, "It would be ", state(e.state), e.reason ? ": " + plain(e.reason) : ""),
    all.length ? h("ul", null, all.map((line) => h("li", null, line.flat()))) : h("p", { class: "line" }, "No fact would change.")];
}

function changes({ actor = "", subject = "" }) {
  if (!may("admin")) return [h("p", null, "Who changed what is shown to the role admin only; this key has " + role + ".")];
  return [
    form("Which changes", "Show", (f) => go("changes", f), field("Who", "actor", actor, { maxlength: 256 }), field("What or whom", "subject", subject, { maxlength: 1024 })),
    listing({
      caption: "Changes", path: "audit", query: { actor, subject }, keyOf: (e) => e.number, none: "No change is like this.",
      columns: [
        { head: "At", cell: (e) => time(e.at), class: "short" }, { head: "Who", cell: (e) => plain(e.actor) }, { head: "Did", cell: (e) => plain(e.action) },
        { head: "What or whom", cell: (e) => plain(e.subject) }, { head: "Exactly", cell: (e) => json(e.detail), class: "wide" },
      ],
    }).element,
  ];
}

// ---- The way to a view

const views = { now: ["Now", now], user: ["User", userView], why: ["Why", why], billing: ["Billing", billing], changes: ["Changes", changes] };

function go(view, query) {
  const to = route(view, query);
  if (location.hash === to) show();
  else location.hash = to;
}

function show() {
  leaving.abort();
  leaving = new AbortController();
  if ($("confirm").open) $("confirm").close("");
  if (!role) return;
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const name = Object.hasOwn(views, path) ? path : "now";
  const [title, view] = views[name];
  document.title = title + " · authhook";
  for (const a of $("views").children) {
    if (a.hash === "#/" + name) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const head = h("h2", { tabindex: "-1" }, title);
  $("view").replaceChildren(head, ...view(Object.fromEntries(new URLSearchParams(query))));
  if (show.again) head.focus({ preventScroll: true });
  show.again = true;
}

function forget(because = "") {
  sessionStorage.removeItem(stored);
  key = role = "";
  show();
  $("view").replaceChildren();
  $("message").textContent = "";
  $("views").hidden = $("who").hidden = true;
  $("door").hidden = false;
  $("refused").textContent = because;
  $("key").focus();
}

async function enter() {
  const signal = leaving.signal;
  try {
    role = await findRole(signal);
  } catch (error) {
    if (signal.aborted) return; // the key was refused, and that has been said
    return forget([error.message, error.problem?.detail].filter(Boolean).map(plain).join(": "));
  }
  sessionStorage.setItem(stored, key);
  $("door").hidden = true;
  $("views").hidden = $("who").hidden = false;
  $("role").textContent = "role " + role;
  $("key").value = $("refused").textContent = "";
  show();
}

$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  if (/^[\x21-\x7e]+$/.test(key)) enter();
  else forget("This is no key: keys are of letters, digits and signs, without spaces.");
});
$("forget").addEventListener("click", () => forget());
$("no").addEventListener("click", () => $("confirm").close(""));
$("yes").addEventListener("click", () => $("confirm").close("yes"));
window.addEventListener("hashchange", show);
if (key) enter();
else forget();
