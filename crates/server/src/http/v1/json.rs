//! Reads JSON of a bounded size in which no object has a member twice: which one counts would be a
//! guess.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::map::{Entry, Map};

/// How much of a name an error repeats, in characters.
const SHOWN: usize = 100;

/// What JSON may have, at any depth. Its length is bounded before; but an empty member costs as
/// much work as a thousand characters of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) members: usize,
    pub(super) values: usize,
}

impl Bounds {
    /// Of a call by a user: a batch names 1,000 messages, and metadata has room for some 850
    /// members or 2,560 items.
    pub(super) const OF_USERS: Self = Self { members: 1000, values: 5000 };
    /// Of a call by the app's server, where the length is bound enough.
    pub(super) const OF_SERVERS: Self = Self { members: usize::MAX, values: usize::MAX };
}

/// Reads one value.
///
/// # Errors
/// If it is not JSON, too large, or ambiguous.
pub(super) fn read(bytes: &[u8], bounds: Bounds) -> serde_json::Result<Value> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let value = (&mut Reader { left: bounds, bounds }).deserialize(&mut from)?;
    from.end()?;
    Ok(value)
}

struct Reader {
    left: Bounds,
    bounds: Bounds,
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let most = self.bounds.values;
        self.left.values = self
            .left
            .values
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom(format_args!("it has more than {most} values")))?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(&mut *self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let most = self.bounds.members;
            self.left.members =
                self.left.members.checked_sub(1).ok_or_else(|| {
                    A::Error::custom(format_args!("it has more than {most} members"))
                })?;
            match values.entry(name) {
                Entry::Vacant(place) => drop(place.insert(members.next_value_seed(&mut *self)?)),
                Entry::Occupied(place) => {
                    let name: String = place.key().chars().take(SHOWN).collect();
                    return Err(A::Error::custom(format!("the member {name:?} is there twice")));
                }
            }
        }
        Ok(values.into())
    }
}
