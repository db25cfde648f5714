// An OpenID Connect provider for tests: everybody is who they say they are. PORT 0 takes a free port and says which.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [callback, secret, port = "0"] = process.argv.slice(2);
const server = createServer((request, response) => handle(request, response));
let handle = (_, response) => response.end();
server.listen(Number(port), "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "lethe", client_secret: secret, redirect_uris: [callback], response_types: ["code"],
      grant_types: ["authorization_code"], token_endpoint_auth_method: "client_secret_basic",
    }],
    claims: { openid: ["sub"], profile: ["preferred_username"] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: `subject-of-${id}`, preferred_username: id }) }),
    pkce: { required: () => true },
  });
  handle = provider.callback();
  console.log(issuer);
});
