//! The bodies of webhook requests: ids and times, but no text of a message.

use domain::Time;
use domain::webhooks::{Endpoint, Event, EventKind};
use serde::Serialize;
use serde_json::{Value, json};

use crate::runtime::clock::rfc3339;

/// The body of a request about an event.
pub(super) fn event(event: &Event) -> String {
    let user = event.user.map(domain::UserId::get);
    let from = event.from.map(domain::UserId::get);
    let external_id = |user: domain::UserId| event.external_id(user);
    let (users, froms) = (event.user.and_then(external_id), event.from.and_then(external_id));
    let (message, conversation) =
        event.message.map(|(id, of)| (id.get(), of.get())).unwrap_or_default();
    let data = match event.kind {
        EventKind::MessageCreated => json!({
            "message_id": message,
            "conversation_id": conversation,
            "from": from,
            "from_external_id": froms,
            "to": event.to.iter().map(|user| user.get()).collect::<Vec<_>>(),
            "to_external_ids": event.to.iter().map(|user| external_id(*user)).collect::<Vec<_>>(),
            "client_id": event.client_id,
        }),
        EventKind::MessageRead | EventKind::MessageDestroyed => json!({
            "message_id": message,
            "conversation_id": conversation,
            "from": from,
            "from_external_id": froms,
            "user_id": user,
            "external_id": users,
        }),
        EventKind::UserCreated | EventKind::UserErased => {
            json!({ "user_id": user, "external_id": users })
        }
        EventKind::UnreadChanged => {
            let then = event.unread.unwrap_or_default();
            json!({
                "user": user,
                "external_id": users,
                "messages": then.messages,
                "conversations": then.conversations,
                "state": then.modseq.to_string(),
            })
        }
    };
    body(event.kind.name(), event.happened_at, &data)
}

/// The body of a test request.
pub(super) fn test(endpoint: &Endpoint, now: Time) -> String {
    body("webhook.test", now, &json!({ "webhook_id": endpoint.id.get() }))
}

/// A struct, because that keeps the order of its fields: the type comes first.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    data: &'a Value,
}

fn body(kind: &str, at: Time, data: &Value) -> String {
    let body = Body { r#type: kind, timestamp: rfc3339(at), data };
    serde_json::to_string(&body).expect("texts and numbers are JSON")
}
