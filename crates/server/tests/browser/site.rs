//! A site of another origin than the server's: pages of an app.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// The client, as an app serves it itself.
const CLIENT: &str = include_str!("../../../../clients/js/postroom.js");

/// A response: status, type and body.
pub(crate) type Answer = (u16, &'static str, String);

/// Serves the client, and for any other path what the function says.
pub(crate) fn serve(answer: impl Fn(&str) -> Answer + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.next().unwrap_or_default();
                drop(lines.find(String::is_empty));
                let (status, kind, body) = match asked.split(' ').nth(1).unwrap_or_default() {
                    "/postroom.js" => (200, "text/javascript", CLIENT.to_owned()),
                    path => answer(path),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{body}"
                );
                drop((&stream).write_all(answer.as_bytes()));
            });
        }
    });
    address
}

/// A page with nothing on it.
pub(crate) fn page() -> Answer {
    (200, "text/html", "<!doctype html><title>App</title>".to_owned())
}
