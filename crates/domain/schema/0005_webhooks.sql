-- The app's own server is told of events. None of this is an owner's: it holds ids and times, and no text but the
-- sender's own name for a message.

-- Who is told: an address, and of what (bits). Its secret is derived from the server's key, its id, and the version.
CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    url TEXT NOT NULL,
    kinds INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    secret_version INTEGER NOT NULL,
    rotated_at INTEGER,
    disabled_at INTEGER,
    disabled_why TEXT
) STRICT;

-- What happened, written by the transaction that did it, and only where somebody is told of its kind. It waits until it is
-- given to everybody who is told.
CREATE TABLE webhook_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    happened_at INTEGER NOT NULL,
    waits INTEGER NOT NULL,
    user_id INTEGER,
    message_id INTEGER,
    conversation_id INTEGER,
    sender_id INTEGER,
    receivers TEXT,
    client_id TEXT
) STRICT;

CREATE INDEX webhook_events_waiting ON webhook_events (id) WHERE waits = 1;

-- What one of them was told, or when he is to be told next: also the log.
CREATE TABLE webhook_deliveries (
    event_id INTEGER NOT NULL,
    webhook_id INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER,
    tried_at INTEGER,
    delivered_at INTEGER,
    outcome TEXT,
    PRIMARY KEY (event_id, webhook_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at, event_id) WHERE due_at IS NOT NULL;
