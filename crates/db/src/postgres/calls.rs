//! Parameters as the driver takes them, and futures of its answers.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::Value;

pub(super) fn any<'a>(value: &'a Value<'_>) -> &'a (dyn ToSql + Sync) {
    value
}

/// Parameters with their types.
pub(super) fn typed<'a>(params: &'a [Value<'_>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params.iter().map(|value| (any(value), value.sql_type())).collect()
}

/// Runs a statement, sent in one go with the `prefix` before it.
pub(super) async fn with<T>(
    client: &Client,
    prefix: Option<&'static str>,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let Some(prefix) = prefix else { return statement.await };
    let (begun, answer) = tokio::join!(biased; client.batch_execute(prefix), statement);
    begun?;
    answer
}

/// Sends all statements before it waits for their answers. Returns the sum, or the first failure.
pub(super) async fn all<F>(mut sent: Vec<Pin<Box<F>>>) -> Result<u64, tokio_postgres::Error>
where
    F: Future<Output = Result<u64, tokio_postgres::Error>>,
{
    let mut done: Vec<Option<_>> = sent.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (answer, future) in done.iter_mut().zip(&mut sent) {
            if answer.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *answer = Some(ready);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().sum()
}

/// Waits for a future until the deadline; `None` if it has passed.
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
    }
}
