//! Asks another server, and gets small documents from one.

use std::time::Duration;

use axum::http::header::{CONNECTION, HOST, HeaderMap, USER_AGENT};
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::connect::{Guard, Target};

const AGENT: &str = concat!("Postroom/", env!("CARGO_PKG_VERSION"));

/// Gets a document of at most that many bytes, with the headers of its response. A redirect is not
/// followed: where it leads to was not checked by anybody.
///
/// # Errors
/// What went wrong, in words that repeat nothing of the response.
pub(crate) async fn get(
    guard: &Guard,
    url: &str,
    most: usize,
    within: Duration,
) -> Result<(HeaderMap, Bytes), String> {
    let late = |_elapsed| format!("no answer in {} s", within.as_secs());
    timeout(within, exchange(guard, url, most)).await.map_err(late)?
}

async fn exchange(guard: &Guard, url: &str, most: usize) -> Result<(HeaderMap, Bytes), String> {
    let answer = send(guard, Method::GET, Target::parse(url)?, Bytes::new()).await?;
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("it answered {}", head.status.as_u16()));
    }
    let body = Limited::new(body, most).collect().await;
    let body = body.map_err(|_cause| format!("it is cut off or has more than {most} bytes"))?;
    Ok((head.headers, body.to_bytes()))
}

/// Sends a request on a connection of its own. There is no time limit.
///
/// # Errors
/// Where there is no response; in words that repeat nothing of the request.
pub(super) async fn send(
    guard: &Guard,
    method: Method,
    target: Target,
    body: Bytes,
) -> Result<Response<Incoming>, String> {
    let stream = TokioIo::new(guard.connect(&target).await?);
    let request = Request::builder()
        .method(method)
        .uri(target.path)
        .header(HOST, target.authority)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .expect("the parts are valid");
    let broken = |cause: hyper::Error| format!("no answer: {cause}");
    let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
    // It ends with the sender and the response, and reports its errors to them.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}
