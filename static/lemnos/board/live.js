/* The socket: follow numbered frames, resume after a cut, say how it stands. */

export class Live extends EventTarget {
  #store;
  #workflow;
  #socket = null;
  #tries = 0;
  #timer = 0;
  #silence = 0;
  #replaying = false;
  #view = null;

  constructor(store, workflow) {
    super();
    this.#store = store;
    this.#workflow = workflow;
    addEventListener("online", () => this.#again(0));
    addEventListener("offline", () => this.#say("offline"));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#socket?.readyState !== WebSocket.OPEN) this.#again(0);
    });
  }

  connect() {
    clearTimeout(this.#timer);
    this.#socket?.close();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/board?workflow=${encodeURIComponent(this.#workflow)}`);
    this.#socket = socket;
    socket.addEventListener("message", (event) => socket === this.#socket && this.#hear(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#closed(event.code));
  }

  /* For a person who asks, and for tests: as if the line broke. */
  cut() {
    this.#socket?.close();
  }

  view(ticket, { editing = false } = {}) {
    this.#view = ticket;
    this.#send({ view: { ticket, editing } });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #hear(message) {
    this.#watchSilence();
    switch (message.type) {
      case "hello":
        this.#heartbeat = message.heartbeat;
        this.#resume();
        if (this.#view) this.view(this.#view);
        break;
      case "ping":
        this.#send({ type: "pong" });
        break;
      case "patch":
        // While a replay runs, what was under way before it may still arrive; values are present ones.
        if (!this.#replaying && message.prev !== this.#store.seq) this.#resume();
        else this.#store.apply(message);
        break;
      case "replay_done":
        this.#replaying = false;
        this.#store.seq = message.seq;
        this.#store.stop(message.stopped);
        this.#tries = 0;
        this.#say("live");
        break;
      case "stopped":
        this.#store.stop(message.stopped);
        break;
      case "snapshot_required":
        this.#startAfresh();
        break;
      case "presence":
        this.dispatchEvent(new CustomEvent("presence", { detail: message }));
        break;
    }
  }

  #heartbeat = 20;

  #resume() {
    this.#replaying = true;
    this.#send({ resume_from: this.#store.seq });
  }

  async #startAfresh() {
    this.#say("reconnecting");
    try {
      const response = await fetch(`/api/v1/board?workflow=${encodeURIComponent(this.#workflow)}`, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      const board = await response.json();
      // Other columns than the page was made with: only a new page has them.
      const keys = (columns) => JSON.stringify([...columns].map(({ key, name, phases }) => [key, name, phases]));
      if (keys(board.columns) !== keys(this.#store.columns.values())) return location.reload();
      this.#store.load(board);
      this.#resume();
    } catch {
      this.cut();
    }
  }

  #closed(code) {
    clearTimeout(this.#silence);
    this.#replaying = false;
    if (code === 4401) {
      location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    } else if (code === 4403) {
      this.#say("refused");
    } else {
      this.#say(navigator.onLine ? "reconnecting" : "offline");
      this.#tries += 1;
      // 0.3 s, then up to 10 s, spread so that not all pages return at once.
      this.#again(Math.min(10_000, 300 * 2 ** (this.#tries - 1)) * (0.75 + Math.random() / 2));
    }
  }

  #again(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), delay);
  }

  /* A line can die without a word; the server speaks at least once per heartbeat. */
  #watchSilence() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#say("reconnecting");
      this.connect();
    }, this.#heartbeat * 2250);
  }

  #say(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
