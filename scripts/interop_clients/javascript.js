// Microsoft's own JavaScript client against the gateway. Settings come from the environment (see ../interop-clients);
// the result is one JSON object on stdout. The token goes into the Authorization header: that is what this client does
// with accessTokenFactory outside a browser.
'use strict';
const signalR = require('@microsoft/signalr');

const { GATEWAY_URL: base, GATEWAY_USER: userName, GATEWAY_KEY: apiKey, CONTRACT: contract } = process.env;
const wanted = Number(process.env.TICKS);
const reconnects = process.env.RECONNECT === '1';
const streams = ['Trades', 'Quotes', 'MarketDepth'];

async function login() {
  const answer = await fetch(`${base}/api/Auth/loginKey`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ userName, apiKey }),
  });
  return (await answer.json()).token;
}

async function main() {
  const token = await login();
  const builder = new signalR.HubConnectionBuilder()
    .withUrl(`${base}/hubs/market`, {
      transport: signalR.HttpTransportType.WebSockets,
      accessTokenFactory: () => token,
      skipNegotiation: process.env.SKIP_NEGOTIATION === '1',
    })
    .configureLogging(signalR.LogLevel.None);
  const hub = (reconnects ? builder.withAutomaticReconnect([0, 100, 500]) : builder).build();
  const result = { trades: [], quotes: 0, depth: 0, nulls: 0, connections: 1, refused: '' };
  const subscribe = () => Promise.all(streams.map((stream) => hub.invoke(`SubscribeContract${stream}`, contract)));
  const enough = new Promise((resolve, reject) => {
    hub.on('GatewayTrade', (id, prints) => {
      if (id === contract && Array.isArray(prints)) result.trades.push(...prints);
      if (result.trades.length >= wanted && (!reconnects || result.connections > 2)) resolve();
    });
    hub.onclose((error) => reject(new Error(`closed: ${error}`)));
  });
  hub.on('GatewayQuote', () => { result.quotes += 1; });
  hub.on('GatewayDepth', (id, rows) => {
    result.depth += 1;
    if (rows.includes(null)) result.nulls += 1;
  });
  hub.onreconnected(() => {
    result.connections += 1;
    return subscribe().catch(() => {}); // it may be cut again at once
  });
  await hub.start();
  await subscribe();
  await enough;
  await hub.invoke('NoSuchMethod').catch((error) => { result.refused = error.message; });
  await hub.invoke('UnsubscribeContractTrades', contract);
  enough.catch(() => {});
  await hub.stop();
  process.stdout.write(JSON.stringify({ version: signalR.VERSION, ...result }));
}

main().catch((error) => {
  process.stderr.write(`${error.message || error}\n`);
  process.exit(1);
});
