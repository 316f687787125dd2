//! Layout of a [`Figure`], drawn as SVG by plotters.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{Along, Area, Chart, Drawn, MARGIN, wide};
use super::series::{self, draw_legend, legend};
use super::style::{self, INK, SMALL, Style, TEXT};
use super::svg;
use super::value::{Axis, ColourBar, Content, Figure, Panel};
use crate::error::{Error, Result};

const BAR: i32 = 86;
/// Between rows of panels.
const GAP: i32 = 12;
/// Number of colour levels; neighbouring cells of one level are drawn as one rectangle, which keeps files small.
const LEVELS: f64 = 40.0;

impl Figure {
    /// The figure as SVG: the same figure gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Draw`].
    pub fn svg(&self, style: Style) -> Result<String> {
        style::fonts()?;
        let fail = |reason: String| Error::Draw {
            figure: self.name.clone(),
            reason,
        };
        let mut text = String::new();
        draw(self, style, &mut text).map_err(|e| fail(e.to_string()))?;
        let mut text = svg::finish(&text);
        if style == Style::Paper {
            text = in_inches(&text);
        }
        // Title and description for screen readers; crisp edges, so that scaled cells show no seams.
        let head = format!(
            "<title>{}</title>\n<desc>{}</desc>\n<style>rect{{shape-rendering:crispEdges}}</style>\n",
            escape(&self.title),
            escape(&self.description())
        );
        let after = text.find('\n').ok_or_else(|| fail("the picture is empty".into()))? + 1;
        text.insert_str(after, &head);
        Ok(text)
    }
}

