//! The HTTP client of the tests: one connection that is kept open, a cookie jar, and requests that
//! are built step by step.
//!
//! Async tests end a request with [`Request::send`] or [`Request::events`], the others with
//! [`Request::wait`]. A client never sends a request twice.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request as HttpRequest, Response as HttpResponse};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};

use crate::events::EventStream;
use crate::response::{EVENT_STREAM, Failure, Response};

/// How long [`Request::wait`] waits for a response. A server that takes longer hangs.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) type Connection = SendRequest<Full<Bytes>>;

/// Where a server listens: 127.0.0.1, and a port that is another one after a restart. Clones share
/// the port.
#[derive(Debug, Clone, Default)]
pub struct Address(Arc<AtomicU16>);

impl Address {
    /// The address as the header `Host` names it.
    pub fn host(&self) -> String {
        self.socket().to_string()
    }

    pub fn socket(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.0.load(Relaxed)).into()
    }

    /// Makes all clones name this server.
    pub fn set(&self, server: SocketAddr) {
        self.0.store(server.port(), Relaxed);
    }
}

impl From<SocketAddr> for Address {
    fn from(server: SocketAddr) -> Self {
        let address = Self::default();
        address.set(server);
        address
    }
}

/// A check that a client applies to every response: to which method and path it belongs, and what
/// it is. Of a stream of events it sees the head alone. It panics where it finds a fault.
pub type Check = fn(&Method, &str, &Response);

/// A client of one server.
pub struct Client {
    address: Address,
    /// The open connection, with the server that it leads to. The holder of the lock waits for a
    /// response, so requests are sent one after another.
    connection: tokio::sync::Mutex<Option<(SocketAddr, Connection)>>,
    /// The cookies that the server has set.
    cookies: Mutex<BTreeMap<String, String>>,
    headers: Vec<(String, String)>,
    check: Option<Check>,
}

impl Client {
    /// A client without cookies. It follows the address when that changes.
    pub fn new(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            connection: tokio::sync::Mutex::default(),
            cookies: Mutex::default(),
            headers: Vec::new(),
            check: None,
        }
    }

    /// Applies a check to every response.
    #[must_use]
    pub fn with_check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Sends a header with every request, as a proxy before the server would.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Closes the connection, and sends what follows to this server.
    pub fn connect_to(&self, server: SocketAddr) {
        self.address.set(server);
        self.connection.try_lock().expect("no request is in flight").take();
    }

    /// Where requests go.
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn jar(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a cookie in the jar.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    /// The secret of the session in the jar.
    #[track_caller]
    pub fn session(&self) -> String {
        self.cookie("sessionid").expect("the client has signed in")
    }

    /// Begins a request. By default it carries the cookies of the jar and, where the method is not
    /// GET or HEAD, the CSRF token.
    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        Request {
            client: self,
            method: method.parse().expect("it is a method"),
            path: path.to_owned(),
            headers: Vec::new(),
            sends_cookies: true,
            sends_csrf: true,
            body: Bytes::new(),
            timeout: None,
        }
    }

    /// Fetches the CSRF token, which the server also puts into the jar.
    pub async fn csrf_token(&self) -> String {
        let answer = self.request("GET", "/users/token").send().await.ok();
        answer["csrfToken"].as_str().expect("the token is text").to_owned()
    }

    /// Tries to sign in over the classic API.
    pub async fn try_login(&self, name: &str, password: &str) -> Response {
        let body = json!({ "username": name, "password": password });
        self.request("POST", "/users/login").json(&body).send().await
    }

    /// Tries to register over the classic API.
    pub async fn try_register(&self, name: &str, email: &str, password: &str) -> Response {
        let body = json!({ "username": name, "email": email, "password": password });
        self.request("POST", "/users/register").json(&body).send().await
    }

    async fn exchange(&self, request: HttpRequest<Full<Bytes>>) -> Result<Response, Failure> {
        let mut slot = self.connection.lock().await;
        // It comes back when the response is whole: a failure or a cancelled wait closes it.
        let open = slot.take().filter(|(server, _)| *server == self.address.socket());
        let mut open = match open {
            Some((server, mut connection)) => {
                connection.ready().await.is_ok().then_some((server, connection))
            }
            None => None,
        };
        if open.is_none() {
            let server = self.address.socket();
            open = Some((server, connect(server).await?));
        }
        let (server, mut connection) = open.expect("it is open");
        let (head, body) = send(&mut connection, request).await?.into_parts();
        let mut response = Response::new(head.status.as_u16(), head.headers);
        // A stream of events has no end; use `Request::events` to read one.
        if response.header("content-type") != Some(EVENT_STREAM) {
            let body = body.collect().await.map_err(|_cause| Failure::Truncated)?;
            response.body = body.to_bytes();
            *slot = Some((server, connection));
        }
        let mut jar = self.jar();
        for cookie in response.cookies() {
            if cookie.attributes.contains("Max-Age=0") {
                jar.remove(&cookie.name);
            } else {
                jar.insert(cookie.name, cookie.value);
            }
        }
        Ok(response)
    }
}

async fn connect(server: SocketAddr) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(server).await.map_err(|_cause| Failure::Refused)?;
    stream.set_nodelay(true).map_err(|_cause| Failure::Refused)?;
    let handshake = handshake(TokioIo::new(stream)).await;
    let (connection, driver) = handshake.map_err(|_cause| Failure::Closed)?;
    tokio::spawn(driver);
    Ok(connection)
}

