//! Widths, wrapping and colour.

/// No line is longer.
pub(crate) const WIDTH: usize = 120;

/// What a word stands for; it decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Note,
    Quiet,
}

/// Text under construction.
pub(crate) struct Page {
    text: String,
    colours: bool,
}

impl Page {
    pub fn new(colours: bool) -> Page {
        Page { text: String::new(), colours }
    }

    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// `text` in colour, if colours are wanted; the width of the plain text is the caller's business.
    pub fn toned(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Note => "33",
            Tone::Quiet => "2",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// `label` and then `text`, wrapped so that every line of it begins where the text began.
    pub fn labelled(&mut self, label: &str, text: &str) {
        self.labelled_as(label, label, text);
    }

    /// The same with a label that is `shown` in colour: escape codes have no width, `plain` has.
    pub fn labelled_as(&mut self, plain: &str, shown: &str, text: &str) {
        let indent = plain.chars().count();
        for (index, part) in wrap(text, WIDTH.saturating_sub(indent).max(20)).iter().enumerate() {
            let lead = if index == 0 { shown.to_string() } else { " ".repeat(indent) };
            self.line(format!("{lead}{part}").trim_end());
        }
    }

    /// `label` and then `text` on one line, however long: a command that is copied must not be broken.
    pub fn command(&mut self, label: &str, text: &str) {
        self.line(format!("{label}{}", plain(text)).trim_end());
    }

    pub fn finish(self) -> String {
        self.text
    }
}

/// Line breaks and other control characters become spaces, so that nothing in a history can disturb a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Breaks at spaces; a single word that is too long is broken anywhere.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let clean = plain(text);
    let mut lines = vec![String::new()];
    for word in clean.split(' ').filter(|word| !word.is_empty()) {
        for piece in pieces(word, width) {
            let line = lines.last_mut().expect("there is always a line");
            let length = line.chars().count();
            if length == 0 {
                line.push_str(&piece);
            } else if length + 1 + piece.chars().count() <= width {
                line.push(' ');
                line.push_str(&piece);
            } else {
                lines.push(piece);
            }
        }
    }
    lines
}

fn pieces(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(width.max(1)).map(|piece| piece.iter().collect()).collect()
}

/// `1,234,567`
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2 records`
pub(crate) fn count(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", thousands(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit_and_keep_every_word() {
        let text = "one two three four five six seven eight nine ten";
        let lines = wrap(text, 13);
        assert!(lines.iter().all(|line| line.chars().count() <= 13), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrap(&"x".repeat(25), 10), ["x".repeat(10), "x".repeat(10), "x".repeat(5)]);
        assert_eq!(wrap("a\n\x1b[31mb", 20), ["a [31mb"]);
        assert_eq!(wrap("", 20), [""]);
    }

    #[test]
    fn numbers_are_grouped() {
        let all = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "record"), count(0, "record")], ["1 record", "0 records"]);
    }
}
