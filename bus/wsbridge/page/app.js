// The page of the bridge. It uses nothing but the public WebSocket API, documented in
// docs/websocket.md, through the client that any page may use: what it can do, any program can.
// Data is drawn at most once a frame.
import { Mdbus } from "/ws/mdbus.js";

const $ = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

// ---------------------------------------------------------------- numbers and times as text

const digitsOf = (price) => (price >= 100 ? 2 : price >= 1 ? 4 : 6);
const formats = new Map();
const fixed = (value, digits) => {
  if (value === null || value === undefined) return "–";
  if (!formats.has(digits)) {
    formats.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return formats.get(digits).format(value);
};
const compactFormat = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });
const compact = (value) => (value === null || value === undefined ? "–" : compactFormat.format(value));
const priceText = (value) => (value === null || value === undefined ? "–" : fixed(value, digitsOf(Math.abs(value))));
const sizeText = (value) => (value >= 1000 ? compact(value) : fixed(value, value >= 100 ? 2 : 4));
const signed = (value, digits, suffix) => {
  if (value === null || value === undefined) return "–";
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${fixed(Math.abs(value), digits)}${suffix}`;
};
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const directionOf = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

// ---------------------------------------------------------------- what is known

const TRADES = 60;
const NEWS = 60;
const TREND = 60;
const CHART = 900;
const rows = new Map(); // symbol -> {price message data, trend, state, elements}
let selected = null;
let book = null;
let ticker = null;
let trades = [];
let news = new Map();
let chart = [];
let dirty = new Set();
let frameAsked = false;
const redraw = (what) => {
  dirty.add(what);
  if (!frameAsked) {
    frameAsked = true;
    requestAnimationFrame(draw);
  }
};

// ---------------------------------------------------------------- the connection

let bus = null; // comes back by itself, and goes from a server that leaves to the next one
let isOpen = false;
let farewell = ""; // why the server says that it closes the connection
let received = 0;
let ages = [];
let categories = [];

function setState(state, text) {
  $("state").dataset.state = state;
  $("state").lastElementChild.textContent = text;
}

// A bridge that wants a token says so; the token lives as long as this tab, and nowhere else.
const TOKEN_KEY = "mdbus.token";
let token = "";
let isExpiring = false; // the token that was shown ends soon: it is not shown again
try { token = sessionStorage.getItem(TOKEN_KEY) || ""; } catch { /* storage is switched off */ }

function keepToken(text) {
  token = text;
  try {
    if (text) sessionStorage.setItem(TOKEN_KEY, text);
    else sessionStorage.removeItem(TOKEN_KEY);
  } catch { /* it lives in this page alone then */ }
}

function askForToken(note) {
  if ($("token-form").hidden) {
    $("token-form").hidden = false;
    $("token").focus();
  }
  $("token-note").textContent = note;
}

function forgetForm() {
  $("token-form").hidden = true;
  $("token").value = "";
  $("token-note").textContent = "";
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("token").value.trim();
  if (!text) return;
  keepToken(text);
  forgetForm();
  if (isOpen) bus.send({ action: "auth", token });
  else connect();
});

function connect() {
  if (bus) bus.close();
  [isExpiring, farewell, trades] = [false, "", []];
  setState("connecting", "Connecting…");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const mine = new Mdbus(`${scheme}://${location.host}/ws/v1/`, { token: () => (isExpiring ? "" : token) });
  bus = mine;
  mine.on("state", (state) => { if (bus === mine) become(state); });
  mine.on("message", (message) => {
    received += 1;
    if (bus === mine) (handlers[message.type] || (() => {}))(message);
  });
  follow([...rows.keys()]);
  read(categories);
  if (selected) watch(selected);
  redraw("tape");
}

function become(state) {
  isOpen = state === "open";
  if (isOpen) {
    showConnected();
    bus.send({ action: "status" });
    return;
  }
  for (const row of rows.values()) row.state = "down";
  redraw("prices");
  redraw("detail");
  if (state === "waiting") setState("connecting", "Disconnected, retrying…");
  else if (!$("token-form").hidden) setState("stopped", "Waiting for a token");
  else setState("stopped", `Closed by the server: ${farewell || "for good"}`);
}
addEventListener("online", () => { if (!isOpen && $("state").dataset.state === "connecting") connect(); });

const follow = (symbols) => symbols.length && bus.subscribe(symbols.map((symbol) => `price.${symbol}`));
const read = (names) => names.length && bus.subscribe(names.map((name) => `news.${name}`), { history: 20 });

