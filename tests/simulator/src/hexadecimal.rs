//! Bytes as hexadecimal text in stored JSON records (`#[serde(with = "hexadecimal")]`).

use serde::{Deserialize as _, Deserializer, Serializer, de};

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

/// Reads hexadecimal text back into bytes.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
}