/// The SVG with its width and height in inches of print.
fn in_inches(svg: &str) -> String {
    let (root, rest) = svg.split_once('\n').unwrap_or((svg, ""));
    let inches = |side: &str| {
        let pixels = root.split_once(&format!(" {side}=\""))?.1.split('"').next()?;
        Some((pixels.to_owned(), pixels.parse::<f64>().ok()? / style::PRINT))
    };
    let mut root = root.to_owned();
    for side in ["width", "height"] {
        if let Some((pixels, inches)) = inches(side) {
            root = root.replacen(
                &format!(" {side}=\"{pixels}\""),
                &format!(" {side}=\"{inches:.3}in\""),
                1,
            );
        }
    }
    format!("{root}\n{rest}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Width of a figure in pixels.
fn width(figure: &Figure, style: Style) -> u32 {
    match style {
        Style::Screen => style::WIDTH,
        Style::Paper if figure.widths.len() == 1 => style::COLUMN,
        Style::Paper => style::COLUMNS,
    }
}

fn draw(figure: &Figure, style: Style, out: &mut String) -> Drawn {
    // A scratch area to measure text before the height is known.
    let mut scratch = String::new();
    let width = width(figure, style);
    let ruler = SVGBackend::with_string(&mut scratch, (width, 100)).into_drawing_area();
    let room = width as i32 - 2 * MARGIN;
    let on_screen = style == Style::Screen;
    let title = if on_screen { figure.title.as_str() } else { "" };
    let titles = wrap(&ruler, title, &style::bold(style::TITLE, INK), room)?;
    let mut foot = Vec::new();
    for line in figure.foot.iter().filter(|_| on_screen) {
        foot.extend(wrap(&ruler, line, &style::text(SMALL, style::GREY), room)?);
    }
    let legend = legend(&ruler, figure, room)?;
    let top = MARGIN + 22 * titles.len() as i32 + 6;
    let panels = figure.height as i32 * figure.panels.len() as i32;
    let below = top + panels + 22 * legend.len() as i32 + 8;
    let height = below + 15 * foot.len() as i32 + MARGIN;

    let root = SVGBackend::with_string(out, (width, height.max(1) as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    for (i, line) in titles.iter().enumerate() {
        root.draw_text(line, &style::bold(style::TITLE, INK), (MARGIN, MARGIN + 22 * i as i32))?;
    }
    let right = if figure.bar.is_some() { BAR } else { 0 };
    for (r, row) in figure.panels.iter().enumerate() {
        let y = top + r as i32 * figure.height as i32;
        let mut x = f64::from(MARGIN);
        for (panel, width) in row.iter().zip(shares(figure, f64::from(room - right))) {
            let area = root
                .clone()
                .shrink((x as i32, y), (width as i32, figure.height as i32 - GAP));
            draw_panel(&area, panel, figure.bar.as_ref())?;
            x += width;
        }
    }
    if let Some(bar) = &figure.bar {
        let tall = panels.min(260);
        let at = (width as i32 - MARGIN - BAR + 14, top + (panels - tall) / 2);
        draw_bar(&root.clone().shrink(at, (BAR - 14, tall)), bar)?;
    }
    draw_legend(&root, &legend, top + panels + 4)?;
    for (i, line) in foot.iter().enumerate() {
        root.draw_text(line, &style::text(SMALL, style::GREY), (MARGIN, below + 15 * i as i32))?;
    }
    root.present()?;
    Ok(())
}

/// Widths of the columns, in pixels.
fn shares(figure: &Figure, room: f64) -> Vec<f64> {
    let all: f64 = figure.widths.iter().sum();
    figure.widths.iter().map(|share| room * share / all).collect()
}

fn draw_panel<'a>(area: &Area<'a>, panel: &Panel, bar: Option<&ColourBar>) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    let title = style::bold(style::PANEL, INK).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw_text(&panel.title, &title, (width as i32 / 2 + 18, 2))?;
    if let Content::Empty(command) = &panel.content {
        return draw_empty(area, command);
    }
    // Rows of cells run downwards.
    let downwards = matches!(panel.content, Content::Cells { .. });
    let mut chart = ChartBuilder::on(area)
        .margin_top(24)
        .margin_right(10)
        .x_label_area_size(if panel.x.label.is_empty() { 22 } else { 42 })
        .y_label_area_size(if panel.y.label.is_empty() { 30 } else { 52 })
        .build_cartesian_2d(Along::new(&panel.x, false), Along::new(&panel.y, downwards))?;
    match &panel.content {
        Content::Cells { rows, texts } => draw_cells(&mut chart, rows, texts, bar)?,
        Content::Series(series) => {
            mesh(&mut chart, panel, true)?;
            return series::draw(&mut chart, series, panel.y.range);
        }
        Content::Empty(_) => {}
    }
    mesh(&mut chart, panel, false)
}

/// Axes, ticks and labels; with grid lines for series.
fn mesh(chart: &mut Chart<'_>, panel: &Panel, lines: bool) -> Drawn {
    let label = |axis: &Axis, at: f64| {
        let near = axis
            .ticks
            .iter()
            .find(|(tick, _)| (tick - at).abs() < 1e-9 * at.abs().max(1.0));
        near.map_or_else(String::new, |(_, text)| text.clone())
    };
    let x = |at: &f64| label(&panel.x, *at);
    let y = |at: &f64| label(&panel.y, *at);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(panel.x.label.clone())
        .y_desc(panel.y.label.clone())
        .x_label_formatter(&x)
        .y_label_formatter(&y)
        .label_style(style::text(SMALL, INK))
        .axis_desc_style(style::text(TEXT, INK))
        .axis_style(INK)
        .bold_line_style(style::LIGHT)
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(4);
    if !lines {
        mesh.disable_mesh();
    }
    mesh.draw()?;
    Ok(())
}

/// Cells, with neighbours of one colour merged into rectangles.
fn draw_cells(
    chart: &mut Chart<'_>,
    rows: &[Vec<Option<f64>>],
    texts: &[Vec<String>],
    bar: Option<&ColourBar>,
) -> Drawn {
    let (low, high) = bar.map_or((0.0, 1.0), |bar| bar.range);
    let share = |value: f64| ((value - low) / (high - low)).clamp(0.0, 1.0);
    let level = |value: Option<f64>| value.map(|value| (share(value) * LEVELS).round() as u32);
    let levels: Vec<Vec<Option<u32>>> = rows.iter().map(|row| row.iter().map(|v| level(*v)).collect()).collect();
    let rectangles = merged(&levels).into_iter().map(|block| {
        let colour = match block.level {
            Some(level) => style::shade(f64::from(level) / LEVELS),
            None => style::NOTHING,
        };
        let corner = |row: usize, column: usize| (column as f64 + 0.5, row as f64 + 0.5);
        let corners = [
            corner(block.rows.0, block.columns.0),
            corner(block.rows.1, block.columns.1),
        ];
        Rectangle::new(corners, colour.filled())
    });
    chart.draw_series(rectangles)?;
    let mut written = Vec::new();
    for (i, (row, texts)) in rows.iter().zip(texts).enumerate() {
        for (j, (value, text)) in row.iter().zip(texts).enumerate() {
            let ink = if value.is_some_and(|value| share(value) > 0.6) {
                WHITE
            } else {
                INK
            };
            let middle = Pos::new(HPos::Center, VPos::Center);
            let at = (j as f64 + 1.0, i as f64 + 1.0);
            written.push(Text::new(text.clone(), at, style::text(SMALL, ink).pos(middle)));
        }
    }
    chart.draw_series(written)?;
    Ok(())
}

/// A rectangle of cells of one level, as half-open ranges of rows and columns.
struct Block {
    level: Option<u32>,
    rows: (usize, usize),
    columns: (usize, usize),
}

/// Runs of one level in each row, merged with runs of the same extent in the row above.
fn merged(levels: &[Vec<Option<u32>>]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (i, row) in levels.iter().enumerate() {
        let mut start = 0;
        while start < row.len() {
            let level = row[start];
            let end = start + row[start..].iter().take_while(|other| **other == level).count();
            let above = |b: &&mut Block| (b.level, b.columns, b.rows.1) == (level, (start, end), i);
            match blocks.iter_mut().rev().find(above) {
                Some(block) => block.rows.1 = i + 1,
                None => blocks.push(Block {
                    level,
                    rows: (i, i + 1),
                    columns: (start, end),
                }),
            }
            start = end;
        }
    }
    blocks
}

fn draw_empty(area: &Area<'_>, command: &str) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let (width, height) = (width as i32, height as i32);
    let frame = [(38, 24), (width - 10, height - 30)];
    area.draw(&Rectangle::new(frame, style::NOTHING.filled()))?;
    let middle = Pos::new(HPos::Center, VPos::Center);
    let style = style::text(SMALL, INK).pos(middle);
    let command = wrap(area, command, &style, width - 60)?;
    let lines = std::iter::once("Not measured yet.".to_owned()).chain(command);
    let lines: Vec<String> = lines.collect();
    let top = (height - 6) / 2 - 8 * (lines.len() as i32 - 1);
    for (i, line) in lines.iter().enumerate() {
        area.draw_text(line, &style, (width / 2 + 14, top + 16 * i as i32))?;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, bar: &ColourBar) -> Drawn {
    let (_, height) = area.dim_in_pixel();
    let (top, bottom) = (14, height as i32 - 14);
    let at = |share: f64| bottom - ((f64::from(bottom - top)) * share).round() as i32;
    for level in 0..LEVELS as u32 {
        let share = f64::from(level) / LEVELS;
        let corners = [(0, at(share + 1.0 / LEVELS)), (14, at(share))];
        area.draw(&Rectangle::new(corners, style::shade(share).filled()))?;
    }
    area.draw(&Rectangle::new([(0, top), (14, bottom)], INK.stroke_width(1)))?;
    for (value, label) in &Axis::exactly("", bar.range, 6).ticks {
        let y = at((value - bar.range.0) / (bar.range.1 - bar.range.0));
        area.draw(&PathElement::new(vec![(14, y), (18, y)], INK.stroke_width(1)))?;
        let left = Pos::new(HPos::Left, VPos::Center);
        area.draw_text(label, &style::text(SMALL, INK).pos(left), (21, y))?;
    }
    let upwards = Pos::new(HPos::Center, VPos::Top);
    let style = style::text(TEXT, INK).transform(FontTransform::Rotate270).pos(upwards);
    area.draw_text(&bar.label, &style, (54, height as i32 / 2))?;
    Ok(())
}

/// Breaks at blanks into lines of at most `room` pixels.
fn wrap(ruler: &Area<'_>, text: &str, style: &TextStyle<'_>, room: i32) -> Drawn<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match longer {
            Some(longer) if wide(ruler, &longer, style)? <= room => {
                lines.pop();
                lines.push(longer);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    Ok(lines)
}
