// The smaller panels: figures, health, feed, rejects, events.

import { byId, make, setAttribute, setText, sync } from "./dom.js";
import { clock, count, duration, milliseconds, rate } from "./format.js";

const SAMPLES = 120; // two minutes of rates in the little line
const EVENTS = 300;

export class Panels {
  constructor() {
    this.rates = [];
    this.names = new Map();
    byId("problems").addEventListener("change", (event) => byId("events").classList.toggle("problems", event.target.checked));
  }

  /** Forget everything: another session. */
  clear() {
    this.rates = [];
    byId("events").replaceChildren();
  }

  /** Learn how contracts are called, and since when the session runs. */
  session({ contracts, version, started_ns: started }) {
    this.names = new Map(contracts.map((each) => [each.contract, each.name || each.contract]));
    this.started = started;
    setText(byId("version"), version);
  }

  board({ health, statistics, tree, now_ns: now }) {
    this.health(health, now);
    this.figures(health, statistics, tree, now);
    this.rejects(statistics);
  }

  figures(health, statistics, tree, now) {
    setText(byId("fig-rate"), rate(statistics.ticks_per_second));
    setText(byId("fig-ticks"), count(statistics.ticks));
    const measured = statistics.latency.trades > 0;
    setText(byId("fig-p50"), measured ? milliseconds(statistics.latency.p50_ms) : "–");
    setText(byId("fig-p99"), measured ? milliseconds(statistics.latency.p99_ms) : "–");
    const rejected = Object.values(statistics.rejected).reduce((sum, n) => sum + n, 0);
    figure("fig-rejected", count(rejected), rejected > 0);
    const restarts = sum(tree, (actor) => actor.restarts);
    figure("fig-restarts", count(restarts), restarts > 0);
    const left = health.token_seconds;
    figure("fig-token", left === null ? "none" : duration(left), left !== null && left < 300);
    setText(byId("fig-uptime"), duration((now - this.started) / 1e9));
    this.rates.push(statistics.ticks_per_second);
    if (this.rates.length > SAMPLES) this.rates.shift();
    this.spark();
  }

  spark() {
    if (this.rates.length < 2) return;
    const top = Math.max(...this.rates, 1);
    const first = SAMPLES - this.rates.length;
    const points = this.rates.map((value, i) => `${(((first + i) / (SAMPLES - 1)) * 120).toFixed(1)},${(27 - (value / top) * 26).toFixed(1)}`);
    byId("fig-spark").firstElementChild.setAttribute("points", points.join(" "));
  }

  health({ status, reasons, since_ns: since, staleness, feed_delay_ms: delays, links }, now) {
    setAttribute(byId("status"), "data-status", status);
    setText(byId("status-word"), status);
    setText(byId("status-why"), reasons[0] ?? "");
    setText(byId("health-since"), since > 0 ? `${status} for ${duration((now - since) / 1e9)}` : status);
    const hubs = Object.entries(links).map(([hub, state]) => `${hub} hub ${state}`).join(", ");
    const lines = reasons.length > 0 ? reasons : [hubs === "" ? "Nothing is wrong." : `Nothing is wrong; ${hubs}.`];
    sync(
      byId("reasons"),
      lines,
      (line) => line,
      (line) => make("li", {}, line),
      (node) => setAttribute(node, "data-status", status),
    );
    sync(
      byId("feed"),
      Object.keys(staleness).sort(),
      (contract) => contract,
      (contract) => make("tr", { title: contract }, make("td"), make("td", { class: "n" }), make("td", { class: "n" })),
      (row, contract) => {
        setText(row.cells[0], this.names.get(contract) ?? contract);
        setText(row.cells[1], staleness[contract] < 1 ? "now" : duration(staleness[contract]));
        setText(row.cells[2], `${milliseconds(Math.max(delays[contract] ?? 0, 0))} ms`);
      },
    );
  }

  rejects({ rejected, ticks }) {
    const reasons = Object.entries(rejected).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
    const total = reasons.reduce((all, [, n]) => all + n, 0);
    byId("rejects-none").hidden = total > 0;
    const share = total / Math.max(total + ticks, 1);
    setText(byId("rejects-total"), total > 0 ? `${count(total)}, ${(share * 100).toFixed(share < 0.01 ? 3 : 1)} % of all` : "");
    sync(
      byId("rejects"),
      reasons,
      ([reason]) => reason,
      ([reason]) => make("li", {}, make("span", {}, reason.replaceAll("_", " ")), make("span"), make("meter", { min: "0", "aria-hidden": "true" })),
      (node, [, n]) => {
        setText(node.children[1], count(n));
        setAttribute(node.children[2], "max", total);
        setAttribute(node.children[2], "value", n);
      },
    );
  }

  /** Put new events on top. A run of first starts is one line: that they all came up is what is worth knowing. */
  events(events) {
    const list = byId("events");
    for (const run of runs(events)) {
      const last = run.at(-1);
      const [path, text] = run.length > 1 ? ["", `${count(run.length)} actors started`] : [last.path, last.text];
      const title = run.length > 1 ? run.map((event) => event.path).join("\n") : null;
      list.prepend(
        make(
          "li",
          { "data-severity": last.severity, title },
          make("time", { datetime: new Date(last.at_ns / 1e6).toISOString() }, clock(last.at_ns)),
          make("span", { class: "what" }, make("span", { class: "path" }, path), make("span", { class: "text" }, text)),
        ),
      );
    }
    while (list.childElementCount > EVENTS) list.lastElementChild.remove();
  }
}

const isFirstStart = (event) => event.kind === "Started" && event.severity === "info";

/** Group events, oldest first: first starts that follow one another together, any other alone. */
function runs(events) {
  const grouped = [];
  for (const event of events) {
    const before = grouped.at(-1);
    if (before !== undefined && isFirstStart(event) && isFirstStart(before[0])) before.push(event);
    else grouped.push([event]);
  }
  return grouped;
}

function figure(id, text, warning) {
  setText(byId(id), text);
  setAttribute(byId(id).closest(".figure"), "data-tone", warning ? "warning" : null);
}

function sum(actor, of) {
  return of(actor) + actor.children.reduce((all, child) => all + sum(child, of), 0);
}
