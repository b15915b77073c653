// A client of the mdbus WebSocket API that comes back by itself: it subscribes again, tells the
// server what it saw last of each topic, and so misses nothing and shows nothing twice. Told that
// its server is about to leave, it is served by the next one before it closes the old connection.
// No dependencies; types are in /ws/mdbus.d.ts.
//
//   import { Mdbus } from "/ws/mdbus.js";
//   const bus = new Mdbus("ws://127.0.0.1:8000/ws/v1/");
//   bus.on("price", (message) => console.log(message.symbol, message.data.price));
//   bus.subscribe(["price.BTC", "trades.*"]);

const STAY_AWAY = [1000, 1002, 1003, 1007];
const RESET_AFTER_MS = 60_000;
const MESSAGE_BYTES = 65_536; // until the greeting says what the server takes
const ENVELOPE_BYTES = 2_048; // of a request, beside its topics
const MAX_TOPICS = 1_000;
const LIST_AGAIN_MS = 1_000;
const OPEN_WITHIN_MS = 15_000;
const ONLY_MISSED = { snapshot: false, history: 0 };
const UNKNOWN = "?"; // no epoch of any server: it says of such a position that nothing is recovered

const isFinal = (code) => STAY_AWAY.includes(code) || (code >= 4500 && code <= 4999);
const isPattern = (text) => text.includes("*");
const hasPast = (topic) => topic.startsWith("trades.") || topic.startsWith("news.");
const isLossless = (topic) => hasPast(topic) || topic.endsWith("#delta");

