"""Holds an answer with a null in it to the document for OpenAPI 3.0, by the validator of openapi-core,
which openapi-spec-validator brings. Usage: nulls.py URL DOCUMENT
"""

import json
import sys
from urllib.request import Request, urlopen

from openapi_schema_validator import OAS30ReadValidator

url, document = sys.argv[1:]
token = None


def call(method, path, body=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body else None
    with urlopen(Request(f"{url}{path}", data, headers, method=method)) as response:
        return json.loads(response.read() or b"null")


who = {"username": "nulls-ann", "password": "seven-white-geese"}
call("POST", "/v1/users", who | {"email": "ann@example.org"})
token = call("POST", "/v1/tokens", who | {"name": "ci"})["token"]
first = call("POST", "/v1/messages", {"to": ["nulls-ann"], "subject": "", "body": "One."})["id"]
call("POST", "/v1/messages", {"in_reply_to": first, "body": "Two."})
with open(document) as file:
    schema = {"$ref": "#/components/schemas/Conversation", **json.load(file)}
validator = OAS30ReadValidator(schema)
for is_null in (False, True):
    answer = call("GET", f"/v1/conversations/{first}")
    assert (answer["last_message"] is None) == is_null, answer
    validator.validate(answer)
    assert not validator.is_valid(answer | {"last_message": 7})
    call("DELETE", f"/v1/conversations/{first}")
print("null is allowed where it comes")
