// The pipeline as a graph: six parts, and five edges with rate, lag and pressure.
import { s, setText } from "./dom.js";
import { bytes, compact, count, rate } from "./format.js";

const titles = { clicks: "Clicks", checkouts: "Checkouts", users: "Users", window: "Window", join: "Join", postgres: "Postgres" };

// An edge has a path, the middle of its texts, and how far the lag is below the rate: in the wide
// layout the line runs between them.
const wide = {
  box: [1090, 310], size: [184, 78], below: 42, meter: 50,
  nodes: { clicks: [6, 8], checkouts: [6, 115], users: [6, 222], window: [304, 8], join: [566, 115], postgres: [900, 115] },
  edges: {
    clicks: ["M190 47H304", 246, 35], window: ["M488 47H610Q658 47 658 95V115", 566, 35], checkouts: ["M190 154H566", 378, 142],
    users: ["M190 261H610Q658 261 658 213V193", 378, 249], postgres: ["M750 154H900", 824, 142],
  },
};
const narrow = {
  box: [360, 468], size: [112, 68], below: 15, meter: 21,
  nodes: { clicks: [2, 4], checkouts: [124, 4], users: [246, 4], window: [2, 148], join: [124, 264], postgres: [124, 396] },
  edges: {
    clicks: ["M58 72V148", 92, 104], window: ["M58 216V278Q58 298 78 298H124", 62, 330], checkouts: ["M180 72V264", 214, 158],
    users: ["M302 72V278Q302 298 282 298H236", 302, 330], postgres: ["M180 332V396", 244, 356],
  },
};
const said = {
  clicks: "clicks into the window", window: "the window into the join", checkouts: "checkouts into the join", users: "names into the join", postgres: "rows into Postgres",
};
const meterWidth = 60;

const arrow = (kind) => s("marker", { id: `arrow-${kind}`, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 10, markerHeight: 10, markerUnits: "userSpaceOnUse", orient: "auto" },
  s("path", { d: "M0 0.5L10 5L0 9.5z", class: `head ${kind}` }));

export function graph(container) {
  const media = matchMedia("(max-width: 720px)");
  let parts;
  let last;

  function build() {
    const layout = media.matches ? narrow : wide;
    const [width, height] = layout.box;
    const [w, tall] = layout.size;
    parts = { nodes: {}, edges: {} };
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: media.matches ? "graph narrow" : "graph", role: "group", "aria-labelledby": "graph-title" },
      s("defs", null, ["still", "flowing", "tight", "held"].map(arrow)));
    for (const [name, [path, x, y]] of Object.entries(layout.edges)) {
      const track = s("path", { d: path, class: "track" });
      const flow = s("path", { d: path, class: "flow" });
      const main = s("text", { x, y, class: "edge-rate" }, "");
      const sub = s("text", { x, y: y + layout.below - (media.matches ? 0 : 10), class: "edge-lag" }, "");
      const title = s("title", null, said[name]);
      const group = s("g", { class: "edge", "data-edge": name }, title, track, flow, main, sub);
      let meter = null;
      if (name !== "window") { // nothing waits before the window
        const at = { x: x - meterWidth / 2, y: y + layout.meter - (media.matches ? 0 : 10), height: 4, rx: 2 };
        meter = s("rect", { ...at, width: 0, class: "meter-is" });
        group.append(s("rect", { ...at, width: meterWidth, class: "meter-of" }), meter);
      }
      svg.append(group);
      parts.edges[name] = { group, track, flow, main, sub, title, meter };
    }
    for (const [name, [x, y]] of Object.entries(layout.nodes)) {
      const one = s("text", { x: x + 13, y: y + (media.matches ? 42 : 48), class: "node-one" }, "");
      const two = s("text", { x: x + 13, y: y + (media.matches ? 57 : 66), class: "node-two" }, "");
      const group = s("g", { class: `node ${name}`, "data-node": name },
        s("rect", { x, y, width: w, height: tall, rx: 11 }), s("text", { x: x + 13, y: y + 25, class: "node-title" }, titles[name]),
        s("circle", { cx: x + w - 15, cy: y + 16, r: media.matches ? 4 : 5, class: "node-lamp" }), one, two);
      svg.append(group);
      parts.nodes[name] = { group, one, two };
    }
    container.replaceChildren(svg);
    if (last) update(last);
  }

  function node(name, one, two) {
    const part = parts.nodes[name];
    const trouble = last.trouble?.[name];
    part.group.setAttribute("class", `node ${name}${trouble ? " trouble" : ""}`);
    setText(part.one, one);
    setText(part.two, trouble ?? two);
  }

  function update(now) {
    last = now;
    const small = media.matches;
    node("clicks", `${compact(now.totals.clicks)} read`, `${compact(now.held.clicks)} partitions`);
    node("checkouts", `${compact(now.totals.checkouts)} read`, now.held.shards === 1 ? "1 shard here" : `${compact(now.held.shards)} shards here`);
    node("users", `${compact(now.users.entries)} names`, now.users.connected ? "streaming" : "no stream");
    node("window", `${compact(now.window.clicks)} clicks`, bytes(now.window.bytes));
    const { queued, recents } = now.held;
    node("join", `${compact(queued)} queued`, small ? `${compact(recents)} open` : `${compact(recents)} not final yet`);
    node("postgres", `${compact(now.totals.rows)} rows`, `${Math.round(now.sample.committing[0])} % busy`);
    for (const [name, part] of Object.entries(parts.edges)) {
      const edge = now.edges[name];
      const held = edge.pressure >= 0.9 ? "held" : edge.pressure >= 0.5 ? "tight" : "free";
      part.group.setAttribute("class", `edge ${held}${edge.rate > 0 ? " flowing" : ""}`);
      part.track.setAttribute("marker-end", `url(#arrow-${held !== "free" ? held : edge.rate > 0 ? "flowing" : "still"})`);
      // The content security policy allows the style object: it is no inline style of the markup.
      part.flow.style.strokeWidth = String(Math.min(3 + 0.7 * Math.log10(1 + edge.rate), 6));
      part.flow.style.animationDuration = `${Math.max(0.3, 2.4 - 0.5 * Math.log10(1 + edge.rate)).toFixed(2)}s`;
      part.meter?.setAttribute("width", String(Math.round(Math.min(edge.pressure, 1) * meterWidth)));
      setText(part.main, rate(edge.rate));
      let below = "";
      if (name === "users") below = edge.pressure >= 0.05 ? `${Math.round(edge.pressure * 100)} % waited for` : "no wait";
      else if (name !== "window") below = edge.lag > 0 ? `lag ${compact(edge.lag)}` : "no lag";
      if (held !== "free") below = [below, held === "held" ? "held back" : "under pressure"].filter(Boolean).join(", ");
      setText(part.sub, below);
      setText(part.title, `${said[name]}: ${rate(edge.rate)}, ${count(edge.lag)} records wait, back pressure ${Math.round(edge.pressure * 100)} %`);
    }
  }

  media.addEventListener("change", build);
  build();
  return { update };
}
