//! The verbs and the values: what goes in comes out, and what does not fit is said.

use db::{Error, Tx, Value, params};

use crate::{Fresh, add, all, count};

const KEEP: &str = "INSERT INTO things (id, whole, words, bytes) VALUES (?1, ?2, ?3, ?4)";
const FIND: &str = "SELECT whole, words, bytes FROM things WHERE id = ?1";

type Thing = (Option<i64>, Option<String>, Option<Vec<u8>>);

/// A row as it was found; nothing is distinguished from what is merely empty.
fn find(tx: &mut Tx<'_>, id: i64) -> db::Result<Thing> {
    tx.query_one(FIND, &params![id], |row| {
        let words = row.text(1).map(str::to_owned);
        let bytes = row.blob(2).map(<[u8]>::to_vec);
        Ok((row.opt_int(0)?, words.ok(), bytes.ok()))
    })
}

#[tokio::test]
async fn values_of_all_four_kinds_come_back() {
    let fresh = Fresh::new();
    let keep = |tx: &mut Tx<'_>| {
        tx.execute(KEEP, &params![1, i64::MIN, "words", &[0, 255]])?;
        tx.execute(KEEP, &params![2, Some(i64::MAX), Some("words"), Some(&[7_u8][..])])?;
        tx.execute(KEEP, &params![3, None::<i64>, None::<&str>, None::<&[u8]>])?;
        tx.execute(KEEP, &[Value::Int(4), Value::Int(0), Value::Text(""), Value::Blob(&[])])?;
        tx.execute(KEEP, &params![5, true, Value::Null, Value::Null])
    };
    assert_eq!(fresh.db.write(keep).await, Ok(1));
    let thing = |id| fresh.db.read(move |tx| find(tx, id));
    let words = || Some("words".to_owned());
    assert_eq!(thing(1).await, Ok((Some(i64::MIN), words(), Some(vec![0, 255]))));
    assert_eq!(thing(2).await, Ok((Some(i64::MAX), words(), Some(vec![7]))));
    assert_eq!(thing(3).await, Ok((None, None, None)));
    assert_eq!(thing(4).await, Ok((Some(0), Some(String::new()), Some(Vec::new()))));
    let flag = fresh.db.read(|tx| tx.query_one(FIND, &params![5], |row| row.flag(0)));
    assert_eq!(flag.await, Ok(true));
}

#[tokio::test]
async fn text_of_any_script_and_bytes_of_any_length_come_back_unchanged() {
    let fresh = Fresh::new();
    let long = "ö\u{1f4ee}".repeat(200_000);
    // Composed and decomposed, right to left, joined emoji, the ends of the planes, quotes.
    let texts = [
        "\u{e9} e\u{301}",
        "שלום العالم",
        "\u{1f469}\u{200d}\u{1f4bb}",
        "\u{1}\u{7f}\u{d7ff}\u{e000}\u{ffff}\u{10ffff}",
        "'; DROP TABLE users; -- \"?1\" \\ %_",
        " \r\n\t ",
        &long,
    ];
    for text in texts {
        let (kept, bytes) = (text.to_owned(), text.as_bytes().repeat(2));
        let expected = (None, Some(kept.clone()), Some(bytes.clone()));
        let thing = fresh.db.write(move |tx| {
            tx.execute("DELETE FROM things", &[])?;
            tx.execute(KEEP, &params![1, Value::Null, &*kept, &*bytes])?;
            find(tx, 1)
        });
        assert!(thing.await == Ok(expected.clone()), "{text} came back changed");
        assert!(fresh.db.read(|tx| find(tx, 1)).await == Ok(expected), "{text} was read changed");
    }
}

#[tokio::test]
async fn a_column_of_another_kind_is_refused() {
    let fresh = Fresh::new();
    fresh
        .db
        .read(|tx| {
            let row = "SELECT 7, 'words', x'ff', NULL, CAST(x'ff' AS TEXT), 1.5";
            let refused = |expected, column| Some(Error::Column { column, expected });
            tx.query_one(row, &[], |row| {
                for column in [1, 2, 3, 5] {
                    assert_eq!(row.int(column).err(), refused("a whole number", column));
                    assert_eq!(row.flag(column).err(), refused("a whole number", column));
                }
                assert_eq!(row.flag(0).err(), refused("0 or 1", 0));
                for column in [1, 2, 5] {
                    let expected = refused("a whole number or nothing", column);
                    assert_eq!(row.opt_int(column).err(), expected);
                }
                for column in [0, 2, 3, 5] {
                    assert_eq!(row.text(column).err(), refused("text", column));
                }
                assert_eq!(row.text(4).err(), refused("UTF-8 text", 4));
                for column in [0, 1, 3, 5] {
                    assert_eq!(row.blob(column).err(), refused("bytes", column));
                }
                assert!(matches!(row.int(6), Err(Error::Engine(_))), "there is no such column");
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_row_that_is_not_there_is_no_row() {
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
async fn returning_answers_and_changes_every_row() {
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
    // Only the first is answered, but all of them are changed.
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
async fn an_insert_answers_the_id_of_its_row() {
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
    // Nor is it the id of an earlier row where nothing was inserted.
    let nothing = fresh.db.write(move |tx| tx.insert(insert, &params!["cid"]));
    assert_eq!(nothing.await, Err(Error::NoRow));
    let twice = |tx: &mut Tx<'_>| tx.insert("INSERT INTO users (name) VALUES ('ben')", &[]);
    assert_eq!(fresh.db.write(twice).await, Err(Error::Unique("users_name_key".into())));
    assert!(matches!(fresh.db.read(twice).await, Err(Error::Engine(_))), "a read inserted");
}

#[tokio::test]
async fn texts_are_in_the_order_of_their_bytes() {
    let fresh = Fresh::new();
    let sorted =
        ["", " ", "10", "9", "A", "Z", "a", "aa", "b", "z", "\u{e4}", "\u{ffff}", "\u{10000}"];
    fresh
        .db
        .write(move |tx| {
            let mut names = sorted.map(|name| params![name]);
            names.reverse();
            tx.batch("INSERT INTO users (name) VALUES (?1)", &names)
        })
        .await
        .unwrap();
    let names = fresh.db.read(|tx| {
        let by_name = "SELECT name FROM users ORDER BY name";
        tx.query(by_name, &[], |row| Ok(row.text(0)?.to_owned()))
    });
    assert_eq!(names.await.unwrap(), sorted);
    let capital = fresh.db.read(|tx| {
        tx.query_one("SELECT count(*) FROM users WHERE name = ?1", &params!["AA"], |row| row.int(0))
    });
    assert_eq!(capital.await, Ok(0), "equal is equal in every byte");
}

#[tokio::test]
async fn a_statement_used_again_forgets_its_parameters() {
    let fresh = Fresh::new();
    let thing = fresh.db.write(|tx| {
        tx.execute(KEEP, &params![1, 2, "words", &[3]])?;
        tx.execute(KEEP, &params![2])?;
        find(tx, 2)
    });
    assert_eq!(thing.await, Ok((None, None, None)));
}

#[tokio::test]
async fn more_parameters_than_the_statement_has_are_refused() {
    let fresh = Fresh::new();
    let found = fresh.db.read(|tx| tx.query(FIND, &params![1, 2], |row| row.int(0)));
    assert!(matches!(found.await, Err(Error::Engine(_))));
}
