//! Points, lines and their legend.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Area, Chart, Drawn, MARGIN, wide};
use super::style::{self, Look, Marker, SMALL, TEXT};
use super::value::{Content, Figure, Point, Series};
use crate::methods;

/// Width of a marker's edge.
const EDGE: u32 = 2;
/// Height of a label.
const LABEL: i32 = 11;
/// Most pixels by which a label stands above or below its point, so as to cover no other.
const FARTHEST: i32 = 40;

/// Colour of a series.
fn colour(series: &Series) -> RGBColor {
    series
        .shade
        .map_or_else(|| methods::look(&series.method).colour, style::shade)
}

/// Series within the vertical range `(low, high)`: lines, labels on them, markers on top. A point beyond the range stands at its edge,
/// with its value.
pub(super) fn draw(chart: &mut Chart<'_>, all: &[Series], range: (f64, f64)) -> Drawn {
    for series in all.iter().filter(|series| series.across) {
        draw_across(chart, series)?;
    }
    let lines = || all.iter().filter(|series| !series.across);
    for series in lines() {
        draw_line(chart, series, range)?;
    }
    draw_labels(chart, all, range)?;
    for series in lines().filter(|series| series.shade.is_none()) {
        draw_markers(chart, series, range)?;
    }
    Ok(())
}

/// A level over the whole width, with its spread as a band.
fn draw_across(chart: &mut Chart<'_>, series: &Series) -> Drawn {
    let colour = colour(series);
    let ends = chart.x_range();
    let (left, right) = (ends.start, ends.end);
    for p in &series.points {
        if let Some(spread) = p.spread {
            let corners = [(left, p.y - spread), (right, p.y + spread)];
            chart.draw_series(std::iter::once(Rectangle::new(corners, style::tint(colour).filled())))?;
        }
        chart.draw_series(dashes(left, right, p.y).map(|line| PathElement::new(line, colour.stroke_width(2))))?;
    }
    Ok(())
}

/// A dashed horizontal line, of 40 dashes.
fn dashes(left: f64, right: f64, y: f64) -> impl Iterator<Item = Vec<(f64, f64)>> {
    let step = (right - left) / 40.0;
    (0..40).map(move |i| {
        let start = left + step * f64::from(i);
        vec![(start, y), (start + 0.6 * step, y)]
    })
}

fn draw_line(chart: &mut Chart<'_>, series: &Series, range: (f64, f64)) -> Drawn {
    let colour = colour(series);
    let inside = |y: f64| y.clamp(range.0, range.1);
    let line: Vec<_> = series.points.iter().map(|p| (p.x, inside(p.y))).collect();
    chart.draw_series(std::iter::once(PathElement::new(line, colour.stroke_width(2))))?;
    let bars = series.points.iter().filter_map(|p| p.spread.map(|spread| (p, spread)));
    chart.draw_series(bars.map(|(p, s)| {
        PathElement::new(
            vec![(p.x, inside(p.y - s)), (p.x, inside(p.y + s))],
            colour.stroke_width(1),
        )
    }))?;
    Ok(())
}

fn draw_markers(chart: &mut Chart<'_>, series: &Series, range: (f64, f64)) -> Drawn {
    let colour = colour(series);
    let inside = |y: f64| y.clamp(range.0, range.1);
    let edge = outline(methods::look(&series.method).marker);
    let marks = series.points.iter().map(|p| {
        let inner = if p.filled { colour } else { WHITE };
        EmptyElement::at((p.x, inside(p.y)))
            + Polygon::new(edge.clone(), inner.filled())
            + PathElement::new(edge.clone(), colour.stroke_width(EDGE))
    });
    chart.draw_series(marks)?;
    Ok(())
}

/// A text at a point of a series: what the line is, or the value of a point beyond the range.
struct Label {
    at: (f64, f64),
    text: String,
    colour: RGBColor,
}

fn draw_labels(chart: &mut Chart<'_>, all: &[Series], range: (f64, f64)) -> Drawn {
    let mut labels = Vec::new();
    for series in all.iter().filter(|series| !series.across) {
        let beyond = |p: &&Point| p.y < range.0 || p.y > range.1;
        labels.extend(series.points.iter().filter(beyond).map(|p| Label {
            at: (p.x, p.y.clamp(range.0, range.1)),
            text: format!("at {:.1}", p.y),
            colour: colour(series),
        }));
        let last = series.points.last().filter(|_| !series.label.is_empty());
        labels.extend(last.map(|p| Label {
            at: (p.x, p.y.clamp(range.0, range.1)),
            text: series.label.clone(),
            colour: colour(series),
        }));
    }
    labels.sort_by(|a, b| b.at.1.total_cmp(&a.at.1));
    let (widths, heights) = chart.plotting_area().get_pixel_range();
    let points = all
        .iter()
        .filter(|series| !series.across)
        .flat_map(|series| &series.points);
    let mut taken: Vec<[i32; 4]> = points
        .map(|p| chart.backend_coord(&(p.x, p.y.clamp(range.0, range.1))))
        .map(|(x, y)| [x - 6, y - 6, x + 6, y + 6])
        .collect();
    for label in labels {
        let style = style::text(SMALL, label.colour);
        let wide = wide(chart.plotting_area(), &label.text, &style)?;
        let (x, y) = chart.backend_coord(&label.at);
        let place = |(dx, dy): (i32, i32)| [x + dx, y + dy, x + dx + wide, y + dy + LABEL];
        let free = |at: &(i32, i32)| {
            let [left, top, right, bottom] = place(*at);
            let inside =
                left >= widths.start && right <= widths.end && top >= heights.start && bottom + 2 <= heights.end;
            inside
                && !taken
                    .iter()
                    .any(|[l, t, r, b]| left < *r && *l < right && top < *b && *t < bottom)
        };
        let (beside, level) = ([8, -8 - wide], -LABEL / 2 - 1);
        let mut shifts = (0..=FARTHEST)
            .flat_map(|shift| [shift, -shift])
            .flat_map(|shift| beside.map(|dx| (dx, level + shift)));
        let (dx, dy) = shifts.find(free).unwrap_or((beside[0], level));
        taken.push(place((dx, dy)));
        // Lines behind a text make it hard to read.
        let back = Rectangle::new([(dx - 1, dy), (dx + wide, dy + LABEL + 1)], WHITE.filled());
        let text = Text::new(label.text, (dx, dy), style.pos(Pos::new(HPos::Left, VPos::Top)));
        chart.draw_series(std::iter::once(EmptyElement::at(label.at) + back + text))?;
    }
    Ok(())
}

