//! The small grammar of targets and triggers: words, and names with something in parentheses.

use super::target::Partition;

/// `name(inside)` as its two parts.
pub(super) fn call(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix(')')?;
    let (name, inside) = inner.split_once('(')?;
    Some((name.trim(), inside.trim()))
}

/// `b3` is 3 for prefix `b`.
pub(super) fn numbered(text: &str, prefix: char) -> Option<u32> {
    let digits = text.strip_prefix(prefix)?;
    let canonical = !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    canonical.then(|| digits.parse().ok()).flatten()
}

/// `orders-0`.
pub(super) fn partition(text: &str) -> Result<Partition, String> {
    let wrong = || format!("`{text}` is not a partition; write a topic and a number, such as orders-0");
    let (topic, number) = text.trim().rsplit_once('-').ok_or_else(wrong)?;
    let partition = number.parse::<u32>().map_err(|_| wrong())?;
    if topic.is_empty() || partition > i32::MAX as u32 {
        return Err(wrong());
    }
    Ok(Partition { topic: topic.to_owned(), partition: partition as i32 })
}

/// Implements serde for a type that is text to people: `Display` and `FromStr` are its one form.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use serde_as_text;
