//! How settings are read that are more than a number or a text.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize as _;

use super::allowed::Allowed;
use super::origin::Origin as Page;

pub(super) fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let items = Vec::<String>::deserialize(from)?;
    let parse = |item: &String| {
        let address = item.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_network| item.parse::<IpNet>())
    };
    let parsed = items.iter().map(parse).collect::<Result<_, _>>();
    parsed.map_err(|_invalid| serde::de::Error::custom("each must be an address or a network"))
}

pub(super) fn pages<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Page>, D::Error> {
    let items = Vec::<String>::deserialize(from)?;
    let parsed = items.iter().map(|item| Page::parse(item)).collect::<Option<_>>();
    parsed.ok_or_else(|| serde::de::Error::custom("each must look like https://app.example.org"))
}

pub(super) fn hosts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Allowed>, D::Error> {
    let items = Vec::<String>::deserialize(from)?;
    let parsed = items.iter().map(|item| Allowed::parse(item)).collect::<Option<_>>();
    parsed.ok_or_else(|| {
        serde::de::Error::custom("each must be the name of a host, an address or a network")
    })
}

pub(super) fn optional_address<'de, D>(from: D) -> Result<Option<SocketAddr>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|_invalid| serde::de::Error::custom("it must look like 127.0.0.1:9090"))
}