const handlers = {
  connection(message) {
    if (message.status === "auth_required" && !token) {
      askForToken("This bridge asks who you are.");
      bus.close(); // until there is one
    } else if (message.status === "auth_expiring") {
      isExpiring = true;
      const seconds = Math.round(message.expires_in_ms / 1000);
      askForToken(`The token ends in ${seconds} s. A newer one goes on without a break.`);
    } else if (message.status === "closing") {
      farewell = message.reason;
    } else if (message.status === "connected") {
      isExpiring = false;
      forgetForm();
      $("simulated").hidden = !message.simulated;
      $("server").textContent = `${message.server} · ${message.connection_id}`;
      showFeeds(message.feeds);
      const fresh = message.symbols.filter((symbol) => !rows.has(symbol));
      for (const symbol of fresh) rows.set(symbol, newRow(symbol));
      follow(fresh);
      read(message.categories.filter((name) => !categories.includes(name)));
      categories = message.categories;
      if (!selected && rows.size) select(rows.keys().next().value);
    }
  },
  error(message) {
    if (!["unauthorized", "token_expired"].includes(message.code)) return;
    keepToken("");
    askForToken(message.message);
  },
  subscription(message) {
    for (const entry of message.topics) setTopicState(entry.topic, entry.state);
  },
  list(message) {
    for (const entry of message.subscriptions) setTopicState(entry.topic, entry.state);
  },
  status(message) {
    if (message.scope === "topic") setTopicState(message.topic, message.state);
    if (message.scope !== "feed") return;
    // A feed that an operator has stopped says that its topics are closed; that is not the market.
    const state = message.state === "closed" && message.reason === "stopped" ? "stopped" : message.state;
    const isNews = feedStates.get(message.feed) !== state;
    showFeeds({ [message.feed]: state });
    if (isNews) bus.send({ action: "list" }); // its topics have other states now
  },
  price(message) {
    const data = message.data;
    const row = rows.get(data.symbol);
    if (!row) return;
    row.flash = row.data ? directionOf(data.price - row.data.price) || row.flash : "";
    row.data = data;
    row.state = message.stale ? "stale" : "live";
    row.trend.push(data.price);
    if (row.trend.length > TREND) row.trend.shift();
    if (data.source === "sim") $("simulated").hidden = false;
    noteAge(message);
    redraw("prices");
    if (data.symbol === selected) {
      chart.push([Date.now(), data.price]);
      if (chart.length > CHART) chart.shift();
      redraw("detail");
    }
  },
  orderbook(message) {
    if (message.data.symbol !== selected) return;
    book = message.data;
    noteAge(message);
    redraw("book");
  },
  ticker(message) {
    if (message.data.symbol !== selected) return;
    ticker = message.data;
    redraw("detail");
  },
  trade(message) {
    if (message.data.symbol !== selected) return;
    trades.unshift(message.data);
    trades.length = Math.min(trades.length, TRADES);
    noteAge(message);
    redraw("tape");
  },
  news(message) {
    news.set(message.data.id, message.data);
    if (news.size > NEWS) news = new Map(newestNews().map((item) => [item.id, item]));
    redraw("news");
  },
};

function noteAge(message) {
  if (message.snapshot) return;
  ages.push(Date.now() - Date.parse(message.timestamp));
  if (ages.length > 2000) ages = ages.slice(1000);
}

function setTopicState(topic, state) {
  const [stream, symbol] = [topic.slice(0, topic.indexOf(".")), topic.slice(topic.indexOf(".") + 1)];
  if (stream === "price" && rows.has(symbol)) {
    rows.get(symbol).state = state;
    redraw("prices");
    if (symbol === selected) redraw("detail");
  }
  if (symbol === selected && stream === "orderbook") {
    $("book-note").textContent = state === "live" ? "" : state;
    $("book-empty").textContent = state === "pending" ? `No order book for ${symbol} yet.` : "Waiting for the order book…";
  }
}

const feedStates = new Map();
function showFeeds(states) {
  for (const [name, state] of Object.entries(states)) feedStates.set(name, state);
  $("feeds").replaceChildren(...[...feedStates].map(([name, state]) => {
    const item = make("li");
    item.dataset.state = state;
    item.append(make("b", "", name), ` ${state}`);
    return item;
  }));
  if (isOpen) showConnected();
}

// The badge is not green while a feed gives nothing, however well the bridge can be reached.
function showConnected() {
  const silent = [...feedStates].filter(([, state]) => state === "down" || state === "stale");
  if (!silent.length) setState("open", "Connected");
  else setState("degraded", `Connected, but ${silent.map(([name, state]) => `${name} is ${state}`).join(", ")}`);
}

// ---------------------------------------------------------------- choosing an instrument

const DETAIL = ["orderbook", "trades", "ticker"];

function watch(symbol) {
  bus.subscribe(DETAIL.map((stream) => `${stream}.${symbol}`), { history: TRADES });
}