const CROSS: [(i32, i32); 12] = [
    (-2, -6),
    (2, -6),
    (2, -2),
    (6, -2),
    (6, 2),
    (2, 2),
    (2, 6),
    (-2, 6),
    (-2, 2),
    (-6, 2),
    (-6, -2),
    (-2, -2),
];
const TIMES: [(i32, i32); 12] = [
    (-6, -3),
    (-3, -6),
    (0, -3),
    (3, -6),
    (6, -3),
    (3, 0),
    (6, 3),
    (3, 6),
    (0, 3),
    (-3, 6),
    (-6, 3),
    (-3, 0),
];

/// Corners of a marker around its centre, in pixels, closed.
fn outline(marker: Marker) -> Vec<(i32, i32)> {
    let mut corners: Vec<(i32, i32)> = match marker {
        Marker::Circle => vec![(-2, -5), (2, -5), (5, -2), (5, 2), (2, 5), (-2, 5), (-5, 2), (-5, -2)],
        Marker::Square => vec![(-4, -4), (4, -4), (4, 4), (-4, 4)],
        Marker::Triangle => vec![(0, -6), (6, 4), (-6, 4)],
        Marker::Down => vec![(0, 6), (6, -4), (-6, -4)],
        Marker::Left => vec![(-6, 0), (4, -6), (4, 6)],
        Marker::Right => vec![(6, 0), (-4, -6), (-4, 6)],
        Marker::Diamond => vec![(0, -6), (6, 0), (0, 6), (-6, 0)],
        Marker::Hourglass => vec![(-5, -6), (5, -6), (-5, 6), (5, 6)],
        Marker::Bowtie => vec![(-6, -5), (6, 5), (6, -5), (-6, 5)],
        Marker::Bar => vec![(-7, -2), (7, -2), (7, 2), (-7, 2)],
        Marker::Post => vec![(-2, -7), (2, -7), (2, 7), (-2, 7)],
        Marker::Chevron => vec![(-6, 5), (0, -6), (6, 5), (0, 1)],
        Marker::Dome => vec![(-6, 4), (-5, -1), (-2, -4), (2, -4), (5, -1), (6, 4)],
        Marker::Pentagon => vec![(0, -6), (6, -1), (4, 5), (-4, 5), (-6, -1)],
        Marker::Star => vec![
            (0, -7),
            (2, -2),
            (7, -2),
            (3, 1),
            (4, 6),
            (0, 3),
            (-4, 6),
            (-3, 1),
            (-7, -2),
            (-2, -2),
        ],
        Marker::Cross => CROSS.to_vec(),
        Marker::Times => TIMES.to_vec(),
    };
    corners.extend(corners.first().copied());
    corners
}

/// Rows of entries of the legend, each with its horizontal position.
pub(super) type Legend = Vec<Vec<(i32, Series)>>;

/// Names of all series, each once, in rows that fit the width.
pub(super) fn legend(ruler: &Area<'_>, figure: &Figure, room: i32) -> Drawn<Legend> {
    let mut rows: Legend = Vec::new();
    let mut x = room;
    let mut seen: Vec<&String> = Vec::new();
    for panel in figure.panels.iter().flatten() {
        let Content::Series(all) = &panel.content else { continue };
        for series in all.iter().filter(|series| !series.name.is_empty()) {
            if seen.contains(&&series.name) {
                continue;
            }
            seen.push(&series.name);
            let width = wide(ruler, &series.name, &style::text(TEXT, style::INK))? + 44;
            if x + width > room {
                rows.push(Vec::new());
                x = 0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, series.clone()));
            }
            x += width;
        }
    }
    Ok(rows)
}

pub(super) fn draw_legend(root: &Area<'_>, rows: &Legend, top: i32) -> Drawn {
    for (r, row) in rows.iter().enumerate() {
        let y = top + 22 * r as i32 + 8;
        for (x, series) in row {
            let (x, colour) = (MARGIN + x, colour(series));
            let parts = if series.across {
                vec![(0, 8), (14, 22)]
            } else {
                vec![(0, 22)]
            };
            for (from, to) in parts {
                root.draw(&PathElement::new(
                    vec![(x + from, y), (x + to, y)],
                    colour.stroke_width(2),
                ))?;
            }
            if !series.across && series.shade.is_none() {
                let Look { marker, .. } = methods::look(&series.method);
                let edge: Vec<(i32, i32)> = outline(marker)
                    .into_iter()
                    .map(|(dx, dy)| (x + 11 + dx, y + dy))
                    .collect();
                root.draw(&Polygon::new(edge.clone(), colour.filled()))?;
                root.draw(&PathElement::new(edge, colour.stroke_width(EDGE)))?;
            }
            let left = Pos::new(HPos::Left, VPos::Center);
            root.draw_text(&series.name, &style::text(TEXT, style::INK).pos(left), (x + 28, y))?;
        }
    }
    Ok(())
}
