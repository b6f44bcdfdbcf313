//! The crate `eventsource-client`. After an error its stream goes on: it reconnects when it is
//! polled again, whatever the status was.

use std::time::Duration;

use eventsource_client::{Client as _, ClientBuilder, Error, ReconnectOptions, SSE};
use futures::StreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, token) = (std::env::var("URL")?, std::env::var("TOKEN")?);
    let reconnect = ReconnectOptions::reconnect(true)
        .retry_initial(true)
        .delay_max(Duration::from_secs(5))
        .build();
    let transport = HyperTransport::builder().read_timeout(Duration::from_secs(40)).build_http()?;
    let client = ClientBuilder::for_url(&url)?
        .header("Authorization", &format!("Bearer {token}"))?
        .last_event_id("0".to_owned())
        .reconnect(reconnect)
        .build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(next) = stream.next().await {
        match next {
            Ok(SSE::Event(event)) if event.event_type == "message.created" => {
                let data: Value = serde_json::from_str(&event.data)?;
                let message = &data["message"];
                println!("{}", json!([message["id"], message["snippet"]]));
                if message["subject"] == "end" {
                    return Ok(());
                }
            }
            Err(Error::UnexpectedResponse(response, _)) if response.status() < 500 => {
                return Err(format!("refused: {}", response.status()).into());
            }
            Err(error) => eprintln!("{error}"),
            Ok(_other) => {}
        }
    }
    Err("the stream has ended".into())
}