// Whether a wildcard, as the server spells it, may bring a topic (whatever its source).
const brings = (pattern, topic) => {
  const tokens = (text) => {
    const dot = text.indexOf(".");
    return [text.slice(0, dot), text.slice(dot + 1).split(/[@#]/)[0]];
  };
  const [found, wanted] = [tokens(topic), tokens(pattern)];
  return wanted.every((token, place) => token === "*" || token === found[place]);
};

// One connection. `epochs`: of each topic that it brings, the count its messages are of. `patterns`:
// the wildcards that it brings. `taken`: topics that it has taken over from the connection before.
// `held`: topics whose messages wait here until what was missed before them is known: {until: the
// number that the connection before is to bring them to, or Infinity while this server is asked;
// start: {epoch, seq} after which they begin here, when that is known; messages}.
class Link {
  socket = null; isGreeted = false; isOver = false; isLeaving = false; isRefused = false;
  begun = Date.now(); since = 0; heard = 0; heartbeat = 15_000; messageBytes = MESSAGE_BYTES; retry = null; pace = 0; leastPace = 0;
  watch = 0; timer = 0; listed = ""; listedAt = 0;
  epochs = new Map(); patterns = new Set(); taken = new Set(); held = new Map();
  todo = []; asked = null;

  say(request) {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify(request));
  }

  end() {
    this.isOver = true;
    clearInterval(this.watch);
    clearTimeout(this.timer);
  }
}

export class Mdbus {
  #url; #options; #delay; #followDelay; #timer = 0; #closed = false; #ids = 0; #now = "";
  #followAt = Infinity;   // when the next connection is to be opened
  #leastAge = Infinity;   // of a control message on arrival, ms: the difference of the clocks in it
  #link = null;           // the connection that serves
  #next = null;           // the one that is to take its place, while there are two
  #wanted = new Map();    // what was subscribed -> {options, topic: the server's name for it}
  #positions = new Map(); // topic -> {epoch, seq} shown last
  #listeners = new Map();

  constructor(url, options = {}) {
    this.#url = url;
    const tokenBy = typeof location === "undefined" ? "subprotocol" : "message"; // a page can be asked
    const defaults = { minDelayMs: 500, maxDelayMs: 30_000, subprotocol: "mdbus.v1.json", tokenBy };
    this.#options = { ...defaults, ...options };
    if ([].concat(this.#options.subprotocol).includes("mdbus.v1.msgpack")) {
      throw new TypeError("this client reads JSON: leave subprotocol out, or offer mdbus.v1.json");
    }
    this.#delay = this.#followDelay = this.#options.minDelayMs;
    this.#link = this.#connect();
  }

  on(kind, listener) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(listener);
    return () => this.#listeners.get(kind).delete(listener);
  }

  subscribe(topics, options = {}) {
    const texts = [].concat(topics);
    for (const text of texts) this.#wanted.set(text, { options, topic: this.#wanted.get(text)?.topic });
    this.#newest()?.todo.push(...this.#groups(texts, false));
    this.#pump(this.#newest());
  }

  unsubscribe(topics) {
    const texts = [].concat(topics);
    for (const text of texts) this.#wanted.delete(text);
    for (const link of this.#greeted()) {
      link.todo.push({ raw: { action: "unsubscribe", topics: texts } });
      this.#pump(link);
    }
  }

  send(request) {
    this.#newest()?.todo.push({ raw: request });
    this.#pump(this.#newest());
  }

  close() {
    this.#closed = true;
    this.#stopTimer();
    for (const link of [this.#link, this.#next]) this.#leave(link);
    this.#link = this.#next = null;
    this.#be("closed");
  }

  // ---------------------------------------------------------------- connections

  #connect() {
    const link = new Link();
    link.watch = setInterval(() => this.#look(link), 1_000);
    if (link.watch.unref) link.watch.unref();
    if (this.#options.token && this.#options.tokenBy === "subprotocol") this.#openWithToken(link);
    else this.#open(link, this.#options.subprotocol);
    return link;
  }

  async #openWithToken(link) {
    const token = await this.#token();
    if (link.isOver) return;
    if (!token) {
      this.#lost(link, 1006);
      return;
    }
    const text = btoa(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    this.#open(link, [].concat(this.#options.subprotocol, `mdbus.bearer.${text}`));
  }

  #open(link, subprotocols) {
    const Socket = this.#options.WebSocket ?? WebSocket;
    const socket = link.socket = new Socket(this.#url, subprotocols);
    socket.onopen = () => { link.since = link.heard = Date.now(); };
    socket.onmessage = (event) => this.#receive(link, event.data);
    socket.onclose = (event) => this.#lost(link, event.code);
    socket.onerror = () => { if (!link.since) this.#lost(link, 1006); }; // not all close then
  }

  #greeted() { return [this.#link, this.#next].filter((link) => link?.isGreeted); }

  #newest() { return this.#greeted().at(-1); }

  #leave(link) {
    link?.end();
    link?.socket?.close(1000);
  }

  #look(link) {
    const now = Date.now();
    const isMute = link.since && link.heartbeat && now - link.heard > 2 * link.heartbeat + 5_000;
    if (!isMute && (link.since || now - link.begun <= OPEN_WITHIN_MS)) return;
    link.socket?.close();
    this.#lost(link, 1006); // to wait for an answer to the close from who says nothing is no use
  }

  #lost(link, code) {
    if (link.isOver) return;
    link.end();
    if (!link.since) this.#fails("unreachable", "no connection: nobody listens there, or the handshake was refused");
    if (link === this.#next) this.#lostNext(link, code);
    else if (this.#next !== null) this.#promote();
    else this.#comeBack(link, code);
  }

  #comeBack(link, code) {
    this.#link = null;
    this.#stopTimer();
    if (isFinal(code)) {
      this.#closed = true;
      this.#be("closed");
      return;
    }
    if (link.since && Date.now() - link.since > RESET_AFTER_MS) this.#delay = this.#options.minDelayMs;
    const wait = link.retry ?? Math.random() * this.#delay;
    this.#delay = Math.min(2 * this.#delay, this.#options.maxDelayMs);
    this.#be("waiting");
    if (!this.#closed) this.#timer = setTimeout(() => { this.#link = this.#connect(); }, wait);
  }

  // ---------------------------------------------------------------- from one server to the next

  // The server is about to leave: have the next connection before this one ends. A page in the
  // background has its timers late, so whatever comes looks whether it is time.
  #follow(wait) {
    this.#stopTimer();
    this.#followAt = Date.now() + wait;
    this.#timer = setTimeout(() => this.#goToNext(), wait);
  }

  #goToNext() {
    this.#stopTimer();
    this.#next = this.#connect();
  }

  #stopTimer() {
    clearTimeout(this.#timer);
    this.#followAt = Infinity;
  }

  // How long a message has been on its way, beyond what the quickest one so far has.
  #lateness(message) {
    const age = Date.now() - Date.parse(message.timestamp);
    if (Number.isNaN(age)) return 0;
    this.#leastAge = Math.min(this.#leastAge, age);
    return age - this.#leastAge;
  }

  #lostNext(next, code) {
    this.#next = null;
    if (next.taken.size) { // what the old one brought meanwhile was not shown: begin from what was
      this.#leave(this.#link);
      this.#comeBack(next, code);
    } else if (isFinal(code)) {
      this.#link.isRefused = true; // two at once are not allowed: wait for the end of this one
    } else {
      this.#follow(next.retry ?? Math.random() * this.#followDelay);
      this.#followDelay = Math.min(2 * this.#followDelay, this.#options.maxDelayMs);
    }
  }

  // The next connection becomes the one that serves: it is complete, or the old one has ended.
  #promote() {
    const old = this.#link, link = this.#next;
    this.#link = link;
    this.#next = null;
    this.#followDelay = this.#options.minDelayMs;
    this.#leave(old);
    const again = [];
    for (const [topic, held] of link.held) {
      if (held.until === Infinity) continue;
      if (isLossless(topic)) again.push(topic); // it went on after this one had been asked
      else this.#begin(link, topic, held.until);
    }
    this.#askAgain(link, again);
    if (!link.isGreeted) this.#be("waiting");
    else if (link.isLeaving) this.#follow(0);
  }

  #isComplete(link) {
    return link.isGreeted && !link.asked && !link.todo.length && !link.held.size;
  }

  // ---------------------------------------------------------------- what comes

  #receive(link, text) {
    if (link.isOver) return;
    link.heard = Date.now();
    if (link.heard >= this.#followAt) this.#goToNext();
    const found = JSON.parse(text);
    for (const message of Array.isArray(found) ? found : [found]) {
      if (link.isOver) return;
      if (message.topic && message.seq && message.data) this.#data(link, message);
      else this.#control(link, message);
    }
    if (link === this.#next && this.#isComplete(link)) this.#promote();
  }

  #control(link, message) {
    const { type, topic, id } = message;
    const isAnswer = id !== undefined && id === link.asked?.id;
    if (type === "list" && id === link.listed) return this.#learn(link, message);
    if ((type === "reset" || type === "gap") && topic) {
      if (this.#isForOther(link, topic)) return;
      const held = link.held.get(topic);
      if (held) { held.messages.push(message); return; }
      if (type === "reset" && this.#isAwaited(link, topic)) { // the next one will say so itself
        this.#begin(this.#next, topic, this.#next.held.get(topic).until);
        if (this.#isComplete(this.#next)) this.#promote();
        return;
      }
      if (!this.#passes(link, message)) return;
    }
    if (type === "subscription" && message.action === "subscribed") this.#acknowledged(link, message);
    else if (type === "subscription") this.#ended(link, message);
    this.#show(message);
    if (type === "connection") this.#state(link, message);
    else if (type === "heartbeat") this.#lateness(message);
    else if (type === "error" && isAnswer) this.#refused(link, message);
    else if (type === "subscription" && isAnswer) {
      link.asked = null;
      this.#pump(link);
    }
  }

  #state(link, message) {
    if (link.isOver) return;
    const late = this.#lateness(message);
    if (message.status === "connected") link.heartbeat = 0; // unless it says so
    if (message.heartbeat_ms !== undefined) link.heartbeat = message.heartbeat_ms;
    if (message.limits?.message_bytes) link.messageBytes = message.limits.message_bytes;
    if (message.limits?.actions_per_s) link.leastPace = 1_000 / message.limits.actions_per_s;
    if (message.status === "auth_required" || message.status === "auth_expiring") {
      this.#authenticate(link);
    } else if (message.status === "connected" && !link.isGreeted) {
      link.isGreeted = true;
      if (link === this.#link) this.#be("open");
      link.todo.push(...this.#groups([...this.#wanted.keys()], true));
      this.#pump(link);
    } else if (message.status === "draining") {
      link.isLeaving = true;
      if (link === this.#link && !this.#next && !link.isRefused) {
        this.#follow(Math.max(0, (message.retry_after_ms ?? 0) - late)); // the server does not wait
      }
    } else if (message.status === "closing") {
      link.retry = message.retry_after_ms ?? link.retry;
    }
  }

  async #authenticate(link) {
    const token = await this.#token();
    if (link.isOver) return;
    if (token) link.say({ action: "auth", token });
    else if (token === null) link.socket.close();
  }

  // The token for a connection; null when it could not be had, which is told.
  async #token() {
    const { token } = this.#options;
    try {
      return typeof token === "function" ? await token() : token;
    } catch (error) {
      this.#fails("unauthorized", `there is no token: ${error?.message ?? error}`);
      return null;
    }
  }

  // An error that no server told.
  #fails(code, message) {
    this.#tell("error", { type: "error", code, message, retryable: true });
  }

  // Whether the other connection's messages of the topic are the ones that are shown.
  #isForOther(link, topic) {
    return link === this.#link && this.#next !== null && this.#next.taken.has(topic);
  }

  // Whether the next connection waits for this one to bring the topic as far as it begins itself.
  #isAwaited(link, topic) {
    const held = link === this.#link && this.#next?.held.get(topic);
    return Boolean(held) && held.until !== Infinity;
  }

  #data(link, message) {
    const { topic, epoch } = message;
    if (this.#isForOther(link, topic)) return;
    const held = link.held.get(topic);
    if (held) { held.messages.push(message); return; }
    if (epoch) link.epochs.set(topic, epoch);
    else if (!link.epochs.get(topic)) this.#askEpochs(link);
    if (link === this.#next) link.taken.add(topic);
    if (this.#passes(link, message)) this.#show(message);
    if (!this.#isAwaited(link, topic)) return;
    const { until } = this.#next.held.get(topic);
    if (this.#positions.get(topic).seq < until) return;
    this.#begin(this.#next, topic, until);
    if (this.#isComplete(this.#next)) this.#promote();
  }

  // Whether a message is to be shown; the position of its topic moves on.
  #passes(link, message) {
    const { topic, seq, type } = message;
    const known = this.#positions.get(topic);
    if (type === "reset") {
      link.epochs.set(topic, message.epoch);
      this.#positions.delete(topic);
      return true;
    }
    const epoch = link.epochs.get(topic);
    const isSame = known !== undefined && known.epoch === epoch;
    if (type === "gap") {
      if (message.to < message.from) return true; // the venue's own loss: no message is missing
      if (known && known.epoch === message.epoch && message.to <= known.seq) return false;
      this.#positions.set(topic, { epoch: message.epoch, seq: message.to });
      return true;
    }
    if (isSame && message.snapshot && (hasPast(topic) || seq === known.seq)) return true;
    if (isSame && seq <= known.seq) return false;
    if (isSame && hasPast(topic) && !message.snapshot && seq > known.seq + 1) {
      this.#missed(topic, epoch, known, seq - 1); // of what comes one by one, nothing is left out
    }
    this.#positions.set(topic, { epoch, seq });
    return true;
  }

  #show(message) {
    this.#tell(message.type, message);
    this.#tell("message", message);
  }

  // ---------------------------------------------------------------- what is asked

  // One entry for the topics of each set of options; wildcards apart. `isAgain`: with `since`.
  #groups(texts, isAgain) {
    const groups = new Map();
    for (const text of texts) {
      const { options } = this.#wanted.get(text);
      const key = `${isPattern(text)}${JSON.stringify(options)}`;
      if (!groups.has(key)) groups.set(key, { options, texts: [], isAgain });
      groups.get(key).texts.push(text);
    }
    return [...groups.values()];
  }

  // Requests go out in order, a subscribe not before the answer to the one before: a server that
  // limits requests says when to go on.
  #pump(link) {
    while (link?.isGreeted && !link.isOver && !link.asked && !link.timer && link.todo.length) {
      const group = link.todo.shift();
      if (group.raw) link.say(group.raw);
      else this.#ask(link, group);
      if (link.pace) this.#rest(link);
    }
  }

  #rest(link) {
    clearTimeout(link.timer);
    link.timer = setTimeout(() => { link.timer = 0; this.#pump(link); }, link.pace);
  }

  #ask(link, group) {
    const texts = group.texts.filter((text) => this.#wanted.has(text));
    if (!texts.length) {
      for (const topic of group.later ?? []) this.#begin(link, topic, link.held.get(topic)?.start?.seq ?? 0);
      return;
    }
    const id = `mdbus-${++this.#ids}`;
    const isWild = isPattern(texts[0]);
    const { topics, since, rest } = isWild ? this.#wild(link, group, texts) : this.#named(link, group, texts);
    if (rest) link.todo.unshift(rest);
    const request = { action: "subscribe", topics, ...group.options, ...group.more, id };
    if (Object.keys(since).length) request.since = since;
    link.asked = { id, group: { ...group, texts: topics }, since };
    link.say(request);
  }

  #named(link, group, texts) {
    const since = {};
    let room = link.messageBytes - ENVELOPE_BYTES;
    let count = 0;
    for (const text of texts) {
      const name = this.#wanted.get(text).topic ?? text;
      const isToCome = !link.epochs.has(name) || link.held.has(name);
      const position = group.isAgain && isToCome ? this.#since(name) : undefined;
      const size = text.length + 4 + (position ? text.length + JSON.stringify(position).length + 5 : 0);
      if (count && (room < size || count === MAX_TOPICS)) break;
      room -= size;
      count += 1;
      if (position) since[text] = position;
    }
    const rest = count < texts.length ? { ...group, texts: texts.slice(count) } : null;
    return { topics: texts.slice(0, count), since, rest };
  }

  // Of a wildcard every position is told: the server knows which of them it means. What does not
  // fit into one message is said in another; what comes of these topics before is held back.
  #wild(link, group, texts) {
    const since = {};
    let room = link.messageBytes - ENVELOPE_BYTES - JSON.stringify(texts).length;
    const names = group.later ?? (group.isAgain ? [...this.#positions.keys()] : []);
    const inOrder = group.later ?? [...names.filter(isLossless), ...names.filter((name) => !isLossless(name))];
    const later = [];
    for (const name of inOrder) {
      if (link.epochs.has(name) && !link.held.has(name)) continue;
      const position = this.#since(name);
      if (!position) continue;
      const size = name.length + JSON.stringify(position).length + 5;
      if (room >= size || !Object.keys(since).length) since[name] = position;
      else if (isLossless(name)) later.push(name); // a state topic begins with its value anyway
      room -= size;
    }
    for (const name of later) {
      if (!link.held.has(name)) link.held.set(name, { until: Infinity, messages: [] });
    }
    const rest = later.length ? { ...group, texts, later, more: ONLY_MISSED } : null;
    return { topics: texts, since, rest };
  }

  // Of these topics more was shown than this server was told of: what it has beyond that is asked
  // for before a gap is told. What has come of them waits.
  #askAgain(link, topics) {
    const groups = new Map(); // what was subscribed -> the topics that it brings
    for (const topic of topics) {
      link.held.get(topic).until = Infinity;
      const wanted = [...this.#wanted.entries()];
      const [text] = wanted.find(([, one]) => one.topic === topic)
        ?? wanted.find(([text, one]) => isPattern(text) && brings(one.topic ?? text, topic)) ?? [];
      if (text === undefined) link.held.delete(topic); // nobody wants it any more
      else groups.set(text, [...(groups.get(text) ?? []), topic]);
    }
    for (const [text, later] of groups) {
      const { options } = this.#wanted.get(text);
      link.todo.unshift({ options, texts: [text], isAgain: true, later, more: ONLY_MISSED });
    }
    this.#pump(link);
  }

  #since(name) {
    const position = this.#positions.get(name);
    return position && { epoch: position.epoch ?? UNKNOWN, seq: position.seq };
  }

  #refused(link, message) {
    const { group } = link.asked;
    link.asked = null;
    if (message.retryable) {
      link.todo.unshift(group);
      // From here on slower than it asks for: the third such word is the end of the connection.
      link.pace = 1.25 * Math.max(link.pace, link.leastPace, message.retry_after_ms ?? 1_000);
      this.#rest(link);
      return;
    }
    for (const [topic, held] of link.held) {
      if (held.until === Infinity) this.#begin(link, topic, held.start?.seq ?? 0);
    }
    this.#pump(link);
  }

  // ---------------------------------------------------------------- what was granted

  #acknowledged(link, message) {
    const since = (link.asked?.id === message.id && link.asked.since) || {};
    for (const entry of message.topics) {
      for (const [topic, position] of Object.entries(entry.positions ?? {})) {
        this.#granted(link, topic, position, undefined);
      }
      const isWild = entry.matched !== undefined;
      const wanted = this.#wanted.get(entry.requested);
      if (wanted && isWild === isPattern(entry.requested)) wanted.topic = entry.topic;
      if (isWild) link.patterns.add(entry.topic);
      else {
        const told = since[entry.topic] ?? since[entry.requested];
        this.#granted(link, entry.topic, entry, entry.recovered, told);
      }
    }
    const told = new Set(message.topics.map((entry) => entry.topic));
    for (const topic of Object.keys(since)) { // asked for again, and not served any more
      if (!told.has(topic) && link.held.get(topic)?.until === Infinity) link.held.delete(topic);
    }
  }

  // The topic comes from here, after `position`; `told` is what the server was told of it.
  #granted(link, topic, { epoch, seq }, recovered, told) {
    const held = link.held.get(topic);
    if (held && recovered === undefined) { // it will be said again, with what was seen
      held.start ??= { epoch, seq };
      return;
    }
    if (link.epochs.has(topic) && !held) return; // another subscription brings it already
    if (recovered === true && isLossless(topic)) { // what was held comes again, in its place
      link.epochs.set(topic, epoch);
      link.held.delete(topic);
      if (link === this.#next) link.taken.add(topic);
      return;
    }
    const start = held?.start ?? { epoch, seq };
    link.epochs.set(topic, start.epoch);
    const known = this.#positions.get(topic);
    const isAhead = known !== undefined && known.epoch === start.epoch && known.seq < start.seq;
    const wait = (until) => link.held.set(topic, { until, start, messages: held?.messages ?? [] });
    if (link === this.#next && isAhead) wait(start.seq); // the old one goes so far
    else if (recovered === true) { // of a state topic its last value comes, if it has changed
      if (link === this.#next) link.taken.add(topic);
    } else if (isAhead && isLossless(topic) && told?.epoch === known.epoch && told.seq < known.seq) {
      wait(Infinity);
      this.#askAgain(link, [topic]);
    } else this.#begin(link, topic, start.seq);
  }

  // The topic is shown from this connection, which begins after `seq`; says what is missing.
  #begin(link, topic, seq) {
    const held = link.held.get(topic);
    link.held.delete(topic);
    if (link === this.#next) link.taken.add(topic);
    const known = this.#positions.get(topic);
    const epoch = link.epochs.get(topic);
    if (epoch !== undefined && (known?.epoch !== epoch || known.seq < seq)) {
      this.#positions.set(topic, { epoch, seq });
      if (known && isLossless(topic)) this.#missed(topic, epoch, known, seq);
    }
    for (const message of held?.messages ?? []) {
      if (message.data) this.#data(link, message);
      else if (this.#passes(link, message)) this.#show(message);
    }
  }

  #missed(topic, epoch, known, seq) {
    const timestamp = new Date().toISOString();
    if (known.epoch !== epoch) {
      this.#show({ type: "reset", topic, epoch, reason: "epoch", timestamp });
    } else {
      const from = known.seq + 1, count = seq - known.seq;
      this.#show({ type: "gap", topic, epoch, from, to: seq, count, reason: "reconnect", timestamp });
    }
  }

  // What nothing brings any more begins anew when it is wanted again.
  #ended(link, message) {
    for (const { topic, matched } of message.topics) if (matched !== undefined) link.patterns.delete(topic);
    const named = new Set([...this.#wanted.values()].map((one) => one.topic));
    for (const topic of link.epochs.keys()) {
      if (named.has(topic) || [...link.patterns].some((pattern) => brings(pattern, topic))) continue;
      link.epochs.delete(topic);
      this.#positions.delete(topic);
    }
  }

  // A topic whose count nobody has told, for it had no value when it was subscribed: ask.
  #askEpochs(link) {
    if (link.listed && Date.now() - link.listedAt < LIST_AGAIN_MS) return;
    link.listed = `mdbus-${++this.#ids}`;
    link.listedAt = Date.now();
    link.say({ action: "list", id: link.listed });
  }

  #learn(link, message) {
    for (const { topic, epoch } of message.subscriptions) {
      if (!epoch || link.epochs.get(topic)) continue;
      link.epochs.set(topic, epoch);
      const known = this.#positions.get(topic);
      if (known && !known.epoch) this.#positions.set(topic, { epoch, seq: known.seq });
    }
  }

  #be(state) {
    if (this.#now === state) return;
    this.#now = state;
    this.#tell("state", state);
  }

  // What a listener throws is its own affair: the others, and what comes after, are not held up.
  #tell(kind, value) {
    for (const listener of [...(this.#listeners.get(kind) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        setTimeout(() => { throw error; });
      }
    }
  }
}
