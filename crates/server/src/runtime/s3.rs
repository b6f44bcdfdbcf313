//! Objects in a bucket of storage that speaks S3.
//!
//! rusty-s3 signs the addresses and reads the answers; requests go the way of all others
//! (`connect.rs`). Bodies are not signed, so that they can be sent while they are read: what they
//! are is said by the checksum that lies beside a backup.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use axum::http::header::ETAG;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use rusty_s3::actions::{CompleteMultipartUploadResponse, CreateMultipartUpload, ListObjectsV2};
use rusty_s3::{Credentials, S3Action, UrlStyle, signing};
use tokio::time::{sleep, timeout};
use url::Url;

use super::connect::{Guard, Target};
use super::{fetch, key};
use crate::config::allowed::Allowed;
use crate::config::{Settings, Unusable};

/// The bytes of a part, which is in memory while it is sent; those of a file that would have more
/// than [`PARTS`] are larger.
const PART: u64 = 8 << 20;
/// The most parts that S3 allows.
const PARTS: u64 = 10_000;
/// The most bytes of an answer that is no object; a list has 1,000 keys of at most 1 KiB.
const ANSWER: usize = 4 << 20;
/// The most pages of a list that are read.
const PAGES: usize = 1_000;
/// How long an answer may take: where little is sent, and with a part.
const QUICK: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_mins(10);
/// How long nothing may come of an object that is read.
const SILENCE: Duration = Duration::from_mins(1);
/// How long a signature is good for: a request has to begin within this time.
const SIGNED: Duration = Duration::from_mins(15);
/// The time before a request that failed is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// A bucket, and the right to use it. It has no `Debug`, because it holds a secret.
pub(crate) struct Bucket {
    named: rusty_s3::Bucket,
    credentials: Credentials,
    guard: Guard,
}

