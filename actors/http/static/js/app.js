// The page: what the stream brings goes to the parts that show it; what the reader chooses goes to the stream.

import { Actors } from "./actors.js";
import { BarChart } from "./chart.js";
import { byId, make, setText, sync } from "./dom.js";
import { Panels } from "./panels.js";
import { Stream } from "./stream.js";

const CHOICE = "tickloom-choice";

const chart = new BarChart();
const actors = new Actors();
const panels = new Panels();
const stream = new Stream(take, connection);

let session = null;
let source = null; // the event stream that brought it
let chosen = remembered();

function take(name, data) {
  if (name === "session") begin(data);
  else if (name === "bars") chart.take(data);
  else if (name === "events") panels.events(data);
  else if (name === "board" && session !== null) {
    panels.board(data);
    actors.take(data.tree, data.now_ns);
    document.title = `${data.health.status === "healthy" ? "" : `(${data.health.status}) `}Tickloom`;
  }
}

/** A session is there: another one, the one from before on a new stream, or the same with more contracts. */
function begin(next) {
  const another = session === null || session.session !== next.session;
  const anew = source !== stream.source;
  session = next;
  source = stream.source;
  document.documentElement.dataset.session = next.session;
  panels.session(next);
  selectors();
  if (another) actors.clear();
  if (!anew) return;
  panels.clear();
  const contract = next.contracts.find((each) => each.contract === chosen.contract) ?? next.contracts[0];
  const timeframe = next.timeframes.includes(chosen.timeframe) ? chosen.timeframe : next.timeframes[0];
  if (contract === undefined) return;
  if (contract.contract !== chosen.contract || timeframe !== chosen.timeframe) {
    choose(contract.contract, timeframe);
  } else {
    show();
  }
}

function selectors() {
  sync(
    byId("contract"),
    session.contracts,
    (each) => each.contract,
    (each) => make("option", { value: each.contract }, each.name || each.contract),
    () => {},
  );
  sync(
    byId("timeframes"),
    session.timeframes,
    (timeframe) => timeframe,
    (timeframe) =>
      make(
        "label",
        {},
        make("input", { type: "radio", name: "timeframe", value: timeframe, on: { change: () => choose(chosen.contract, timeframe) } }),
        make("span", {}, timeframe),
      ),
    () => {},
  );
}

/** Show what is chosen: the selectors say so, and the chart waits for its bars. */
function show() {
  const contract = session.contracts.find((each) => each.contract === chosen.contract);
  byId("contract").value = chosen.contract;
  for (const input of byId("timeframes").querySelectorAll("input")) input.checked = input.value === chosen.timeframe;
  setText(byId("contract-about"), `${contract.description || contract.contract}, tick ${contract.tick_size}`);
  chart.show(contract, chosen.timeframe);
}

function choose(contract, timeframe) {
  chosen = { contract, timeframe };
  try {
    localStorage.setItem(CHOICE, JSON.stringify(chosen));
  } catch {
    // storage is switched off: the choice lasts as long as the page
  }
  if (session !== null && session.contracts.some((each) => each.contract === contract)) show();
  stream.follow(contract, timeframe);
}

function remembered() {
  try {
    const { contract, timeframe } = JSON.parse(localStorage.getItem(CHOICE)) ?? {};
    return { contract: String(contract ?? ""), timeframe: String(timeframe ?? "") };
  } catch {
    return { contract: "", timeframe: "" };
  }
}

function connection(state, seconds) {
  const banner = byId("banner");
  document.documentElement.dataset.connection = state;
  document.documentElement.classList.toggle("stale", state !== "live");
  banner.hidden = state === "live" || state === "connecting";
  if (state === "lost") {
    setText(banner, `The connection to the session is lost. Trying again in ${seconds} s.`);
    byId("status").dataset.status = "waiting";
    setText(byId("status-word"), "no connection");
    setText(byId("status-why"), "");
  } else if (state === "locked") {
    setText(banner, "Another session runs here now, and it does not know this page. Open the address it printed when it started.");
  }
}

// --- keyboard and buttons ---------------------------------------------------------------------------------------------

function step(items, current, by) {
  const at = items.indexOf(current);
  return items[Math.min(Math.max(at + by, 0), items.length - 1)];
}

function theme() {
  const name = window.tickloomTheme.next();
  byId("theme").title = `Theme: ${name} (t)`;
  byId("theme").setAttribute("aria-label", `Theme: ${name}`);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || byId("help").open) return;
  if (event.target.closest("input:not([type=radio]):not([type=checkbox]), textarea")) return;
  const timeframe = (by) => session && choose(chosen.contract, step(session.timeframes, chosen.timeframe, by));
  const contract = (by) => session && choose(step(session.contracts.map((each) => each.contract), chosen.contract, by), chosen.timeframe);
  const act = {
    "[": () => timeframe(-1),
    "]": () => timeframe(1),
    ",": () => contract(-1),
    ".": () => contract(1),
    t: theme,
    "?": () => byId("help").showModal(),
  }[event.key];
  if (act === undefined) return;
  event.preventDefault();
  act();
});

byId("contract").addEventListener("change", (event) => choose(event.target.value, chosen.timeframe));
byId("theme").addEventListener("click", theme);
byId("theme").title = `Theme: ${window.tickloomTheme.current} (t)`;
byId("help-open").addEventListener("click", () => byId("help").showModal());

connection("connecting", 0);
stream.follow(chosen.contract, chosen.timeframe);
