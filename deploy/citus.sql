-- Spreads the tables of Postroom over the workers of a Citus cluster, by the owner of what is in
-- them. Once, on the coordinator, as the role that owns the tables, after `postroom migrate` and
-- before there is much in them, with all nodes stopped:
--
--   psql -X -v ON_ERROR_STOP=1 --single-transaction -f deploy/citus.sql postgres://…
--
-- After an upgrade that brought new tables only their lines, which its notes name. A test holds
-- this file to the schema: every table once, by the first column of its key. It was not run on
-- Citus in this form: docs/operations.md says what that means.

-- Two for each core of the workers that there will be one day; it cannot be changed easily.
SET citus.shard_count = 64;

-- On every machine: who there is, and the names that are given once. Small, and rarely written.
SELECT create_reference_table('users');

-- By owner. What one owner has stands together on one machine, so that a request about a mailbox
-- is answered by one of them, and a message that is sent is a transaction over two at most.
SELECT create_distributed_table('mailboxes', 'owner_id', colocate_with => 'none');
SELECT create_distributed_table('entries', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('threads', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('tombstones', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('trash', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('contacts', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('blocks', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('quotas', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('kept_answers', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('reminders', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('erasures', 'owner_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('sessions', 'user_id', colocate_with => 'mailboxes');
SELECT create_distributed_table('tokens', 'user_id', colocate_with => 'mailboxes');

-- By their own key: a text belongs to all who hold it, and is fetched by its id.
SELECT create_distributed_table('messages', 'id', colocate_with => 'none');
-- By the hash of an account's or an address's name.
SELECT create_distributed_table('throttles', 'subject', colocate_with => 'none');

-- What webhooks are told, with what came of it.
SELECT create_distributed_table('webhook_events', 'id', colocate_with => 'none');
SELECT create_distributed_table('webhook_deliveries', 'event_id', colocate_with => 'webhook_events');
-- The app's own servers: one or two.
SELECT create_reference_table('webhooks');

-- A row for each kind of work that one node at a time does.
SELECT create_reference_table('leases');

-- schema_migrations stays where it is, on the coordinator.
