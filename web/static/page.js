// The page: one stream of server-sent events, six views, and no state that a reload would lose.
import { h, id, setText, table, facts } from "./dom.js";
import { bytes, clock, compact, count, gap, instant, micros, rate, seconds } from "./format.js";
import { graph } from "./graph.js";
import { charts } from "./charts.js";
import { actions } from "./actions.js";
import { explanation } from "./explain.js";

const views = ["overview", "rows", "partitions", "dead-letters", "users", "configuration"];
const picture = graph(id("graph"));
const plots = charts(id("charts"));
const acting = actions((when) => plots.mark(when), () => loadLetters());
let greeting = { actions: [] };
let kept = {}; // the state of each kind of event that has one
let now = null;
let verdict = null;
let view = "overview";

// The stream. A browser connects again by itself, but not after an answer that is no stream, and
// not if a connection goes silent.
let source = null;
let heard = 0;
let tries = 0;
let retry = 0;
function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("api/events");
  heard = Date.now();
  const on = (kind, take) => source.addEventListener(kind, (event) => {
    heard = Date.now();
    tries = 0;
    take(JSON.parse(event.data));
  });
  on("hello", takeHello);
  on("history", plots.extend);
  on("action", acting.take);
  const keep = (kind, take) => on(kind, (change) => take(kept[kind] = merge(kept[kind], change)));
  keep("now", takeNow);
  keep("rows", (rows) => takeRows(rows.order.map((name) => rows.rows[name]).filter(Boolean)));
  keep("aside", takeAside);
  keep("verify", (v) => { verdict = v; showVerdict(); });
  source.onerror = () => {
    linked(false);
    if (source.readyState === EventSource.CLOSED) later();
  };
}
// merge applies a JSON merge patch: null removes a member. Names are foreign, so the objects have
// no prototype.
function merge(target, change) {
  target ??= Object.create(null);
  for (const [name, value] of Object.entries(change)) {
    if (value === null) delete target[name];
    else if (typeof value !== "object" || Array.isArray(value)) target[name] = value;
    else target[name] = merge(typeof target[name] === "object" && !Array.isArray(target[name]) ? target[name] : undefined, value);
  }
  return target;
}
function later() {
  clearTimeout(retry);
  retry = setTimeout(connect, Math.min(500 * 2 ** tries++, 5000));
}
setInterval(() => {
  if (Date.now() - heard > 6000) {
    linked(false);
    heard = Date.now();
    connect();
  }
}, 1000);
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });

function linked(is) {
  const link = id("link");
  link.dataset.on = is ? "yes" : "no";
  setText(link, is ? "live" : "connecting again");
  if (!is) {
    id("standing").dataset.state = "gone";
    id("verify").dataset.is = "waiting";
    setText(id("sentence"), "firstclick does not answer this page.");
    showTitle();
    id("detail").hidden = true;
  }
}

function takeHello(hello) {
  greeting = hello;
  kept = {};
  linked(true);
  setText(id("group"), hello.demo ? `${hello.group}, demo` : hello.group);
  setText(id("version"), `firstclick ${hello.version}`);
  id("search").closest("section").hidden = !hello.explain;
  id("verify").hidden = !hello.verify;
  table(id("settings"), [["Setting", "name"], ["Value", "wrap"], ["", "name"]],
    hello.settings.map((one) => [h("code", null, one.name), one.value === "" ? "–" : one.value, one.given ? h("span", { class: "badge info" }, "given") : "default"]), "nothing is known");
  acting.begin(hello);
  plots.begin();
}

function takeNow(next) {
  now = next;
  linked(true);
  id("standing").dataset.state = now.standing.state;
  setText(id("sentence"), now.standing.text);
  showTitle();
  id("detail").hidden = !now.standing.detail;
  setText(id("detail"), now.standing.detail ?? "");
  showVerdict();
  plots.add(now.sample);
  acting.recovered(now, verdict);
  showGlance();
  if (document.hidden) return;
  if (view === "overview") showOverview();
  if (view === "partitions") showPartitions();
  if (view === "users") showUsers();
}

// The title of the tab shows when something is wrong.
const marks = { ok: "", starting: "… ", behind: "▲ ", stuck: "✕ ", gone: "✕ " };
function showTitle() {
  const title = `${marks[id("standing").dataset.state] ?? ""}${view === "overview" ? "firstclick" : `${view.replace("-", " ")} · firstclick`}`;
  if (document.title !== title) document.title = title;
}

