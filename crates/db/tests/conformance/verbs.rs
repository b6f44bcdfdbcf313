//! The methods of a transaction: what they return and count.

use db::{Error, Tx, params};

use crate::{Fresh, add, all, count};

const FIND: &str = "SELECT whole, words, bytes FROM things WHERE id = ?1";

#[tokio::test]
async fn a_missing_row_is_an_error_or_none() {
    let fresh = Fresh::new();
    let one = fresh.db.read(|tx| tx.query_one(FIND, &params![1], |row| row.int(0)));
    assert_eq!(one.await, Err(Error::NoRow));
    let opt = fresh.db.read(|tx| tx.query_opt(FIND, &params![1], |row| row.int(0)));
    assert_eq!(opt.await, Ok(None));
    let all = fresh.db.read(|tx| tx.query(FIND, &params![1], |row| row.int(0)));
    assert_eq!(all.await, Ok(vec![]));
}

#[tokio::test]
async fn execute_counts_the_rows_that_it_changed() {
    let fresh = Fresh::new();
    let changed = fresh.db.write(|tx| {
        add("ann")(tx)?;
        add("ben")(tx)?;
        Ok::<_, Error>([
            tx.execute("UPDATE users SET name = name || '!'", &[])?,
            tx.execute("DELETE FROM users WHERE name = ?1", &params!["ann!"])?,
            tx.execute("DELETE FROM users WHERE name = ?1", &params!["ann!"])?,
            tx.execute("INSERT INTO users (name) VALUES ('ben!') ON CONFLICT DO NOTHING", &[])?,
        ])
    });
    assert_eq!(changed.await, Ok([2, 1, 0, 0]));
}

#[tokio::test]
async fn a_batch_runs_for_each_row_in_order_and_counts_them_all() {
    let fresh = Fresh::new();
    let insert = "INSERT INTO users (name) VALUES (?1) ON CONFLICT DO NOTHING";
    let batch = fresh.db.write(move |tx| {
        let none = tx.batch::<1>(insert, &[])?;
        let some = tx.batch(insert, &[params!["cid"], params!["ann"], params!["cid"]])?;
        Ok::<_, Error>((none, some))
    });
    assert_eq!(batch.await, Ok((0, 2)));
    assert_eq!(fresh.db.read(all).await, Ok(vec!["cid".into(), "ann".into()]));
    let failed = fresh.db.write(|tx| {
        tx.batch("INSERT INTO users (name) VALUES (?1)", &[params!["dan"], params!["ann"]])
    });
    assert_eq!(failed.await, Err(Error::Unique("users_name_key".into())));
    assert_eq!(fresh.db.read(count).await, Ok(2), "its first row is gone with the write");
}

#[tokio::test]
async fn a_batch_that_fails_in_the_middle_leaves_nothing() {
    let fresh = Fresh::new();
    fresh.db.write(add("ben")).await.unwrap();
    let insert = "INSERT INTO users (name) VALUES (?1)";
    let names: Vec<_> = (0..1_000).map(|number| format!("user {number}")).collect();
    let rows = names.clone();
    let every = fresh.db.write(move |tx| {
        let rows: Vec<_> = rows.iter().map(|name| params![&**name]).collect();
        tx.batch(insert, &rows)
    });
    assert_eq!(every.await, Ok(1_000));
    assert_eq!(fresh.db.read(all).await.unwrap()[1..], names);
    for at in [0, 1, 2, 3] {
        let failed = fresh.db.write(move |tx| {
            let mut rows = [params!["w"], params!["x"], params!["y"], params!["z"]];
            rows[at] = params!["ben"];
            add("a")(tx)?;
            assert_eq!(tx.batch(insert, &rows), Err(Error::Unique("users_name_key".into())));
            assert!(count(tx).is_err(), "nothing can be asked any more");
            Ok::<_, Error>(())
        });
        assert_eq!(failed.await, Err(Error::Unique("users_name_key".into())), "at {at}");
        assert_eq!(fresh.db.read(count).await, Ok(1_001));
    }
    let counts = fresh.db.write(|tx| {
        let rename = "UPDATE users SET name = ?1 WHERE name = ?2";
        tx.batch(rename, &[params!["b", "ben"], params!["c", "nobody"], params!["d", "b"]])
    });
    assert_eq!(counts.await, Ok(2));
}

