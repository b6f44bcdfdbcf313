// Somebody else's identity provider, with a login form for anybody. It signs with the keys of the
// file that it is given. Usage: provider.js ISSUER KEYS

import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const [issuer, keys] = process.argv.slice(2);
const provider = new Provider(issuer, {
    jwks: { keys: JSON.parse(readFileSync(keys)) },
    clients: [
        {
            client_id: "shop",
            client_secret: "a secret of the shop",
            redirect_uris: ["https://shop.example/back"],
        },
    ],
    features: {
        devInteractions: { enabled: true },
        // What makes access tokens for another server JWTs.
        resourceIndicators: {
            enabled: true,
            defaultResource: () => "urn:postroom",
            useGrantedResource: () => true,
            getResourceServerInfo: () => ({
                scope: "openid",
                audience: "postroom",
                accessTokenFormat: "jwt",
                accessTokenTTL: 600,
            }),
        },
    },
});
provider.listen(Number(new URL(issuer).port), "127.0.0.1");
