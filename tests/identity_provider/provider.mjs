// A certified OpenID provider (oidc-provider) over HTTPS on a free port of the loopback.
//
// Its argument names a JSON file with what it is: certificate, keys, clients, resources. Then each
// line from stdin is a JSON command that changes something, and is answered with a line. Ends with
// its stdin. What it is asked for, and what that means, is the tests' business.

import { Console } from 'node:console';
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

// Answers alone go to stdout.
globalThis.console = new Console(process.stderr, process.stderr);

const { certificate, certificateKey, clients, claims, resources, ...initial } = JSON.parse(
  readFileSync(process.argv[2], 'utf8'),
);

// Tokens end early where the test says that it is later.
const machineTime = Date.now;
let secondsAhead = 0;
Date.now = () => machineTime() + secondsAhead * 1000;

const jwk = ({ pem, ...names }) => ({ ...createPrivateKey(pem).export({ format: 'jwk' }), ...names });

// Of several keys that fit, the first one signs. What was issued is kept beside the providers, so
// that one with other keys is the same provider.
const provider = (issuer, keys) =>
  new Provider(issuer, {
    jwks: { keys: keys.map(jwk) },
    clients: clients.map((client) => ({
      ...client,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    })),
    extraTokenClaims: (_, token) => claims[token.clientId],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, indicator) => resources[indicator],
      },
    },
  }).callback();

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

let answer;
const server = createServer({ cert: certificate, key: certificateKey }, (request, response) =>
  answer(request, response),
);
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://localhost:${server.address().port}`;
  answer = provider(issuer, initial.keys);
  const commands = createInterface({ input: process.stdin });
  commands.on('line', (line) => {
    const { keys, pass } = JSON.parse(line);
    if (keys) answer = provider(issuer, keys);
    if (pass) secondsAhead += pass;
    say('done');
  });
  commands.on('close', () => process.exit());
  say(issuer);
});
