//! What a read asks, learnt by running it, and the answer to it, given when it runs again.

use tokio_postgres::Row as Answer;

use crate::{Error, Result, Row, Value};

/// The one statement of a read.
pub(super) struct Question {
    pub(super) sql: &'static str,
    params: Vec<Owned>,
}

/// A value that outlives the run of the closure.
enum Owned {
    Null,
    Int(i64),
    Text(Box<str>),
    Blob(Box<[u8]>),
    Ints(Box<[i64]>),
}

/// A read in one of its two runs.
pub(crate) struct Recall {
    question: Option<Question>,
    /// Nothing in the first run.
    answer: Option<Vec<Answer>>,
    answered: bool,
    /// It asked for something else than one statement that reads rows.
    asks_more: bool,
}

impl Recall {
    /// The first run: every statement fails, and the first one is remembered.
    pub(super) fn first() -> Self {
        Self { question: None, answer: None, answered: false, asks_more: false }
    }

    /// The second run: the same statement finds its rows.
    pub(super) fn second(question: Question, rows: Vec<Answer>) -> Self {
        Self { question: Some(question), answer: Some(rows), answered: false, asks_more: false }
    }

    pub(super) fn question(self) -> Option<Question> {
        self.question
    }

    pub(super) fn asks_more(&self) -> bool {
        self.asks_more
    }

    pub(crate) fn each(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut take: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some(rows) = &self.answer else {
            if self.question.is_none() {
                let params = params.iter().map(Owned::from).collect();
                self.question = Some(Question { sql, params });
            }
            return Err(Error::Busy);
        };
        let same = self.question.as_ref().is_some_and(|asked| asked.is(sql, params));
        if self.answered || !same {
            return self.more();
        }
        self.answered = true;
        rows.iter().try_for_each(|row| take(&Row::postgres(row)))
    }

    /// Refuses what is no reading of rows; another way is taken for it.
    pub(crate) fn more<T>(&mut self) -> Result<T> {
        self.asks_more = true;
        Err(Error::Busy)
    }
}

impl Question {
    pub(super) fn params(&self) -> Vec<Value<'_>> {
        self.params.iter().map(Owned::value).collect()
    }

    fn is(&self, sql: &'static str, params: &[Value<'_>]) -> bool {
        self.sql == sql && self.params.iter().map(Owned::value).eq(params.iter().copied())
    }
}

impl From<&Value<'_>> for Owned {
    fn from(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Self::Null,
            Value::Int(int) => Self::Int(int),
            Value::Text(text) => Self::Text(text.into()),
            Value::Blob(blob) => Self::Blob(blob.into()),
            Value::Ints(ints) => Self::Ints(ints.into()),
        }
    }
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(int) => Value::Int(*int),
            Self::Text(text) => Value::Text(text),
            Self::Blob(blob) => Value::Blob(blob),
            Self::Ints(ints) => Value::Ints(ints),
        }
    }
}
