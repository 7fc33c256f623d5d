// The two endpoints of http_apps.py in Node: node server.js PORT
const http = require('http');

const pace = Number(process.env.PACE_MS || 0);

const chunk = {
  id: 'chatcmpl-0123456789abcdef', object: 'chat.completion.chunk', created: 1700000000, model: 'm',
  choices: [{ index: 0, delta: { content: ' token' }, finish_reason: null }],
};

function echo(request, response) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(parts).toString());
    const out = JSON.stringify({ model: body.model, n: body.messages.length, max_tokens: body.max_tokens });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(out) });
    response.end(out);
  });
}

function sse(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let sent = 0;
  const step = () => {
    if (sent++ >= 100) return response.end();
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    return pace ? setTimeout(step, pace) : setImmediate(step);
  };
  step();
}

http.createServer((request, response) => (
  request.url === '/echo' ? echo(request, response) : sse(response)
)).listen(Number(process.argv[2]), '127.0.0.1');