function select(symbol) {
  if (symbol === selected) return;
  if (selected) bus.unsubscribe(DETAIL.map((stream) => `${stream}.${selected}`));
  selected = symbol;
  [book, ticker, trades] = [null, null, []];
  chart = rows.get(symbol).trend.map((price) => [Date.now(), price]).slice(-1);
  $("detail-symbol").textContent = symbol;
  $("book-note").textContent = "";
  watch(symbol);
  for (const what of ["prices", "detail", "book", "tape"]) redraw(what);
}

addEventListener("keydown", (event) => {
  if (!["ArrowUp", "ArrowDown"].includes(event.key) || !rows.size) return;
  if (event.target === $("token")) return;
  const symbols = [...rows.keys()];
  const step = event.key === "ArrowDown" ? 1 : symbols.length - 1;
  const next = symbols[(symbols.indexOf(selected) + step) % symbols.length];
  select(next);
  rows.get(next).button.focus();
  event.preventDefault();
});

// ---------------------------------------------------------------- drawing

function draw() {
  frameAsked = false;
  const todo = dirty;
  dirty = new Set();
  for (const what of todo) drawers[what]();
}

function newRow(symbol) {
  const line = make("tr");
  const button = make("button", "", symbol);
  const note = make("small", "", "waiting");
  button.type = "button";
  const name = make("td");
  name.append(button);
  button.append(note);
  const trend = make("td", "trend");
  trend.innerHTML = '<svg viewBox="0 0 76 24" preserveAspectRatio="none" aria-hidden="true"><polyline/></svg>';
  const [last, change, volume] = [make("td", "num last", "–"), make("td", "num", "–"), make("td", "num vol", "–")];
  line.append(name, trend, last, change, volume);
  line.addEventListener("click", () => select(symbol));
  $("prices").append(line);
  return { symbol, line, button, note, trend: [], svg: trend.firstChild, last, change, volume, state: "pending", flash: "" };
}

function points(values, width, height) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = high - low || 1;
  return values.map((value, index) => [
    (index / Math.max(values.length - 1, 1)) * width,
    height - 2 - ((value - low) / span) * (height - 4),
  ]);
}

const drawers = {
  prices() {
    for (const row of rows.values()) {
      row.line.dataset.selected = String(row.symbol === selected);
      row.button.setAttribute("aria-pressed", String(row.symbol === selected));
      row.line.dataset.state = row.state;
      const data = row.data;
      row.note.textContent = row.state === "live" && data ? data.source : row.state;
      if (!data) continue;
      row.last.textContent = priceText(data.price);
      if (row.flash) {
        row.last.classList.remove("flash-up", "flash-down");
        void row.last.offsetWidth; // restarts the animation
        row.last.classList.add(`flash-${row.flash}`);
        row.flash = "";
      }
      row.change.textContent = signed(data.change_percent, 2, " %");
      row.change.className = `num ${directionOf(data.change_percent)}`;
      row.volume.textContent = compact(data.volume);
      row.svg.setAttribute("class", directionOf(row.trend[row.trend.length - 1] - row.trend[0]));
      row.svg.firstChild.setAttribute("points", points(row.trend, 76, 24).map((p) => p.map((n) => n.toFixed(1)).join(",")).join(" "));
    }
  },
  detail() {
    const data = selected && rows.get(selected).data;
    const direction = data ? directionOf(data.change_percent) : "";
    const state = selected ? rows.get(selected).state : "pending";
    const source = data && (data.source === "sim" ? "simulated" : data.source);
    $("detail").dataset.state = state;
    $("detail-source").textContent = data ? (state === "live" ? source : `${source}, ${state}`) : "waiting for the first price";
    $("detail-last").textContent = data ? priceText(data.price) : "–";
    $("detail-last").className = `last ${direction}`;
    $("detail-change").textContent = data ? `${signed(data.change, digitsOf(data.price), "")}  ${signed(data.change_percent, 2, " %")}` : "";
    $("detail-change").className = `change ${direction}`;
    $("fact-high").textContent = priceText(ticker && ticker.high);
    $("fact-low").textContent = priceText(ticker && ticker.low);
    $("fact-volume").textContent = compact(ticker ? ticker.volume : data && data.volume);
    if (data) document.title = `${priceText(data.price)} ${selected} · mdbus`;
    drawChart(direction);
  },
  book() {
    $("book-empty").hidden = Boolean(book);
    if (!book) {
      $("book").replaceChildren();
      $("fact-spread").textContent = "–";
      return;
    }
    const side = (levels, name) => {
      let total = 0;
      return levels.map(([price, size]) => {
        total += size;
        return [name, price, size, total];
      });
    };
    const depth = Math.max(4, Math.min(20, Math.floor(($("book").parentElement.clientHeight - 110) / 42)));
    const [bids, asks] = [side(book.bids.slice(0, depth), "bid"), side(book.asks.slice(0, depth), "ask")];
    const most = Math.max(1e-12, ...bids.map((l) => l[3]), ...asks.map((l) => l[3]));
    const wanted = [...asks.reverse(), null, ...bids];
    const ladder = $("book");
    while (ladder.childElementCount > wanted.length) ladder.lastElementChild.remove();
    wanted.forEach((level, index) => {
      let row = ladder.children[index];
      if (!row) ladder.append((row = make("div")));
      const cells = level ? 3 : 2;
      while (row.childElementCount < cells) row.append(make("span"));
      while (row.childElementCount > cells) row.lastElementChild.remove();
      row.setAttribute("role", "row");
      row.className = level ? `row ${level[0]}` : "mid";
      if (level) {
        row.style.setProperty("--share", `${((level[3] / most) * 100).toFixed(1)}%`);
        [priceText(level[1]), sizeText(level[2]), sizeText(level[3])].forEach((text, i) => { row.children[i].textContent = text; });
      } else if (bids.length && asks.length) {
        const spread = asks[asks.length - 1][1] - bids[0][1];
        const middle = (asks[asks.length - 1][1] + bids[0][1]) / 2;
        row.children[0].textContent = priceText(middle);
        row.children[1].textContent = `spread ${((spread / middle) * 10000).toFixed(3)} bp`;
        $("fact-spread").textContent = fixed(spread, digitsOf(middle));
      }
    });
  },
  tape() {
    $("tape-empty").hidden = trades.length > 0;
    $("tape").replaceChildren(...trades.map((trade) => {
      const item = make("li", trade.side || "unknown");
      item.append(make("span", "", priceText(trade.price)), make("span", "", sizeText(trade.quantity)), make("span", "", clock.format(new Date(trade.timestamp))));
      return item;
    }));
  },
  news() {
    $("news-empty").hidden = news.size > 0;
    $("news").replaceChildren(...newestNews().map((item) => {
      const line = make("li");
      const linked = /^https?:\/\//.test(item.url || "");
      const title = make(linked ? "a" : "span", "", item.headline);
      if (linked) Object.assign(title, { href: item.url, target: "_blank", rel: "noopener noreferrer" });
      const when = item.published_at ? clock.format(new Date(item.published_at)) : "";
      const note = make("small", "", [when, item.publisher, item.category].filter(Boolean).join(" · "));
      if (item.symbols.length) note.append(" · ", make("em", "", item.symbols.join(" ")));
      line.append(title, note);
      return line;
    }));
  },
};

