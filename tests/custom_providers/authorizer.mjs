// An authorizer over gRPC in pure JavaScript (@grpc/grpc-js) on a free port of the loopback, which it
// says on stdout. Its argument is the folder of Envoy's protos. Ends with its stdin.

import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const definition = loadSync('envoy/service/auth/v3/external_auth.proto', {
  includeDirs: [process.argv[2]],
  keepCase: true,
});
const { Authorization } = grpc.loadPackageDefinition(definition).envoy.service.auth.v3;

const replace = (key, value) => ({
  header: { key, value },
  append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
});

const answers = {
  allow: () => ({
    status: { code: grpc.status.OK },
    ok_response: {
      headers: [replace('x-user', 'node')],
      headers_to_remove: ['x-secret'],
      response_headers_to_add: [replace('x-down', 'node')],
    },
    dynamic_metadata: { fields: { tenant: { stringValue: 'node', kind: 'stringValue' } } },
  }),
  deny: () => ({
    status: { code: grpc.status.UNAUTHENTICATED },
    denied_response: {
      status: { code: 418 },
      headers: [replace('x-why', 'node')],
      body: 'not for you',
    },
  }),
};

const server = new grpc.Server();
server.addService(Authorization.service, {
  Check({ request }, callback) {
    const answer = answers[request.attributes.request.http.headers['x-want']];
    if (answer) {
      callback(null, answer());
    } else {
      callback({ code: grpc.status.INTERNAL, details: 'what?' });
    }
  },
});
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
