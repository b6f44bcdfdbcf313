//! Every value and every id arrives, in every direction.

use super::*;

/// Texts and bytes that an encoding could mistake for its own syntax.
const TEXTS: [&str; 12] = [
    "",
    " ",
    "a\nb\r\nc\r",
    "\\.",
    "\\N",
    "\\\\ \\t\t\u{b}",
    "'\"`$$ ?1 $1 %s {}",
    "\u{1}\u{7f}\u{80}",
    "ä ✓ 📮 \u{e000}",
    "\u{ffff}\u{10ffff}",
    "a\u{301} á \u{202e}abc",
    "NULL",
];
const BYTES: [&[u8]; 6] = [b"", b"\0", b"\\x00", &[0xff, 0xfe, 0, 1], b"text", &[b'\n'; 3]];
const WHOLE: [i64; 7] = [i64::MIN, i64::MIN + 1, -1, 0, 1, 1 << 53, i64::MAX];

const THING: &str = "INSERT INTO things (whole, words, bytes) VALUES (?1, ?2, ?3)";
const SEAT: &str = "INSERT INTO seats (hall, seat, note, taken_by) VALUES (?1, ?2, ?3, ?4)";
const LOOSE: &str = "INSERT INTO loose (a, b) VALUES (?1, ?2)";
const ORDER: &str = "INSERT INTO \"order\" (\"group\", \"a \"\"b\"\"\") VALUES (?1, ?2)";

/// Something of everything.
fn fill(tx: &mut Tx<'_>) -> Result<()> {
    for index in 0..36 {
        let whole = WHOLE.get(index % 8).copied();
        let words = TEXTS.get(index % 13).copied();
        let bytes = BYTES.get(index % 7).copied();
        tx.execute(THING, &params![whole, words, bytes])?;
    }
    for (index, hall) in TEXTS.iter().enumerate() {
        for seat in WHOLE {
            let taken = (index % 3 == 0).then_some(seat);
            tx.execute(SEAT, &params![*hall, seat, TEXTS[index % 5], taken])?;
        }
    }
    for mark in BYTES {
        tx.execute("INSERT INTO marks (mark) VALUES (?1)", &params![mark])?;
    }
    for (a, b) in [(Some(1), None), (None, Some("x")), (None, None), (Some(1), None), (None, None)]
    {
        tx.execute(LOOSE, &params![a, b])?;
    }
    tx.execute("DELETE FROM seeds WHERE id = 1", &[])?;
    tx.execute("UPDATE seeds SET word = 'changed'", &[])?;
    tx.execute(ORDER, &params![-5, "a word"])?;
    Ok(())
}

type Thing = (i64, Option<i64>, Option<String>, Option<Vec<u8>>);

fn things(tx: &mut Tx<'_>) -> Result<Vec<Thing>> {
    tx.query("SELECT id, whole, words, bytes, bytes IS NULL FROM things ORDER BY id", &[], |row| {
        let bytes = if row.flag(4)? { None } else { Some(row.blob(3)?.to_vec()) };
        Ok((row.int(0)?, row.opt_int(1)?, row.opt_text(2)?.map(str::to_owned), bytes))
    })
}

type Seat = (String, i64, String, Option<i64>);

fn seats(tx: &mut Tx<'_>) -> Result<Vec<Seat>> {
    tx.query("SELECT hall, seat, note, taken_by FROM seats ORDER BY hall, seat", &[], |row| {
        Ok((row.text(0)?.to_owned(), row.int(1)?, row.text(2)?.to_owned(), row.opt_int(3)?))
    })
}

fn seeds(tx: &mut Tx<'_>) -> Result<Vec<(i64, String)>> {
    tx.query("SELECT id, word FROM seeds", &[], |row| Ok((row.int(0)?, row.text(1)?.to_owned())))
}

/// Adds a thing and returns its id.
fn add(tx: &mut Tx<'_>) -> Result<i64> {
    tx.insert("INSERT INTO things (words) VALUES ('more')", &[])
}

