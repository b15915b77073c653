// The client served as /ws/mdbus.js, made to come back: what it saw goes to the test as JSON lines.
import { readFileSync } from "node:fs";

const source = readFileSync(process.argv[2], "utf8");
const { Mdbus } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const say = (value) => console.log(JSON.stringify(value));
const bus = new Mdbus(process.argv[3], { minDelayMs: 20, maxDelayMs: 100 });
bus.on("state", (state) => say({ state }));
bus.on("trade", (message) => say({ seq: message.seq }));
bus.on("subscription", (message) => say({ recovered: message.topics.map((one) => one.recovered ?? null) }));
bus.subscribe("trades.ETH");
process.stdin.resume();
process.stdin.on("end", () => { bus.close(); process.exit(0); });
