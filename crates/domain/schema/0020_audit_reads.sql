-- Calls that read something for users, many in a row: of one key by one route. Each takes 32 bytes: by how much it was
-- before the date of the row, the user (8 bytes each), and the id of the request.
ALTER TABLE audit ADD COLUMN reads BLOB;
