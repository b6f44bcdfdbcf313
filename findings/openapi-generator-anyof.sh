#!/usr/bin/env bash
# openapi-generator 7.26.0 (PyPI openapi-generator-cli), generators go and typescript-fetch; OpenAPI 3.1.
#
# A schema with `properties` and, beside it, an `anyOf` that only says which of them are required
# (valid JSON Schema, and valid OpenAPI 3.1). One expects a type with these properties. Seen: the
# generator ends with status 0, and the type has none of them, or only those that a branch repeats:
# a client cannot send `body` or `to`. The same rule written as `if`/`then` leaves the type whole.
# Fails when that changes. Needs a Java runtime, and Python 3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet openapi-generator-cli==7.26.0 openapi-spec-validator==0.9.0
# document FILE RULE
document() {
    cat >"$1" <<JSON
{
    "openapi": "3.1.0",
    "info": { "title": "Letters", "version": "1" },
    "paths": { "/letters": { "post": {
        "operationId": "send",
        "requestBody": { "content": { "application/json": {
            "schema": { "\$ref": "#/components/schemas/Letter" } } } },
        "responses": { "204": { "description": "Sent." } }
    } } },
    "components": { "schemas": { "Letter": {
        "type": "object",
        "required": ["body"],
        "properties": {
            "body": { "type": "string" },
            "to": { "type": "string" },
            "reply": { "type": "integer" }
        },
        $2
    } } }
}
JSON
}
document any.json '"anyOf": [{ "required": ["to"] }, { "required": ["reply"], "properties": { "reply": { "type": "integer" } } }]'
document if.json '"if": { "not": { "required": ["reply"] } }, "then": { "required": ["to"] }'
venv/bin/openapi-spec-validator any.json if.json
changed=0
# look DOCUMENT GENERATOR FILE EXPECTED: whether the generated type has the property `body`
look() {
    local out=$1.$2 found=without
    venv/bin/openapi-generator-cli generate -i "$1" -g "$2" -o "$out" >"$out.log" 2>&1
    if grep -rqiw body "$out/$3" 2>/dev/null; then found=with; fi
    echo "$1, $2: a type $found body (expected: $4)"
    if [ "$found" != "$4" ]; then changed=1; fi
}
look any.json go model_letter.go without
look any.json typescript-fetch models/Letter.ts without
look if.json go model_letter.go with
look if.json typescript-fetch models/Letter.ts with
exit $changed
