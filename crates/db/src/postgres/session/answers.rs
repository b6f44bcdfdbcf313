//! Values on their way to the driver, and futures of its answers.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::Value;

/// A value as the driver takes it.
pub(super) fn any<'a>(value: &'a Value<'_>) -> &'a (dyn ToSql + Sync) {
    value
}

/// Values with what they are.
pub(super) fn typed<'a>(params: &'a [Value<'_>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params.iter().map(|value| (any(value), value.kind())).collect()
}

/// Sends what comes first together with a statement.
pub(super) async fn with<T>(
    client: &Client,
    first: Option<&'static str>,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let Some(first) = first else { return statement.await };
    let (begun, answer) = tokio::join!(biased; client.batch_execute(first), statement);
    begun?;
    answer
}

/// Asks for everything, and then waits for each in turn.
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

/// Waits until a moment; nothing if it has passed.
pub(super) async fn within<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
    }
}
