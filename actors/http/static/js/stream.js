// The connection to the session: one event stream, and the patience to get it back.
//
// States: "connecting" (first time), "live", "lost" (trying again, `seconds` to go), "locked" (the session does not
// know this page). A page nobody looks at lets its stream go and fetches it again when it is looked at.

const FIRST_S = 1;
const LONGEST_S = 5;
const SILENT_S = 6; // the board comes every second: silence means the line is dead
const UNSEEN_S = 30;
const EVENTS = ["session", "bars", "board", "events"];

export class Stream {
  /** `onEvent(name, data)` for what comes, `onState(state, seconds)` for how the connection is. */
  constructor(onEvent, onState) {
    this.onEvent = onEvent;
    this.onState = onState;
    this.query = "";
    this.source = null;
    this.failures = 0;
    this.timer = null;
    this.watchdog = null;
    this.unseen = null;
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  /** Follow a contract and timeframe from now on. */
  follow(contract, timeframe) {
    this.query = new URLSearchParams({ contract, timeframe }).toString();
    this.open();
  }

  open() {
    this.close();
    const source = new EventSource(`/api/stream?${this.query}`);
    this.source = source;
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        this.alive();
        this.onEvent(name, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => source === this.source && this.lost());
    this.expect();
  }

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.source?.close();
    this.source = null;
  }

  alive() {
    if (this.failures !== 0 || this.state !== "live") {
      this.failures = 0;
      this.state = "live";
      this.onState("live", 0);
    }
    this.expect();
  }

  expect() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lost(), SILENT_S * 1000);
  }

  lost() {
    this.close();
    const seconds = Math.min(FIRST_S * 2 ** this.failures, LONGEST_S);
    this.failures += 1;
    if (this.state !== "locked") {
      this.state = "lost";
      this.onState("lost", seconds);
    }
    this.timer = setTimeout(() => this.retry(), seconds * 1000);
  }

  /** An event stream does not say why it failed: ask first whether there is a session, and whether it knows us. */
  async retry() {
    try {
      const answer = await fetch("/api/session", { cache: "no-store" });
      if (answer.status === 401) {
        this.state = "locked";
        this.onState("locked", 0);
      } else if (answer.ok) {
        this.open();
        return;
      }
    } catch {
      // nobody there yet
    }
    this.lost();
  }

  look() {
    clearTimeout(this.unseen);
    if (document.hidden) {
      this.unseen = setTimeout(() => this.close(), UNSEEN_S * 1000);
    } else if (this.source === null) {
      this.open();
    }
  }
}