// The figures at the top. Rates are means of five seconds: those of one second would flicker.
const lately = [];
function showGlance() {
  const one = now.sample;
  if (lately.at(-1)?.t !== one.t[0]) lately.push({ t: one.t[0], rows: one.rows[0], events: one.clicks[0] + one.checkouts[0] });
  while (lately.length > 5) lately.shift();
  const mean = (name) => lately.reduce((sum, x) => sum + x[name], 0) / lately.length;
  const tiles = [["Events in", rate(Math.round(mean("events")))], ["Rows out", rate(Math.round(mean("rows")))],
    ["Waiting", compact(one.backlog[0])], ["Behind", one.behind[0] >= 2.5 ? seconds(one.behind[0]) : "0 s"]];
  const list = id("glance");
  if (list.children.length !== tiles.length) list.replaceChildren(...facts(tiles));
  else tiles.forEach(([, value], i) => setText(list.children[i].lastChild, value));
}

function showOverview() {
  picture.update(now);
  const t = now.totals;
  const share = t.rows ? `${(Math.floor((1000 * t.attributed) / t.rows) / 10).toFixed(1)} %` : "–"; // 100 % only if it is all of them
  const tiles = [["Running for", seconds(now.uptime_s)], ["Rows", count(t.rows)], ["With a click", share], ["Corrected", count(t.corrected)], ["Duplicates", count(t.duplicates)],
    ["Dead letters", count(t.dead_letters)], ["Too late", count(Math.max(0, t.late - t.far))], ["Far ahead", count(t.far)], ["Unknown users", count(t.unknown)], ["Transactions", count(t.transactions)], ["Watermark", micros(now.watermark) ?? "–"]];
  const list = id("totals");
  if (list.children.length !== tiles.length) list.replaceChildren(...facts(tiles));
  else tiles.forEach(([, value], i) => setText(list.children[i].lastChild, value));
}

// parts returns the lines of a table of partitions. The server sends those with the greatest lag.
function parts(list, all, line) {
  const lines = Object.values(list).sort((a, b) => a.partition - b.partition).map(line);
  if (lines.length < all) lines.push([`and ${count(all - lines.length)} more with less lag`]);
  return lines;
}

function showPartitions() {
  table(id("checkouts"), [["Partition", "name"], ["Lag", "n"], ["Behind", "n"], ["Committed", "n"], ["End", "n"], ["Queued", "n"], ["Not final", "n"], ["Final before", "time"], ["", "name"]],
    parts(now.checkouts, now.held.shards, (p) => [String(p.partition), count(p.lag), p.behind_s > 2.5 ? seconds(p.behind_s) : "0 s", count(p.committed), count(p.end), count(p.queued), count(p.recents), micros(p.final_before),
      p.paused ? h("span", { class: "badge warn" }, "paused") : p.restoring ? h("span", { class: "badge info" }, "restoring") : h("span", { class: "badge good" }, "reading")]),
    "This instance has no shard: others do.");
  table(id("clicks"), [["Partition", "name"], ["Lag", "n"], ["Next", "n"], ["End", "n"], ["Newest click", "time"], ["", "name"]],
    parts(now.clicks, now.held.clicks, (p) => [String(p.partition), count(p.lag), count(p.next), count(p.end), micros(p.max_time), p.paused ? h("span", { class: "badge warn" }, "paused") : h("span", { class: "badge good" }, "reading")]), "No partition is known yet.");
}

function showUsers() {
  const u = now.users;
  const asked = u.hits + u.misses;
  id("users").replaceChildren(...facts([
    ["Stream", u.connected ? h("span", { class: "badge good" }, "connected") : h("span", { class: "badge bad" }, "down: names are read through")],
    ["Names held", `${count(u.entries)} of ${count(u.capacity)}`], ["Answered from the cache", asked ? `${((100 * u.hits) / asked).toFixed(2)} % of ${count(asked)}` : "nothing asked yet"],
    ["Read-through queries", count(u.queries)], ["Evictions", count(u.evictions)], ["Changes streamed", count(u.changes)], ["Behind the server", bytes(u.lag_bytes)],
    ["Last message", micros(u.last_message) ?? "none yet"], ["Snapshots", count(u.snapshots)], ["Streams lost", count(u.reconnects)], ["Names not cached for safety", count(u.refused_fills)],
    ...(u.last_error ? [["Why the last stream ended", u.last_error]] : []),
  ]));
}

