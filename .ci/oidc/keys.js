// Prints a JWK set member with its private part. Usage: keys.js KID

import { generateKeyPairSync } from "node:crypto";

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwk = privateKey.export({ format: "jwk" });
console.log(JSON.stringify({ ...jwk, kid: process.argv[2], alg: "RS256", use: "sig" }));