async fn send(
    connection: &mut Connection,
    request: HttpRequest<Full<Bytes>>,
) -> Result<HttpResponse<Incoming>, Failure> {
    connection.send_request(request).await.map_err(|error| {
        assert!(!error.is_parse(), "the server does not speak HTTP: {error:?}");
        Failure::Closed
    })
}

/// Sends one GET on a connection of its own, for tests that are not async. There must be a
/// response.
#[track_caller]
pub fn get(server: SocketAddr, path: &str) -> Response {
    let response = Client::new(server).request("GET", path).wait();
    response.unwrap_or_else(|failure| panic!("GET {path}: {failure:?}"))
}

/// The runtime of those that wait without one of their own.
pub(crate) fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(pending::<()>()));
        handle
    })
}

/// A request that is being built.
#[must_use]
pub struct Request<'c> {
    client: &'c Client,
    method: Method,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    sends_cookies: bool,
    sends_csrf: bool,
    body: Bytes,
    timeout: Option<Duration>,
}

impl Request<'_> {
    /// With a JSON body. Its Content-Type is sent to /v1 alone, which asks for it.
    pub fn json(self, body: &Value) -> Self {
        let request = self.body(body.to_string());
        if request.path.starts_with("/v1/") {
            return request.header("content-type", "application/json");
        }
        request
    }

    /// With any body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With a header more; a name that is given twice is sent twice.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With the token of a program in the place of cookies.
    pub fn bearer(self, token: &str) -> Self {
        self.without_cookies().without_csrf().header("authorization", format!("Bearer {token}"))
    }

    /// With this header `Cookie` in the place of the jar; called twice, with two such headers.
    pub fn cookies(self, value: &str) -> Self {
        self.without_cookies().header("cookie", value)
    }

    /// Without the cookies of the jar.
    pub fn without_cookies(mut self) -> Self {
        self.sends_cookies = false;
        self
    }

    /// With this CSRF token in the place of the one in the jar.
    pub fn csrf(self, token: &str) -> Self {
        self.without_csrf().header("x-csrftoken", token)
    }

    /// Without a CSRF token.
    pub fn without_csrf(mut self) -> Self {
        self.sends_csrf = false;
        self
    }

    /// Waits so long for the whole response.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Sends it. There must be a response.
    pub async fn send(self) -> Response {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().await.unwrap_or_else(|failure| panic!("{what}: {failure:?}"))
    }

    /// Sends it.
    pub async fn try_send(self) -> Result<Response, Failure> {
        let (client, method, path) = (self.client, self.method.clone(), self.path.clone());
        let timeout = self.timeout;
        let exchange = client.exchange(self.build());
        let response = match timeout {
            Some(time) => tokio::time::timeout(time, exchange)
                .await
                .unwrap_or_else(|_elapsed| Err(Failure::TimedOut))?,
            None => exchange.await?,
        };
        if let Some(check) = client.check {
            check(&method, &path, &response);
        }
        Ok(response)
    }

    /// Sends it, and blocks until the response is there: for tests that are not async.
    pub fn wait(mut self) -> Result<Response, Failure> {
        self.timeout.get_or_insert(TIMEOUT);
        runtime().block_on(self.try_send())
    }

    /// Sends it over a connection of its own and reads the events that come. They must.
    pub async fn events(self) -> EventStream {
        let stream = self.try_events().await.expect("the server answers");
        assert_eq!(stream.response.status, 200, "{:?}", stream.response);
        stream
    }

    /// The same where the server may refuse: the head of the response is in the stream.
    pub async fn try_events(self) -> Result<EventStream, Failure> {
        let (client, method, path) = (self.client, self.method.clone(), self.path.clone());
        let mut connection = connect(client.address.socket()).await?;
        let (head, body) = send(&mut connection, self.build()).await?.into_parts();
        let response = Response::new(head.status.as_u16(), head.headers);
        if let (Some(check), 200) = (client.check, response.status) {
            check(&method, &path, &response);
        }
        Ok(EventStream::new(response, body, connection))
    }

    /// The same for tests that are not async.
    pub fn wait_for_events(self) -> Result<EventStream, Failure> {
        runtime().block_on(async {
            let opened = tokio::time::timeout(TIMEOUT, self.try_events()).await;
            opened.unwrap_or(Err(Failure::TimedOut))
        })
    }

    fn build(self) -> HttpRequest<Full<Bytes>> {
        let client = self.client;
        let mut request = HttpRequest::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header("host", client.address.host())
            .body(Full::new(self.body))
            .expect("it is a request");
        let headers = request.headers_mut();
        let mut add = |name: &str, value: &[u8]| {
            let name = name.parse::<HeaderName>().expect("it is the name of a header");
            headers.append(name, HeaderValue::from_bytes(value).expect("it fits into a header"));
        };
        let jar = client.jar();
        let changes = !matches!(self.method, Method::GET | Method::HEAD);
        if let Some(token) = jar.get("csrftoken").filter(|_| changes && self.sends_csrf) {
            add("x-csrftoken", token.as_bytes());
        }
        if self.sends_cookies && !jar.is_empty() {
            let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            add("cookie", pairs.join("; ").as_bytes());
        }
        for (name, value) in &client.headers {
            add(name, value.as_bytes());
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        request
    }
}
