"""Uses the Python client that openapi-python-client makes. Usage: typed.py URL"""

import sys

from typed_client import AuthenticatedClient, Client, models
from typed_client.api.messages import list_messages, mark_message, send_message
from typed_client.api.tokens import create_token
from typed_client.api.users import create_user

PASSWORD = "seven-white-geese"

url = sys.argv[1]
stranger = Client(url)
for name in ["typed-ann", "typed-bea"]:
    new = models.NewUser(username=name, email=f"{name}@example.org", password=PASSWORD)
    assert isinstance(create_user.sync(client=stranger, body=new), models.Account)
new = models.NewToken(name="ci", username="typed-ann", password=PASSWORD)
client = AuthenticatedClient(url, create_token.sync(client=stranger, body=new).token)


def send(**fields):
    return send_message.sync(client=client, body=models.NewMessage(**fields))


metadata = models.NewMessageMetadataType0.from_dict({"colour": "grün", "parts": [1, {"a": None}]})
sent = [
    send(to=["typed-bea", "nobody"], subject="Hello", body=f"No. {at}", metadata=metadata)
    for at in range(5)
]
assert all(isinstance(each, models.SentMessage) for each in sent), sent
assert (sent[0].subject, sent[0].body) == ("Hello", "No. 0"), sent[0]
assert sent[0].metadata.to_dict() == metadata.to_dict(), sent[0].metadata
assert (sent[0].refused[0].to, sent[0].refused[0].code) == ("nobody", "unknown_recipient")
reply = send(in_reply_to=sent[0].id, body="Fine.")
assert (reply.subject, reply.in_reply_to) == ("Re: Hello", sent[0].id), reply

listed, cursor = [], {}
while True:
    folder = models.ListMessagesFolder.SENT
    page = list_messages.sync(client=client, folder=folder, limit=2, **cursor)
    listed += page.data
    if page.next_cursor is None:
        break
    cursor = {"cursor": page.next_cursor}
assert [item.id for item in listed] == [reply.id] + [each.id for each in reversed(sent)], listed
marked = mark_message.sync(sent[0].id, client=client, body=models.Marks(starred=True))
assert marked.starred_at, marked

problem = send(to=["nobody"], body="?")
assert isinstance(problem, models.Problem), problem
assert (problem.status, problem.code) == (422, "unknown_recipient"), problem
new = models.NewUser(username="a b", email="a@example.org", password="short")
problem = create_user.sync(client=stranger, body=new)
assert [error.pointer for error in problem.errors] == ["#/username", "#/password"], problem
print("openapi-python-client: sent, listed, paged, read problems")