#[test]
fn every_value_of_every_table_arrives_between_all_engines() {
    let mut sums = Vec::new();
    for (from, to) in pairs() {
        let (source, target) = (TestDatabase::filled(from, fill), TestDatabase::new(to));
        let bytes = || (from == Engine::File).then(|| std::fs::read(source.path()).unwrap());
        let before = (source.traces(), bytes());
        let copied = copy(&source, &target).unwrap_or_else(|error| panic!("{from:?} {error}"));
        assert!((source.traces(), bytes()) == before, "the source is as it was, and alone");
        let names: Vec<_> = copied.iter().map(|table| table.table.as_str()).collect();
        assert_eq!(names, ["loose", "marks", "order", "seats", "seeds", "things"]);
        let rows: Vec<_> = copied.iter().map(|table| table.rows).collect();
        assert_eq!(rows, [5, 6, 1, 84, 1, 36]);
        assert_eq!(target.read(things), source.read(things), "{from:?} to {to:?}");
        assert_eq!(target.read(seats), source.read(seats), "{from:?} to {to:?}");
        assert_eq!(target.read(seeds), [(2, "changed".to_owned())]);
        assert_eq!(Db::integrity(&target.url), Ok(vec![]));
        if to == Engine::File {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(target.path()).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "nobody else may read it");
        }
        sums.push(copied);
    }
    let same = sums.windows(2).all(|two| two[0] == two[1]);
    assert!(same, "a checksum does not know of engines: {sums:?}");
}

#[test]
fn a_database_copied_there_and_back_is_equal() {
    for (away, back) in pairs() {
        let source = TestDatabase::filled(back, fill);
        let (there, here) = (TestDatabase::new(away), TestDatabase::new(back));
        let first = copy(&source, &there).unwrap();
        assert_eq!(copy(&there, &here).unwrap(), first);
        assert_eq!(here.read(things), source.read(things));
    }
}

#[test]
fn an_empty_database_is_copied_into_one_with_the_schema() {
    for (from, to) in pairs().filter(|(_, to)| *to == Engine::Server) {
        let (source, target) =
            (TestDatabase::migrated(from, SCHEMA), TestDatabase::migrated(to, SCHEMA));
        // Rows that the schema inserts count as rows, too.
        target.sql("DELETE FROM seeds");
        let copied = copy(&source, &target).unwrap();
        assert_eq!(copied.iter().map(|table| table.rows).sum::<u64>(), 2);
        assert_eq!(target.read(seeds), source.read(seeds));
    }
}

#[test]
fn ids_continue_even_if_the_newest_rows_are_gone() {
    for (from, to) in pairs() {
        let several = |tx: &mut Tx<'_>| (0..10).try_for_each(|_| add(tx).map(drop));
        let source = TestDatabase::filled(from, several);
        source.write(|tx| tx.execute("DELETE FROM things WHERE id > 4", &[]).map(drop));
        let target = TestDatabase::new(to);
        copy(&source, &target).unwrap();
        assert_eq!(target.write(add), 11, "{from:?} to {to:?}");

        // The table is empty now.
        source.write(|tx| tx.execute("DELETE FROM things", &[]).map(drop));
        let target = TestDatabase::new(to);
        copy(&source, &target).unwrap();
        assert_eq!(target.write(add), 11, "{from:?} to {to:?}");
        assert_eq!(source.write(add), 11);

        // The table was always empty.
        let target = TestDatabase::new(to);
        copy(&TestDatabase::migrated(from, SCHEMA), &target).unwrap();
        assert_eq!(target.write(add), 1, "{from:?} to {to:?}");
    }
}

#[test]
fn the_progress_counts_all_rows_of_each_table() {
    let many = |tx: &mut Tx<'_>| {
        let words = "word ".repeat(1000);
        (0..1000).try_for_each(|_| {
            tx.execute("INSERT INTO things (words) VALUES (?1)", &params![&*words]).map(drop)
        })
    };
    for (from, to) in pairs() {
        let (source, target) = (TestDatabase::filled(from, many), TestDatabase::new(to));
        let mut told = Vec::new();
        let copied = copy_with(&source, &target, |Progress { table, step, rows, of }| {
            if table == "things" {
                assert_eq!(of, 1000);
                told.push((step, rows));
            }
        });
        assert!(copied.is_ok(), "{copied:?}");
        for step in [Step::Copying, Step::Checking] {
            let rows = told.iter().filter(|(at, _)| *at == step).map(|(_, rows)| *rows);
            let rows: Vec<_> = rows.collect();
            assert!(rows.len() >= 5 && rows.is_sorted(), "5 MB are several pages: {rows:?}");
            assert_eq!(rows.last(), Some(&1000));
        }
        assert_eq!(told[0], (Step::Copying, 0));
        assert_eq!(told.iter().filter(|(step, _)| *step == Step::Done).count(), 1);
        assert_eq!(told.last(), Some(&(Step::Done, 1000)));
    }
}
