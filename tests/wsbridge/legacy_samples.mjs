// The JavaScript samples of the legacy API, as documented; only host and port are put in, `ws` is
// declared (the samples assign it), and what they print goes to the test as JSON lines.
const host = process.argv[2];
const seen = { prices: 0, books: 0, multi: 0, replies: new Set(), sources: new Set() };
const done = () => {
  if (seen.prices >= 2 && seen.books >= 1 && seen.multi >= 2 && seen.replies.size === 3) {
    console.log(JSON.stringify({ ...seen, replies: [...seen.replies].sort(), sources: [...seen.sources] }));
    process.exit(0);
  }
};
setTimeout(() => { console.log(JSON.stringify({ ...seen, replies: [...seen.replies], late: true })); process.exit(1); }, 15000);
const check = (condition, what) => { if (!condition) { console.log(JSON.stringify({ failed: what })); process.exit(1); } };

{ // 1. Real-time price streaming (no trailing slash, as in the sample)
  let ws;
  ws = new WebSocket(`ws://${host}/ws/market/BTC/price`)
  ws.onopen = () => {
  }
  ws.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.type !== 'price') return;  // the sample's handler expects data messages only
    check(typeof data.data.price === 'number', 'data.data.price');
    check(data.source === 'sim', 'data.source');
    seen.sources.add(data.source);
    seen.prices += 1;
    done();
  }
}

{ // 2. Order book streaming
  let ws;
  ws = new WebSocket(`ws://${host}/ws/market/BTC/orderbook`)
  ws.onmessage = (event) => {
    if (JSON.parse(event.data).type !== 'orderbook') return;
    const orderBook = JSON.parse(event.data).data;
    orderBook.bids.forEach(bid => {
      check(typeof bid[0] === 'number' && typeof bid[1] === 'number', 'bid');
    });
    orderBook.asks.forEach(ask => {
      check(typeof ask[0] === 'number' && typeof ask[1] === 'number', 'ask');
    });
    seen.books += 1;
    done();
  }
}

{ // 3. Multi-symbol subscriptions
  let ws;
  let left = false;
  ws = new WebSocket(`ws://${host}/ws/market-multi/`)
  ws.onopen = () => {
    ws.send(JSON.stringify({
      action: 'subscribe',
      symbols: ['BTC', 'ETH', 'SOL'],
      stream_type: 'price'
    }))
    ws.send(JSON.stringify({ action: 'list' }))
    ws.send(JSON.stringify({
      action: 'unsubscribe',
      symbols: ['ETH']
    }))
    ws.send(JSON.stringify({ action: 'ping' }))
  }
  ws.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === 'subscription') check(message.symbols.length > 0, 'symbols');
    if (message.action === 'unsubscribed') left = true;  // from here on, and not a message earlier
    if (message.type === 'list') check(message.subscribed.join() === 'BTC,ETH,SOL', 'list');
    if (['subscription', 'list', 'pong'].includes(message.type)) seen.replies.add(message.type);
    if (message.type === 'price' && !message.snapshot) {
      check(!(left && message.symbol === 'ETH'), 'ETH after unsubscribe');
      seen.multi += left ? 1 : 0;
    }
    done();
  }
}
