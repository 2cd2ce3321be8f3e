// The buttons of actions, and the list of the last ones: done, up to date again, and verified
// since.
import { h, id, setText } from "./dom.js";
import { clock, count, seconds } from "./format.js";

const most = 6;

// actions wires the buttons. It calls marked with the times of the actions, in seconds since the
// epoch, and lettered after an action on a dead letter.
export function actions(marked, lettered) {
  let token = "";
  let titles = new Map();
  let done = []; // the newest first

  async function act(name, letter) {
    let why;
    try {
      const answer = await fetch(`api/actions/${name}`, {
        method: "POST", headers: { "Content-Type": "application/json", "X-Firstclick-Token": token }, body: JSON.stringify(letter ? { id: letter } : {}),
      });
      if (!answer.ok) why = (await answer.json()).error;
    } catch (error) {
      why = error.message;
    }
    if (why) take({ name, title: titles.get(name) ?? name, id: letter, state: "failed", text: why, began: Date.now(), at: Date.now() });
  }

  function busy(a) {
    const button = document.querySelector(`[data-action="${CSS.escape(a.name)}"]`);
    if (!button) return;
    if (a.state === "running") button.setAttribute("aria-busy", "true");
    else button.removeAttribute("aria-busy");
    button.disabled = a.state === "running";
  }

  const textOf = (a) => (a.state === "running" ? `${a.title} …` : a.state === "failed" ? `${a.title}: ${a.text}` : a.text);
  const same = (a, b) => a.name === b.name && a.began === b.began;

  // draw replaces one line only: a screen reader reads what changed.
  function draw(a) {
    const line = h("li", { "data-state": a.state }, h("time", null, clock(a.began).slice(0, 8)), h("span", { class: a.state }, textOf(a)),
      a.state === "done" ? h("span", { class: `badge ${a.whole ? "good" : "info"}` }, a.whole ?? "recovering …") : null,
      a.state === "done" ? h("span", { class: `badge ${a.verified ? "good" : "info"}` }, a.verified ?? "verifying …") : null);
    if (a.line?.isConnected) a.line.replaceWith(line);
    else id("acted").prepend(line);
    a.line = line;
  }

  function mark() {
    for (const a of done.splice(most)) a.line?.remove();
    id("charts-note").hidden = done.length === 0;
    marked(done.map((a) => a.began / 1000));
  }

  function take(a) {
    busy(a);
    if (a.id) {
      const result = id("letter-result");
      if (result) setText(result, textOf(a));
      if (a.state !== "running") lettered();
      return;
    }
    const one = done.find((b) => same(a, b));
    if (one) Object.assign(one, a);
    else done.unshift({ ...a });
    draw(one ?? done[0]);
    mark();
  }

  return {
    take,
    // begin takes the actions and the past of a new stream.
    begin(hello) {
      token = hello.token ?? "";
      titles = new Map(hello.actions.map((a) => [a.name, a.title]));
      const mine = hello.actions.filter((a) => !a.letter);
      id("break").hidden = mine.length === 0;
      id("actions").replaceChildren(...mine.map((a) => h("button", { type: "button", class: "harm card", "data-action": a.name, onclick: () => act(a.name) },
        h("span", { class: "what" }, a.title), h("span", { class: "about" }, a.about))));
      const known = done;
      done = [];
      id("acted").replaceChildren();
      for (const a of hello.acted ?? []) {
        if (a.id) continue;
        done.unshift({ old: true, ...known.find((b) => same(a, b)), ...a, line: null });
        draw(done[0]);
        busy(a);
      }
      mark();
    },
    // recovered marks the actions after which all is well again.
    recovered(now, verdict) {
      for (const a of done) {
        if (a.state !== "done") continue;
        let changed = false;
        if (!a.whole && now.at > a.at && now.standing.state === "ok") {
          const after = (now.at - a.at) / 1000;
          a.whole = a.old || after < 2.5 ? "up to date" : `up to date after ${seconds(after)}`;
          changed = true;
        }
        if (!a.verified && verdict?.known && verdict.ok && Date.parse(verdict.at) - 1000 * verdict.took_s > a.at) {
          a.verified = `verified: ${count(verdict.rows)} rows`;
          changed = true;
        }
        if (changed) draw(a);
      }
    },
    // buttons returns the buttons for one dead letter.
    buttons: (list, letter) => list.filter((a) => a.letter).map((a) => h("button", { type: "button", class: "harm", title: a.about, onclick: () => act(a.name, letter) }, a.title)),
  };
}