const rowColumns = [["checkout_id", "id full"], ["user_name", "name"], ["total_amount", "n"], ["bought", "time"], ["first click", "time"], ["before", "n"], ["click_id", "id full"]];
let shown = new Set();
let latest = [];
const touched = new Map(); // by table: until when it does not move after a touch
const hovers = matchMedia("(hover: hover)");
// A table under the pointer does not move: its rows could not be clicked.
const held = (element) => (hovers.matches && element.matches(":hover")) || element.contains(document.activeElement) || (touched.get(element) ?? 0) > Date.now();
for (const name of ["latest", "rows"]) id(name).addEventListener("pointerdown", () => touched.set(id(name), Date.now() + 3000));

function takeRows(rows) {
  const fresh = new Set(rows.map((r) => r.checkout_id));
  const some = rows.some((r) => shown.has(r.checkout_id)); // if all are new, a colour says nothing
  const lines = rows.map((r) => {
    const between = r.click_time && r.checkout_time ? gap(Date.parse(r.checkout_time) - Date.parse(r.click_time)) : null;
    const cells = [h("a", { href: `#rows/${encodeURIComponent(r.checkout_id)}` }, r.checkout_id), h("span", { class: r.user_name === undefined ? "none" : "clip", title: r.user_name }, r.user_name ?? "not known yet"), r.total_amount, instant(r.checkout_time),
      instant(r.click_time), between, r.click_id ?? h("span", { class: "none" }, "no click in the window")];
    if (some && !shown.has(r.checkout_id)) cells.mark = "fresh";
    return cells;
  });
  latest = rows;
  const fill = (name, most) => {
    const element = id(name);
    const still = element.children.length > 0 && held(element);
    setText(id(`${name}-note`), still ? "paused while you are here" : "");
    if (!still) table(element, rowColumns, lines.slice(0, most), "No row yet.");
  };
  if (view === "overview") fill("latest", 6);
  if (view === "rows") fill("rows", rows.length);
  shown = fresh;
}

function takeAside(a) {
  if (a.error) {
    setText(id("reasons"), `not known: ${a.error}`);
    return;
  }
  const mine = greeting.instance;
  table(id("instances"), [["Instance", "full"], ["Host", "full"], ["Process", "n"], ["Version", "full"], ["Shards", "wrap full"], ["Address", "full"], ["Started", "time"], ["Last heard of", "n"]],
    Object.values(a.instances).sort((x, y) => (x.instance < y.instance ? -1 : 1)).map((i) => [i.instance === mine ? `${i.instance} (this one)` : i.instance, i.host, String(i.pid), i.version, i.has ? i.shards.join(", ") + (i.has > i.shards.length ? ` and ${count(i.has - i.shards.length)} more` : "") : "none, standing by", i.listen, instant(i.started_at),
      i.silent_s > 20 ? h("span", { class: "badge bad" }, `${seconds(i.silent_s)} ago`) : `${seconds(Math.max(i.silent_s, 0))} ago`]), "No instance is registered yet.");
  const reasons = Object.entries(a.dead_letters ?? {}).sort((x, y) => y[1] - x[1]);
  const sum = reasons.reduce((n, [, c]) => n + c, 0);
  const badge = id("letters-count");
  badge.hidden = sum === 0;
  setText(badge, sum >= 10_000 ? "10,000+" : count(sum));
  setText(id("reasons"), reasons.length ? reasons.map(([reason, n]) => `${reason} ${count(n)}`).join(", ") : "none");
  if (sum !== letters.sum && view === "dead-letters" && !letters.older) loadLetters();
  letters.sum = sum;
}

function showVerdict() {
  if (!verdict) return;
  const line = id("verify");
  line.title = verdict.error ?? "";
  const age = now && verdict.known ? Math.max(0, (now.at - Date.parse(verdict.at)) / 1000) : 0;
  if (verdict.known && !(verdict.error && verdict.ok)) {
    line.dataset.is = verdict.ok ? "ok" : "bad";
    setText(id("verify-text"), `${verdict.text}, ${age < 2 ? "just now" : `${seconds(age)} ago`} in ${seconds(verdict.took_s)}${verdict.running ? "; checking again" : ""}`);
  } else if (verdict.known) {
    line.dataset.is = "ok";
    setText(id("verify-text"), `${verdict.text}, ${seconds(age)} ago; cannot verify right now, trying again`);
  } else {
    line.dataset.is = "waiting";
    setText(id("verify-text"), verdict.error ? "Cannot verify right now, trying again" : "Verifying every row against Kafka");
  }
}

// ours marks a request of this page. Another site's page cannot set the header.
const ours = { headers: { "X-Firstclick": "page" } };

