// The client served as /ws/mdbus.js against servers that are a script: argument 1 is the file,
// argument 2 the moves as JSON. A move is [connection, message], [connection, "open", 0] (it is by
// then), [connection, "close", code], or [connection, "clock", ms]: so much time has passed.
// What the client showed and what it asked goes to the test as JSON lines.
import { readFileSync } from "node:fs";

const [file, moves] = process.argv.slice(2);
const source = readFileSync(file, "utf8");
const { Mdbus } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const sockets = [];

class Scripted {
  readyState = 0;
  asked = [];

  constructor() {
    sockets.push(this);
    setTimeout(() => { this.readyState = 1; this.onopen(); });
  }

  send(text) {
    const request = JSON.parse(text);
    this.asked.push(request);
    say({ asked: request, connection: sockets.indexOf(this) });
  }

  close(code) {
    this.readyState = 3;
    say({ left: sockets.indexOf(this), code });
  }
}

const until = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};
const bus = new Mdbus("ws://script/", { WebSocket: Scripted, minDelayMs: 1, maxDelayMs: 2 });
bus.on("state", (state) => say({ state }));
bus.on("message", (message) => say({ shown: message }));
bus.subscribe("trades.*");
for (const [at, message, code] of JSON.parse(moves)) {
  await until(() => sockets[at]?.readyState >= 1);
  if (message === "open") continue;
  if (message === "clock") {
    const now = Date.now;
    Date.now = () => now() + code;
    continue;
  }
  if (message === "close") {
    sockets[at].readyState = 3;
    sockets[at].onclose({ code });
    continue;
  }
  const last = () => sockets[at].asked.findLast((one) => one.action === "subscribe");
  if (message.type === "subscription") {
    await until(last);
    message.id = last().id;
  }
  sockets[at].onmessage({ data: JSON.stringify(message) });
}
process.exit(0);
