// The actor tree as a table, and one actor in detail.

import { byId, make, setAttribute, setText, sync } from "./dom.js";
import { ago, clock, count, duration, milliseconds, rate } from "./format.js";

/** State words of supervision, and how they look. */
const TONES = {
  running: "good",
  starting: "warning",
  stopping: "warning",
  backoff: "warning",
  down: "error",
  "breaker open": "error",
  parked: "quiet",
  idle: "quiet",
  done: "quiet",
};
const WORDS = { backoff: "restarting" };
const BREAKERS = { open: "error", "half-open": "warning" };

/** Columns: title, what to sort by, whether numeric, and whether a phone can do without. */
const COLUMNS = [
  { id: "path", title: "Actor", by: (actor) => actor.path },
  { id: "state", title: "State", by: (actor) => `${TONES[actor.state] ?? ""}${actor.state}` },
  { id: "depth", title: "Queue", by: (actor) => actor.depth, number: true },
  { id: "high", title: "Peak", by: (actor) => actor.high_water, number: true, minor: true },
  { id: "rate", title: "Messages/s", by: (actor) => actor.rate, number: true },
  { id: "p99", title: "p99 ms", by: (actor) => actor.p99_ms ?? -1, number: true, minor: true },
  { id: "busy", title: "Busy", by: (actor) => actor.busy, number: true, minor: true },
  { id: "restarts", title: "Restarts", by: (actor) => actor.restarts, number: true },
  { id: "breaker", title: "Breaker", by: (actor) => actor.breaker ?? "", minor: true },
  { id: "failure", title: "Last failure", by: (actor) => actor.last_failure?.at_ns ?? 0, minor: true },
];

