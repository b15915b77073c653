// A client of the mdbus WebSocket API that comes back by itself: it subscribes again, tells the
// server what it saw last, and so misses nothing. No dependencies; types are in /ws/mdbus.d.ts.
//
//   import { Mdbus } from "/ws/mdbus.js";
//   const bus = new Mdbus("ws://127.0.0.1:8000/ws/v1/");
//   bus.on("price", (message) => console.log(message.symbol, message.data.price));
//   bus.subscribe(["price.BTC", "trades.ETH"]);

const STAY_AWAY = [1000, 1002, 1003, 1007];
const RESET_AFTER_MS = 60_000;

export class Mdbus {
  #url; #options; #socket = null; #timer = 0; #watch = 0; #delay; #since = 0; #closed = false;
  #wanted = new Map();    // topic -> options of its subscribe
  #positions = new Map(); // topic -> {epoch, seq} seen last
  #listeners = new Map();
  #heartbeat = 15_000; #heard = 0; #retry = null;

  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { minDelayMs: 500, maxDelayMs: 30_000, subprotocol: "mdbus.v1.json", ...options };
    this.#delay = this.#options.minDelayMs;
    this.#connect();
  }

  on(kind, listener) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(listener);
    return () => this.#listeners.get(kind).delete(listener);
  }

  subscribe(topics, options = {}) {
    const list = [].concat(topics);
    for (const topic of list) this.#wanted.set(topic, options);
    this.#send({ action: "subscribe", topics: list, ...options });
  }

  unsubscribe(topics) {
    const list = [].concat(topics);
    for (const topic of list) { this.#wanted.delete(topic); this.#positions.delete(topic); }
    this.#send({ action: "unsubscribe", topics: list });
  }

  send(request) { this.#send(request); }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    if (this.#socket) this.#socket.close(1000);
    this.#tell("state", "closed");
  }

  async #connect() {
    const Socket = this.#options.WebSocket ?? WebSocket;
    const socket = this.#socket = new Socket(this.#url, this.#options.subprotocol);
    this.#retry = null;
    socket.onopen = () => { this.#since = Date.now(); this.#heard = Date.now(); };
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = (event) => this.#lost(socket, event.code);
    clearInterval(this.#watch);
    this.#watch = setInterval(() => this.#look(socket), 1_000);
    if (this.#watch.unref) this.#watch.unref();
  }

  async #receive(socket, text) {
    this.#heard = Date.now();
    const found = JSON.parse(text);
    for (const message of Array.isArray(found) ? found : [found]) {
      if (message.type === "connection") await this.#greeted(socket, message);
      else if (message.type === "subscription") this.#acknowledged(message);
      else if (message.type === "reset") this.#positions.delete(message.topic);
      else if (message.topic && message.seq) this.#seen(message);
      this.#tell(message.type, message);
      this.#tell("message", message);
    }
  }

  async #greeted(socket, message) {
    if (message.heartbeat_ms !== undefined) this.#heartbeat = message.heartbeat_ms;
    if (message.retry_after_ms !== undefined) this.#retry = message.retry_after_ms;
    if (message.status === "auth_required" || message.status === "auth_expiring") {
      const token = this.#options.token;
      const value = typeof token === "function" ? await token() : token;
      if (value) socket.send(JSON.stringify({ action: "auth", token: value }));
    } else if (message.status === "connected" && socket === this.#socket) {
      this.#tell("state", "open");
      this.#again();
    }
  }

  // Everything that is wanted, once more, with what was seen last of it.
  #again() {
    const groups = new Map();
    for (const [topic, options] of this.#wanted) {
      const key = JSON.stringify(options);
      if (!groups.has(key)) groups.set(key, { options, topics: [] });
      groups.get(key).topics.push(topic);
    }
    for (const { options, topics } of groups.values()) {
      const since = {};
      for (const topic of topics) {
        const position = this.#positions.get(topic);
        if (position?.epoch) since[topic] = position;
      }
      const again = Object.keys(since).length ? { since } : {};
      this.#send({ action: "subscribe", topics, ...options, ...again });
    }
  }

  #acknowledged(message) {
    if (message.action !== "subscribed") return;
    for (const entry of message.topics) {
      const known = this.#positions.get(entry.topic);
      if (!entry.epoch) continue;
      // What was recovered is still to come; its messages move the position on.
      const seq = entry.recovered && known ? known.seq : entry.seq;
      this.#positions.set(entry.topic, { epoch: entry.epoch, seq });
    }
  }

  #seen(message) {
    const known = this.#positions.get(message.topic);
    const epoch = message.epoch ?? known?.epoch;
    this.#positions.set(message.topic, { epoch, seq: message.seq });
  }

  #look(socket) {
    const limit = 2 * this.#heartbeat + 5_000;
    if (this.#heartbeat && this.#since && Date.now() - this.#heard > limit) socket.close();
  }

  #lost(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    clearInterval(this.#watch);
    if (this.#closed) return;
    if (STAY_AWAY.includes(code) || (code >= 4500 && code <= 4999)) {
      this.#closed = true;
      this.#tell("state", "closed");
      return;
    }
    if (this.#since && Date.now() - this.#since > RESET_AFTER_MS) this.#delay = this.#options.minDelayMs;
    this.#since = 0;
    const wait = this.#retry ?? Math.random() * this.#delay;
    this.#delay = Math.min(2 * this.#delay, this.#options.maxDelayMs);
    this.#tell("state", "waiting");
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #send(request) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(request));
  }

  #tell(kind, value) {
    for (const listener of this.#listeners.get(kind) ?? []) listener(value);
  }
}
