"""Uses the Python client that openapi-generator makes. Usage: generated.py URL"""

import sys

import openapi_client as made

PASSWORD = "seven-white-geese"

api = made.ApiClient(made.Configuration(host=sys.argv[1]))
users, tokens = made.UsersApi(api), made.TokensApi(api)
messages, sync = made.MessagesApi(api), made.SyncApi(api)

ids = {}
for name in ["py-ann", "py-bea"]:
    new = made.NewUser(username=name, email=f"{name}@example.org", password=PASSWORD)
    ids[name] = users.create_user(new).id
new = made.NewToken(name="ci", username="py-ann", password=PASSWORD)
api.configuration.access_token = tokens.create_token(new).token

to = [made.UserRef("py-bea"), made.UserRef(ids["py-ann"]), made.UserRef("nobody")]
metadata = {"colour": "grün", "parts": [1, {"a": None}]}
sent = [
    messages.send_message(made.NewMessage(to=to, subject="Hello", body=f"No. {at}", metadata=metadata))
    for at in range(5)
]
assert [person.username for person in sent[0].to] == ["py-bea", "py-ann"], sent[0].to
assert (sent[0].subject, sent[0].body, sent[0].metadata) == ("Hello", "No. 0", metadata), sent[0]
refused = sent[0].refused[0]
assert (refused.to.actual_instance, refused.code) == ("nobody", "unknown_recipient"), refused
reply = messages.send_message(made.NewMessage(in_reply_to=sent[0].id, body="Fine."))
assert (reply.subject, reply.in_reply_to) == ("Re: Hello", sent[0].id), reply

listed, cursor = [], None
while True:
    page = messages.list_messages(folder="sent", limit=2, cursor=cursor)
    listed += page.data
    cursor = page.next_cursor
    if cursor is None:
        break
assert [item.id for item in listed] == [reply.id] + [each.id for each in reversed(sent)], listed
assert listed[-1].snippet == "No. 0" and listed[-1].sent_at == sent[0].sent_at, listed[-1]

marked = messages.mark_message(sent[0].id, marks=made.Marks(read=True, starred=True))
assert marked.starred_at and marked.read_at, marked
batch = made.NewBatch(filter=made.Filter(unread=True), set=made.Marks(read=True))
done = messages.batch_messages(batch)
assert len(done.updated) == 4 and done.next_cursor is None, done
assert sync.get_unread().messages == 0
assert sync.list_changes(since="0", limit=100).created[-1] == reply.id

try:
    messages.send_message(made.NewMessage(to=[made.UserRef("nobody")], body="?"))
    raise SystemExit("it must be refused")
except made.ApiException as refusal:
    problem = made.Problem.from_json(refusal.body)
    assert (refusal.status, problem.code) == (422, "unknown_recipient"), problem
try:
    users.create_user(made.NewUser(username="a b", email="a@example.org", password="short"))
    raise SystemExit("it must be refused")
except made.ApiException as refusal:
    problem = made.Problem.from_json(refusal.body)
    assert [error.pointer for error in problem.errors] == ["#/username", "#/password"], problem
print("the generated Python client: sent, listed, paged, read problems")
