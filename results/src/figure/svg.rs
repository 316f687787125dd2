//! What plotters writes, made smaller and typeset: cells of one colour become one path, and `W_q` a letter with a subscript.

use crate::scripts::{self, Script};

/// Fewest rectangles in a row that are joined.
const JOINED: usize = 3;

/// The SVG with joined cells and sub- and superscripts.
pub(super) fn finish(drawn: &str) -> String {
    let mut out = String::with_capacity(drawn.len() / 2);
    let mut cells: Vec<Cell<'_>> = Vec::new();
    for line in drawn.split_inclusive('\n') {
        match Cell::read(line) {
            Some(cell) => cells.push(cell),
            None => {
                join(&mut cells, &mut out);
                out.push_str(&typeset(line));
            }
        }
    }
    join(&mut cells, &mut out);
    out
}

/// A rectangle without an edge.
struct Cell<'a> {
    line: &'a str,
    corner: (&'a str, &'a str),
    width: &'a str,
    height: &'a str,
    fill: &'a str,
}

impl<'a> Cell<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let rest = line.strip_prefix("<rect ")?;
        let value = |name: &str| rest.split_once(&format!("{name}=\""))?.1.split('"').next();
        let plain = value("opacity")? == "1" && value("stroke")? == "none";
        plain.then_some(())?;
        Some(Self {
            line,
            corner: (value("x")?, value(" y").or_else(|| value("y"))?),
            width: value("width")?,
            height: value("height")?,
            fill: value("fill")?,
        })
    }
}

/// Writes the cells, which do not overlap, as one path a colour.
fn join(cells: &mut Vec<Cell<'_>>, out: &mut String) {
    if cells.len() < JOINED {
        cells.drain(..).for_each(|cell| out.push_str(cell.line));
        return;
    }
    let mut colours: Vec<(&str, String)> = Vec::new();
    for cell in cells.drain(..) {
        let ((x, y), width, height) = (cell.corner, cell.width, cell.height);
        let drawn = format!("M{x} {y}h{width}v{height}h-{width}z");
        match colours.iter_mut().find(|(fill, _)| *fill == cell.fill) {
            Some((_, path)) => path.push_str(&drawn),
            None => colours.push((cell.fill, drawn)),
        }
    }
    for (fill, path) in colours {
        out.push_str(&format!(
            "<path shape-rendering=\"crispEdges\" fill=\"{fill}\" d=\"{path}\"/>\n"
        ));
    }
}

/// A line of text, not of markup, with its scripts. Each shift is taken back by what follows, in units of the letters.
fn typeset(line: &str) -> String {
    if line.starts_with('<') {
        return line.to_owned();
    }
    let shift = |script| match script {
        Script::Sub => (0.3, -0.21),
        Script::Super => (-0.55, 0.385),
    };
    let mut open = 0;
    let marked = scripts::set(line.trim_end(), |script, letter| {
        let (to, back) = shift(script);
        open += 1;
        format!("<tspan dy=\"{to}em\" font-size=\"70%\">{letter}</tspan><tspan dy=\"{back}em\">")
    });
    // An empty shift is none: a text that ends in a script needs no way back.
    let closed = marked + &"</tspan>".repeat(open) + "\n";
    closed
        .replace("<tspan dy=\"-0.21em\"></tspan>", "")
        .replace("<tspan dy=\"0.385em\"></tspan>", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: u32, y: u32, fill: &str) -> String {
        format!("<rect x=\"{x}\" y=\"{y}\" width=\"2\" height=\"3\" opacity=\"1\" fill=\"{fill}\" stroke=\"none\"/>\n")
    }

    #[test]
    fn cells_of_a_colour_are_one_path_at_the_same_place() {
        let two = rect(1, 2, "#000000") + &rect(4, 5, "#FFFFFF");
        assert_eq!(finish(&two), two, "too few to join");
        let three = finish(&(two + &rect(7, 8, "#000000") + "</svg>\n"));
        assert_eq!(three.matches("<path").count(), 2);
        assert!(
            three.contains("fill=\"#000000\" d=\"M1 2h2v3h-2zM7 8h2v3h-2z\""),
            "{three}"
        );
        assert!(
            three.contains("fill=\"#FFFFFF\" d=\"M4 5h2v3h-2z\"") && three.ends_with("</svg>\n"),
            "{three}"
        );
    }

    #[test]
    fn texts_have_scripts_and_markup_has_none() {
        let text = finish("<text id=\"W_q\">\nΔW_q, layer 1\n</text>\n");
        let sub = "ΔW<tspan dy=\"0.3em\" font-size=\"70%\">q</tspan><tspan dy=\"-0.21em\">, layer 1</tspan>\n";
        assert!(text.starts_with("<text id=\"W_q\">\n") && text.contains(sub), "{text}");
        let end = finish("Adapter^H\n");
        assert_eq!(end, "Adapter<tspan dy=\"-0.55em\" font-size=\"70%\">H</tspan>\n");
        assert_eq!(finish("pre_embed\n"), "pre_embed\n");
    }
}
