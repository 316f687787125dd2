//! A text on a terminal, token by token.

/// What of a growing text has been printed.
#[derive(Debug, Default)]
pub struct Printed(String);

impl Printed {
    /// What to print now that the text is `text`, trimmed at both ends. Blanks at the end wait for what follows them, and a
    /// character of several tokens waits for its last.
    pub fn next(&mut self, text: &str) -> String {
        let text = text.trim();
        if text.ends_with(char::REPLACEMENT_CHARACTER) {
            return String::new();
        }
        let new = text.strip_prefix(&*self.0).unwrap_or_default().to_owned();
        self.0 += &new;
        new
    }

    /// What to print at the end, when the whole text is `text`. A text that does not begin with what was printed, because the
    /// tokenizer writes tokens otherwise before others, is printed again on a line of its own.
    pub fn last(&mut self, text: &str) -> String {
        match text.trim().strip_prefix(&*self.0) {
            Some(rest) => rest.to_owned(),
            None => format!("\n{}", text.trim()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Printed;

    #[test]
    fn a_text_grows_without_half_characters_and_blanks_at_its_ends() {
        let mut printed = Printed::default();
        let steps = [
            " ",
            " The",
            " The caf\u{fffd}",
            " The café",
            " The café \n",
            " The café \n is",
        ];
        let shown: Vec<String> = steps.iter().map(|text| printed.next(text)).collect();
        assert_eq!(shown, ["", "The", "", " café", "", " \n is"]);
        assert_eq!(printed.last(" The café \n is open. "), " open.");
        assert_eq!(printed.last("Another"), "\nAnother");
    }
}
