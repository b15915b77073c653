// The client served as /ws/mdbus.js, made to come back: what it saw goes to the test as JSON lines.
// Arguments: the file, the URL, and topics; a line {"subscribe": …} or {"unsubscribe": …} on stdin
// is done, and the end of stdin is the end. MDBUS_TOKEN is the token, if it is set.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [file, url, ...topics] = process.argv.slice(2);
const source = readFileSync(file, "utf8");
const { Mdbus } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const token = process.env.MDBUS_TOKEN;
const bus = new Mdbus(url, { minDelayMs: 20, maxDelayMs: 100, token: token && (async () => token) });
bus.on("error", (error) => { if (!error.timestamp) say({ failed: error.code }); }); // no server's
bus.on("state", (state) => say({ state }));
bus.on("message", (message) => {
  const { type, topic, seq, recovered, snapshot } = message;
  if (message.data) say({ type, topic, seq, recovered, snapshot });
  else if (type !== "heartbeat" && type !== "status") say(message);
});
for (const topic of topics) bus.subscribe(topic);
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const wish = JSON.parse(line);
    if (wish.subscribe) bus.subscribe(wish.subscribe, wish.options);
    if (wish.unsubscribe) bus.unsubscribe(wish.unsubscribe);
    if (wish.send) bus.send(wish.send);
  })
  .on("close", () => { bus.close(); process.exit(0); });
