//! Values: returned as they were stored; a value of the wrong type is an error.

use db::{Error, Tx, Value, params};

use crate::Fresh;

const KEEP: &str = "INSERT INTO things (id, whole, words, bytes) VALUES (?1, ?2, ?3, ?4)";
const FIND: &str = "SELECT whole, words, bytes FROM things WHERE id = ?1";

type Thing = (Option<i64>, Option<String>, Option<Vec<u8>>);

/// A row as it was read, in which NULL differs from empty values.
fn find(tx: &mut Tx<'_>, id: i64) -> db::Result<Thing> {
    tx.query_one(FIND, &params![id], |row| {
        let words = row.text(1).map(str::to_owned);
        let bytes = row.blob(2).map(<[u8]>::to_vec);
        Ok((row.opt_int(0)?, words.ok(), bytes.ok()))
    })
}

#[tokio::test]
async fn values_of_all_four_types_come_back() {
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
async fn a_column_of_another_type_is_refused() {
    let fresh = Fresh::new();
    fresh.db.write(|tx| tx.execute(KEEP, &params![1, 7, "words", &[255]])).await.unwrap();
    let read = |tx: &mut Tx<'_>| {
        let row = "SELECT whole, words, bytes, NULL, 1.5, whole FROM things WHERE whole = 7";
        let refused = |expected, column| Some(Error::Column { column, expected });
        tx.query_one(row, &[], |row| {
            for column in [1, 2, 3, 4] {
                assert_eq!(row.int(column).err(), refused("an integer", column));
                assert_eq!(row.flag(column).err(), refused("an integer", column));
            }
            assert_eq!(row.flag(0).err(), refused("0 or 1", 0));
            for column in [1, 2, 4] {
                let expected = refused("an integer or NULL", column);
                assert_eq!(row.opt_int(column).err(), expected);
            }
            for column in [0, 2, 3, 4] {
                assert_eq!(row.text(column).err(), refused("text", column));
            }
            assert_eq!(row.opt_text(3), Ok(None));
            assert_eq!(row.opt_text(0).err(), refused("text", 0));
            for column in [0, 1, 3, 4] {
                assert_eq!(row.blob(column).err(), refused("bytes", column));
            }
            assert!(matches!(row.int(6), Err(Error::Engine(_))), "there is no such column");
            row.int(5)
        })
    };
    assert_eq!(fresh.db.read(read).await, Ok(7));
}

#[tokio::test]
async fn a_reused_statement_forgets_its_parameters() {
    let fresh = Fresh::new();
    let null = Value::Null;
    let thing = fresh.db.write(move |tx| {
        tx.execute(KEEP, &params![1, 2, "words", &[3]])?;
        tx.execute(KEEP, &[Value::Int(2), null, null, null])?;
        tx.execute(KEEP, &params![3, 4, "more", &[5]])?;
        Ok::<_, Error>((find(tx, 2)?, find(tx, 3)?))
    });
    let three = (Some(4), Some("more".to_owned()), Some(vec![5]));
    assert_eq!(thing.await, Ok(((None, None, None), three.clone())));
    // The order of use does not matter.
    let thing = fresh.db.write(move |tx| {
        let update = "UPDATE things SET whole = ?2, words = ?3, bytes = ?4 WHERE id = ?1";
        tx.execute(update, &[Value::Int(1), null, null, null])?;
        tx.execute(update, &params![1, 4, "more", &[5]])?;
        find(tx, 1)
    });
    assert_eq!(thing.await, Ok(three));
}

#[tokio::test]
async fn a_list_of_ids_finds_what_is_in_it() {
    const FOUND: &str = "SELECT id FROM things
        WHERE id IN rarray(?1) AND id > ?2 ORDER BY id";
    let fresh = Fresh::new();
    let all = [i64::MIN, -1, 0, 1, 5_000, i64::MAX];
    let rows = all.map(|id| params![id, Value::Null, Value::Null, Value::Null]);
    fresh.db.write(move |tx| tx.batch(KEEP, &rows)).await.unwrap();
    let find = |ids: Vec<i64>| {
        let above_all = i64::MIN;
        fresh.db.read::<_, Error, _>(move |tx| {
            tx.query(FOUND, &params![&*ids, above_all], |row| row.int(0))
        })
    };
    assert_eq!(find(vec![]).await, Ok(vec![]));
    assert_eq!(find(vec![5_000]).await, Ok(vec![5_000]));
    assert_eq!(find(vec![2, 1, 1, -1]).await, Ok(vec![-1, 1]));
    assert_eq!(find(all.to_vec()).await, Ok(all[1..].to_vec()));
    assert_eq!(find((0..20_000).collect()).await, Ok(vec![0, 1, 5_000]));
    let removed = fresh.db.write(|tx| {
        let remove = "DELETE FROM things WHERE id IN rarray(?1)";
        let (none, two): ([i64; 0], _) = ([], [0, i64::MAX, 77]);
        Ok::<_, Error>((tx.execute(remove, &params![&none[..]])?, {
            tx.execute(remove, &params![&two[..]])?
        }))
    });
    assert_eq!(removed.await, Ok((0, 2)));
}