function newestNews() {
  const at = (item) => item.published_at || item.timestamp;
  return [...news.values()].sort((a, b) => (at(a) < at(b) ? 1 : -1)).slice(0, NEWS);
}

function drawChart(direction) {
  const canvas = $("chart");
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (chart.length < 2) return;
  const style = getComputedStyle(document.documentElement);
  const color = style.getPropertyValue(direction === "down" ? "--down" : "--up").trim();
  const [margin, top] = [78, 14];
  const line = points(chart.map((p) => p[1]), width - margin, height - 2 * top);
  const values = chart.map((p) => p[1]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  pen.font = "11px ui-monospace, Menlo, Consolas, monospace";
  pen.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) {
    const y = top + 2 + share * (height - 2 * top - 4);
    pen.strokeStyle = style.getPropertyValue("--line").trim();
    pen.beginPath();
    pen.moveTo(0, y);
    pen.lineTo(width - margin, y);
    pen.stroke();
    pen.fillStyle = style.getPropertyValue("--muted").trim();
    pen.fillText(priceText(high - share * (high - low)), width - margin + 8, y);
  }
  pen.beginPath();
  line.forEach(([x, y], index) => (index ? pen.lineTo(x, y + top) : pen.moveTo(x, y + top)));
  pen.strokeStyle = color;
  pen.lineWidth = 1.8;
  pen.lineJoin = "round";
  pen.stroke();
  pen.lineTo(width - margin, height);
  pen.lineTo(0, height);
  pen.closePath();
  const shade = pen.createLinearGradient(0, 0, 0, height);
  shade.addColorStop(0, `${color}44`);
  shade.addColorStop(1, `${color}00`);
  pen.fillStyle = shade;
  pen.fill();
  const [x, y] = line[line.length - 1];
  pen.fillStyle = color;
  pen.beginPath();
  pen.arc(x, y + top, 3.2, 0, 7);
  pen.fill();
}

addEventListener("resize", () => { redraw("detail"); redraw("book"); });

setInterval(() => {
  $("rate").textContent = String(received);
  received = 0;
  const sorted = ages.sort((a, b) => a - b);
  $("latency").textContent = sorted.length ? `${Math.max(0, sorted[sorted.length >> 1])} ms` : "–";
  ages = [];
}, 1000);
setInterval(() => {
  if (!isOpen) return;
  bus.send({ action: "status" });
  bus.send({ action: "list" });
}, 5000);

connect();
