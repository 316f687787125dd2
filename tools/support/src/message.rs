//! Text of files and errors in messages: of bounded length, with control characters escaped, so that a damaged file neither floods
//! nor controls the terminal.

use std::fmt::Display;
use std::io::Write;

/// Longest line of an error, in characters.
const LINE: usize = 1_000;
/// Lines of an error that are shown.
const LINES: usize = 100;
/// Longest name that is shown whole, in characters.
const NAME: usize = 80;
/// Likeness from which on a name is proposed in the place of another, as clap does for flags.
const ALIKE: f64 = 0.8;

/// Text from a file or an argument, for a message: control characters are escaped, and what follows the first `most` characters
/// is replaced by its length.
pub fn excerpt(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(most) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    match chars.count() {
        0 => shown,
        rest => format!("{shown}... ({rest} more characters)"),
    }
}

/// Writes a program's answer to standard output. A reader that has enough of it, such as `head`, ends it without an error.
///
/// # Errors
/// Those of standard output.
pub fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A number with its noun: `1 run`, `2 runs`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// What to say of a name that is none of `known`, with the likeliest that was meant.
pub fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let guess = likeliest(name, &known).map_or(String::new(), |other| format!(" did you mean `{other}`?"));
    format!(
        "unknown {what} `{}`;{guess} known: {}",
        excerpt(name, NAME),
        known.join(", ")
    )
}

/// The one of `known` that was probably meant by `name`, if any.
fn likeliest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let alike = |other: &str| strsim::jaro_winkler(&plain(name), &plain(other));
    let nearest = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    nearest.copied().filter(|other| alike(other) > ALIKE)
}

/// An error of serde for a field or variant that there is not, with the likeliest that was meant.
fn guessed(text: &str) -> Option<String> {
    let after = ["unknown field `", "unknown variant `"];
    let start = after.iter().find_map(|word| Some(text.find(word)? + word.len()))?;
    let name = text[start..].split('`').next()?;
    let (_, expected) = text[start..].split_once("`, expected ")?;
    let known: Vec<&str> = expected.lines().next()?.split('`').skip(1).step_by(2).collect();
    let meant = likeliest(name, &known)?;
    let end = start + name.len() + 1;
    Some(format!(
        "{}; did you mean `{meant}`?{}",
        &text[..end],
        &text[end..].replacen(',', "", 1)
    ))
}

/// An error for the terminal or a record: at most 100 lines, each an [`excerpt`], with a guess at a field that is mistyped.
pub fn printable(error: impl Display) -> String {
    let text = error.to_string();
    let text = guessed(&text).unwrap_or(text);
    let mut lines = text.split('\n');
    let mut shown: Vec<String> = lines.by_ref().take(LINES).map(|line| excerpt(line, LINE)).collect();
    let rest = lines.count();
    if rest > 0 {
        shown.push(format!("... ({rest} more lines)"));
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{excerpt, printable, unknown};

    #[test]
    fn excerpts_are_short_and_show_no_controls() {
        assert_eq!(excerpt("a pub, naïve", 60), "a pub, naïve");
        assert_eq!(excerpt("a\rb\tc\u{1b}[31m\n", 60), "a\\rb\\tc\\u{1b}[31m\\n");
        assert_eq!(excerpt("ääää", 3), "äää... (1 more characters)");
        assert_eq!(excerpt("", 3), "");
    }

    #[test]
    fn the_likeliest_name_is_proposed() {
        let said = |name: &str| unknown("task", name, ["mnli", "sst-2", "rte"]);
        assert_eq!(
            said("sts2"),
            "unknown task `sts2`; did you mean `sst-2`? known: mnli, sst-2, rte"
        );
        assert_eq!(
            said("MNLY"),
            "unknown task `MNLY`; did you mean `mnli`? known: mnli, sst-2, rte"
        );
        assert_eq!(said("xyz"), "unknown task `xyz`; known: mnli, sst-2, rte");
    }

    #[test]
    fn a_field_that_is_mistyped_is_guessed() {
        assert_eq!(
            printable("in a.yaml: unknown field `epoch`, expected one of `epochs`, `batch_size`\nmore"),
            "in a.yaml: unknown field `epoch`; did you mean `epochs`? expected one of `epochs`, `batch_size`\nmore"
        );
        assert_eq!(
            printable("unknown variant `bf61`, expected `fp32` or `bf16`"),
            "unknown variant `bf61`; did you mean `bf16`? expected `fp32` or `bf16`"
        );
        let plain = "unknown field `xyz`, expected one of `epochs`, `batch_size`";
        assert_eq!(printable(plain), plain);
        assert_eq!(
            printable("unknown field `epoch`, there are no fields"),
            "unknown field `epoch`, there are no fields"
        );
    }

    #[test]
    fn errors_keep_their_lines_and_are_bounded() {
        assert_eq!(printable("one\n  two\u{7}"), "one\n  two\\u{7}");
        let long = format!("{}\n", "x".repeat(20_000)).repeat(500);
        let shown = printable(long);
        assert!(shown.len() < 110_000, "{}", shown.len());
        assert!(
            shown.ends_with("... (401 more lines)"),
            "{}",
            &shown[shown.len() - 40..]
        );
    }
}
