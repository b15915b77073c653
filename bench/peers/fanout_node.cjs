// Node's `ws` and uWebSockets.js; run by bench.fanout.
// Arguments: the folder that holds node_modules, `ws` or `uws`, the Unix socket to take ticks on,
// `deflate` or `plain`. Says `port N`.
'use strict';
const net = require('net');
const path = require('path');
const [folder, kind, input, mode] = process.argv.slice(2);
const load = (name) => require(path.join(folder, 'node_modules', name));

// Ticks: four bytes of length, then the text; the whole ticks of each read are handed on together.
function listen(onTicks) {
  net.createServer((socket) => {
    let rest = Buffer.alloc(0);
    socket.on('data', (data) => {
      data = rest.length ? Buffer.concat([rest, data]) : data;
      let start = 0;
      const ticks = [];
      while (data.length - start >= 4) {
        const end = start + 4 + data.readUInt32BE(start);
        if (end > data.length) break;
        ticks.push(data.subarray(start + 4, end));
        start = end;
      }
      rest = data.subarray(start);
      if (ticks.length) onTicks(ticks);
    });
  }).listen(input);
}

if (kind === 'ws') {
  const { WebSocketServer } = load('ws');
  const perMessageDeflate = mode === 'deflate' ? { threshold: 0 } : false;
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096, perMessageDeflate });
  server.on('listening', () => {
    listen((ticks) => {
      for (const tick of ticks)
        for (const client of server.clients) client.send(tick, { binary: false });
    });
    console.log('port', server.address().port);
  });
} else {
  const uWS = load('@btc-vision/uwebsockets.js');
  const app = uWS.App();
  const compression = mode === 'deflate' ? uWS.SHARED_COMPRESSOR : uWS.DISABLED;
  app.ws('/*', { compression, open: (client) => client.subscribe('ticks') });
  app.listen('127.0.0.1', 0, (listener) => {
    listen((ticks) => {
      for (const tick of ticks) app.publish('ticks', tick, false, mode === 'deflate');
    });
    console.log('port', uWS.us_socket_local_port(listener));
  });
}
