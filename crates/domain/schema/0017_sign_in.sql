-- From which addresses users have signed in lately: their failures there are counted apart from those of strangers. Of
-- an address only a hash under the server's key is stored, and of IPv6 only that of its network.
CREATE TABLE familiar_addresses (
    user_id INTEGER NOT NULL,
    network_hash BLOB NOT NULL,
    signed_in_at INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    window_started_at INTEGER NOT NULL DEFAULT 0,
    blocked_until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, network_hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX familiar_addresses_age ON familiar_addresses (signed_in_at);
