//! What is told: ids and times. What a letter says is for those to ask who may.

use mail::Time;
use mail::webhooks::{Endpoint, Event, Kind};
use serde_json::{Value, json};

use crate::runtime::clock::rfc3339;

/// The body of what an endpoint is told.
pub(super) fn event(event: &Event) -> String {
    let user = event.user.map(mail::UserId::get);
    let from = event.from.map(mail::UserId::get);
    let (message, conversation) =
        event.message.map(|(id, of)| (id.get(), of.get())).unwrap_or_default();
    let data = match event.kind {
        Kind::MessageCreated => json!({
            "message_id": message,
            "conversation_id": conversation,
            "from": from,
            "to": event.to.iter().map(|user| user.get()).collect::<Vec<_>>(),
            "client_id": event.client_id,
        }),
        Kind::MessageRead | Kind::MessageDestroyed => json!({
            "message_id": message,
            "conversation_id": conversation,
            "from": from,
            "user_id": user,
        }),
        Kind::UserCreated | Kind::UserErased => json!({ "user_id": user }),
    };
    body(event.kind.name(), event.happened_at, &data)
}

/// The body of a test.
pub(super) fn test(endpoint: &Endpoint, now: Time) -> String {
    body("webhook.test", now, &json!({ "webhook_id": endpoint.id.get() }))
}

fn body(kind: &str, at: Time, data: &Value) -> String {
    // By hand, for the order: those who debug read the type first.
    let kind = Value::from(kind);
    format!("{{\"type\":{kind},\"timestamp\":\"{}\",\"data\":{data}}}", rfc3339(at))
}