export class Actors {
  constructor() {
    this.sorting = { id: "tree", down: false };
    this.chosen = null;
    this.actors = [];
    this.before = new Map();
    this.whole = null; // the chosen actor with its traceback, and of which failure
    this.head();
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.chosen !== null && !byId("help").open) this.choose(null, true);
    });
  }

  head() {
    const row = byId("actors").tHead.rows[0];
    for (const column of COLUMNS) {
      const button = make("button", { type: "button", on: { click: () => this.sort(column.id) } }, column.title);
      const names = [column.number ? "n" : "", column.minor ? "minor" : ""].join(" ").trim();
      row.append(make("th", { scope: "col", class: names || null, "data-column": column.id }, button));
    }
  }

  /** Sort by a column; once more the other way round; a third time as the tree stands. */
  sort(id) {
    const numeric = COLUMNS.find((column) => column.id === id).number ?? false;
    const first = id === "failure" ? true : numeric;
    if (this.sorting.id !== id) this.sorting = { id, down: first };
    else if (this.sorting.down === first) this.sorting = { id, down: !first };
    else this.sorting = { id: "tree", down: false };
    for (const cell of byId("actors").tHead.rows[0].cells) {
      const sorted = cell.dataset.column === this.sorting.id;
      setAttribute(cell, "aria-sort", sorted ? (this.sorting.down ? "descending" : "ascending") : null);
    }
    this.draw();
  }

  /** Forget everything: another session. */
  clear() {
    this.before.clear();
    this.whole = null;
    this.choose(null);
  }

  /** Take in the tree as of `now` (ns). */
  take(tree, now) {
    const flat = [];
    const walk = (actor, level) => {
      const known = this.before.get(actor.path);
      const seconds = known === undefined ? 0 : (now - known.now) / 1e9;
      actor.busy = seconds > 0 ? Math.max(actor.busy_seconds - known.busy, 0) / seconds : 0;
      actor.level = level;
      this.before.set(actor.path, { now, busy: actor.busy_seconds });
      if (level > 0) flat.push(actor);
      for (const child of actor.children) walk(child, level + 1);
    };
    walk(tree, 0);
    this.now = now;
    this.actors = flat;
    this.draw();
  }

  draw() {
    const workers = this.actors.filter((actor) => actor.children.length === 0);
    const running = workers.filter((actor) => actor.state === "running").length;
    setText(byId("actors-count"), workers.length > 0 ? `${running} of ${workers.length} running` : "");
    const { id, down } = this.sorting;
    let rows = this.actors;
    if (id !== "tree") {
      const { by } = COLUMNS.find((column) => column.id === id);
      const sign = down ? -1 : 1;
      rows = [...workers].sort((a, b) => (by(a) < by(b) ? -sign : by(a) > by(b) ? sign : a.path < b.path ? -1 : 1));
    }
    sync(byId("actors").tBodies[0], rows, (actor) => actor.path, () => this.row(), (row, actor) => this.fill(row, actor));
    this.detail();
  }

  row() {
    const cells = COLUMNS.map((column) => {
      const names = [column.number ? "n" : "", column.minor ? "minor" : ""].join(" ").trim();
      return make("td", { class: names || null });
    });
    const button = make("button", { type: "button", class: "name" });
    cells[0].append(button);
    cells[1].append(make("span", { class: "state" }));
    const row = make("tr", { on: { click: () => this.choose(row.dataset.path) } }, ...cells);
    return row;
  }

  fill(row, actor) {
    const group = actor.children.length > 0;
    const cells = Object.fromEntries(COLUMNS.map((column, i) => [column.id, row.cells[i]]));
    row.dataset.path = actor.path;
    row.dataset.state = actor.state;
    row.classList.toggle("group", group);
    setAttribute(row, "aria-selected", this.chosen === actor.path ? "true" : null);
    const asTree = this.sorting.id === "tree";
    const button = cells.path.firstChild;
    setText(button, asTree ? actor.name : actor.path.slice(1));
    setAttribute(button, "class", `name level-${asTree ? actor.level : 1}`);
    setAttribute(button, "aria-expanded", this.chosen === actor.path ? "true" : "false");
    setText(cells.state.firstChild, WORDS[actor.state] ?? actor.state);
    setAttribute(cells.state.firstChild, "data-tone", TONES[actor.state] ?? "quiet");
    setText(cells.depth, group ? "" : count(actor.depth));
    setAttribute(cells.depth, "class", `n${actor.depth > actor.capacity / 2 ? " tone-warning" : ""}`);
    setText(cells.high, group ? "" : count(actor.high_water));
    setText(cells.rate, group ? "" : rate(actor.rate));
    setText(cells.p99, actor.p99_ms === null ? "" : milliseconds(actor.p99_ms));
    setText(cells.busy, group ? "" : `${(actor.busy * 100).toFixed(1)} %`);
    setText(cells.restarts, actor.restarts === 0 && group ? "" : count(actor.restarts));
    setAttribute(cells.restarts, "class", `n${actor.restarts > 0 ? " tone-warning" : ""}`);
    setText(cells.breaker, actor.breaker ?? "");
    setAttribute(cells.breaker, "class", `minor${BREAKERS[actor.breaker] ? ` tone-${BREAKERS[actor.breaker]}` : ""}`);
    const failure = actor.last_failure;
    setText(cells.failure, failure === null ? "" : `${failure.error.split(":")[0]}, ${ago((this.now - failure.at_ns) / 1e9)}`);
  }

  choose(path, focus = false) {
    const before = this.chosen;
    this.chosen = path === before ? null : path;
    this.whole = null;
    this.draw();
    if (focus && before !== null) {
      document.querySelector(`#actors tr[data-path="${CSS.escape(before)}"] button`)?.focus();
    }
  }

  /** Show the chosen actor. Its traceback is fetched when there is a failure that was not fetched yet. */
  detail() {
    const box = byId("detail");
    const actor = this.actors.find((one) => one.path === this.chosen);
    box.hidden = actor === undefined;
    if (actor === undefined) {
      box.replaceChildren();
      this.built = null;
      return;
    }
    if (this.built !== actor.path) {
      this.built = actor.path;
      const close = make("button", { type: "button", class: "icon", "aria-label": "Close the details", on: { click: () => this.choose(null, true) } }, "×");
      box.replaceChildren(
        make("header", {}, make("h3", { id: "detail-title" }, actor.path), close),
        make("p", { class: "quiet" }),
        make("dl", { class: "pairs" }),
        make("div", { class: "lane" }, make("h4", {}, "What became of its messages"), make("dl", { class: "pairs" })),
        make("div", { class: "failure" }, make("h4", {}, "Last failure"), make("p"), make("p", { class: "quiet" }), make("pre", { tabindex: "0", "aria-label": "Traceback" })),
      );
    }
    const [, about, figures, lane, failure] = box.children;
    setText(about, `${actor.kind}, incarnation ${actor.epoch}${actor.last_exit === null ? "" : `; last exit: ${actor.last_exit.split(" (")[0]}`}`);
    const pairs = [["State", WORDS[actor.state] ?? actor.state], ["Restarts", count(actor.restarts)]];
    if (actor.children.length === 0) {
      pairs.push(
        ["Breaker", actor.breaker ?? "none"],
        ["Queue now, peak, bound", `${count(actor.depth)}, ${count(actor.high_water)}, ${count(actor.capacity)}`],
        ["Handled", `${count(actor.handled)} in ${count(actor.batches)} batches`],
        ["Messages a second", rate(actor.rate)],
        ["Busy", `${(actor.busy * 100).toFixed(1)} %, ${duration(actor.busy_seconds)} in all`],
        ["Slowest batch", `${milliseconds(actor.slowest_seconds * 1000)} ms`],
        ["Quarantined", count(actor.quarantined)],
        ["Failures", count(actor.failures)],
      );
      if (actor.p99_ms !== null) pairs.push(["Receipt to bar, p50, p99", `${milliseconds(actor.p50_ms)}, ${milliseconds(actor.p99_ms)} ms`]);
    }
    list(figures, pairs);
    const outcomes = [...Object.entries(actor.lane), ...Object.entries(actor.dead_letters).map(([why, n]) => [`dead letter: ${why}`, n])];
    const told = outcomes.filter(([name, n]) => n > 0 || name === "taken").map(([name, n]) => [name.replace("_", " "), count(n)]);
    lane.hidden = told.length === 0;
    list(lane.lastChild, told);
    failure.hidden = actor.last_failure === null;
    if (actor.last_failure !== null) {
      const { error, at_ns: at, phase, epoch } = actor.last_failure;
      setText(failure.children[1], error);
      setText(failure.children[2], `${clock(at)} UTC, in ${phase}, incarnation ${epoch}`);
      const known = this.whole?.path === actor.path && this.whole.at === at;
      const pre = failure.children[3];
      setText(pre, known ? this.whole.text : "");
      pre.hidden = !known || this.whole.text === "";
      if (!known) this.fetchWhole(actor.path, at);
    }
  }

  async fetchWhole(path, at) {
    this.whole = { path, at, text: "" };
    try {
      const answer = await fetch(`/api/tree?${new URLSearchParams({ path })}`, { cache: "no-store" });
      if (!answer.ok) return;
      const { last_failure: failure } = await answer.json();
      if (this.whole?.path !== path || failure === null) return;
      this.whole = { path, at: failure.at_ns, text: failure.traceback };
      this.detail();
    } catch {
      this.whole = null; // the connection is gone: the next board asks again
    }
  }
}

function list(parent, pairs) {
  sync(
    parent,
    pairs.flatMap(([label, value]) => [{ id: `dt ${label}`, tag: "dt", text: label }, { id: `dd ${label}`, tag: "dd", text: value }]),
    (item) => item.id,
    (item) => make(item.tag),
    (node, item) => setText(node, item.text),
  );
}
