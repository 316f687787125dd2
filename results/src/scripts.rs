//! Sub- and superscripts of printed names: `W_q`, `Adapter^H`.

/// A letter in a sub- or superscript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Sub,
    Super,
}

/// Bases with the mark behind them, their letters, and where these stand.
const MARKS: [(&str, &str, Script); 2] = [("W_", "qkvo", Script::Sub), ("Adapter^", "HLPD", Script::Super)];

/// The text with each sub- and superscript in the form that `set` gives it. Identifiers such as `pre_embed` stay as they are.
pub(crate) fn set(text: &str, mut set: impl FnMut(Script, char) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let marks = MARKS
            .iter()
            .filter_map(|(mark, letters, script)| Some((rest.find(mark)?, *mark, *letters, *script)));
        let Some((at, mark, letters, script)) = marks.min_by_key(|(at, ..)| *at) else {
            return out + rest;
        };
        let (before, after) = rest.split_at(at + mark.len());
        let mut behind = after.chars();
        match behind.next().filter(|letter| letters.contains(*letter)) {
            Some(letter) if !behind.as_str().starts_with(char::is_alphanumeric) => {
                out.push_str(&before[..before.len() - 1]);
                out.push_str(&set(script, letter));
                rest = behind.as_str();
            }
            _ => {
                out.push_str(before);
                rest = after;
            }
        }
    }
}

/// In Markdown and HTML.
#[must_use]
pub(crate) fn markdown(text: &str) -> String {
    set(text, |script, letter| match script {
        Script::Sub => format!("<sub>{letter}</sub>"),
        Script::Super => format!("<sup>{letter}</sup>"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_scripts_and_identifiers_have_none() {
        for (text, marked) in [
            ("ΔW_q and W_v", "ΔW<sub>q</sub> and W<sub>v</sub>"),
            ("LoRA against Adapter^H.", "LoRA against Adapter<sup>H</sup>."),
            ("pre_embed, W_x, W_query, Adapter^", "pre_embed, W_x, W_query, Adapter^"),
            ("", ""),
        ] {
            assert_eq!(markdown(text), marked);
        }
    }
}