#[tokio::test]
async fn lists_of_texts_and_bytes_find_what_is_in_them() {
    let fresh = Fresh::new();
    // What would have to be escaped elsewhere, and what no text can hold.
    let texts = ["", "\"", "\\", "a\u{1}b", "\u{e4}"].map(str::to_owned);
    let blobs = [&b""[..], b"\"", b"\0", b"\xff\xfe", b"a"].map(<[u8]>::to_vec);
    let found = fresh.db.write(move |tx| {
        for (id, (text, bytes)) in (1..).zip(texts.iter().zip(&blobs)) {
            tx.execute(KEEP, &params![id, Value::Null, text.as_str(), &**bytes])?;
        }
        let mut find = |sql, sought: Value<'_>| tx.query(sql, &[sought], |row| row.int(0));
        let words = "SELECT id FROM things WHERE words IN rarray(?1) ORDER BY id";
        let bytes = "SELECT id FROM things WHERE bytes IN rarray(?1) ORDER BY id";
        Ok::<_, Error>(vec![
            find(words, (&texts[..]).into())?,
            find(words, (&texts[2..4]).into())?,
            find(words, (&["a".to_owned()][..]).into())?,
            find(bytes, (&blobs[..]).into())?,
            find(bytes, (&blobs[2..4]).into())?,
            find(bytes, (&[b"b".to_vec()][..]).into())?,
        ])
    });
    let all: Vec<i64> = (1..=5).collect();
    let one_kind = [all, vec![3, 4], vec![]];
    assert_eq!(found.await, Ok([one_kind.clone(), one_kind].concat()));
}

#[tokio::test]
async fn texts_are_in_byte_order() {
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
    let below = fresh.db.read(|tx| {
        tx.query_one(
            "SELECT count(*), min(name), max(name) FROM users WHERE name < ?1",
            &params!["a"],
            |row| Ok((row.int(0)?, row.text(1)?.to_owned(), row.text(2)?.to_owned())),
        )
    });
    assert_eq!(below.await, Ok((6, String::new(), "Z".to_owned())));
}

#[tokio::test]
async fn parts_of_texts_are_counted_and_compared_in_characters() {
    let fresh = Fresh::new();
    let words = "äöü\u{1f4ee}e\u{301}_100%";
    fresh.db.write(move |tx| tx.execute(KEEP, &params![1, 0, words, &[0]])).await.unwrap();
    let part = fresh.db.read(|tx| {
        tx.query_one(
            "SELECT substr(words, 1, 4), substr(words, 5, 2), substr(words, 20, 3), length(words)
             FROM things",
            &[],
            |row| {
                let texts = [0, 1, 2].map(|at| row.text(at).map(str::to_owned));
                texts.into_iter().collect::<Result<Vec<_>, _>>()
            },
        )
    });
    assert_eq!(part.await.unwrap(), ["äöü\u{1f4ee}", "e\u{301}", ""]);
    let matches = async |pattern: &'static str| {
        let matches = move |tx: &mut Tx<'_>| {
            let count = "SELECT count(*) FROM things WHERE words LIKE ?1";
            tx.query_one(count, &params![pattern], |row| row.flag(0))
        };
        fresh.db.read::<_, Error, _>(matches).await.unwrap()
    };
    for like in ["äöü%", "%\u{1f4ee}%", "___\u{1f4ee}%", "%100%", "%e\u{301}%", "äöü________"]
    {
        assert!(matches(like).await, "{like}");
    }
    for unlike in ["ÄÖÜ%", "aou%", "%\u{e9}%", "___", "", "äöü_______"] {
        assert!(!matches(unlike).await, "{unlike}");
    }
}
