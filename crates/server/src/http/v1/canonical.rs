//! One spelling for each JSON value, by which two requests are compared: members sorted by name, no
//! white space, one spelling of each text and each number.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The one spelling of a body that was read as JSON before; an empty body is an object without
/// members. A number is compared as it is written, not as a float that is near it.
pub(super) fn json(body: &[u8]) -> String {
    let mut out = String::new();
    let text = str::from_utf8(body).unwrap_or_default().trim_ascii();
    let written = write(if text.is_empty() { "{}" } else { text }, &mut out);
    written.expect("the body was read as JSON before");
    out
}

fn write(json: &str, out: &mut String) -> serde_json::Result<()> {
    match json.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = parse(json)?;
            for (at, (name, value)) in members.iter().enumerate() {
                out.push(if at == 0 { '{' } else { ',' });
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
                write(value.get(), out)?;
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        Some(b'[') => {
            out.push('[');
            for item in parse::<Vec<&RawValue>>(json)? {
                write(item.get(), out)?;
                out.push(',');
            }
            out.push(']');
        }
        // Without an escape it has one spelling.
        Some(b'"') if !json.contains('\\') => out.push_str(json),
        Some(b'"') => out.push_str(&serde_json::to_string(&parse::<String>(json)?)?),
        Some(b'-' | b'0'..=b'9') => out.push_str(&number(json)),
        _ => out.push_str(json),
    }
    Ok(())
}

fn parse<'j, T: Deserialize<'j>>(json: &'j str) -> serde_json::Result<T> {
    serde_json::from_str(json)
}

/// The digits of a number without zeros at either end, and the power of ten to multiply them by.
fn number(json: &str) -> String {
    let (digits, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else { return json.to_owned() };
    let sign = if digits.starts_with('-') { "-" } else { "" };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole.trim_start_matches('-'), fraction].concat();
    let significant = digits.trim_end_matches('0');
    let moved = digits.len() - significant.len();
    let length = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX);
    match significant.trim_start_matches('0') {
        "" => "0".to_owned(),
        significant => {
            let exponent =
                exponent.saturating_add(length(moved)).saturating_sub(length(fraction.len()));
            format!("{sign}{significant}e{exponent}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn equal_values_are_spelt_in_one_way() {
        let equal = [
            ("", " {} "),
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true,\n null ],\t\"a\": 1 }"),
            (r#"{"a":{"c":1,"b":2}}"#, r#"{"a":{"b":2,"c":1}}"#),
            (r#"{"a":"\u00e4\/\u0041"}"#, r#"{"\u0061":"ä/A"}"#),
            ("[100]", "[1e2]"),
            ("[1.50, -0.0, 20]", "[15E-1, 0, 2.0e+1]"),
            ("[0.001]", "[1e-3]"),
            ("[12345678901234567890123.0]", "[12345678901234567890123]"),
        ];
        for (one, other) in equal {
            assert_eq!(json(one.as_bytes()), json(other.as_bytes()), "{one} {other}");
        }
    }

    #[test]
    fn other_values_are_spelt_otherwise() {
        let values = [
            "{}",
            "[]",
            "[[]]",
            "[[],[]]",
            "[1,2]",
            "[2,1]",
            "[12]",
            "[\"1\"]",
            "[null]",
            "[-1]",
            "[10]",
            "[0.1]",
            "[0.10000000000000000001]",
            "[12345678901234567890123]",
            "[12345678901234567890124]",
            r#"{"a":null}"#,
            r#"{"a":""}"#,
            r#"{"a":"b,c"}"#,
            r#"{"a":"b","c":""}"#,
            r#"["a,b"]"#,
            r#"["a","b"]"#,
            r#"["A"]"#,
            r#"["a "]"#,
        ];
        let mut spelt: Vec<_> = values.iter().map(|value| json(value.as_bytes())).collect();
        spelt.sort();
        spelt.dedup();
        assert_eq!(spelt.len(), values.len(), "{spelt:?}");
    }
}