#[tokio::test]
async fn returning_returns_and_changes_every_row() {
    let fresh = Fresh::new();
    let insert = "INSERT INTO users (name) VALUES (?1) ON CONFLICT DO NOTHING RETURNING id";
    let ids = fresh.db.write(move |tx| {
        Ok::<_, Error>([
            Some(tx.query_one(insert, &params!["ann"], |row| row.int(0))?),
            tx.query_opt(insert, &params!["ben"], |row| row.int(0))?,
            tx.query_opt(insert, &params!["ann"], |row| row.int(0))?,
        ])
    });
    assert_eq!(ids.await, Ok([Some(1), Some(2), None]));
    // Only the first row is returned, but all of them are changed.
    let renamed = fresh.db.write(|tx| {
        let rename = "UPDATE users SET name = name || '!' RETURNING id";
        tx.query_opt(rename, &[], |row| row.int(0))
    });
    assert!(renamed.await.unwrap().is_some());
    assert_eq!(fresh.db.read(all).await, Ok(vec!["ann!".into(), "ben!".into()]));
    let deleted = fresh.db.write(|tx| {
        tx.query("DELETE FROM users RETURNING name", &[], |row| Ok(row.text(0)?.to_owned()))
    });
    assert_eq!(deleted.await.map(|names| names.len()), Ok(2));
    assert_eq!(fresh.db.read(count).await, Ok(0));
}

#[tokio::test]
async fn an_insert_returns_the_id_of_its_row() {
    let fresh = Fresh::new();
    let insert = "INSERT INTO users (name) VALUES (?1) ON CONFLICT DO NOTHING";
    let ids = fresh.db.write(move |tx| {
        let (ann, ben) = (tx.insert(insert, &params!["ann"])?, tx.insert(insert, &params!["ben"])?);
        tx.execute("DELETE FROM users WHERE id = ?1", &params![ann])?;
        Ok::<_, Error>((ann, ben, tx.insert(insert, &params!["cid"])?))
    });
    let (ann, ben, cid) = ids.await.unwrap();
    assert!(ann < ben && ben < cid, "{ann} {ben} {cid}");
    let found = fresh.db.read(move |tx| {
        let name = "SELECT name FROM users WHERE id = ?1";
        tx.query_one(name, &params![cid], |row| Ok(row.text(0)?.to_owned()))
    });
    assert_eq!(found.await, Ok("cid".to_owned()));
    // Nor the id of an earlier row if nothing was inserted.
    let nothing = fresh.db.write(move |tx| tx.insert(insert, &params!["cid"]));
    assert_eq!(nothing.await, Err(Error::NoRow));
    let twice = |tx: &mut Tx<'_>| tx.insert("INSERT INTO users (name) VALUES ('ben')", &[]);
    assert_eq!(fresh.db.write(twice).await, Err(Error::Unique("users_name_key".into())));
    assert!(matches!(fresh.db.read(twice).await, Err(Error::Engine(_))), "a read inserted");
}

#[tokio::test]
async fn a_transaction_counts_its_own_statements() {
    let fresh = Fresh::new();
    let counted = |tx: &mut Tx<'_>| {
        let mut counts = vec![tx.statements()];
        let insert = "INSERT INTO things (whole) VALUES (?1)";
        tx.insert(insert, &params![1])?;
        counts.push(tx.statements());
        tx.batch(insert, &[params![2], params![3]])?;
        counts.push(tx.statements());
        tx.execute("DELETE FROM things WHERE whole = ?1", &params![1])?;
        counts.push(tx.statements());
        tx.query("SELECT whole FROM things", &[], |row| row.int(0))?;
        tx.query_opt("SELECT whole FROM things", &[], |row| row.int(0))?;
        tx.query_one("SELECT count(*) FROM things", &[], |row| row.int(0))?;
        counts.push(tx.statements());
        tx.query_one("SELECT whole FROM things WHERE id < 0", &[], |row| row.int(0)).unwrap_err();
        counts.push(tx.statements());
        Ok::<_, Error>(counts)
    };
    // They may share a commit; each count begins at zero.
    let (one, other) = tokio::join!(fresh.db.write(counted), fresh.db.write(counted));
    assert_eq!((one, other), (Ok(vec![0, 1, 2, 3, 6, 7]), Ok(vec![0, 1, 2, 3, 6, 7])));
}

#[tokio::test]
async fn ids_that_are_skipped_are_given_by_no_table() {
    const FAR: i64 = 1 << 50;
    const THING: &str = "INSERT INTO things (whole) VALUES (1)";
    let fresh = Fresh::new();
    let given = fresh.db.write(|tx| {
        assert_eq!(tx.last_id(), Ok(0));
        add("ann")(tx)?;
        add("ben")(tx)?;
        // What was given and is gone counts as well.
        tx.execute("DELETE FROM users", &[])?;
        let last = tx.last_id()?;
        tx.skip_ids(FAR)?;
        // The first table had ids, the second none.
        let user = tx.insert("INSERT INTO users (name) VALUES ('cid')", &[])?;
        Ok::<_, Error>((last, user, tx.insert(THING, &[])?, tx.last_id()?))
    });
    assert_eq!(given.await, Ok((2, FAR + 1, FAR + 1, FAR + 1)));
    let again = fresh.db.write(|tx| {
        tx.skip_ids(FAR + 10)?;
        Ok::<_, Error>((tx.insert(THING, &[])?, tx.insert(THING, &[])?))
    });
    assert_eq!(again.await, Ok((FAR + 11, FAR + 12)));
}