/// The answer to a request that was understood.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Bucket {
    /// The bucket of that name, where the settings say. Nothing is sent yet.
    ///
    /// # Errors
    /// If a setting is missing or cannot be used.
    pub(crate) fn open(settings: &Settings, name: &str) -> Result<Self> {
        let unusable = |problem: String| anyhow::Error::from(Unusable(anyhow!(problem)));
        let endpoint = settings
            .backup_endpoint()
            .map_err(|problem| unusable(format!("backup_s3_endpoint: {problem}")))?;
        // The name of a bucket with a dot is in no certificate, and other storage than that of AWS
        // rarely has a name for each bucket.
        let is_path = !settings.backup_s3_endpoint.is_empty() || name.contains('.');
        let style = if is_path { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let region = settings.backup_s3_region.clone();
        let bucket = rusty_s3::Bucket::new(endpoint, style, name.to_owned(), region);
        let bucket = bucket.map_err(|_cause| unusable(format!("{name} cannot be a bucket")))?;
        let id = settings.backup_s3_access_key.expose();
        if id.is_empty() {
            return Err(unusable(
                "backups in S3 need credentials: set backup_s3_access_key (or AWS_ACCESS_KEY_ID) \
                 and backup_s3_secret_key_file (or AWS_SECRET_ACCESS_KEY)"
                    .to_owned(),
            ));
        }
        let secret = match settings.backup_s3_secret_key.expose() {
            "" if settings.backup_s3_secret_key_file.as_os_str().is_empty() => {
                return Err(unusable(
                    "backup_s3_access_key is set, and its secret is missing: set \
                     backup_s3_secret_key_file (or AWS_SECRET_ACCESS_KEY)"
                        .to_owned(),
                ));
            }
            "" => key::read_file(&settings.backup_s3_secret_key_file, "the secret of the storage")?,
            secret => secret.to_owned(),
        };
        let token = settings.backup_s3_session_token.expose();
        let credentials = match token {
            "" => Credentials::new(id, secret),
            token => Credentials::new_with_token(id, secret, token),
        };
        // The operator has chosen where the storage is, so it may have a private address.
        let host = bucket.base_url().host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let allowed = Allowed::parse(host).into_iter().collect();
        let guard = Guard::new(allowed, "backup_s3_endpoint");
        Ok(Self { named: bucket, credentials, guard })
    }

    /// The addresses and the sizes of all objects whose keys begin so.
    ///
    /// # Errors
    /// What went wrong, here as below without anything secret.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let (mut found, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let mut action = self.named.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix);
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let answer = self.ask(&action, Bytes::new(), QUICK).await?.done()?;
            let page = ListObjectsV2::parse_response(answer.text()?);
            let page = page.map_err(|_cause| anyhow!("its list of objects is no XML of S3"))?;
            found.extend(page.contents.into_iter().map(|one| (one.key, one.size.unwrap_or(0))));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(found);
            }
        }
        bail!("there are more than a million objects below {prefix}")
    }

    /// Whether there is an object.
    pub(crate) async fn has(&self, key: &str) -> Result<bool> {
        let action = self.named.head_object(Some(&self.credentials), key);
        let answer = self.ask(&action, Bytes::new(), QUICK).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        answer.done().map(|_there| true)
    }

    /// A small object, of at most so many bytes; `None` where there is none.
    pub(crate) async fn get(&self, key: &str, most: usize) -> Result<Option<Bytes>> {
        let action = self.named.get_object(Some(&self.credentials), key);
        let answer = self.ask(&action, Bytes::new(), QUICK).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = answer.done()?.body;
        ensure!(body.len() <= most, "{key} has more than {most} bytes");
        Ok(Some(body))
    }

    /// Hands out an object as it comes.
    ///
    /// # Errors
    /// Also where there is none, where it is cut off, and those of `take`.
    pub(crate) async fn read(
        &self,
        key: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<()> {
        let action = self.named.get_object(Some(&self.credentials), key);
        let answer = self.send(&action, Bytes::new(), QUICK).await?;
        if answer.status() != StatusCode::OK {
            Answer::read(answer).await?.done()?;
            bail!("there is no object {key}");
        }
        let mut body = answer.into_body();
        let next = async |body: &mut Incoming| timeout(SILENCE, body.frame()).await;
        while let Some(frame) = next(&mut body).await.context("the storage has gone silent")? {
            let frame = frame.context("the object is cut off")?;
            if let Some(data) = frame.data_ref() {
                take(data)?;
            }
        }
        Ok(())
    }

    /// Stores a small object.
    pub(crate) async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        let action = self.named.put_object(Some(&self.credentials), key);
        self.ask(&action, body, SLOW).await?.done().map(drop)
    }

    /// Stores a file: all of it, or nothing.
    pub(crate) async fn upload(&self, key: &str, file: &File) -> Result<()> {
        let bytes = file.metadata()?.len();
        if bytes <= PART {
            return self.put(key, read_at(file, 0, bytes)?).await;
        }
        let create = self.named.create_multipart_upload(Some(&self.credentials), key);
        let answer = self.ask(&create, Bytes::new(), QUICK).await?.done()?;
        let created = CreateMultipartUpload::parse_response(answer.text()?);
        let created = created.map_err(|_cause| anyhow!("its answer is no XML of S3"))?;
        let sent = self.upload_parts(key, created.upload_id(), file, bytes).await;
        if sent.is_err() {
            drop(self.end_upload(key, created.upload_id()).await);
        }
        sent
    }

    async fn upload_parts(&self, key: &str, id: &str, file: &File, bytes: u64) -> Result<()> {
        let size = PART.max(bytes.div_ceil(PARTS));
        let mut tags = Vec::new();
        for (number, at) in (1..).zip((0..bytes).step_by(usize::try_from(size)?)) {
            let part = read_at(file, at, size.min(bytes - at))?;
            let action = self.named.upload_part(Some(&self.credentials), key, number, id);
            let answer = self.ask(&action, part, SLOW).await?.done()?;
            let tag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
            tags.push(tag.context("its answer to a part has no ETag")?.to_owned());
        }
        let tags = tags.iter().map(String::as_str);
        let credentials = Some(&self.credentials);
        let action = self.named.complete_multipart_upload(credentials, key, id, tags);
        let body = action.clone().body();
        let answer = self.ask(&action, body.into(), SLOW).await?.done()?;
        // It may say 200 first, and fail then.
        let done = CompleteMultipartUploadResponse::parse(answer.text()?);
        done.map(drop).map_err(|_cause| anyhow!("it failed at the end{}", answer.code()))
    }

    /// Removes an object; there may be none.
    pub(crate) async fn remove(&self, key: &str) -> Result<()> {
        let action = self.named.delete_object(Some(&self.credentials), key);
        self.ask(&action, Bytes::new(), QUICK).await?.done().map(drop)
    }

    async fn end_upload(&self, key: &str, id: &str) -> Result<()> {
        let action = self.named.abort_multipart_upload(Some(&self.credentials), key, id);
        self.ask(&action, Bytes::new(), QUICK).await?.done().map(drop)
    }

    /// Ends unfinished uploads of such keys that begin so; returns how many there were.
    pub(crate) async fn end_uploads(
        &self,
        prefix: &str,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<usize> {
        let query = [("prefix", prefix), ("uploads", "")];
        let sign = || {
            let (key, secret) = (self.credentials.key(), self.credentials.secret());
            signing::sign(
                &Timestamp::now(),
                rusty_s3::Method::Get,
                self.named.base_url().clone(),
                key,
                secret,
                self.credentials.token(),
                self.named.region(),
                SIGNED.as_secs(),
                query.into_iter(),
                std::iter::empty(),
            )
        };
        let answer = self.repeated(Method::GET, sign, Bytes::new(), QUICK).await?.done()?;
        let mut ended = 0;
        for upload in answer.text()?.split("<Upload>").skip(1) {
            let (key, id) = (between(upload, "Key"), between(upload, "UploadId"));
            let (Some(key), Some(id)) = (key, id) else { continue };
            if key.starts_with(prefix) && is_ours(key) {
                self.end_upload(key, id).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Sends a request, again if it fails for a reason that may pass, and reads the answer.
    async fn ask<'a>(
        &self,
        action: &impl S3Action<'a>,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer> {
        self.repeated(method(action), || action.sign(SIGNED), body, within).await
    }

    async fn repeated(
        &self,
        method: Method,
        sign: impl Fn() -> Url,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let once =
                async { Answer::read(self.once(&method, &sign(), body.clone()).await?).await };
            let answer = timeout(within, once).await;
            let answer = answer.unwrap_or_else(|_late| Err(late(within)));
            let may_pass = match &answer {
                Ok(answer) => {
                    let status = answer.status;
                    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(_) => true,
            };
            match pauses.next() {
                Some(pause) if may_pass => sleep(pause).await,
                _ => return answer,
            }
        }
    }

    async fn send<'a>(
        &self,
        action: &impl S3Action<'a>,
        body: Bytes,
        within: Duration,
    ) -> Result<Response<Incoming>> {
        let (method, url) = (method(action), action.sign(SIGNED));
        let answer = timeout(within, self.once(&method, &url, body)).await;
        answer.unwrap_or_else(|_late| Err(late(within)))
    }

    async fn once(&self, method: &Method, url: &Url, body: Bytes) -> Result<Response<Incoming>> {
        let target = Target::parse(url.as_str()).map_err(anyhow::Error::msg)?;
        fetch::send(&self.guard, method.clone(), target, body).await.map_err(anyhow::Error::msg)
    }
}

impl Answer {
    async fn read(answer: Response<Incoming>) -> Result<Self> {
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER).collect().await;
        let body = body.map_err(|_cause| anyhow!("its answer is cut off or too long"))?;
        Ok(Self { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    /// Itself, if what was asked for was done.
    fn done(self) -> Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let hint = match self.status {
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                ". Check backup_s3_access_key and its secret, what the key is allowed to do, and \
                 the clock"
            }
            StatusCode::NOT_FOUND if self.text().is_ok_and(|text| text.contains("NoSuchKey")) => "",
            StatusCode::NOT_FOUND => ". Check the name of the bucket and backup_s3_endpoint",
            StatusCode::BAD_REQUEST => ". Check backup_s3_region",
            status if status.is_redirection() => {
                ". Check backup_s3_region and backup_s3_endpoint: a redirect is not followed"
            }
            _ => "",
        };
        bail!("it answered {}{}{hint}", self.status.as_u16(), self.code())
    }

    fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.body).context("its answer is no text")
    }

    /// The code of an error, for people. The rest of such an answer may repeat the request.
    fn code(&self) -> String {
        let code = self.text().ok().and_then(|text| between(text, "Code"));
        let is_word =
            |code: &&str| code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric());
        code.filter(is_word).map(|code| format!(" ({code})")).unwrap_or_default()
    }
}

fn late(within: Duration) -> anyhow::Error {
    anyhow!("no answer in {} s", within.as_secs())
}

fn method<'a, A: S3Action<'a>>(_action: &A) -> Method {
    Method::from_bytes(A::METHOD.to_str().as_bytes()).expect("it is a method")
}

/// The text of the first element of that name.
fn between<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn read_at(file: &File, at: u64, bytes: u64) -> Result<Bytes> {
    let mut part = vec![0; usize::try_from(bytes)?];
    file.read_exact_at(&mut part, at)?;
    Ok(part.into())
}
