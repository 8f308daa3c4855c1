//! Bytes as people read them.

use std::fmt;

/// A key or a value: its text where that is one, quoted if it holds what a terminal would not show; else `0x` and hex digits.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().any(char::is_control) => write!(f, "{text:?}"),
            Ok(text) => f.write_str(text),
            Err(_) => {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_record_reaches_the_terminal_as_a_command() {
        assert_eq!(Shown("größe 7".as_bytes()).to_string(), "größe 7");
        assert_eq!(Shown(b"\x1b[2J").to_string(), "\"\\u{1b}[2J\"");
        assert_eq!(Shown(&[0xff, 0x00]).to_string(), "0xff00");
    }
}