// Explain.
let asked = 0;
async function explain(checkout) {
  const panel = id("explanation");
  const body = id("explanation-body");
  panel.hidden = false;
  id("checkout").value = checkout;
  body.replaceChildren(h("p", { class: "hint" }, "Reading Kafka …"));
  const mine = ++asked;
  let content;
  try {
    const answer = await fetch(`api/explain?id=${encodeURIComponent(checkout)}`, ours);
    const found = await answer.json();
    content = answer.ok ? explanation(found) : [h("p", { class: "error" }, found.error)];
  } catch (error) {
    content = [h("p", { class: "error" }, `No answer: ${error.message}`)];
  }
  if (mine !== asked) return;
  body.replaceChildren(...content);
  id("explanation-title").focus({ preventScroll: true });
}
id("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const checkout = id("checkout").value.trim();
  if (!checkout) return;
  const to = `#rows/${encodeURIComponent(checkout)}`;
  if (location.hash === to) explain(checkout);
  else location.hash = to;
});

// Dead letters. A payload is foreign text: it becomes a text node.
const letters = { list: [], older: false, sum: -1 };
async function loadLetters(before) {
  try {
    const answer = await fetch(`api/dead-letters${before ? `?before=${before}` : ""}`, ours);
    const list = await answer.json();
    if (!answer.ok) throw new Error(list.error);
    letters.older = Boolean(before);
    letters.list = before ? letters.list.concat(list) : list;
    id("more").hidden = list.length < 50;
    table(id("letters"), [["Letter", "name"], ["Reason", "name"], ["Status", "name"], ["Since", "time"], ["Place", "id full"], ["Size", "n"], ["Detail", "wrap full"]],
      letters.list.map((l) => [h("a", { href: `#dead-letters/${l.id}` }, String(l.id)), h("strong", null, l.reason),
        h("span", { class: `badge ${l.status === "open" ? "warn" : "good"}` }, l.status), instant(l.created_at), `${l.topic}[${l.partition}] @ ${l.offset}`, bytes(l.size), l.detail]), "None: every record became a row.");
  } catch (error) {
    id("letters").replaceChildren(h("tbody", null, h("tr", null, h("td", { class: "error" }, error.message))));
  }
}
id("more").addEventListener("click", () => loadLetters(letters.list.at(-1)?.id));

async function openLetter(number) {
  const body = id("letter-body");
  id("letter").hidden = false;
  try {
    const answer = await fetch(`api/dead-letters/${encodeURIComponent(number)}`, ours);
    const l = await answer.json();
    if (!answer.ok) throw new Error(l.error);
    setText(id("letter-title"), `Dead letter ${l.id}`);
    const buttons = l.status === "open" ? acting.buttons(greeting.actions, l.id) : [];
    body.replaceChildren(
      h("dl", { class: "facts" }, facts([["Reason", l.reason], ["Place", `${l.topic}[${l.partition}] @ ${l.offset}`], ["Size", bytes(l.size)], ["Record time", instant(l.record_time) ?? "none"], ["Status", l.status], ["Detail", l.detail || "–"], ["SHA-256", l.sha256 ? h("code", null, l.sha256) : "–"]])),
      h("h3", null, "Payload"),
      l.payload === "" ? h("p", { class: "hint" }, l.kept ? "The record has no value." : "Larger than 1 MiB: only its hash, size and place are kept.") : h("pre", { id: "payload", tabindex: 0, "aria-label": "Payload" }, l.payload),
      l.cut ? h("p", { class: "hint" }, "Only the first 64 KiB are shown.") : "",
      h("div", { class: "buttons" }, buttons),
      h("p", { id: "letter-result", role: "status" }));
  } catch (error) {
    body.replaceChildren(h("p", { class: "error" }, error.message));
  }
  id("letter-title").focus({ preventScroll: true });
}

// Views, by the hash of the address.
function route() {
  const [name, rest] = location.hash.slice(1).split("/", 2);
  if (name === "content") return;
  view = views.includes(name) ? name : "overview";
  for (const one of views) id(`view-${one}`).hidden = one !== view;
  for (const link of id("views").children) {
    if (link.hash === `#${view}`) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  showTitle();
  plots.show(view === "overview");
  if (now) takeNow(now);
  if (view === "overview" || view === "rows") takeRows(latest);
  id("explanation").hidden = !(view === "rows" && rest);
  id("letter").hidden = !(view === "dead-letters" && rest);
  if (view === "rows" && rest) explain(decodeURIComponent(rest));
  if (view === "dead-letters") {
    loadLetters();
    if (rest) openLetter(rest);
  }
  scrollTo(0, 0);
}
addEventListener("hashchange", route);

id("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* for this time only */ }
  plots.redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.redraw());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  id("content").focus();
});

route();
connect();
