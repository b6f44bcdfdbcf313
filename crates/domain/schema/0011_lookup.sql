-- Users are found by the beginning of any word of their names: each word as searches compare it, with what follows it in
-- the name. `words_of` is the names whose words these are. A job makes them where the names are others: for accounts from
-- before, and for those that a node of the version before has changed or erased. `display_folded` and its index serve these nodes.
CREATE TABLE name_words (
    user_id INTEGER NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (user_id, word)
) STRICT, WITHOUT ROWID;

CREATE INDEX name_words_found ON name_words (word, user_id);

ALTER TABLE users ADD COLUMN words_of TEXT;
CREATE INDEX users_without_words ON users (id) WHERE words_of IS DISTINCT FROM name || ' ' || display_name;
